"""A model that somebody already has: what is worked out from it and from a sample, and what keeps it from being registered."""

import datetime as dt
import os
import subprocess
import sys
import time

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC

from tasks.core.definitions.project import Project, parse_job
from tasks.core.errors import DefinitionError, LakeCorrupt, ModelBlocked
from tasks.core.models.formats import get_format
from tasks.core.models.model import input_frame, load_model
from tasks.core.models.registering.given import Given, job_of
from tasks.core.models.registering.model_file import read_model_file
from tasks.core.models.registering.registration import register_file, register_twin
from tasks.core.models.registering.sample import read_sample
from tasks.core.models.registry import Registry
from tasks.core.storage import Folder

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
JOB = {
    "job": "late",
    "window": {"kind": "interval", "every": "1d"},
    "source": {"type": "files", "path": "data"},
    "keys": ["id"],
    "event_time": "at",
    "columns": {"id": "string", "at": "timestamp", "carrier": "string", "x": "float32", "hour": "int64"},
    "model": {"name": "late"},
    "output": {"columns": {"p": {"method": "predict_proba", "class": True}, "late": {"type": "bool"}}},
}
RNG = np.random.default_rng(3)
ROWS = pd.DataFrame(
    {
        "id": [f"f{number}" for number in range(300)],
        "at": pd.date_range("2024-05-01", periods=300, freq="1h", tz="UTC"),
        "x": np.where(np.arange(300) % 60 == 7, np.nan, RNG.normal(size=300)),
        "carrier": pd.array([["AA", "UA", "DL"][i % 3] for i in range(300)], dtype="str"),
        "hour": np.arange(300) % 24,
    }
)
ROWS["late"] = ROWS["hour"] + RNG.normal(0, 6, 300) > 12
ROWS["delay"] = ROWS["hour"] * 2.0 + RNG.normal(size=300)
FEATURES = ["hour", "carrier", "x"]
ENCODED = ColumnTransformer(
    [
        ("one_hot", OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["x", "hour"]),
    ]
)


def classifier(target="late", estimator=None):
    return make_pipeline(ENCODED, LogisticRegression() if estimator is None else estimator).fit(
        ROWS[FEATURES], ROWS[target]
    )


def forest():
    """Of the columns as they are: behind a scaler, in float32, a value may end on the other side of a split."""
    codes = ColumnTransformer(
        [("one_hot", OneHotEncoder(), ["carrier"]), ("x", SimpleImputer(), ["x"])], remainder="passthrough"
    )
    return make_pipeline(codes, RandomForestClassifier(20, random_state=0)).fit(ROWS[FEATURES], ROWS["late"])


@pytest.fixture
def registry(lake):
    return Registry(lake)


@pytest.fixture
def register(tmp_path, registry):
    """Writes the model and the sample to files and registers them, as the command does."""

    def register(model, rows=ROWS, *, file="model.joblib", job=None, **given):
        path = tmp_path / file
        path.write_bytes(model) if isinstance(model, bytes) else joblib.dump(model, path)
        rows.to_parquet(tmp_path / "sample.parquet", index=False)
        sample = read_sample(str(tmp_path / "sample.parquet"))
        job = parse_job(yaml.safe_dump({**JOB, **job}, sort_keys=False), where="late.yaml") if job is not None else None
        return register_file(
            registry, read_model_file(str(path)), Given("late", sample, job=job, **given), at=NOON, actor="ann"
        )

    return register


def nothing_is_registered(registry):
    return registry.lake.files() == []


# -- what is worked out ---------------------------------------------------------------------------------------------


