"""What another environment would make of the models; here it is this very one, and the models are of other ones."""

import datetime as dt
import sys

import pyarrow as pa
import pytest
import sklearn
from sklearn.linear_model import LinearRegression

from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError, JobError, ModelBlocked
from tasks.core.models.elsewhere.compatibility import allowed_types_by_model, bind, libraries_here_and_there, try_models
from tasks.core.models.formats.joblib_format import FORMAT
from tasks.core.models.model import load_model
from tasks.core.models.model_version import Candidate, Signature
from tasks.core.models.registry import Registry
from tasks.core.storage import Folder
from tests.unit.core.models.elsewhere.test_elsewhere import LINE, THREE, X, Y, registered
from tests.unit.core.models.other_models import expected_of, register_other
from tests.unit.core.models.strange_models import TYPE, Strange

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def registry(lake):
    return Registry(lake)


def point(registry, version, *aliases):
    for alias in aliases:
        registry.set_alias(version.name, alias, version.version, at=NOON, actor="ann", reason="a test")


def tried(registry, **allowed):
    return {(one.model, one.version): one for one in try_models(registry, sys.executable, allowed)}


def test_each_version_that_an_alias_names_is_tried_once(registry):
    point(registry, registered(registry, LINE, None), "production", "challenger")
    registered(registry, LINE, None)
    (found,) = tried(registry).values()
    assert (found.model, found.version, found.aliases) == ("late", 1, ("challenger", "production"))
    assert (found.outcome, found.is_change, found.warnings, found.why) == ("agrees", False, (), "")


@pytest.mark.extras
def test_outcomes_of_models_of_other_environments(registry):
    for name, scikit_learn in (
        ("logistic", "1.7.2"),
        ("adaboost", "1.4.2"),
        ("imputed", "1.7.2"),
        ("boosting", "1.4.2"),
    ):
        point(registry, register_other(registry, name, scikit_learn), "production")
    point(registry, register_other(registry, "logistic", "1.7.2", model="bound", interpreter="sklearn17"), "production")

    found = {model: one for (model, _), one in tried(registry).items()}

    assert {model: (one.outcome, one.is_change) for model, one in found.items()} == {
        "logistic": ("agrees_with_warnings", False),
        "adaboost": ("changes", True),
        "imputed": ("does_not_load", True),
        "boosting": ("does_not_load", True),
        "bound": ("apart", False),
    }
    assert (
        found["logistic"].warnings[0]
        == f"the model was registered with scikit-learn 1.7.2, and is scored with {sklearn.__version__}"
    )
    # The largest difference by hand: what 1.4.2 gave against what this version gives.
    version = registry.version("adaboost", 1)
    here = load_model(registry, version, probe=False).estimator
    rows, theirs = expected_of("1.4.2", "adaboost")
    off = abs(here.predict_proba(rows.select(["x"]).to_pandas())[:, 1] - theirs["probability"].to_numpy())
    assert found["adaboost"].largest_difference == pytest.approx(off.max(), rel=1e-9)
    assert "has no attribute '_fill_dtype'" in found["imputed"].why
    assert "__pyx_unpickle_CyHalfBinomialLoss" in found["boosting"].why
    assert "'sklearn17'" in found["bound"].why


def register_strange(registry, what):
    """A model that does so when it predicts, and was registered by somebody who saw it double."""
    candidate = Candidate(
        model_bytes=FORMAT.dump(Strange(what)),
        signature=Signature(inputs=X, outputs=Y),
        profile={},
        benchmark={},
        probe=THREE,
        expected=pa.table({"y": [2.0, 4.0, 8.0]}),
    )
    return registry.register("strange", candidate, at=NOON, actor="ann")


def test_types_are_those_that_the_jobs_of_the_model_allow(registry):
    point(registry, register_strange(registry, "nothing"), "production")
    (refused,) = tried(registry).values()
    assert (refused.outcome, TYPE in refused.why) == ("does_not_load", True)
    (loaded,) = tried(registry, strange=[TYPE]).values()
    assert loaded.outcome == "agrees"


