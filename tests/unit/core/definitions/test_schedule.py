"""Schedules: which window a tick scores, by hand where clocks change and months end."""

import asyncio
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


ZONES = [NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia", "America/Havana", "UTC"]
# A zone's clocks change in spring and autumn; Apia lost the 30th of December 2011.
MONTHS = [dt.datetime(year, month, 1, tzinfo=dt.UTC) for year, month in ((2025, 3), (2025, 10), (2025, 11), (2011, 12))]


def as_prefect_has_them(cron, zone, first, last):
    from prefect.server.schemas.schedules import CronSchedule

    found = asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(start=first, end=last))
    return sorted({date.astimezone(dt.UTC) for date in found if first <= date <= last})


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "cron",
    [
        "30 2 * * *",
        "30 1 * * *",
        "0 0 * * *",
        "0 * * * *",
        "15,50 * * * *",
        "*/40 0-4,22-23 * * *",
        "0 3 1,15 * 1",
        "0 3 */2 * 1",
        "0 3 1-31 * 1",
        "0 3 1-31 * */2",
        "0 3 L * *",
        "0 3 * * 1#2",
        "0 3 * * 7",
        "0 3 1 JAN,DEC MON-FRI",
    ],
)
def test_the_ticks_are_those_of_prefect(cron, zone):
    for first in MONTHS:
        last = first + dt.timedelta(days=20)
        assert Schedule(cron=cron).ticks(first, last, windows(zone=zone)) == as_prefect_has_them(
            cron, zone, first, last
        )


_FIELD = st.sampled_from(["*", "0", "3", "1,2", "*/7", "1-3", "22"])


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    st.tuples(
        _FIELD,
        _FIELD,
        st.sampled_from(["*", "1", "*/2", "1-7", "28-30"]),
        st.sampled_from(["*", "3,11", "10"]),
        st.sampled_from(["*", "0", "1-5", "*/3", "7"]),
    ),
    st.sampled_from(ZONES),
    st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2026, 1, 1), timezones=st.just(dt.UTC)),
)
def test_any_ticks_are_those_of_prefect(fields, zone, first):
    first = first.replace(microsecond=0)
    last = first + dt.timedelta(hours=12)
    ours = Schedule(cron=" ".join(fields)).ticks(first, last, windows(zone=zone))
    assert ours == as_prefect_has_them(" ".join(fields), zone, first, last)


@settings(deadline=None, derandomize=True)
@given(
    st.datetimes(dt.datetime(2010, 1, 1), dt.datetime(2030, 1, 1), timezones=st.just(dt.UTC)),
    st.sampled_from(["1d", "1w", "1mo", "1h", "15min"]),
    st.sampled_from(ZONES),
    st.sampled_from(["closed", "opened"]),
    st.integers(-3, 3),
    st.sampled_from(["0min", "90min", "2d"]),
    st.sampled_from(["interval", "snapshot"]),
)
def test_the_first_tick_of_a_window_is_the_first_that_scores_it(instant, every, zone, scores, offset, delay, kind):
    spec = windows(every, zone, kind)
    schedule = Schedule(cron="* * * * *", scores=scores, offset=offset, delay=delay)
    window = schedule.window_of(instant, spec)
    first = schedule.first_tick_of(window, spec)
    assert first <= instant
    assert schedule.window_of(first, spec) == window
    assert schedule.window_of(first - dt.timedelta.resolution, spec) == spec.before(window)


def test_the_hour_that_comes_twice_is_due_twice_for_windows_shorter_than_a_day():
    first, last = at("2025-11-02 05:00"), at("2025-11-02 07:00")
    hourly = Schedule(cron="0 * * * *")
    assert hourly.ticks(first, last, windows("1h")) == [first, last]
    assert list(hourly.due(first, last, windows("1h"))) == [first, at("2025-11-02 06:00"), last]
    assert list(hourly.due(first, last, windows("1d"))) == [first, last]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cron": "every night"}, "not a cron expression"),
        ({"cron": "0 25 * * *"}, "not a cron expression"),
        # What Prefect reads otherwise, or not at all.
        ({"cron": "0 0 3 * * *"}, "not a cron expression of five fields"),
        ({"cron": "@daily"}, "not a cron expression of five fields"),
        ({"cron": "0 3 LW * *"}, "not a cron expression of five fields"),
        ({"cron": "0 3 * * 5L"}, "not a cron expression of five fields"),
        ({"cron": "0 3 5 * 1#2"}, "not a cron expression of five fields"),
        ({"cron": "0 3 * * 1#2,3"}, "not a cron expression of five fields"),
        ({"cron": "0 3 30 2 *"}, "not a cron expression"),
        ({"cron": "0 0 * * *", "delay": "soon"}, "write 90min, 6h or 2d"),
        ({"cron": "0 0 * * *", "scores": "any"}, "closed"),
    ],
)
def test_a_schedule_that_is_none_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Schedule(**wrong)
