"""Functions of the project around a model: which may be named, what they are given, and what is wrong with what they return."""

import datetime as dt
import hashlib
import importlib
import json
import os
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError
from sklearn.linear_model import LinearRegression, LogisticRegression

from tasks.core import own_code, own_modules
from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import DefinitionError, ModelBlocked
from tasks.core.models.adapters import Adapter, Adapters, open_adapters
from tasks.core.models.elsewhere.compatibility import bind, try_models
from tasks.core.models.formats.joblib_format import FORMAT
from tasks.core.models.model import load_model, predict, score_with_bisection
from tasks.core.models.model_version import Candidate, InputColumn, InputSchema, ModelManifest, ModelVersion, Signature
from tasks.core.models.prediction import LoadedModel, kinds_of_prediction
from tasks.core.models.registry import Registry, version_folder
from tasks.core.runs.manifest import CodeRecord
from tasks.core.storage import Folder

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
INPUTS = InputSchema(
    columns=(
        InputColumn(name="at", type="timestamp"),
        InputColumn(name="kind", type="string"),
        InputColumn(name="celsius", type="float64"),
    )
)
ROWS = pa.table(
    {
        "at": pa.array(
            [dt.datetime(2024, 5, 1, hour, tzinfo=dt.UTC) for hour in (0, 6, 12)], pa.timestamp("us", tz="UTC")
        ),
        "kind": ["a", "b", "c"],
        "celsius": [0.0, 10.0, 100.0],
    }
)
# fahrenheit = 1.8 * celsius + 32, and the model gives it back as it is.
SAME = LinearRegression().fit(pd.DataFrame({"fahrenheit": [0.0, 1.0]}), [0.0, 1.0])
MODULE = """
import pandas as pd
from os import system
from subprocess import run

def to_input(frame):
    assert list(frame) == ["at", "kind", "celsius"]
    assert str(frame["at"].dtype).startswith("datetime64")
    return pd.DataFrame({"fahrenheit": 1.8 * frame["celsius"] + 32})

def to_columns(returned):
    return {"score": returned, "label": ["hot" if one > 100 else "cold" for one in returned], "unused": returned}

limit = 3
"""


@pytest.fixture
def features(project):
    """The project's module ours.features."""
    (project / "ours").mkdir()
    (project / "ours/features.py").write_text(MODULE)
    own_code.join(Folder(project))
    return project / "ours/features.py"


def signature(outputs=None, **adapters):
    return Signature(inputs=INPUTS, outputs=outputs or {"score": Prediction()}, **adapters)


def loaded(estimator, signed, adapters):
    manifest = ModelManifest(name="late", version=3, registered_at=NOON, registered_by="ann", files={}, environment={})
    return LoadedModel(ModelVersion(manifest, signed), estimator, adapters=adapters)


def around(before=None, after=None, *, estimator=SAME, outputs=None):
    """The model with these two functions around it."""
    signed = signature(outputs, adapter="o:f" if before else None, output_adapter="o:g" if after else None)
    adapters = Adapters(Adapter("o:f", before) if before else None, Adapter("o:g", after) if after else None)
    return loaded(estimator, signed, adapters)


def to_fahrenheit(frame):
    return pd.DataFrame({"fahrenheit": 1.8 * frame["celsius"] + 32})


# -- what is registered -------------------------------------------------------------------------------------------------


def test_a_signature_without_adapters_is_written_as_before_there_were_any():
    """The text that Lamplighter 0.1 wrote, and so the digests of its versions."""
    plain = Signature(
        inputs=InputSchema(columns=(InputColumn(name="x", type="float64"),)), outputs={"y": Prediction(type="float32")}
    )
    text = (
        '{"signature_version":1,"format":"joblib","inputs":{"columns":[{"name":"x","type":"float64","nullable":true,'
        '"encoding":"plain","categories":null}],"container":"pandas"},"outputs":{"y":{"method":"predict","class":null,'
        '"type":"float32"}},"probe_rtol":1e-9,"interpreter":null}'
    )
    assert plain.model_dump_json(by_alias=True) == text
    assert Signature.model_validate_json(text) == plain
    both = plain.model_copy(update={"adapter": "ours.features:to_input", "output_adapter": "ours.features:to_columns"})
    kept = json.loads(both.model_dump_json(by_alias=True))
    assert (kept.pop("adapter"), kept.pop("output_adapter")) == both.adapters
    assert kept == json.loads(text)
    assert Signature.model_validate_json(both.model_dump_json(by_alias=True)) == both