def test_a_classifier_with_names_becomes_a_whole_version(register, registry, tmp_path):
    model = classifier()
    done = register(model, target="late", card={"owner": "ours"})
    version = registry.version("late", 1)
    assert version == done.version
    assert [(one.name, one.type, one.nullable) for one in version.inputs.columns] == [
        ("hour", "int64", False),
        ("carrier", "string", False),
        ("x", "float64", True),
    ]
    (output,) = version.outputs.items()
    assert (output[0], output[1].method, output[1].class_, output[1].type) == (
        "probability",
        "predict_proba",
        True,
        "float64",
    )
    assert (version.inputs.container, version.signature.probe_rtol, done.remarks) == ("pandas", 1e-9, ())
    probe, expected = registry.probe(version)
    assert (len(probe), probe.column_names) == (100, FEATURES)
    # From the first row to the last.
    assert (probe["hour"][0].as_py(), probe["hour"][-1].as_py()) == (0, 299 % 24)
    whole = model.predict_proba(ROWS[FEATURES])[:, 1]
    assert (expected["probability"][0].as_py(), expected["probability"][-1].as_py()) == (whole[0], whole[-1])
    profile = registry.profile(version)
    assert (profile["features"]["rows"], profile["predictions"]["rows"]) == (300, 300)
    assert profile["features"]["columns"]["x"]["missing"] == 5
    manifest = version.manifest
    assert manifest.training.pointer == f"reference sample {tmp_path}/sample.parquet"
    assert manifest.training.rows == 300
    assert manifest.environment["scikit-learn"] == __import__("sklearn").__version__
    assert manifest.registered_by == "ann"
    assert registry.card(version)["owner"] == "ours"
    assert registry.card(version)["file"] == str(tmp_path / "model.joblib")
    assert registry.aliases("late") == {}


def test_the_benchmark_is_of_the_sample_and_says_so(register, registry):
    model = classifier()
    benchmark = registry.benchmark(register(model, target="late").version)
    auc = next(one for one in benchmark["metrics"] if one["name"] == "roc_auc")
    assert auc["value"] == pytest.approx(roc_auc_score(ROWS["late"], model.predict_proba(ROWS[FEATURES])[:, 1]))
    assert auc["low"] < auc["value"] < auc["high"]
    assert (benchmark["rows"], benchmark["rows_without_label"], benchmark["first"]) == (300, 0, "")
    assert "which the model may have seen" in benchmark["note"]
    assert registry.benchmark(register(model).version) == {}


def test_windows_are_the_unit_where_a_job_says_what_time_it_was(register, registry):
    rows = ROWS.assign(late=ROWS["late"].astype(object).where(ROWS.index >= 10))
    benchmark = registry.benchmark(register(classifier(), rows, target="late", job={}).version)
    assert (benchmark["first"], benchmark["last"]) == ("2024-05-01", "2024-05-13")
    assert (benchmark["rows"], benchmark["rows_without_label"]) == (290, 10)


def test_what_is_usual_is_told_from_a_sample_of_eight_weeks_with_times(register, registry):
    rows = ROWS.assign(at=pd.date_range("2024-05-01", periods=300, freq="6h", tz="UTC"))
    # In any order, and a row may lack its time.
    rows = rows.assign(at=rows["at"].where(rows.index != 0)).sample(frac=1, random_state=0)

    version = register(classifier(), rows, target="late", job={}).version

    found = registry.calibration(version)
    assert (found.first, found.last, found.lacks) == ("2024-05-01", "2024-07-14", ())
    assert found.drift is not None
    assert found.performance is not None
    assert any("may be a sample of their windows" in one for one in found.assumptions)
    counted = registry.null_windows(version).to_pylist()
    assert sum(row["rows"] for row in counted if row["column"] == "x") == 299
    assert registry.estimator(version)["method"] == "cbpe"


def test_of_a_sample_without_times_it_is_said_that_nothing_is_usual(register, registry):
    without = registry.calibration(register(classifier()).version)
    lacking = registry.calibration(register(classifier(), ROWS.drop(columns="at"), job={}).version)
    short = registry.calibration(register(classifier(), job={}).version)
    assert without.lacks == ("Alarms are not calibrated: no job says what the windows of this model are.",)
    assert "the sample has no column 'at'" in lacking.lacks[0]
    assert "the past holds 1 whole weeks" in short.lacks[0]


def test_a_job_says_types_and_outputs(register):
    version = register(classifier(), target="late", job={}).version
    assert [(one.name, one.type) for one in version.inputs.columns] == [
        ("hour", "int64"),
        ("carrier", "string"),
        ("x", "float32"),
    ]
    assert list(version.outputs) == ["p", "late"]


