"""Models that stand on somebody's own code: a transformer of theirs, columns that nothing names, adapters."""

import datetime as dt
import importlib
import json
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tasks.core import own_code
from tasks.core.definitions.project import Project, parse_job
from tasks.core.errors import DefinitionError, ModelBlocked
from tasks.core.models.model import load_model, predict
from tasks.core.models.registering.first_production import has_had_production, make_production, why_not_production
from tasks.core.models.registering.given import Given
from tasks.core.models.registering.model_file import read_model_file
from tasks.core.models.registering.registration import register_file, register_twin
from tasks.core.models.registering.sample import read_sample
from tasks.core.models.registry import Registry
from tasks.core.storage import Folder

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
JOB = {
    "job": "bikes",
    "window": {"kind": "interval", "every": "1d"},
    "source": {"type": "files", "path": "data"},
    "keys": ["station", "at"],
    "event_time": "at",
    "columns": {"station": "string", "at": "timestamp", "celsius": "float64"},
    "model": {"name": "bikes"},
    "output": {"columns": {"count": {"method": "predict"}}},
}
MODULE = """
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

class Hours(BaseEstimator, TransformerMixin):
    '''The hour as a place on a circle. It says neither the names of its columns nor how many they are.'''

    def fit(self, frame, truth=None):
        return self

    def transform(self, frame):
        turn = 2 * np.pi * frame["at"].dt.hour / 24
        return pd.DataFrame({"sin": np.sin(turn), "cos": np.cos(turn), "temp": frame["temp"]})

def doubled(values):
    return 2 * np.asarray(values)

def to_input(frame):
    return frame.rename(columns={"celsius": "temp"})

def to_columns(returned):
    return {"count": np.maximum(returned, 0), "is_busy": returned > 10, "size": np.where(returned > 10, "large", "small")}
"""
ROWS = pd.DataFrame(
    {
        "station": [f"s{number % 3}" for number in range(240)],
        "at": pd.date_range("2024-05-01", periods=240, freq="1h", tz="UTC"),
        "celsius": 15 + 5 * np.sin(np.arange(240) / 11),
    }
)
ROWS["count"] = 10 + 5 * np.sin(2 * np.pi * ROWS["at"].dt.hour / 24) + 0.3 * ROWS["celsius"]
TEMP = ROWS.rename(columns={"celsius": "temp"})
HOURS = ("ours.features.Hours",)


@pytest.fixture
def ours(project):
    """The project's module ours.features, as it was where the model was made."""
    (project / "ours").mkdir()
    (project / "ours/features.py").write_text(MODULE)
    own_code.join(Folder(project))
    return importlib.import_module("ours.features")


@pytest.fixture
def registry(lake):
    return Registry(lake)


@pytest.fixture
def register(tmp_path, registry, ours):
    """Writes the model and the sample to files and registers them, as the command does."""

    def register(model, rows=ROWS, *, job=None, name="bikes", **given):
        joblib.dump(model, tmp_path / "model.joblib")
        rows.to_parquet(tmp_path / "sample.parquet", index=False)
        job = (
            parse_job(yaml.safe_dump({**JOB, **job}, sort_keys=False), where="bikes.yaml") if job is not None else None
        )
        sample = read_sample(str(tmp_path / "sample.parquet"))
        given = Given(name, sample, job=job, **({"allowed_types": HOURS} | given))
        return register_file(registry, read_model_file(str(tmp_path / "model.joblib")), given, at=NOON, actor="ann")

    return register


def pipeline(ours):
    return make_pipeline(ours.Hours(), LinearRegression()).fit(TEMP[["at", "temp"]], ROWS["count"])


# -- a transformer of somebody's own ------------------------------------------------------------------------------------


def test_a_pipeline_that_names_no_columns_is_given_a_frame_of_the_samples(register, ours):
    done = register(pipeline(ours), TEMP, target="count")
    assert (done.version.inputs.names, done.version.inputs.container) == (["station", "at", "temp"], "pandas")
    (remark,) = done.remarks
    assert remark.startswith(
        "the model does not name its columns: they are the sample's, in its order: station, at, temp"
    )
    assert remark.endswith("--input NAME says which, once for each")
    np.testing.assert_allclose(done.outputs["prediction"].to_numpy(), ROWS["count"], rtol=1e-9)