@pytest.mark.parametrize(
    "wrong",
    [
        {"adapter": "ours.features"},
        {"adapter": "ours features:f"},
        {"output_adapter": "../ours:f"},
        {"adapter": "ours:f", "interpreter": "old"},
        {"adapter": "ours:f", "inputs": INPUTS.model_copy(update={"container": "numpy"})},
    ],
)
def test_a_signature_that_cannot_be_scored_with_is_none(wrong):
    with pytest.raises(ValidationError):
        Signature(**{"inputs": INPUTS, "outputs": {"score": Prediction()}, **wrong})


# -- which functions may be named ---------------------------------------------------------------------------------------


def test_a_function_of_the_project_is_found(features, project):
    found = open_adapters("ours.features:to_input", "ours.features:to_columns", Folder(project))
    assert found.before.function(ROWS.to_pandas())["fahrenheit"].tolist() == pytest.approx([32.0, 50.0, 212.0])
    assert found.after.function([212.0])["label"] == ["hot"]
    assert open_adapters(None, None, Folder(project)) == Adapters()


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("os:system", "there is no module 'os' in the project's folder"),
        ("posix:system", "there is no module 'posix'"),
        ("subprocess:run", "there is no module 'subprocess'"),
        ("builtins:eval", "there is no module 'builtins'"),
        ("pandas:read_pickle", "there is no module 'pandas'"),
        ("joblib:load", "there is no module 'joblib'"),
        ("tasks.core.storage:Lake", "there is no module 'tasks.core.storage'"),
        ("flows.cli:main", "there is no module 'flows.cli'"),
        ("ours.other:f", "there is no module 'ours.other'"),
        ("ours..features:to_input", "there is no module"),
        (".ours:f", "there is no module"),
        ("ours.features:system", "ours.features only imports it: it is defined in 'posix', and not in the project"),
        ("ours.features:run", "only imports it: it is defined in 'subprocess'"),
        ("ours.features:pd", "has a module, and no function, of the name 'pd'"),
        ("ours.features:limit", "has a int, and no function, of the name 'limit'"),
        ("ours.features:nothing", "has nothing of the name 'nothing'"),
        ("ours.features:__builtins__", "has a dict, and no function"),
    ],
)
def test_nothing_that_the_project_does_not_define_itself_can_be_named(features, project, reference, says):
    with pytest.raises(ModelBlocked) as refused:
        open_adapters(None, reference, Folder(project))
    assert says in str(refused.value)
    assert f"the adapter '{reference}' cannot be used" in str(refused.value)


def test_what_cannot_be_named_is_not_even_imported(features, project):
    (project / "marker.py").write_text("raise SystemExit('imported')")
    for reference in ("xdrlib:error", "antigravity:geohash", "this:d", "turtledemo.clock:main"):
        before = set(sys.modules)
        with pytest.raises(ModelBlocked, match="there is no module"):
            open_adapters(reference, None, Folder(project))
        assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys; sys.exit(3)", "it ends the process"),
        ("def f(:", "SyntaxError"),
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_a_paragraph(features, project, text, says):
    (project / "ours/broken.py").write_text(text)
    with pytest.raises(ModelBlocked, match=f"its module cannot be imported: .*{says}"):
        open_adapters("ours.broken:f", None, Folder(project))


