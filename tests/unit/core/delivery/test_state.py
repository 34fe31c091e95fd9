"""What is told of deliveries from the lake alone."""

import datetime as dt

import pytest
import yaml

from tasks.core import layout
from tasks.core.definitions.project import Project
from tasks.core.delivery import state
from tasks.core.delivery.state import Delivery
from tasks.core.errors import LakeCorrupt
from tasks.core.runs.status import exit_code, status_of
from tasks.core.storage import Folder
from tests.delivery_tools import NOON, a_job, publish, withdraw

DAY = "2024-05-01"


def given(lake, run_id, *, name="delivered", table="scores", **more):
    record = Delivery(job="churn", as_of=DAY, table=table, state=name, run_id=run_id, rows=7, at=NOON, **more)
    state.write(lake, record)


def test_a_window_that_was_never_delivered_lacks_its_rows(lake):
    job = a_job()
    assert state.shortfall(lake, job, DAY) is None
    publish(lake, job, DAY, "r1", 1)
    assert state.shortfall(lake, job, DAY) == "its rows were not yet delivered to the table scores"
    assert state.sentence(lake, job, DAY) == (
        f"NOT delivered: its rows were not yet delivered to the table scores. Next: lamplighter deliver churn --as-of {DAY}"
    )


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"run_id": "r1"}, None),
        ({"run_id": "r0"}, "has still the rows of run r0"),
        ({"run_id": "r1", "table": "another"}, "not yet delivered to the table scores"),
        ({"run_id": "r1", "name": "failed", "reason": "the server was gone"}, "the server was gone"),
        ({"run_id": "r1", "name": "waiting", "reason": "found without"}, "found without"),
        ({"run_id": None}, "not yet delivered"),
    ],
)
def test_what_the_record_says_is_held_against_what_readers_see(lake, record, says):
    job = a_job()
    publish(lake, job, DAY, "r1", 7)
    given(lake, **record)
    why = state.shortfall(lake, job, DAY)
    assert (why is None) if says is None else (says in why)


def test_the_page_says_where_the_rows_are(lake):
    job = a_job()
    publish(lake, job, DAY, "r1", 7)
    given(lake, "r1", delivered_at=dt.datetime(2024, 5, 2, 3, 4, tzinfo=dt.UTC))
    assert state.sentence(lake, job, DAY) == "7 rows of run r1 to the table scores at 2024-05-02 03:04 UTC"


def test_a_job_in_shadow_or_without_a_table_lacks_nothing(lake):
    plain = a_job()
    for job in (
        a_job(output={"shadow": True}),
        plain.model_copy(update={"output": plain.output.model_copy(update={"sql": None})}),
    ):
        publish(lake, job, DAY, "r1", 1)
        assert not state.delivers(lake, job)
        assert state.shortfall(lake, job, DAY) is None
    assert state.sentence(lake, a_job(output={"shadow": True}), DAY).endswith("while the job is in shadow")


def test_a_failure_keeps_what_the_database_was_last_given_and_counts(lake):
    job = a_job()
    given(lake, "r1", sha256="x")
    state.note_failure(lake, job, DAY, "it broke", "mend it;")
    noted = state.note_failure(lake, job, DAY, "it broke again")
    assert (noted.run_id, noted.sha256, noted.attempts, noted.reason) == ("r1", "x", 2, "it broke again")
    assert noted.next_step == f"lamplighter deliver churn --as-of {DAY}"
    assert state.read(lake, "churn", DAY) == noted


def test_a_damaged_record_is_named_and_taken_for_none(lake):
    lake.write_bytes(layout.delivery("churn", DAY), b"{}")
    with pytest.raises(LakeCorrupt, match="is not the record of a delivery"):
        state.read(lake, "churn", DAY)
    assert state.try_read(lake, "churn", DAY) is None


def test_a_published_window_whose_manifest_names_no_file_is_corrupt(lake):
    job = a_job()
    manifest = publish(lake, job, DAY, "r1", 1)
    lake.write_bytes(f"{manifest.workspace}/manifest.json", manifest.but(files={}).to_json())
    with pytest.raises(LakeCorrupt, match="names no file of predictions"):
        state.wanted(lake, "churn", DAY)


@pytest.fixture
def project(tmp_path):
    job = a_job().model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    folder = tmp_path / "project/deployments/jobs"
    folder.mkdir(parents=True)
    job["source"]["type"] = "files"
    (folder / "churn.yaml").write_text(yaml.safe_dump(job))
    return Project(Folder(tmp_path / "project"))


def test_status_lists_what_is_not_in_the_database(lake, project):
    job = a_job()
    for day in (DAY, "2024-05-02", "2024-05-03"):
        publish(lake, job, day, "r1", 7)
    given(lake, "r1")
    found = status_of(lake, project, "churn", now=NOON)
    assert found.problem == ""
    assert [(one.as_of, one.kind) for one in found.windows] == [
        ("2024-05-02", "undelivered"),
        ("2024-05-03", "undelivered"),
    ]
    assert (found.next_steps, exit_code([found])) == (("lamplighter deliver churn",), 1)
    with lake.lock(layout.lock("churn", "2024-05-02"), holder="a run"):
        found = status_of(lake, project, "churn", now=NOON)
    # What a run has just published it is about to deliver.
    assert [one.as_of for one in found.windows] == ["2024-05-03"]
    assert found.next_steps == ("lamplighter deliver churn --as-of 2024-05-03",)


def test_status_lists_what_the_database_should_no_longer_have(lake, project):
    job = a_job()
    publish(lake, job, DAY, "r1", 7)
    given(lake, "r1")
    withdraw(lake, job, DAY)
    (one,) = status_of(lake, project, "churn", now=NOON).windows
    assert (one.kind, "readers of the lake no longer see" in one.why) == ("undelivered", True)