@pytest.mark.parametrize(
    ("model", "target", "name", "output"),
    [
        (lambda: classifier("delay", LinearRegression()), "delay", "prediction", ("predict", None, "float64")),
        (lambda: classifier("carrier"), "carrier", "predicted_class", ("predict", None, "string")),
        (lambda: classifier("hour", RandomForestClassifier(3)), "hour", "predicted_class", ("predict", None, "int64")),
        (lambda: classifier("late", LinearSVC()), "late", "predicted_class", ("predict", None, "bool")),
        (lambda: classifier("late", KMeans(3, n_init=1)), "", "prediction", ("predict", None, "int64")),
        (lambda: classifier("late", IsolationForest(n_estimators=5)), "", "prediction", ("predict", None, "int64")),
    ],
)
def test_what_is_published_is_told_by_what_the_model_has(register, registry, model, target, name, output):
    truth = {"rows": ROWS.assign(truth=ROWS[target]), "target": "truth"} if target else {}
    version = register(model(), **truth).version
    (made,) = version.outputs.items()
    assert (made[0], (made[1].method, made[1].class_, made[1].type)) == (name, output)
    assert bool(registry.benchmark(version)) == bool(target)


def test_metrics_are_those_of_what_is_predicted(register, registry):
    def metric(model, target, name):
        rows = ROWS.assign(truth=ROWS[target])
        found = registry.benchmark(register(model, rows, target="truth").version)["metrics"]
        return next(one["value"] for one in found if one["name"] == name)

    regression, many = classifier("delay", LinearRegression()), classifier("carrier")
    rmse = root_mean_squared_error(ROWS["delay"], regression.predict(ROWS[FEATURES]))
    assert metric(regression, "delay", "rmse") == pytest.approx(rmse)
    assert metric(many, "carrier", "accuracy") == accuracy_score(ROWS["carrier"], many.predict(ROWS[FEATURES]))


@pytest.mark.parametrize("labels", [[0, 1], [0.0, 1.0], ["no", "yes"]])
def test_the_second_class_is_the_one_whose_probability_is_published(register, labels):
    model = make_pipeline(ENCODED, LogisticRegression()).fit(ROWS[FEATURES], np.array(labels)[ROWS["late"].astype(int)])
    (output,) = register(model).version.outputs.values()
    assert output.class_ == labels[1]
    assert type(output.class_) is type(int(labels[1]) if isinstance(labels[1], float) else labels[1])


def test_a_category_is_known_by_its_values(register, registry):
    rows = ROWS.assign(carrier=pd.Categorical(ROWS["carrier"], categories=["UA", "AA", "DL", "B6"]))
    model = HistGradientBoostingClassifier(max_iter=3).fit(rows[["carrier", "hour"]], rows["late"])
    done = register(model, rows)
    version = done.version
    assert version.inputs.columns[0].categories == ("UA", "AA", "DL", "B6")
    assert not version.inputs.columns[0].ordered
    assert done.remarks == ("carrier: other values than UA, AA, DL, B6 count as missing",)
    with pytest.raises(DefinitionError, match="the column 'carrier' is a category of no value"):
        register(model, rows.assign(carrier=pd.Categorical([None] * 300, categories=pd.Index([], dtype="str"))))


def test_a_category_keeps_its_order(register, registry):
    by_size = pd.CategoricalDtype(["UA", "AA", "DL"], ordered=True)
    rows = ROWS.assign(carrier=ROWS["carrier"].astype(by_size))
    done = register(HistGradientBoostingClassifier(max_iter=3).fit(rows[["carrier", "hour"]], rows["late"]), rows)
    (carrier, hour) = registry.version("late", 1).inputs.columns
    assert (carrier.ordered, hour.ordered) == (True, False)
    assert input_frame(done.rows, done.version.inputs)["carrier"].dtype == by_size
    # What has no order is written as before there were any.
    assert [("ordered" in one.model_dump(mode="json")) for one in (carrier, hour)] == [True, False]