def test_another_package_of_the_same_name_is_not_taken_for_the_projects(features, project, tmp_path, monkeypatch):
    """Such as one in a folder of PYTHONPATH, or one that was imported already."""
    other = tmp_path / "other/theirs"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("def f(frame): raise SystemExit('theirs')")
    (project / "theirs").mkdir()
    (project / "theirs/__init__.py").write_text("def f(frame): return frame")
    # A folder without __init__ is one of several parts: what comes first on the path is found.
    (tmp_path / "other/ours").mkdir()
    (tmp_path / "other/ours/features.py").write_text("raise SystemExit('theirs')")
    sys.path.insert(0, str(tmp_path / "other"))
    importlib.invalidate_caches()
    for reference, name in (("theirs:f", "theirs"), ("ours.features:to_input", r"ours\.features")):
        with pytest.raises(ModelBlocked, match=f"the name '{name}' stands for .*/other/.* and not for what lies in"):
            open_adapters(reference, None, Folder(project))
    assert not {"theirs", "ours.features"} & set(sys.modules)


def test_a_decorated_function_and_one_of_another_own_module_are_the_projects(features, project):
    (project / "ours/helpers.py").write_text(
        "import functools\n"
        "def twice(f):\n"
        "    @functools.wraps(f)\n"
        "    def g(x):\n"
        "        return f(f(x))\n"
        "    return g\n"
    )
    (project / "names.py").write_text(
        "from ours.features import to_columns\nfrom ours.helpers import twice\n@twice\ndef add(x):\n    return x + 1\n"
    )
    importlib.invalidate_caches()
    found = open_adapters("names:add", "names:to_columns", Folder(project))
    assert found.before.function(1) == 3


# -- what they are given, and what is made of what they return ------------------------------------------------------------


def test_a_frame_of_the_inputs_goes_in_and_columns_come_out(features, project):
    outputs = {"label": Prediction(type="string"), "score": Prediction(type="float32")}
    signed = signature(outputs, adapter="ours.features:to_input", output_adapter="ours.features:to_columns")
    model = loaded(SAME, signed, open_adapters(*signed.adapters, Folder(project)))
    got = predict(model, ROWS, outputs)
    assert got["score"].to_pylist() == pytest.approx([32.0, 50.0, 212.0])
    assert got["label"].to_pylist() == ["cold", "cold", "hot"]
    assert got.schema == pa.schema([("label", pa.string()), ("score", pa.float32())])
    assert predict(model, ROWS.slice(0, 0), outputs).schema == got.schema
    assert kinds_of_prediction(model, ROWS) == {"score": "f", "label": "U", "unused": "f"}


