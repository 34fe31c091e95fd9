"""The page of all jobs: who is on it, what is late, that no run takes another's entry away, and what it costs."""

import datetime as dt
import threading

import pytest
import yaml

from tasks.core import home, layout
from tasks.core.auditing import keeping as audits
from tasks.core.auditing.records import AuditRecord, Finding
from tasks.core.definitions.project import Project
from tasks.core.errors import LakeFull
from tasks.core.monitoring import keeping
from tasks.core.monitoring.records import Monitored
from tasks.core.storage import Folder, Lake
from tests import monitor_samples as samples
from tests.page_samples import Page, manifest

NOW = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC)
# Daily windows, scored at two in the morning of the next day, and promised by four.
DAILY = {"schedule": {"cron": "0 2 * * *"}, "deadline": "2h"}


@pytest.fixture
def project(tmp_path):
    (tmp_path / "deployments/jobs").mkdir(parents=True)
    return Project(Folder(tmp_path))


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def define(project, name, **changes):
    job = {
        "job": name,
        "owner": "ops",
        "description": f"What {name} is for.",
        "window": {"kind": "interval", "every": "1d"},
        "source": {"type": "files", "path": "data", "format": "parquet"},
        "keys": ["id"],
        "event_time": "at",
        "columns": {"id": "string", "at": "timestamp"},
        "model": {"name": "m"},
        "output": {"columns": {"p": {"method": "predict"}}},
    }
    project.folder.path(f"deployments/jobs/{name}.yaml").write_text(yaml.safe_dump(job | changes))


def ran(lake, name, as_of="2026-11-20", *, verdict="published"):
    run = manifest().but(job=name, as_of=as_of, run_id="aaaa-bbbb", verdict=verdict)
    lake.write_bytes(f"{layout.workspace(name, as_of, 'aaaa-bbbb')}/manifest.json", run.to_json())
    if verdict == "published":
        lake.write_bytes(f"{layout.partition(layout.PREDICTIONS, name, as_of)}/part-aaaa-bbbb.parquet", b"")


def lines(lake, project, now=NOW):
    return {one.job: one for one in home.job_lines(lake, project, now=now)}


def text(lake):
    return Page(lake.read_bytes(layout.HOME_PAGE).decode()).text


def test_every_job_is_listed_whether_it_ran_or_can_run_at_all(lake, project):
    define(project, "ran")
    define(project, "new", owner="")
    define(project, "broken", keys="nothing of the kind")
    ran(lake, "ran")
    ran(lake, "of_another_team")

    found = lines(lake, project)

    assert list(found) == ["broken", "new", "ran", "of_another_team"]
    assert (found["ran"].owner, found["ran"].last.as_of, found["ran"].windows) == ("ops", "2026-11-20", 1)
    assert (found["new"].owner, found["new"].last, found["new"].late) == ("", None, ())
    assert "deployments/jobs/broken.yaml" in found["broken"].problem
    assert found["of_another_team"].due == "another project's"
    home.write_home(lake, project, now=NOW)
    assert all(name in text(lake) for name in found)
    assert "Written 2026-11-21 10:00:00 UTC" in text(lake)


def test_a_job_that_broke_since_keeps_its_owner(lake, project):
    define(project, "churn", owner="revenue")
    lines(lake, project)
    define(project, "churn", owner="revenue", keys="wrong")

    assert (lines(lake, project)["churn"].owner, bool(lines(lake, project)["churn"].problem)) == ("revenue", True)


def test_another_project_over_the_same_lake_still_knows_whose_a_job_is(lake, project, tmp_path):
    define(project, "churn", owner="revenue")
    ran(lake, "churn")
    home.write_home(lake, project, now=NOW)
    (tmp_path / "other/deployments/jobs").mkdir(parents=True)
    other = Project(Folder(tmp_path / "other"))
    define(other, "flights")

    found = lines(lake, other)

    assert list(found) == ["flights", "churn"]
    assert (found["churn"].owner, found["churn"].description) == ("revenue", "What churn is for.")


def test_a_changed_definition_shows_at_once(lake, project):
    define(project, "churn", owner="one")
    assert lines(lake, project)["churn"].owner == "one"
    define(project, "churn", owner="two")
    assert lines(lake, project)["churn"].owner == "two"
    project.folder.path("deployments/jobs/defaults.yaml").write_text("owner: three\n")
    define(project, "churn", owner="four")
    assert lines(lake, project)["churn"].owner == "four"


def test_what_is_kept_of_a_job_may_be_damaged(lake, project):
    define(project, "churn")
    lines(lake, project)
    lake.write_bytes("reports/churn/job.json", b'{"of": 1')
    assert lines(lake, project)["churn"].owner == "ops"


def test_late_is_what_the_deadline_says(lake, project):
    define(project, "daily", **DAILY)
    ran(lake, "daily", "2026-11-18")

    # 19 and 20 were to be there by four in the morning of the day after.
    assert lines(lake, project)["daily"].late == ("2026-11-19", "2026-11-20")
    # At three, 20 has been asked for and has an hour left.
    early = lines(lake, project, dt.datetime(2026, 11, 21, 3, tzinfo=dt.UTC))["daily"]
    assert (early.late, early.due) == (("2026-11-19",), "2026-11-20 by 2026-11-21 04:00")

    ran(lake, "daily", "2026-11-19")
    ran(lake, "daily", "2026-11-20", verdict="blocked")
    assert lines(lake, project)["daily"].late == ("2026-11-20",)
    ran(lake, "daily", "2026-11-20")
    assert (lines(lake, project)["daily"].late, lines(lake, project)["daily"].due) == (
        (),
        "2026-11-21 by 2026-11-22 04:00",
    )