def test_of_a_pipeline_that_picks_its_columns_fewer_can_be_named(register, registry):
    """As of somebody who has fitted it on the whole frame, with keys, target and all."""
    model = make_pipeline(ENCODED, LogisticRegression()).fit(ROWS, ROWS["late"])
    with pytest.raises(DefinitionError) as refused:
        register(model, target="late")
    assert "was fitted on a frame with the target 'late' in it" in str(refused.value)
    assert "--input id --input at --input x --input carrier --input hour --input delay; else" in str(refused.value)
    with pytest.raises(
        DefinitionError, match=r"with the target 'late'.*: --input id --input at --input x .*hour; else"
    ):
        register(model, target="late", job={})
    with pytest.raises(
        DefinitionError, match=r"lacks columns that the model takes: 'delay'.* say by --input NAME which"
    ):
        register(model, ROWS.drop(columns="delay"), inputs=("x", "delay"))
    with pytest.raises(ModelBlocked, match=r"ValueError: columns are missing: \{'hour'\}"):
        register(model, inputs=("carrier", "x"))
    assert nothing_is_registered(registry)
    done = register(model, target="late", inputs=("hour", "carrier", "x"), job={})
    assert done.version.inputs.names == ["x", "carrier", "hour"]
    assert done.remarks == (
        "the model was fitted on these columns as well, and is given none of them: id, at, late, delay",
    )
    np.testing.assert_allclose(
        done.outputs["p"].to_numpy(), model.predict_proba(ROWS.astype({"x": "float32"}))[:, 1], rtol=1e-12
    )


def test_a_model_without_names_takes_the_samples_columns_and_it_is_said(register):
    rows = ROWS[["x", "hour", "late"]].fillna(0)
    model = LogisticRegression().fit(rows[["x", "hour"]].to_numpy(), rows["late"])
    done = register(model, rows, target="late")
    assert (done.version.inputs.names, done.version.inputs.container) == (["x", "hour"], "numpy")
    assert done.remarks == ("the model does not name its columns: they are the sample's, in its order: x, hour",)
    with pytest.raises(
        DefinitionError, match=r"takes 2 columns and does not say which; the sample has 3: x, hour, late"
    ):
        register(model, rows)


def test_with_a_job_its_keys_and_event_time_are_no_inputs(register):
    rows = ROWS[["id", "at", "x", "hour", "late"]].fillna(0)
    model = LogisticRegression().fit(rows[["x", "hour"]].to_numpy(), rows["late"])
    assert register(model, rows, target="late", job={}).version.inputs.names == ["x", "hour"]


def test_a_sample_of_one_row_is_enough(register, registry):
    version = register(classifier(), ROWS.head(1)).version
    assert len(registry.probe(version)[0]) == 1


# -- what keeps it out ----------------------------------------------------------------------------------------------


class Ours:
    """A model of a type that no list knows."""

    feature_names_in_ = np.array(["hour"])

    def __init__(self, returns=None):
        self.returns = returns

    def predict(self, frame):
        values = {"chance": np.random.default_rng().normal(size=len(frame)), "rank": frame["hour"].rank().to_numpy()}
        return values.get(self.returns, np.full(len(frame), np.nan))


@pytest.fixture
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, "ours_of_test", sys.modules[__name__])
    monkeypatch.setattr(Ours, "__module__", "ours_of_test")


def test_what_nobody_has_accepted_is_refused_before_it_is_loaded(register, registry, importable, monkeypatch):
    monkeypatch.setattr(Ours, "__setstate__", lambda *_: pytest.fail("it was made"), raising=False)
    with pytest.raises(ModelBlocked, match=r"nobody has accepted: ours_of_test\.Ours.*--allow ours_of_test\.Ours"):
        register(Ours("rank"))
    assert nothing_is_registered(registry)


def test_what_a_job_or_a_person_accepts_is_loaded(register, importable, monkeypatch):
    monkeypatch.setattr(Ours, "predict", lambda self, frame: frame["hour"].to_numpy() * 1.0)
    by_hand = register(Ours(), allowed_types=("ours_of_test.Ours",))
    outputs = {"columns": {"p": {}}}
    by_job = register(
        Ours(), job={"model": {"name": "late", "allowed_types": ["ours_of_test.Ours"]}, "output": outputs}
    )
    assert (by_hand.version.version, by_job.version.version) == (1, 2)


