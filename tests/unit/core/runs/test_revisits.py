"""Which published windows are to be pulled again, from the lake alone."""

import datetime as dt
import time

import pytest
from pydantic import ValidationError

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.operation import revisit_cron
from tasks.core.definitions.project import Project
from tasks.core.definitions.window import WindowSpec
from tasks.core.errors import Incomplete, PartlyBlocked
from tasks.core.runs.compared import note_looked_at
from tasks.core.runs.manifest import Trigger
from tasks.core.runs.revisits import MOST_AT_ONCE, DueRevisit, Revisits, concluded, due_revisits, settled
from tasks.core.runs.run import write_manifest
from tasks.core.storage import Folder
from tests.recall_scenes import JOB, publish, stage

DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
START = dt.datetime(2013, 7, 1, tzinfo=dt.UTC)


def job(*lags, every="1d"):
    definition = Project(Folder(".")).load("flight_delays", suites=False).job
    window = WindowSpec(kind="interval", every=every)
    return definition.model_copy(update={"job": JOB, "window": window, "revisit": lags})


def published(lake, label, read_at, run_id=None, **changes):
    """A window whose source was read then; `changes` are those of its record."""
    run_id = run_id or f"run-{label}"
    made = publish(lake, run_id, 1, day=label)
    kept = made.snapshot.model_copy(update={"complete_at": read_at})
    write_manifest(lake, layout.workspace(JOB, label, run_id), made.but(snapshot=kept, **changes))
    return made


def due(lake, a_job, now):
    return [(one.as_of, one.lag) for one in due_revisits(lake, a_job, now=now).due]


def test_each_lag_is_due_until_the_source_was_read_after_it(lake):
    a_job, end = job("7d", "1h", "24h"), START + DAY
    first = published(lake, "2013-07-01", end + HOUR / 2)
    assert due(lake, a_job, end + HOUR * 0.9) == []
    assert due(lake, a_job, end + HOUR) == [("2013-07-01", "1h")]
    note_looked_at(lake, first, end + HOUR)
    assert due(lake, a_job, end + HOUR * 23) == []
    # Two are overdue: the longest is met by the pull that meets both.
    assert due(lake, a_job, end + DAY * 7) == [("2013-07-01", "7d")]
    note_looked_at(lake, first, end + DAY * 7)
    assert due(lake, a_job, end + DAY * 8) == []


def test_a_run_of_any_kind_that_read_the_source_counts(lake):
    a_job, end = job("24h"), START + DAY
    published(lake, "2013-07-01", end)
    # From a kept snapshot: the source was not read.
    published(lake, "2013-07-01", end + DAY * 1.1, "again", trigger=Trigger(snapshot_of="run-2013-07-01"))
    assert due(lake, a_job, end + DAY * 1.2) == [("2013-07-01", "24h")]
    # Judged and blocked: the source was read. Failed: it is tried again.
    blocked = stage(lake, "late", 1, day="2013-07-01").but(verdict="failed", state="concluded", files={})
    kept = blocked.snapshot.model_copy(update={"complete_at": end + DAY * 1.1})
    write_manifest(lake, layout.workspace(JOB, "2013-07-01", "late"), blocked.but(snapshot=kept))
    assert due(lake, a_job, end + DAY * 1.2) == [("2013-07-01", "24h")]
    write_manifest(lake, layout.workspace(JOB, "2013-07-01", "late"), blocked.but(snapshot=kept, verdict="blocked"))
    assert due(lake, a_job, end + DAY * 1.2) == []


def test_a_note_of_other_rows_than_readers_see_counts_for_nothing(lake):
    a_job, end = job("24h"), START + DAY
    first = published(lake, "2013-07-01", end)
    other = first.but(snapshot=first.snapshot.model_copy(update={"digest": "other"}))
    note_looked_at(lake, other, end + DAY * 2)
    assert due(lake, a_job, end + DAY * 2) == [("2013-07-01", "24h")]


def test_a_window_that_is_not_published_is_none(lake):
    stage(lake, "x", 1, day="2013-07-01")
    assert due(lake, job("24h"), START + DAY * 3) == []