def test_one_that_dies_or_was_changed_costs_no_other(registry):
    point(registry, register_strange(registry, "exit"), "production")
    point(registry, registered(registry, LINE, None), "challenger")
    registry.lake.path("models/late/versions/0001/model.joblib").write_bytes(FORMAT.dump(LinearRegression()))
    point(registry, register_other(registry, "logistic", "1.7.2"), "production")

    found = {model: one for (model, _), one in tried(registry, strange=[TYPE]).items()}

    assert "died: exit code 7" in found["strange"].why
    assert "was changed" in found["late"].why
    assert found["logistic"].outcome == "agrees_with_warnings"


def test_nothing_is_tried_where_nothing_is_registered(registry):
    assert tried(registry) == {}
    registered(registry, LINE, None)
    assert tried(registry) == {}


def test_libraries_are_listed_from_both_sides():
    found = libraries_here_and_there(sys.executable)
    assert found["scikit-learn"] == (sklearn.__version__, sklearn.__version__)
    assert found["python"][0] == found["python"][1] == ".".join(map(str, sys.version_info[:3]))


def test_what_is_no_python_is_a_wrong_option():
    with pytest.raises(DefinitionError) as caught:
        libraries_here_and_there("/nowhere/bin/python")
    assert str(caught.value) == (
        "the interpreter /nowhere/bin/python could not be started: No such file or directory. No model was tried. "
        "Next: give the path of a Python of 3.11 or later, such as ENVIRONMENT/bin/python."
    )


JOB = """
job: {name}
window: {{kind: interval, every: 1d}}
source: {{type: files, path: data, format: parquet}}
keys: [sensor]
event_time: at
columns: {{sensor: string, at: timestamp, x: float64}}
model: {{name: {model}, allowed_types: [{types}]}}
output: {{columns: {{y: {{method: predict}}}}}}
"""


def test_what_several_jobs_allow_a_model_is_taken_together(tmp_path):
    jobs = tmp_path / "deployments/jobs"
    jobs.mkdir(parents=True)
    for name, model, types in (("one", "late", "a.B"), ("two", "late", "a.B, c.D"), ("three", "early", "e.F")):
        (jobs / f"{name}.yaml").write_text(JOB.format(name=name, model=model, types=types))
    assert allowed_types_by_model(Project(Folder(tmp_path))) == {"late": {"a.B", "c.D"}, "early": {"e.F"}}
    (jobs / "one.yaml").write_text("job: [")
    with pytest.raises(JobError):
        allowed_types_by_model(Project(Folder(tmp_path)))


# -- a model bound to its environment -----------------------------------------------------------------------------------


def test_a_bound_copy_is_the_same_but_for_its_interpreter(registry, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_HERE", sys.executable)
    version = register_other(registry, "logistic", "1.7.2")
    bound = bind(registry, version, "here", allowed_types=(), at=NOON, actor="ann")

    assert (bound.name, bound.version, bound.signature.interpreter) == ("logistic", 2, "here")
    assert bound.digest != version.digest
    same = set(version.manifest.files) - {"signature.json", "card.json"}
    assert all(bound.manifest.files[file] == version.manifest.files[file] for file in same)
    assert registry.card(bound)["copy_of"] == "logistic version 1, bound to the interpreter here"
    assert registry.aliases("logistic") == {}
    assert load_model(registry, bound).processes


def test_what_does_not_pass_the_gate_there_is_not_bound(registry, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_HERE", sys.executable)
    version = register_other(registry, "adaboost", "1.4.2")
    with pytest.raises(ModelBlocked, match="does not score its probe rows as it did"):
        bind(registry, version, "here", allowed_types=(), at=NOON, actor="ann")
    monkeypatch.delenv("LAMPLIGHTER_PYTHON_HERE")
    with pytest.raises(ModelBlocked, match="set LAMPLIGHTER_PYTHON_HERE"):
        bind(registry, version, "here", allowed_types=(), at=NOON, actor="ann")
    assert registry.numbers("adaboost") == [1]