def test_a_file_that_would_run_anything_runs_nothing(register, registry, tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}",)

    for held in ([Hostile(), classifier()], [classifier(), np.arange(3), Hostile()]):
        with pytest.raises(ModelBlocked, match=r"Nobody can allow posix\.system"):
            register(held, allowed_types=("posix.system", "os.system"))
    assert not (tmp_path / "marker").exists()
    assert nothing_is_registered(registry)


@pytest.mark.parametrize(
    ("returns", "says"),
    [
        (None, "300 of 300 values are missing, NaN or infinite; the first, in row 0, is nan. Nothing was registered"),
        ("chance", "the model does not score a row alike twice: 'prediction' of row"),
        ("rank", "does not score a row alike twice: .* among all 300 rows and .* among 50"),
    ],
)
def test_outputs_that_no_run_could_repeat_are_refused(register, registry, importable, returns, says):
    with pytest.raises(ModelBlocked, match=says):
        register(Ours(returns), allowed_types=("ours_of_test.Ours",))
    assert nothing_is_registered(registry)


def test_a_model_that_raises_on_the_sample_is_told_with_its_own_words(register, registry):
    rows = ROWS.assign(carrier=["ZZ"] * 300)
    strict = ColumnTransformer([("codes", OrdinalEncoder(), ["carrier"])], remainder="drop")
    model = make_pipeline(strict, LogisticRegression()).fit(ROWS[FEATURES], ROWS["late"])
    with pytest.raises(ModelBlocked, match=r"the model raised on the sample: ValueError: Found unknown categories"):
        register(model, rows)
    regression = make_pipeline(strict, LinearRegression()).fit(ROWS[FEATURES], ROWS["delay"])
    with pytest.raises(ModelBlocked, match="the model raised on the sample: ValueError: Found unknown categories"):
        register(regression, rows)
    assert nothing_is_registered(registry)


@pytest.mark.parametrize(
    ("change", "target", "says"),
    [
        ({}, "lat", "lacks the target 'lat'; nearest: 'late'"),
        (
            {"late": True},
            "late",
            "the target 'late' holds True, and must hold the class True in some rows and not in others",
        ),
        ({"late": None}, "late", "the target 'late' has no value in any row"),
        ({"late": "Y"}, "late", "holds 'Y', and must hold the class True"),
    ],
)
def test_a_target_that_tells_nothing_is_said(register, registry, change, target, says):
    with pytest.raises(DefinitionError, match=says):
        register(classifier(), ROWS.assign(**change), target=target)
    assert nothing_is_registered(registry)


def test_a_target_of_another_kind_is_said(register):
    with pytest.raises(DefinitionError, match="holds string, and the model predicts a number"):
        register(classifier("delay", LinearRegression()), target="id")
    with pytest.raises(DefinitionError, match=r"holds 0, 1, 2.*, and the model's classes are 'AA', 'DL', 'UA'"):
        register(classifier("carrier"), ROWS.assign(day=ROWS["hour"]), target="day")


def test_a_model_that_does_not_predict_needs_a_job(register, registry):
    model = make_pipeline(ENCODED, PCA(2)).fit(ROWS[FEATURES])
    with pytest.raises(DefinitionError, match=r"a Pipeline does not predict, .*--job"):
        register(model)
    outputs = {"columns": {"first": {"method": "transform", "class": 0}}}
    version = register(model, job={"output": outputs}).version
    assert list(version.outputs) == ["first"]


def test_a_version_that_a_job_could_not_score_is_refused(register, registry):
    with pytest.raises(ModelBlocked, match=r"knows no class True; its .*'AA', 'DL', 'UA'.*Next: give one of these as"):
        register(classifier("carrier"), job={})
    both = make_pipeline(ENCODED, LinearRegression()).fit(ROWS[FEATURES], ROWS[["hour", "delay"]])
    with pytest.raises(ModelBlocked, match=r"an array of shape \(300, 2\), .*--output-adapter module:function"):
        register(both)
    with pytest.raises(ModelBlocked, match="which has no predict_proba; it has predict"):
        register(classifier("delay", LinearRegression()), job={})
    columns = {name: kind for name, kind in JOB["columns"].items() if name != "hour"}
    with pytest.raises(DefinitionError, match="the job 'late' does not declare columns that the model takes: 'hour'"):
        register(classifier(), job={"columns": columns})
    assert nothing_is_registered(registry)