def test_what_it_takes_can_be_said(register, ours):
    done = register(pipeline(ours), TEMP, inputs=("temp", "at"))
    assert (done.version.inputs.names, done.remarks) == (["temp", "at"], ())
    with pytest.raises(DefinitionError, match="lacks columns that the model takes: 'hour'"):
        register(pipeline(ours), TEMP, inputs=("hour",))
    named = LinearRegression().fit(TEMP[["temp"]], ROWS["count"])
    with pytest.raises(DefinitionError, match="the model says itself which columns it takes: temp"):
        register(named, TEMP, inputs=("at",))
    assert register(named, TEMP, inputs=("temp",)).version.inputs.names == ["temp"]


def test_with_a_job_it_is_tried_without_and_then_with_what_names_and_dates_a_row(register, ours):
    columns = {"station": "string", "at": "timestamp", "temp": "float32"}
    done = register(pipeline(ours), TEMP, job={"columns": columns})
    assert [(one.name, one.type) for one in done.version.inputs.columns] == list(columns.items())
    assert done.remarks[1] == "the sample has columns that the job bikes does not declare: count"
    plain = make_pipeline(ours.Hours(), LinearRegression()).fit(TEMP[["at", "temp"]], ROWS["count"])
    with pytest.raises(
        ModelBlocked, match=r"KeyError: 'temp'; the sample has .* does not declare: temp, count.*--adapter"
    ):
        register(plain, TEMP, job={})


def test_a_matrix_is_still_given_to_a_model_that_was_fitted_on_one(register):
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(TEMP[["temp"]].to_numpy(), ROWS["count"])
    done = register(model, TEMP[["temp"]], allowed_types=())
    assert (done.version.inputs.names, done.version.inputs.container) == (["temp"], "numpy")
    assert "--input" not in done.remarks[0]


def test_a_type_that_is_not_in_the_project_is_a_paragraph(register, ours, project, registry):
    model = pipeline(ours)
    (project / "ours/features.py").rename(project / "ours/moved.py")
    del sys.modules["ours.features"]
    importlib.invalidate_caches()
    # joblib itself writes the file: it looks the class up.
    sys.modules["ours.features"] = ours
    with pytest.raises(ModelBlocked) as refused:
        _registered_without(register, model)
    assert "it needs ours.features.Hours, which is not here (No module named 'ours.features')" in str(refused.value)
    assert "Next: put the module into the project's folder, or install the package that has it" in str(refused.value)
    assert registry.names() == []


def _registered_without(register, model):
    """As where the module is not: it is gone once the file is written."""
    real = joblib.dump

    def dump(*given):
        real(*given)
        del sys.modules["ours.features"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joblib, "dump", dump)
        register(model, TEMP)


def test_a_module_that_raises_when_it_is_imported_is_a_paragraph(register, ours, project):
    (project / "ours/features.py").write_text("raise RuntimeError('no licence')")
    with pytest.raises(ModelBlocked, match=r"which is not here \(its import raised RuntimeError: no licence"):
        _registered_without(register, pipeline(ours))
    (project / "ours/features.py").write_text("import sys; sys.exit(3)")
    sys.modules["ours.features"] = ours
    with pytest.raises(ModelBlocked, match=r"which is not here \(its import raised SystemExit: 3"):
        _registered_without(register, pipeline(ours))


def test_what_was_written_in_a_notebook_is_told_to_be_moved(register, registry, monkeypatch):
    class Cyclic(StandardScaler):
        pass

    def hours(frame):
        return frame

    main = sys.modules["__main__"]
    for written, name in ((Cyclic, "Cyclic"), (hours, "hours")):
        monkeypatch.setattr(written, "__module__", "__main__")
        written.__qualname__ = name
        monkeypatch.setattr(main, name, written, raising=False)
    # A registration that happens to be called within the same notebook is no better.
    for model in (Cyclic(), FunctionTransformer(hours)):
        with pytest.raises(ModelBlocked) as refused:
            register(model, TEMP, allowed_types=("__main__.Cyclic", "__main__.hours"))
        name = "Cyclic" if isinstance(model, Cyclic) else "hours"
        assert f"the model's file names {name} of __main__: what was written in a notebook" in str(refused.value)
        assert f"(from ours.features import {name})" in str(refused.value)
    assert registry.names() == []


def test_a_function_of_the_project_in_a_transformer_is_a_name_like_any_other(register, ours):
    model = make_pipeline(FunctionTransformer(ours.doubled), LinearRegression()).fit(TEMP[["temp"]], ROWS["count"])
    with pytest.raises(ModelBlocked, match=r"nobody has accepted: ours\.features\.doubled\."):
        register(model, TEMP)
    done = register(model, TEMP, allowed_types=("ours.features.doubled",))
    assert done.version.inputs.names == ["temp"]