def test_of_long_windows_the_last_three_are_looked_at(lake, project):
    define(project, "weekly", window={"kind": "interval", "every": "1w"}, schedule={"cron": "0 2 * * 1"}, deadline="2h")
    ran(lake, "weekly", "2026-10-05")

    assert lines(lake, project)["weekly"].late == ("2026-10-26", "2026-11-02", "2026-11-09")


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, ""),
        ({"schedule": {"cron": "0 2 * * *", "active": False}, "deadline": "2h"}, "paused"),
        ({"schedule": {"cron": "0 2 * * *"}}, "2026-11-19 from 2026-11-20 02:00"),
    ],
)
def test_without_a_deadline_nothing_is_late(lake, project, changes, due):
    define(project, "daily", **changes)
    ran(lake, "daily", "2026-11-18")

    assert (lines(lake, project)["daily"].late, lines(lake, project)["daily"].due) == ((), due)


def test_a_job_that_never_ran_is_late_for_nothing(lake, project):
    define(project, "daily", **DAILY)

    assert (lines(lake, project)["daily"].late, lines(lake, project)["daily"].due) == (
        (),
        "2026-11-21 by 2026-11-22 04:00",
    )


def test_a_damaged_manifest_takes_nothing_from_the_list(lake, project):
    define(project, "churn")
    ran(lake, "churn")
    lake.write_bytes(f"{layout.workspace('churn', '2026-11-20', 'aaaa-bbbb')}/manifest.json", b"{")

    assert lines(lake, project)["churn"].windows == 1


@pytest.mark.extras
def test_forty_runs_that_end_at_once_lose_no_entry(lake, project):
    names = [f"job_{number:02d}" for number in range(40)]
    for name in names:
        define(project, name)
    start = threading.Barrier(len(names))

    def end_of_run(name):
        start.wait()
        ran(lake, name)
        home.write_home(lake, project, now=NOW)

    threads = [threading.Thread(target=end_of_run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert text(lake).count("Published") == 40
    assert lake.names("locks") == []


def test_what_it_reads_does_not_grow_with_the_windows(lake, project, monkeypatch):
    for name in ("a", "b"):
        define(project, name, **DAILY)
        for day in range(1, 21):
            ran(lake, name, f"2026-11-{day:02d}")
    home.write_home(lake, project, now=NOW)
    read = []
    monkeypatch.setattr(Lake, "read_bytes", lambda self, key: read.append(key) or Folder.read_bytes(self, key))
    monkeypatch.setattr(Project, "load", None)
    home.write_home(lake, project, now=NOW)

    # Of each job what is kept of its definition, and its newest window's run.
    assert sorted(read) == sorted(
        key
        for name in ("a", "b")
        for key in (f"reports/{name}/job.json", f"{layout.workspace(name, '2026-11-20', 'aaaa-bbbb')}/manifest.json")
    )


def test_a_writer_that_hangs_does_not_keep_others_from_writing(lake, project, monkeypatch):
    define(project, "churn")
    monkeypatch.setattr(home, "_PATIENCE_SECONDS", 0.1)
    with lake.lock(layout.HOME_LOCK, holder="somebody"):
        home.write_home(lake, project, now=NOW)

    assert "churn" in text(lake)


def test_a_job_whose_monitor_alarms_needs_a_look(lake, project):
    define(project, "flight_delays")
    ran(lake, "flight_delays")
    alarms = (samples.DRIFTED, samples.DEGRADED)
    keeping.keep(lake, Monitored(job="flight_delays", at=NOW, as_of="2013-10-01", alarms=alarms))
    home.write_home(lake, project, now=NOW)
    assert "1 of 1 job needs a look" in text(lake)
    assert "performance degraded since 2013-09-05" in text(lake)
    assert "2013-07-29" not in text(lake)
    lake.write_bytes("monitoring/flight_delays/as_of=2013-10-01/_monitored.json", b"no json")
    assert lines(lake, project)["flight_delays"].alarms == ()


def test_a_job_whose_audit_found_a_break_needs_a_look(lake, project):
    define(project, "flight_delays")
    ran(lake, "flight_delays")
    broken = Finding(link="model", file="model.joblib", what="it", found="a", expected="b", next_step="restore it")
    record = AuditRecord(job="flight_delays", day="2013-10-06", at=NOW, finished_at=NOW, seed=1)
    audits.keep(lake, record.model_copy(update={"findings": (broken,), "findings_count": 1}))
    home.write_home(lake, project, now=NOW)
    assert "1 of 1 job needs a look" in text(lake)
    assert "audit: 1 break" in text(lake)
    audits.keep(lake, record)
    home.write_home(lake, project, now=NOW)
    assert "audit:" not in text(lake)
    lake.write_bytes("audits/flight_delays/as_of=2013-10-06.json", b"no json")
    assert lines(lake, project)["flight_delays"].audit is None


def test_a_full_disk_is_not_told_as_a_job_s_problem(project, lake, monkeypatch):
    """The list is not written, so that the next run writes it: once it stood that the job was wrong, for as long as none ran."""
    define(project, "flights")

    def full(*_):
        raise LakeFull("no space left")

    with monkeypatch.context() as there:
        there.setattr(Lake, "write_bytes", full)
        with pytest.raises(LakeFull):
            home.write_home(lake, project, now=NOW)
    assert lines(lake, project)["flights"].problem == ""