def test_what_another_version_of_a_library_warns_of_is_passed_on(register, monkeypatch):
    model = classifier()
    data = get_format("joblib").dump(model)
    current = f"{__import__('sklearn').__version__}".encode()
    older = current[:-1] + (b"0" if current[-1:] != b"0" else b"1")
    done = register(data.replace(current, older))
    assert any(f"version {older.decode()}" in remark for remark in done.remarks)


# -- the registry ---------------------------------------------------------------------------------------------------


def test_what_a_killed_registration_left_is_swept_away_by_a_later_one(register, registry):
    register(classifier())
    folder = registry.lake.path("models/late/versions")
    for name, age in ((".tmp-abandoned", 7200), (".tmp-at-work", 60)):
        (folder / name).mkdir()
        (folder / name / "model.joblib").write_bytes(b"half of a model")
        os.utime(folder / name, (time.time() - age,) * 2)
    register(classifier())
    assert sorted(path.name for path in folder.iterdir()) == [".tmp-at-work", "0001", "0002"]
    assert registry.numbers("late") == [1, 2]


_KILLED = """
import os, signal, sys
from tasks.core.storage import Lake, system
from tests.unit.core.models.registering.test_registration import *
count = int(sys.argv[3])
def kill(change, key):
    global count
    count -= 1
    if count == 0: os.kill(os.getpid(), signal.SIGKILL)
system.after_change = kill
sample = read_sample(sys.argv[2] + "/sample.parquet")
file = read_model_file(sys.argv[2] + "/model.joblib")
register_file(Registry(Lake(sys.argv[1])), file, Given("late", sample), at=NOON, actor="ann")
print("done")
"""


@pytest.mark.extras
def test_nothing_that_can_be_loaded_remains_of_a_killed_registration(registry, lake, tmp_path):
    joblib.dump(classifier(), tmp_path / "model.joblib")
    ROWS.to_parquet(tmp_path / "sample.parquet", index=False)
    # Files of the version, its manifest, its move: after the last of these it stands.
    for step in (1, 4, 9, 10):
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, str(lake.root), str(tmp_path), str(step)], capture_output=True, check=False
        )
        assert done.returncode == -9, done.stderr
        stands = registry.numbers("late")
        assert stands == ([1] if step == 10 else [])
    assert load_model(registry, registry.version("late", 1)).version.version == 1


def test_a_registry_that_is_broken_is_told(register, registry):
    register(classifier())
    (registry.lake.path("models/late/versions") / "notes.txt").write_text("mine")
    with pytest.raises(LakeCorrupt, match=r"notes\.txt is no version of a model"):
        register(classifier())


# -- which job ------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project/deployments/jobs").mkdir(parents=True)

    def write(name, model="late", text=""):
        job = {**JOB, "job": name, "model": {"name": model}}
        (tmp_path / f"project/deployments/jobs/{name}.yaml").write_text(text or yaml.safe_dump(job))

    write("other", "another")
    write("broken", text="job: [")
    return Project(Folder(tmp_path / "project")), write


def test_the_job_that_names_the_model_is_found(project):
    found, write = project
    assert job_of(found, "late", "") is None
    write("late")
    assert job_of(found, "late", "").job == "late"
    write("later")
    with pytest.raises(DefinitionError, match=r"several jobs score with the model 'late': late, later.*--job"):
        job_of(found, "late", "")
    assert job_of(found, "late", "later").job == "later"
    with pytest.raises(DefinitionError, match="the job 'other' scores with the model 'another', not with 'late'"):
        job_of(found, "late", "other")
    with pytest.raises(DefinitionError, match="there is no job 'nothing'"):
        job_of(found, "late", "nothing")
    assert job_of(Project(Folder("/no/such/folder")), "late", "") is None