def test_the_version_remembers_the_code_that_it_stands_on(register, ours, project):
    (project / "ours/helpers.py").write_text("")
    (project / "other.py").write_text("")
    done = register(pipeline(ours), TEMP)
    assert list(done.version.manifest.code.modules) == ["ours"]
    named = register(LinearRegression().fit(TEMP[["temp"]], ROWS["count"]), TEMP)
    assert named.version.manifest.code.modules == {}


def test_the_packages_whose_types_are_allowed_are_part_of_the_environment(register):
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(TEMP[["temp"]], ROWS["count"])
    # Installed, and named by the job: as LightGBM would be.
    environment = register(model, TEMP, allowed_types=("pyarrow.Table", "nothing.Here")).version.manifest.environment
    assert environment["pyarrow"] == importlib.import_module("pyarrow").__version__
    assert "nothing" not in environment


# -- adapters ---------------------------------------------------------------------------------------------------------------


ADAPTER = "ours.features:to_input"
OUTPUT_ADAPTER = "ours.features:to_columns"


def test_an_adapter_is_given_all_columns_of_the_job_that_the_sample_has(register, ours, registry):
    done = register(pipeline(ours), job={}, target="count", adapter=ADAPTER)
    assert [(one.name, one.type) for one in done.version.inputs.columns] == list(JOB["columns"].items())
    assert done.version.signature.adapters == (ADAPTER,)
    assert done.remarks == ("the adapter is given station, at, celsius",)
    assert list(done.version.manifest.code.modules) == ["ours"]
    np.testing.assert_allclose(done.outputs["count"].to_numpy(), ROWS["count"], rtol=1e-9)
    (rmse, *_) = done.candidate.benchmark["metrics"]
    assert (rmse["name"], rmse["value"]) == ("rmse", pytest.approx(0, abs=1e-9))
    again = load_model(registry, registry.version("bikes", 1), allowed_types=HOURS)
    assert predict(again, done.rows, again.version.outputs).equals(done.outputs)


def test_what_the_job_does_not_declare_is_not_given_to_the_adapter(register, ours):
    done = register(pipeline(ours), ROWS.assign(old_script=1.0), job={}, adapter=ADAPTER)
    assert done.version.inputs.names == ["station", "at", "celsius"]
    assert done.remarks[1] == "the sample has columns that the job bikes does not declare: count, old_script"
    narrow = register(pipeline(ours), job={}, adapter=ADAPTER, inputs=("celsius", "at"))
    assert narrow.version.inputs.names == ["celsius", "at"]


def test_without_a_job_the_output_adapter_says_what_is_published(register, ours):
    done = register(pipeline(ours), target="count", adapter=ADAPTER, output_adapter=OUTPUT_ADAPTER)
    assert {name: one.type for name, one in done.version.outputs.items()} == {
        "count": "float64",
        "is_busy": "bool",
        "size": "string",
    }
    assert done.outputs["size"].to_pylist()[:3] == np.where(ROWS["count"] > 10, "large", "small").tolist()[:3]


def test_a_class_that_an_adapter_made_a_number_is_held_against_numbers(register, ours, project):
    (project / "ours/more.py").write_text("def score(returned): return {'late': returned.astype(float) * 100}")
    importlib.invalidate_caches()
    rows = TEMP.assign(warm=(TEMP["temp"] > 15).astype(int))
    model = LogisticRegression().fit(rows[["temp"]], rows["warm"])
    done = register(model, rows, target="warm", output_adapter="ours.more:score")
    assert {one["name"] for one in done.candidate.benchmark["metrics"]} == {"rmse", "mae", "r2"}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"adapter": "os:system"}, "there is no module 'os' in the project's folder"),
        ({"output_adapter": "subprocess:run"}, "there is no module 'subprocess'"),
        ({"adapter": "ours.features"}, "--adapter 'ours.features' is not module:function"),
        ({"output_adapter": "ours/features.py:f"}, "--output-adapter 'ours/features.py:f' is not module:function"),
        ({"adapter": ADAPTER, "interpreter": "old"}, "--adapter and --interpreter exclude each other"),
        (
            {"adapter": ADAPTER, "output_adapter": OUTPUT_ADAPTER, "interpreter": "old"},
            "--adapter and --output-adapter and --interpreter exclude each other",
        ),
    ],
)
def test_an_adapter_that_cannot_be_one_is_a_wrong_option(register, registry, ours, given, says):
    with pytest.raises(DefinitionError) as refused:
        register(pipeline(ours), **given)
    assert says in str(refused.value)
    assert "Nothing was registered" in str(refused.value)
    assert registry.names() == []