def test_each_method_is_called_once_and_its_columns_are_taken_by_name():
    asked = []

    def split(returned):
        asked.append(returned.shape)
        return (
            pd.DataFrame({"no": returned[:, 0], "yes": returned[:, 1]}) if returned.ndim == 2 else {"label": returned}
        )

    rows = pd.DataFrame({"fahrenheit": [0.0, 1.0, 2.0, 3.0]})
    classifier = LogisticRegression().fit(rows, [0, 0, 1, 1])
    outputs = {
        "yes": Prediction(method="predict_proba", class_=1),
        "label": Prediction(type="int8"),
        "no": Prediction(method="predict_proba", class_=0),
    }
    got = predict(around(to_fahrenheit, split, estimator=classifier, outputs=outputs), ROWS, outputs)
    assert asked == [(3, 2), (3,)]
    expected = classifier.predict_proba(pd.DataFrame({"fahrenheit": [32.0, 50.0, 212.0]}))
    np.testing.assert_array_equal(got["yes"].to_numpy(), expected[:, 1])
    np.testing.assert_array_equal(got["no"].to_numpy(), expected[:, 0])
    assert got["label"].to_pylist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("before", "says"),
    [
        (
            lambda frame: to_fahrenheit(frame).head(2),
            r"o:f returned a DataFrame of shape \(2, 1\) for 3 rows.*a row for each",
        ),
        (lambda frame: None, "o:f returned None for 3 rows"),
        (lambda frame: 3, "o:f returned a int for 3 rows"),
        (lambda frame: np.zeros(()), r"o:f returned a ndarray of shape \(\) for 3 rows"),
        (lambda frame: [[1.0]] * 4, "o:f returned a list of 4 for 3 rows"),
        (lambda frame: "abc", "o:f returned a str for 3 rows"),
    ],
)
def test_what_no_model_takes_is_not_the_rows_fault(before, says):
    with pytest.raises(ModelBlocked, match=says):
        score_with_bisection(around(before), ROWS, np.arange(3), {"score": Prediction()})


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (
            lambda returned: returned,
            r"o:g returned a ndarray of shape \(3,\), where it was given a ndarray of shape \(3,\)",
        ),
        (lambda returned: None, "o:g returned None, where .*let o:g return a mapping or a DataFrame"),
        (lambda returned: {"scores": returned}, "o:g gave no column 'score'; it gave 'scores'; nearest: 'scores'"),
        (lambda returned: {}, "o:g gave no column 'score'; it gave none"),
        (lambda returned: {"score": 1.0}, "o:g for the column 'score': it returned one value for 3 rows"),
        (lambda returned: {"score": [1.0]}, "it returned 1 for 3 rows"),
        (lambda returned: {"score": np.zeros((3, 2))}, r"it returned an array of shape \(3, 2\)"),
        (lambda returned: {"score": ["a", "b", "c"]}, "cannot be float64"),
        (lambda returned: {"score": [1.0, None, 2.0]}, "missing|cannot be float64"),
        (lambda returned: {"score": [1.0, np.nan, 2.0]}, "1 of 3 values are missing, NaN or infinite"),
        (lambda returned: pd.DataFrame({"score": pd.array([1, pd.NA, 2], "Int64")}), "missing|cannot be float64"),
    ],
)
def test_columns_that_cannot_be_published_are_not_the_rows_fault(after, says):
    with pytest.raises(ModelBlocked, match=says):
        score_with_bisection(around(to_fahrenheit, after), ROWS, np.arange(3), {"score": Prediction()})


def test_a_column_of_one_value_a_row_is_one_whatever_holds_it():
    for after in (
        lambda returned: {"score": returned.reshape(-1, 1)},
        lambda returned: {"score": list(returned)},
        lambda returned: {"score": pd.Series(returned, index=[7, 8, 9])},
        lambda returned: pd.DataFrame({"score": pd.array(returned, "Float64")}),
        lambda returned: pa.table({"score": returned}).to_pandas(types_mapper=pd.ArrowDtype),
    ):
        got = predict(around(to_fahrenheit, after), ROWS, {"score": Prediction()})
        assert got["score"].to_pylist() == pytest.approx([32.0, 50.0, 212.0])


def test_a_row_on_which_an_adapter_raises_costs_one_row():
    def strict(frame):
        if (frame["celsius"] > 50).any():
            raise ValueError(f"no thermometer shows {frame['celsius'].max():g}")
        return to_fahrenheit(frame)

    def cold(returned):
        if (returned < 40).any():
            raise KeyError("too cold")
        return {"score": returned}

    scored, kept, rejected = score_with_bisection(around(strict, cold), ROWS, np.arange(5, 8), {"score": Prediction()})
    assert (scored["score"].to_pylist(), kept.tolist()) == (pytest.approx([50.0]), [6])
    assert [(row, reason.rule, reason.message) for row, reason in rejected] == [
        (5, "predict_raised", "the output adapter o:g raised KeyError: 'too cold'"),
        (7, "predict_raised", "ValueError: no thermometer shows 100"),
    ]


def test_running_out_of_memory_in_an_adapter_is_not_the_rows_fault():
    def runs_out(frame):
        raise MemoryError

    with pytest.raises(MemoryError):
        score_with_bisection(around(runs_out), ROWS, np.arange(3), {"score": Prediction()})


def test_an_adapter_cannot_change_the_rows_that_are_published():
    def spoils(frame):
        made = to_fahrenheit(frame)
        frame["celsius"] = 0.0
        frame.loc[:, "kind"] = "spoilt"
        return made

    before = ROWS.to_pylist()
    predict(around(spoils), ROWS, {"score": Prediction()})
    assert ROWS.to_pylist() == before