# -- the same model in another format -------------------------------------------------------------------------------


@pytest.fixture
def twin(register, registry, tmp_path):
    def twin(model, format_name="onnx", **given):
        first = register(model, **given)
        asked = Given("late", read_sample(str(tmp_path / "sample.parquet")), **given)
        return first, register_twin(registry, first, format_name, asked, at=NOON, actor="ann")

    return twin


@pytest.mark.extras
def test_a_twin_in_onnx_is_a_version_of_its_own(twin, registry):
    first, second = twin(classifier(), target="late")
    assert (first.version.version, second.version.version) == (1, 2)
    assert (second.version.format, second.version.signature.probe_rtol) == ("onnx", 1e-5)
    assert second.version.inputs == first.version.inputs
    assert registry.card(second.version)["converted_from"] == "version 1 (joblib)"
    assert "300 rows of the sample" in registry.card(second.version)["largest_difference"]
    assert registry.benchmark(second.version) == registry.benchmark(first.version)
    assert registry.calibration(second.version) == registry.calibration(first.version)
    assert "onnxruntime" in second.version.manifest.environment
    _, then = registry.probe(first.version)
    _, now = registry.probe(second.version)
    np.testing.assert_allclose(now["probability"].to_numpy(), then["probability"].to_numpy(), atol=1e-5)
    assert load_model(registry, second.version).warnings == ()


@pytest.mark.extras
@pytest.mark.parametrize(
    "model",
    [
        forest,
        lambda: classifier("delay", LinearRegression()),
        lambda: RandomForestClassifier(21, random_state=0).fit(ROWS[["hour"]], ROWS["late"]),
        lambda: classifier("carrier"),
    ],
)
def test_models_with_categories_and_without_are_converted(twin, model):
    pytest.importorskip("skl2onnx")
    assert twin(model())[1].version.version == 2


@pytest.mark.extras
def test_a_twin_that_disagrees_is_refused_with_the_values_and_the_first_stands(twin, registry, monkeypatch):
    module = type(get_format("onnx").load(_constant(0.75), ())).__module__
    monkeypatch.setattr(sys.modules["tasks.core.models.formats.onnx_format"], "converted", lambda *_: _constant(0.75))
    assert module.endswith("onnx_estimator")
    with pytest.raises(ModelBlocked) as caught:
        twin(classifier())
    message = str(caught.value)
    assert "the onnx file does not score as late version 1 does: 'probability' of row" in message
    assert "of the sample is 0.75, and was 0.0" in message or "of the sample is 0.75, and was 0." in message
    assert "of 300 rows differ by more than 1e-05" in message
    assert "What was registered stands: late version 1, in joblib" in message
    assert registry.numbers("late") == [1]


def _constant(probability):
    """A model of the same inputs that says the same of every row."""
    helper = pytest.importorskip("onnx").helper
    kinds = {"hour": 7, "carrier": 8, "x": 1}
    inputs = [helper.make_tensor_value_info(name, kind, ["rows", 1]) for name, kind in kinds.items()]
    output = helper.make_tensor_value_info("p", 1, ["rows", 2])
    weights = helper.make_tensor("w", 1, [1, 2], [1 - probability, probability])
    nodes = [
        helper.make_node("Cast", ["hour"], ["h"], to=1),
        helper.make_node("Pow", ["h", "zero"], ["one"]),
        helper.make_node("MatMul", ["one", "w"], ["p"]),
    ]
    zero = helper.make_tensor("zero", 1, [], [0.0])
    made = helper.make_model(
        helper.make_graph(nodes, "g", inputs, [output], [weights, zero]), opset_imports=[helper.make_opsetid("", 17)]
    )
    made.ir_version = 8
    helper.set_model_props(made, {"classes": "[false, true]"})
    return made.SerializeToString()


@pytest.mark.extras
def test_a_forest_that_learnt_from_missing_values_is_refused_as_its_conversion_forgets_which_way_they_go(
    twin, registry
):
    pytest.importorskip("skl2onnx")
    learnt = RandomForestClassifier(20, random_state=0).fit(ROWS[["x", "hour"]], ROWS["late"])
    with pytest.raises(ModelBlocked, match=r"'probability' of row \d*7 of the sample is .*; [1-5] of 300 rows differ"):
        twin(learnt)
    assert registry.numbers("late") == [1]


