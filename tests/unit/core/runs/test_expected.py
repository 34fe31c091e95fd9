"""Which windows a schedule has asked for, and which of them are not there: counted by hand, and from the lake alone."""

import datetime as dt
import sys
import time

import pytest

from tasks.core import layout
from tasks.core.definitions.project import Project
from tasks.core.definitions.schedule import Schedule
from tasks.core.definitions.window import WindowSpec
from tasks.core.runs import run as runs_of
from tasks.core.runs.expected import expected_windows, missing
from tasks.core.runs.run import write_manifest
from tasks.core.storage import Folder
from tests.recall_scenes import JOB, publish, stage

NEW_YORK = "America/New_York"


def at(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def job(cron="0 2 * * *", every="1d", zone="UTC", deadline=None, **schedule):
    definition = Project(Folder(".")).load("flight_delays", suites=False).job
    return definition.model_copy(
        update={
            "job": JOB,
            "window": WindowSpec(kind="interval", every=every, timezone=zone),
            "schedule": Schedule(cron=cron, **schedule),
            "deadline": deadline,
        }
    )


def asked(a_job, first, last):
    found = expected_windows(a_job, a_job.window.parse(first), at(last))
    return [(one.window.as_of, one.tick.strftime("%m-%d %H:%M")) for one in found]


def stand(lake, day, **changes):
    """A run that has begun on a day, and ended as these say."""
    manifest = stage(lake, f"run-{day}", 1, day=day).but(verdict=None, files={})
    write_manifest(lake, layout.workspace(JOB, day, f"run-{day}"), manifest.but(**changes))


def test_each_window_has_the_first_tick_that_asked_for_it():
    assert asked(job(), "2013-07-01", "2013-07-04T01:59") == [
        ("2013-07-01", "07-02 02:00"),
        ("2013-07-02", "07-03 02:00"),
    ]
    # Tomorrow's, the evening before: that of the first is asked for before it begins.
    assert asked(job("0 19 * * *", scores="opened"), "2013-07-02", "2013-07-02T20:00") == [
        ("2013-07-02", "07-01 19:00"),
        ("2013-07-03", "07-02 19:00"),
    ]
    # Every ten minutes is asked for the same window, which is asked for once.
    assert asked(job("*/10 * * * *"), "2013-07-01", "2013-07-03T12:00") == [
        ("2013-07-01", "07-02 00:00"),
        ("2013-07-02", "07-03 00:00"),
    ]


def test_delay_and_offset_are_counted():
    assert asked(job("0 * * * *", "1h", delay="2h"), "2013-07-01T0000Z", "2013-07-01T04:30") == [
        ("2013-07-01T0000Z", "07-01 03:00"),
        ("2013-07-01T0100Z", "07-01 04:00"),
    ]
    assert asked(job(offset=-1), "2013-07-01", "2013-07-04T03:00") == [
        ("2013-07-01", "07-03 02:00"),
        ("2013-07-02", "07-04 02:00"),
    ]


def test_days_without_a_tick_have_no_window():
    # Tuesday to Saturday, so Monday to Friday: 2013-07-01 was a Monday.
    found = [as_of for as_of, _ in asked(job("0 2 * * 2-6"), "2013-07-01", "2013-07-09T12:00")]
    assert found == ["2013-07-01", "2013-07-02", "2013-07-03", "2013-07-04", "2013-07-05", "2013-07-08"]


def test_no_hour_is_lost_where_clocks_change():
    # Prefect starts nothing when 01:00 comes for the second time; its window is asked for all the same.
    hourly = job("0 * * * *", "1h", NEW_YORK)
    for first, last in (("2025-11-02T0000Z", "2025-11-03T00:00"), ("2025-03-09T0000Z", "2025-03-10T00:00")):
        found = [as_of for as_of, _ in asked(hourly, first, last)]
        assert len(found) == len(set(found)) == 24
    # A nightly one comes once: the day of 23 hours, and that of 25.
    nightly, skipped = job("30 2 * * *", "1d", NEW_YORK), "06:30" if sys.version_info < (3, 13) else "07:30"
    assert asked(nightly, "2025-03-08", "2025-03-11T00:00") == [
        ("2025-03-08", f"03-09 {skipped}"),
        ("2025-03-09", "03-10 06:30"),
    ]


def test_what_is_missing_is_told_with_its_state(lake):
    daily = job(deadline="1h")
    publish(lake, "first", 1, day="2013-07-01")
    stand(lake, "2013-07-02", state="concluded", verdict="blocked")
    stand(lake, "2013-07-03", state="concluded", verdict="failed")
    stand(lake, "2013-07-04", state="running")
    publish(lake, "fifth", 1, day="2013-07-05")

    found = missing(lake, daily, now=at("2013-07-07T02:30"))

    assert [(one.as_of, one.state, one.run_id) for one in found] == [
        ("2013-07-02", "blocked", "run-2013-07-02"),
        ("2013-07-03", "failed", "run-2013-07-03"),
        ("2013-07-04", "running", "run-2013-07-04"),
        ("2013-07-06", "never run", None),
    ]
    assert found[0].due_at == at("2013-07-03T03:00")
    assert [one.is_late(at("2013-07-07T02:30")) for one in found] == [True, True, True, False]
    assert found[-1].is_late(at("2013-07-07T03:01"))


def test_without_a_run_or_a_schedule_nothing_is_missing(lake):
    now = at("2013-07-03T12:00")
    assert missing(lake, job(), now=now) == []
    assert [one.as_of for one in missing(lake, job(), now=now, since=at("2013-07-01"))] == ["2013-07-01", "2013-07-02"]
    publish(lake, "first", 1, day="2013-06-28")
    assert missing(lake, job().model_copy(update={"schedule": None}), now=now) == []
    # It stands still: nobody asks, unless it is said since when.
    assert missing(lake, job(active=False), now=now) == []
    assert len(missing(lake, job(active=False), now=now, since=at("2013-07-01"))) == 2


def test_a_record_that_cannot_be_read_hides_no_other(lake):
    publish(lake, "first", 1, day="2013-07-01")
    lake.write_bytes(f"{layout.workspace(JOB, '2013-07-02', 'x')}/manifest.json", b"{broken")
    lake.write_bytes(f"{layout.workspace(JOB, '2012-W10', 'x')}/manifest.json", b"{}")

    found = missing(lake, job(), now=at("2013-07-04T12:00"))

    assert [(one.as_of, one.state) for one in found] == [("2013-07-02", "unreadable"), ("2013-07-03", "never run")]


def test_a_withdrawn_window_is_missing(lake):
    publish(lake, "first", 1, day="2013-07-01")
    workspace = layout.workspace(JOB, "2013-07-01", "first")
    lake.remove(layout.partition(layout.PREDICTIONS, JOB, "2013-07-01"))
    write_manifest(lake, workspace, runs_of.load_manifest(lake, workspace).but(state="withdrawn"))

    found = missing(lake, job(), now=at("2013-07-02T12:00"))

    assert [(one.as_of, one.state) for one in found] == [("2013-07-01", "withdrawn")]


@pytest.mark.parametrize("cron", ["5 * * * *", "* * * * *"])
def test_a_year_of_hourly_windows_costs_little(lake, monkeypatch, cron):
    """8,760 windows, published but for two: no manifest of the published ones is read, however often the cron asks."""
    hourly = job(cron, "1h")
    first, now = at("2013-01-01"), at("2014-01-01T00:59")
    labels = [one.window.as_of for one in expected_windows(hourly, hourly.window.containing(first), now)]
    assert len(labels) == 8760
    seen = labels[:100] + labels[101:-1]
    monkeypatch.setattr("tasks.core.runs.expected.as_of_labels", lambda *_: seen)
    monkeypatch.setattr("tasks.core.runs.expected.published_labels", lambda *_: seen)
    monkeypatch.setattr("tasks.core.runs.expected.latest_manifest", lambda *_: pytest.fail("a manifest was read"))
    began = time.process_time()

    found = missing(lake, hourly, now=now)

    assert time.process_time() - began < 5
    assert [one.as_of for one in found] == [labels[100], labels[-1]]