def test_a_first_deployment_pulls_no_old_lake(lake):
    """Four hundred old windows: of a daily job the lags of a week are looked after, no more."""
    labels = [(START + DAY * number).date().isoformat() for number in range(400)]
    for label in labels:
        (lake.root / layout.partition(layout.PREDICTIONS, JOB, label)).mkdir(parents=True)
    for label in labels[380:]:
        lake.remove(layout.partition(layout.PREDICTIONS, JOB, label))
        published(lake, label, dt.datetime.fromisoformat(label).replace(tzinfo=dt.UTC) + DAY)
    now = START + DAY * 400
    found = due(lake, job("24h", "7d"), now)
    # The last one ended now. Seven days ago and before: the longer lag, for a week after it; later ones the shorter.
    assert found == [(label, "7d") for label in labels[385:393]] + [(label, "24h") for label in labels[393:399]]


def test_of_very_many_the_oldest_come_first_and_the_rest_waits(lake, monkeypatch):
    a_job = job("7d", every="1h")
    instants = [START + HOUR * number for number in range(200)]
    for instant in instants:
        label = a_job.window.containing(instant).as_of
        (lake.root / layout.partition(layout.PREDICTIONS, JOB, label)).mkdir(parents=True)
    monkeypatch.setattr("tasks.core.runs.revisits._last_read", lambda *_: START)
    now = START + HOUR * 150 + DAY * 7
    began = time.process_time()
    found = due_revisits(lake, a_job, now=now)
    assert time.process_time() - began < 2
    assert (len(found.due), found.left) == (MOST_AT_ONCE, 50)
    assert found.due[0].as_of == "2013-07-01T0000Z"
    assert "50 more wait" in str(concluded(found, (settled(found.due[0], "AlreadyPublished", ""),)))


def test_a_record_that_cannot_be_read_is_told_and_stops_no_other(lake):
    published(lake, "2013-07-01", START + DAY)
    published(lake, "2013-07-02", START + DAY * 2)
    lake.write_bytes(f"{layout.workspace(JOB, '2013-07-01', 'run-2013-07-01')}/manifest.json", b"{broken")
    found = due_revisits(lake, job("1h"), now=START + DAY * 3)
    assert [one.as_of for one in found.due] == ["2013-07-02"]
    with pytest.raises(Incomplete, match="2013-07-01: "):
        concluded(found, ())


def test_how_a_round_ends():
    planned = Revisits(job=JOB, due=(DueRevisit(as_of="2013-07-01", lag="1h"),))
    one = planned.due[0]
    assert concluded(Revisits(job=JOB, due=()), ()).state_name == "NothingDue"
    assert concluded(planned, (settled(one, "Published", "ok"),)).state_name == "Revisited"
    assert settled(one, "PublishedWithWarnings", "").outcome == "replaced"
    with pytest.raises(PartlyBlocked, match="0 replaced, 1 unchanged, 1 blocked, 0 failed"):
        concluded(planned, (settled(one, "AlreadyPublished", ""), settled(one, "Blocked", "bad rows")))
    for state in ("Failed", "Crashed", "Cancelled", ""):
        with pytest.raises(Incomplete):
            concluded(planned, (settled(one, state, "why"),))


@pytest.mark.parametrize(
    ("lags", "cron"),
    [
        (("1h", "24h", "7d"), "5 * * * *"),
        (("24h", "7d"), "5 4 * * *"),
        (("2d",), "5 4 * * *"),
        (("36h",), "5 * * * *"),
        (("90min", "1d"), "*/15 * * * *"),
        (("60min",), "5 * * * *"),
    ],
)
def test_it_is_looked_as_often_as_the_shortest_lag_asks_for(lags, cron):
    assert revisit_cron(lags) == cron


def test_a_source_that_knows_the_present_only_cannot_be_revisited():
    values = Project(Folder(".")).load("flight_delays", suites=False).job.model_dump(by_alias=True)
    values["source"]["history"] = "current_only"
    Job.model_validate(values)
    with pytest.raises(ValidationError, match="revisit: the source knows the present only"):
        Job.model_validate(values | {"revisit": ["24h"]})
