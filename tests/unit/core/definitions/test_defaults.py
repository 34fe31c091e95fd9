"""What a team's jobs inherit from deployments/jobs/defaults.yaml."""

import pytest

from tasks.core.definitions.project import Project
from tasks.core.errors import JobError
from tasks.core.storage import Folder
from tests.unit.core.definitions.test_deployments import SHORTEST


@pytest.fixture
def project(tmp_path):
    """A project whose jobs `a` and `b` have these keys of their own, and these defaults."""

    def of(defaults, a="", b=""):
        jobs = tmp_path / "deployments/jobs"
        jobs.mkdir(parents=True)
        for name, more in (("a", a), ("b", b)):
            (jobs / f"{name}.yaml").write_text(SHORTEST.format(name=name, more=more))
        if defaults is not None:
            (jobs / "defaults.yaml").write_text(defaults)
        return Project(Folder(tmp_path))

    return of


def test_a_job_inherits_what_it_does_not_say_itself(project):
    found = project("owner: revenue\npriority: low\nalerts: [slack-webhook/revenue]", b="owner: network\nalerts: []")
    a, b = found.load("a").job, found.load("b").job
    assert (a.owner, a.priority, a.alerts, a.work_pool) == ("revenue", "low", ("slack-webhook/revenue",), "lamplighter")
    assert (b.owner, b.priority, b.alerts) == ("network", "low", ())


def test_the_file_is_no_job_and_need_not_be_there(project):
    assert project("owner: revenue").job_names() == ["a", "b"]


def test_without_the_file_nothing_is_inherited(project):
    found = project(None)
    assert found.load("a").job.owner == ""
    assert found.models_work_pool() == "lamplighter"


def test_who_owns_a_job_decides_nothing_of_its_rows(project, tmp_path):
    found = project("owner: revenue")
    before = found.load("a").digest
    (tmp_path / "deployments/jobs/defaults.yaml").write_text(
        "owner: network\nwork_pool: big\nmodels_work_pool: registry"
    )
    assert found.load("a").digest == before
    assert (found.load("a").job.work_pool, found.models_work_pool()) == ("big", "registry")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("owners: revenue", "did you mean 'owner'"),
        ("deadline: 2h", "key 'deadline'"),
        ("work_pool: ../x", "key 'work_pool'"),
        ("priority: urgent", "key 'priority'"),
        ("- revenue", "holds list"),
        ("owner: !!python/object:os.system x", "tags are not used here"),
    ],
)
def test_what_is_wrong_there_is_said_with_its_file_and_key(project, text, says):
    with pytest.raises(JobError) as refused:
        project(text).load("a")
    assert "deployments/jobs/defaults.yaml" in str(refused.value)
    assert says in str(refused.value)
