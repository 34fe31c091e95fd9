"""Which jobs and which labels a version is judged by, and what is refused before anything is scored."""

import datetime as dt

import pyarrow as pa
import pytest
import yaml

from tasks.core.definitions.modelling import Prediction
from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError, ModelBlocked, ModelNotFound, NothingToDo
from tasks.core.models.gate.candidacy import consider
from tasks.core.models.model_version import Candidate, InputColumn, InputSchema, Signature
from tasks.core.models.registry import Registry
from tasks.core.storage import Folder, Lake

NOON = dt.datetime(2013, 7, 1, 12, tzinfo=dt.UTC)
LABELS = {"query": "SELECT 1", "target": "late"}
WINDOWS = {"windows": {"first": "2013-06-01", "last": "2013-06-30"}}


@pytest.fixture
def registry(tmp_path):
    """Two versions of `late`; the first is production."""
    made = Registry(Lake(tmp_path / "lake"))
    schema = Signature(
        inputs=InputSchema(columns=(InputColumn(name="x", type="float64"),)), outputs={"p": Prediction()}
    )
    for _ in range(2):
        candidate = Candidate(
            model_bytes=b"",
            signature=schema,
            profile={},
            benchmark={},
            probe=pa.table({"x": [1.0]}),
            expected=pa.table({"p": [1.0]}),
        )
        made.register("late", candidate, at=NOON, actor="ann")
    made.set_alias("late", "production", 1, at=NOON, actor="ann", reason="the first")
    return made


@pytest.fixture
def project(tmp_path):
    (tmp_path / "deployments/jobs").mkdir(parents=True)
    return Project(Folder(tmp_path))


def write_job(project, name, **changes):
    job = {
        "job": name,
        "window": {"kind": "snapshot", "every": "1d"},
        "source": {"type": "sql", "driver": "sqlite", "uri": "a.sqlite", "query": "SELECT 1"},
        "keys": ["id"],
        "columns": {"id": "string", "x": "float64"},
        "model": {"name": "late"},
        "output": {"columns": {"p": {"method": "predict"}}},
    }
    (project.folder.root / f"deployments/jobs/{name}.yaml").write_text(yaml.safe_dump(job | changes))


def test_the_only_job_with_labels_is_the_one_whose_labels_are_used(registry, project):
    write_job(project, "unlabelled")
    write_job(project, "labelled", labels=LABELS, promotion=WINDOWS | {"may_lose": 0.1})
    write_job(project, "another", model={"name": "other"}, labels=LABELS, promotion=WINDOWS)

    found = consider(registry, project, "late", 2, "production", "")

    assert (found.holder, sorted(found.jobs)) == (1, ["labelled", "unlabelled"])
    assert found.labelled.job.job == "labelled"
    assert (found.windows.first, found.windows.last) == ("2013-06-01", "2013-06-30")
    assert found.promotion.may_lose == 0.1


def test_of_several_with_labels_one_must_be_named(registry, project):
    for name in ("one", "two"):
        write_job(project, name, labels=LABELS, promotion=WINDOWS)

    with pytest.raises(DefinitionError, match=r"several jobs with labels name the model 'late': one, two.*--job one"):
        consider(registry, project, "late", 2, "production", "")
    assert consider(registry, project, "late", 2, "production", "two").labelled.job.job == "two"


def test_without_labels_nothing_is_compared(registry, project):
    write_job(project, "unlabelled")
    found = consider(registry, project, "late", 2, "challenger", "")
    assert (found.labelled, found.windows, found.holder, found.promotion.may_lose) == (None, None, None, 0.005)
    assert consider(registry, project, "late", 2, "production", "unlabelled").labelled is None


@pytest.mark.parametrize(
    ("wanted", "says"),
    [("other", "'other' does not name the model 'late'; those that do: mine"), ("nothing", "no job 'nothing'")],
)
def test_a_job_that_is_not_this_model_s(registry, project, wanted, says):
    write_job(project, "mine")
    write_job(project, "other", model={"name": "something"})
    with pytest.raises(DefinitionError, match=says):
        consider(registry, project, "late", 2, "production", wanted)


def test_labels_without_windows_are_a_mistake_in_the_yaml(registry, project):
    write_job(project, "labelled", labels=LABELS)
    with pytest.raises(DefinitionError, match=r"does not say of which windows.*promotion\.windows"):
        consider(registry, project, "late", 2, "production", "")


def test_the_benchmark_s_windows_are_used_where_none_are_named(registry, project):
    ranges = {
        name: {"first": f"2013-0{month}-01", "last": f"2013-0{month}-28"}
        for name, month in (("fit", 1), ("benchmark", 2))
    }
    write_job(project, "labelled", labels=LABELS, training={"estimator": "a:b", "features": ["x"], **ranges})
    assert consider(registry, project, "late", 2, "production", "").windows.first == "2013-02-01"


def test_a_job_that_cannot_be_read_is_passed_over_and_named(registry, project):
    write_job(project, "mine")
    write_job(project, "broken", colour="red")
    found = consider(registry, project, "late", 2, "production", "")
    assert list(found.jobs) == ["mine"]
    assert "'colour' is not known" in found.unread["broken"]
    with pytest.raises(DefinitionError, match="'colour' is not known"):
        consider(registry, project, "late", 2, "production", "broken")


def test_what_the_alias_names_already_is_nothing_to_do(registry, project):
    with pytest.raises(NothingToDo, match=r"production of late is version 1 already\. Nothing was changed"):
        consider(registry, project, "late", 1, "production", "")


def test_what_was_recalled_never_comes_back(registry, project):
    registry.recall("late", 2, at=NOON, actor="ann", reason="wrong units")
    with pytest.raises(ModelBlocked, match=r"version 2 of 'late' was recalled .* wrong units"):
        consider(registry, project, "late", 2, "production", "")


@pytest.mark.parametrize(
    ("model", "version", "alias", "kind"),
    [
        ("late", 3, "production", ModelNotFound),
        ("none", 1, "production", ModelNotFound),
        ("late", 2, "Production!", DefinitionError),
        ("late", 2, "../events", DefinitionError),
    ],
)
def test_what_is_not_there(registry, project, model, version, alias, kind):
    with pytest.raises(kind):
        consider(registry, project, model, version, alias, "")


def test_one_job_that_wants_a_person_to_agree_is_enough(registry, project):
    write_job(project, "mine")
    assert not consider(registry, project, "late", 2, "production", "").needs_approval
    write_job(project, "careful", promotion={"approval": True})
    assert consider(registry, project, "late", 2, "production", "").needs_approval
