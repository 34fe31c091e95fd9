"""Schedules: which window a tick scores, by hand where clocks change and months end."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.core.definitions.schedule import Schedule
from tasks.core.definitions.window import WindowSpec

NEW_YORK = "America/New_York"


def at(text, zone="UTC"):
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC)


def windows(every="1d", zone=NEW_YORK, kind="interval"):
    return WindowSpec(kind=kind, every=every, timezone=zone)


def scored(tick, spec, **schedule):
    return Schedule(**{"cron": "0 0 * * *", **schedule}).window_of(tick, spec).as_of


@pytest.mark.parametrize(
    ("tick", "spec", "schedule", "as_of"),
    [
        # The night after: the day that has ended.
        (at("2013-07-02 02:30", NEW_YORK), windows(), {}, "2013-07-01"),
        # At midnight itself the day has just ended.
        (at("2013-07-02 00:00", NEW_YORK), windows(), {}, "2013-07-01"),
        # The evening before: tomorrow.
        (at("2013-07-01 20:00", NEW_YORK), windows(), {"scores": "opened"}, "2013-07-02"),
        (at("2013-07-01 00:00", NEW_YORK), windows(), {"scores": "opened"}, "2013-07-01"),
        # The day on which an hour is skipped, and the one on which it comes twice.
        (at("2013-03-09 20:00", NEW_YORK), windows(), {"scores": "opened"}, "2013-03-10"),
        (at("2013-03-10 20:00", NEW_YORK), windows(), {"scores": "opened"}, "2013-03-11"),
        (at("2013-03-11 02:30", NEW_YORK), windows(), {}, "2013-03-10"),
        (at("2013-11-03 20:00", NEW_YORK), windows(), {"scores": "opened"}, "2013-11-04"),
        (at("2013-11-04 00:30", NEW_YORK), windows(), {}, "2013-11-03"),
        # 23:30 in New York is the next day in UTC: the day is the zone's own.
        (at("2013-07-01 23:30", NEW_YORK), windows(), {}, "2013-06-30"),
        # Month ends, leap years, a year's end.
        (at("2012-03-01 03:00"), windows("1mo", "UTC"), {}, "2012-02-01"),
        (at("2012-02-29 23:59"), windows("1mo", "UTC"), {}, "2012-01-01"),
        (at("2012-02-29 23:00"), windows(zone="UTC"), {"scores": "opened"}, "2012-03-01"),
        (at("2013-12-31 20:00"), windows("1mo", "UTC"), {"scores": "opened"}, "2014-01-01"),
        (at("2013-07-08 05:00"), windows("1w", "UTC"), {}, "2013-07-01"),
        # Data that takes two hours to arrive: the tick of 03:10 closes the hour that ended by 01:10.
        (at("2013-07-01 03:10"), windows("1h", "UTC"), {"delay": "2h"}, "2013-07-01T0000Z"),
        (at("2013-07-01 03:00"), windows("1h", "UTC"), {"delay": "2h"}, "2013-07-01T0000Z"),
        (at("2013-07-01 02:59"), windows("1h", "UTC"), {"delay": "2h"}, "2013-06-30T2300Z"),
        (at("2013-07-01 03:10"), windows("1h", "UTC"), {}, "2013-07-01T0200Z"),
        # The day before the one that closed; the day after the one that opens.
        (at("2013-07-02 02:30", NEW_YORK), windows(), {"offset": -1}, "2013-06-30"),
        (at("2013-07-01 20:00", NEW_YORK), windows(), {"scores": "opened", "offset": 1}, "2013-07-03"),
        # A snapshot is what stands at the scheduled instant.
        (at("2013-07-01 06:00"), windows("1d", "UTC", "snapshot"), {}, "2013-07-01"),
        (at("2013-07-02 06:00"), windows("1w", "UTC", "snapshot"), {}, "2013-07-01"),
    ],
)
def test_the_window_of_a_tick(tick, spec, schedule, as_of):
    assert scored(tick, spec, **schedule) == as_of


@settings(deadline=None, derandomize=True)
@given(
    st.datetimes(dt.datetime(2010, 1, 1), dt.datetime(2030, 1, 1), timezones=st.just(dt.UTC)),
    st.sampled_from(["1d", "1w", "1mo", "1h", "15min"]),
    st.sampled_from([NEW_YORK, "America/Sao_Paulo", "Australia/Lord_Howe", "Europe/Berlin", "UTC"]),
)
def test_a_tick_closes_what_has_ended_and_opens_what_is_to_begin(tick, every, zone):
    spec = windows(every, zone)
    closed = Schedule(cron="0 0 * * *").window_of(tick, spec)
    opened = Schedule(cron="0 0 * * *", scores="opened").window_of(tick, spec)
    assert closed.end <= tick < spec.after(closed).end
    assert spec.before(opened).start < tick <= opened.start


def test_the_ticks_follow_the_zones_clock():
    found = Schedule(cron="0 20 * * *").ticks(at("2013-03-09 00:00"), at("2013-03-12 00:00"), windows())
    assert found == [at("2013-03-09 01:00"), at("2013-03-10 01:00"), at("2013-03-11 00:00"), at("2013-03-12 00:00")]


def test_an_hour_that_is_skipped_or_comes_twice_has_one_tick():
    nightly = Schedule(cron="30 2 * * *")
    skipped = nightly.ticks(at("2013-03-10 00:00", NEW_YORK), at("2013-03-11 00:00", NEW_YORK), windows())
    assert len(skipped) == 1
    twice = Schedule(cron="30 1 * * *").ticks(
        at("2013-11-03 00:00", NEW_YORK), at("2013-11-04 00:00", NEW_YORK), windows()
    )
    assert len(twice) == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cron": "every night"}, "not a cron expression"),
        ({"cron": "0 25 * * *"}, "not a cron expression"),
        ({"cron": "0 0 * * *", "delay": "soon"}, "write 90min, 6h or 2d"),
        ({"cron": "0 0 * * *", "scores": "any"}, "closed"),
    ],
)
def test_a_schedule_that_is_none_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Schedule(**wrong)
