"""Of which instant a look tells, and which windows had been there by then."""

import datetime as dt

import pytest

from tasks.core import layout
from tasks.core.definitions.window import WindowSpec
from tasks.core.errors import DefinitionError
from tasks.core.monitoring import looking
from tasks.core.monitoring.looking import Look, instant_of, published
from tasks.core.runs.manifest import WindowRecord
from tasks.core.storage import Folder
from tests import status_scenes
from tests.status_scenes import at

NEW_YORK = WindowSpec(kind="interval", every="1d", timezone="America/New_York")


@pytest.mark.parametrize(
    ("as_of", "now", "day", "instant"),
    [
        # Three in the morning in London is still the day before in New York.
        ("now", "2013-09-21 03:00", "2013-09-20", "2013-09-21 03:00"),
        ("2013-09-20", "2026-01-01 00:00", "2013-09-20", "2013-09-21 04:00"),
        ("2013-12-31", "2026-01-01 00:00", "2013-12-31", "2014-01-01 05:00"),
        # Clocks go back on the third of November 2013: the day has 25 hours.
        ("2013-11-03", "2026-01-01 00:00", "2013-11-03", "2013-11-04 05:00"),
        # Its end is still to come.
        ("2013-09-20", "2013-09-20 16:00", "2013-09-20", "2013-09-20 16:00"),
    ],
)
def test_the_day_of_a_look_is_on_the_clock_of_the_windows(as_of, now, day, instant):
    assert instant_of(NEW_YORK, as_of, at(now)) == (day, at(instant))


@pytest.mark.parametrize(
    ("as_of", "says"),
    [
        ("2013-09-22", "2013-09-22 is still to come: nothing can be known of it on 2013-09-21"),
        ("2013-02-29", "'2013-02-29' is not a day"),
        ("yesterday", "'yesterday' is not a day"),
        ("9999-12-31", "is not a day"),
    ],
)
def test_a_day_that_is_none_or_still_to_come_is_refused(as_of, says):
    with pytest.raises(DefinitionError, match=says):
        instant_of(NEW_YORK, as_of, at("2013-09-21 12:00"))


@pytest.fixture
def look(lake, tmp_path):
    def make(day, instant="", **changes):
        definition = status_scenes.write_job(tmp_path / "project", **changes).load("late", suites=False)
        end = at(instant) if instant else at(f"{day} 00:00") + dt.timedelta(days=1)
        return Look(lake, Folder(tmp_path / "project"), definition, day, end)

    return make


def labels(look):
    return [one.as_of for one in published(look)[0]]


def test_windows_that_began_later_are_left_out_and_those_in_shadow_are_seen(lake, look):
    for day in ("2026-03-01", "2026-03-02", "2026-03-03"):
        status_scenes.publish(lake, day)
    lake.rename(
        layout.partition(layout.PREDICTIONS, "late", "2026-03-02"),
        layout.partition(layout.SHADOW, "late", "2026-03-02"),
    )
    found, unreadable = published(look("2026-03-02"))
    assert [(one.as_of, one.unit, one.model) for one in found] == [
        ("2026-03-01", "2026-03-01", "late/0003"),
        ("2026-03-02", "2026-03-02", "late/0003"),
    ]
    assert unreadable == []


def test_of_windows_shorter_than_a_day_whole_days_count(lake, look):
    hours = ["2026-03-01T0000Z", "2026-03-01T1200Z", "2026-03-02T0000Z"]
    half_a_day = WindowRecord(kind="interval", start=at("2026-03-01 00:00"), end=at("2026-03-01 12:00"), timezone="UTC")
    for hour in hours:
        lake.write_bytes(f"{layout.partition(layout.PREDICTIONS, 'late', hour)}/part-run.parquet", b"rows")
        made = status_scenes.run(lake, hour[:10], "run", state="concluded", verdict="published")
        lake.write_bytes(
            f"{layout.workspace('late', hour, 'run')}/manifest.json", made.but(as_of=hour, window=half_a_day).to_json()
        )
    every = {"window": {"kind": "interval", "every": "12h"}}
    assert labels(look("2026-03-02", "2026-03-02 18:00", **every)) == hours[:2]
    assert labels(look("2026-03-02", "2026-03-03 00:00", **every)) == hours


def test_windows_of_before_the_job_s_windows_were_others_are_left_out(lake, look):
    for day in ("2026-03-01", "2026-03-02"):
        status_scenes.publish(lake, day)
    # The second of March is a Monday, but a day of it is no week.
    assert labels(look("2026-03-09", window={"kind": "interval", "every": "1w"})) == []
    # A day is a day in another zone too.
    berlin = {"kind": "interval", "every": "1d", "timezone": "Europe/Berlin"}
    assert labels(look("2026-03-09", window=berlin)) == ["2026-03-01", "2026-03-02"]


def test_the_newest_units_are_looked_at(lake, look, monkeypatch):
    for day in ("2026-03-01", "2026-03-02", "2026-03-04"):
        status_scenes.publish(lake, day)
    monkeypatch.setattr(looking, "MOST_UNITS", 2)
    assert labels(look("2026-03-09")) == ["2026-03-02", "2026-03-04"]
    monkeypatch.setattr(looking, "MOST_WINDOWS", 1)
    assert labels(look("2026-03-09")) == ["2026-03-04"]


def test_a_window_whose_record_cannot_be_read_is_named_and_hides_no_other(lake, look):
    for day in ("2026-03-01", "2026-03-02"):
        status_scenes.publish(lake, day)
    lake.write_bytes(f"{layout.workspace('late', '2026-03-01', 'good')}/manifest.json", b"{}")
    found, unreadable = published(look("2026-03-09"))
    assert [one.as_of for one in found] == ["2026-03-02"]
    assert len(unreadable) == 1
    assert unreadable[0].startswith("2026-03-01: ")