def test_an_adapter_that_raises_or_returns_nonsense_registers_nothing(register, registry, ours, project):
    (project / "ours/wrong.py").write_text(
        "def raises(frame): return frame['temp']\n"
        "def shortens(frame): return frame.rename(columns={'celsius': 'temp'}).dropna()\n"
    )
    importlib.invalidate_caches()
    with pytest.raises(ModelBlocked, match=r"the adapter ours\.wrong:raises before it, raised on the sample: KeyError"):
        register(pipeline(ours), adapter="ours.wrong:raises")
    with pytest.raises(
        ModelBlocked,
        match=r"output adapter ours\.wrong:raises raised .*Error: .*, of what the model.*Next: mend ours\.wrong:r",
    ):
        register(pipeline(ours), adapter=ADAPTER, output_adapter="ours.wrong:raises")
    gappy = ROWS.assign(celsius=ROWS["celsius"].where(ROWS.index != 7))
    with pytest.raises(
        ModelBlocked,
        match=r"ours\.wrong:shortens returned a DataFrame of shape \(99, 4\) for 100 rows.*Nothing was reg",
    ):
        register(pipeline(ours), gappy, adapter="ours.wrong:shortens")
    with pytest.raises(ModelBlocked, match="o column 'score'; it gave 'count', 'is_busy', 'size'"):
        register(
            pipeline(ours),
            job={"output": {"columns": {"score": {}}}},
            adapter=ADAPTER,
            output_adapter=OUTPUT_ADAPTER,
        )
    assert registry.names() == []


def test_of_a_model_with_an_adapter_no_other_format_is_made(register, registry, ours, tmp_path):
    done = register(pipeline(ours), adapter=ADAPTER)
    given = Given("bikes", read_sample(str(tmp_path / "sample.parquet")), adapter=ADAPTER)
    with pytest.raises(
        DefinitionError, match=r"of a model with an adapter no other version is made.*stands: bikes version 1"
    ):
        register_twin(registry, done, "onnx", given, at=NOON, actor="ann")


# -- the first version is production --------------------------------------------------------------------------------------


@pytest.fixture
def jobs(project):
    """Writes the project's jobs."""

    def write(**jobs):
        (project / "deployments/jobs").mkdir(parents=True, exist_ok=True)
        for name, changes in jobs.items():
            (project / f"deployments/jobs/{name}.yaml").write_text(json.dumps({**JOB, "job": name, **changes}))
        return Project(Folder(project))

    return write


def test_the_first_version_that_is_production_is_so_for_a_reason(register, registry, ours):
    first, second = register(pipeline(ours), TEMP).version, register(pipeline(ours), TEMP).version
    assert not has_had_production(registry, "bikes")
    assert make_production(registry, first, at=NOON, actor="ann")
    (event,) = registry.history("bikes")
    assert (event.alias, event.version, event.actor) == ("production", 1, "ann")
    assert event.reason == "the first version of bikes: nothing to hold it against"
    # Of two at once, the other one was first.
    assert not make_production(registry, second, at=NOON, actor="bob")
    assert registry.aliases("bikes") == {"production": 1}
    assert has_had_production(registry, "bikes")
    registry.recall("bikes", 1, at=NOON, actor="ann", reason="wrong")
    assert registry.aliases("bikes") == {}
    assert has_had_production(registry, "bikes")


def test_a_challenger_alone_was_never_production(register, registry, ours):
    register(pipeline(ours), TEMP)
    registry.set_alias("bikes", "challenger", 1, at=NOON, actor="ann", reason="a test")
    assert not has_had_production(registry, "bikes")


def test_where_a_person_must_agree_or_mlflow_decides_no_alias_moves(jobs):
    assert why_not_production(jobs(bikes={}, other={"model": {"name": "other"}}), "bikes") == ""
    asks = {"promotion": {"approval": True}}
    assert "the job night asks for a person's approval" in why_not_production(jobs(night=asks), "bikes")
    follows = jobs(mirrored={"model": {"name": "models:/cars@production"}})
    lake_name = follows.load("mirrored").job.model.name
    assert "the job mirrored follows an alias of MLflow" in why_not_production(follows, lake_name)