@pytest.mark.extras
def test_what_cannot_be_converted_leaves_the_first_version(twin, registry):
    codes = ColumnTransformer([("codes", OrdinalEncoder(), ["carrier"])], remainder="passthrough")
    boosted = make_pipeline(codes, HistGradientBoostingClassifier(max_iter=3)).fit(ROWS[FEATURES], ROWS["late"])
    with pytest.raises(ModelBlocked, match=r"the Pipeline cannot be converted to ONNX: .*What was registered stands"):
        twin(boosted)
    assert registry.numbers("late") == [1]


@pytest.mark.extras
def test_a_twin_in_skops_needs_what_skops_asks_for(twin, registry):
    asked = ("numpy.dtype", "sklearn.tree._tree.Tree")
    with pytest.raises(ModelBlocked, match=rf"nobody has accepted: {', '.join(asked)}\. What was registered stands"):
        twin(forest(), "skops")
    first, second = twin(forest(), "skops", allowed_types=asked)
    assert (first.version.version, second.version.version, second.version.format) == (2, 3, "skops")


def test_a_twin_in_its_own_format_or_of_no_scikit_learn_model_is_refused(twin, importable, monkeypatch):
    with pytest.raises(
        DefinitionError, match="late version 1 is joblib, and of that no other version in joblib is made"
    ):
        twin(classifier(), "joblib")
    monkeypatch.setattr(Ours, "predict", lambda self, frame: frame["hour"].to_numpy() * 1.0)
    with pytest.raises(DefinitionError, match="no other version in onnx is made"):
        twin(Ours(), "onnx", allowed_types=("ours_of_test.Ours",))


# -- formats of other frameworks ------------------------------------------------------------------------------------


@pytest.mark.extras
def test_an_onnx_file_is_registered_by_the_names_that_it_has(register, registry):
    version = register(_constant(0.25), file="model.onnx", target="late").version
    assert (version.format, version.inputs.names) == ("onnx", ["hour", "carrier", "x"])
    (output,) = version.outputs.values()
    assert (output.method, output.class_) == ("predict_proba", True)
    assert set(registry.probe(version)[1]["probability"].to_pylist()) == {0.25}


@pytest.mark.extras
def test_a_network_of_nnef_is_registered_as_onnx(register, registry):
    pytest.importorskip("nnef")
    from tests.unit.core.models.formats.test_nnef_format import FILES, LATE, archive
    from tests.unit.core.models.formats.test_nnef_format import ROWS as POINTS

    rows = pd.DataFrame(POINTS, columns=["a", "b"])
    done = register(archive(FILES), rows, file="network.nnef")
    assert (done.version.format, done.version.inputs.names) == ("onnx", ["a", "b"])
    assert registry.card(done.version)["file_format"] == "nnef"
    assert "the model does not name its columns" in done.remarks[0]
    np.testing.assert_allclose(registry.probe(done.version)[1]["probability"].to_numpy(), LATE, rtol=1e-6)


@pytest.mark.extras
def test_a_matrix_takes_the_codes_of_a_category(register, registry):
    helper = pytest.importorskip("onnx").helper
    weights = helper.make_tensor("w", 1, [2, 1], [10.0, 1.0])
    ends = [helper.make_tensor_value_info(name, 1, ["rows", width]) for name, width in (("c", 2), ("y", 1))]
    made = helper.make_model(
        helper.make_graph([helper.make_node("MatMul", ["c", "w"], ["y"])], "g", ends[:1], ends[1:], [weights]),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    made.ir_version = 8
    rows = pd.DataFrame({"kind": pd.Categorical(["b", None, "a"], categories=["b", "a"]), "x": [0.5, 0.25, 0.0]})
    version = register(made.SerializeToString(), rows, file="model.onnx").version
    assert registry.probe(version)[1]["prediction"].to_pylist() == [0.5, -9.75, 10.0]
    assert version.inputs.container == "pandas"