def test_a_model_is_never_called_without_the_adapter_that_it_was_registered_with():
    with pytest.raises(ValueError, match="is scored with o:f"):
        loaded(SAME, signature(adapter="o:f"), Adapters())


# -- through the registry and the gate --------------------------------------------------------------------------------------


def register(lake, project, *, modules=None):
    """A version with both adapters, as registration makes one."""
    outputs = {"score": Prediction(), "label": Prediction(type="string")}
    signed = signature(outputs, adapter="ours.features:to_input", output_adapter="ours.features:to_columns")
    model = loaded(SAME, signed, open_adapters(*signed.adapters, Folder(project)))
    code = CodeRecord(version="0", commit=None, dirty=None, digest="0", modules=modules or {})
    candidate = Candidate(
        FORMAT.dump(SAME), signed, {}, {}, probe=ROWS, expected=predict(model, ROWS, outputs), code=code
    )
    return Registry(lake).register("late", candidate, at=NOON, actor="ann")


def test_the_gate_scores_its_probe_with_the_adapters(features, project, lake):
    version = register(lake, project)
    model = load_model(Registry(lake), version)
    assert predict(model, ROWS, version.outputs)["label"].to_pylist() == ["cold", "cold", "hot"]
    assert model.warnings == ()


def test_a_registry_that_names_another_function_is_refused_before_that_is_imported(features, project, lake):
    register(lake, project)
    folder = lake.path(version_folder("late", 1))
    signed = json.loads((folder / "signature.json").read_text())
    signed["adapter"] = "os:system"
    (folder / "signature.json").write_text(json.dumps(signed))
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / "signature.json").read_bytes()
    manifest["files"]["signature.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelBlocked, match=r"model\.joblib: the adapter 'os:system' cannot be used.*no row was scored"):
        load_model(Registry(lake), Registry(lake).version("late", 1))


def test_code_that_changed_is_remarked_and_the_probe_decides(features, project, lake):
    digest = own_modules.digests_of(["ours.features:to_input"], Folder(project))
    version = register(lake, project, modules=digest)
    assert load_model(Registry(lake), version).warnings == ()

    def rewritten(text):
        features.write_text(text)
        # As another process would begin.
        own_modules._looked_at.cache_clear()
        for name in [name for name in sys.modules if name.partition(".")[0] == "ours"]:
            del sys.modules[name]
        importlib.invalidate_caches()

    remark = "the project's own package 'ours' has changed since the model was registered"
    rewritten(MODULE + "# a comment\n")
    assert load_model(Registry(lake), version).warnings == (remark,)
    rewritten(MODULE.replace("+ 32", "+ 33"))
    with pytest.raises(ModelBlocked) as refused:
        load_model(Registry(lake), version)
    assert "'score' of probe row" in str(refused.value)
    assert remark in str(refused.value)
    assert "Next: bring back the project's code of that time, or register the model anew" in str(refused.value)
    os.remove(features)
    rewritten_away = "there is no module 'ours.features'"
    own_modules._looked_at.cache_clear()
    with pytest.raises(ModelBlocked, match=rewritten_away):
        load_model(Registry(lake), version)


def test_another_environment_scores_with_the_adapters_too(features, project, lake):
    version = register(lake, project)
    registry = Registry(lake)
    registry.set_alias("late", "production", 1, at=NOON, actor="ann", reason="a test")
    (found,) = try_models(registry, sys.executable, {})
    assert (found.outcome, found.why) == ("agrees", "")
    features.write_text("def to_input(frame):\n    raise ValueError('not here')\ndef to_columns(returned): ...\n")
    (found,) = try_models(registry, sys.executable, {})
    assert (found.outcome, found.why) == ("does_not_load", "it raises on its own probe rows: ValueError: not here")
    with pytest.raises(DefinitionError, match="an adapter is the project's own code"):
        bind(registry, version, "old", allowed_types=(), at=NOON, actor="ann")
