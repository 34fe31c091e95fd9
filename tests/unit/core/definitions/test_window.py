"""Windows: their bounds by hand where clocks change, and what must hold of every one of them."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.core.definitions.window import Window, WindowSpec
from tasks.core.errors import DefinitionError

NEW_YORK, LORD_HOWE, SAO_PAULO = "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo"
# Their clocks change at midnight, by half an hour, just after midnight; they skipped a day; they never change.
ZONES = [NEW_YORK, LORD_HOWE, SAO_PAULO, "America/Havana", "America/St_Johns", "Pacific/Apia", "Asia/Kolkata", "UTC"]
steady = settings(deadline=None, derandomize=True)


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)


def daily(timezone: str = "UTC", **others) -> WindowSpec:
    return WindowSpec(kind="interval", timezone=timezone, **others)


@pytest.mark.parametrize(
    ("timezone", "as_of", "start", "end"),
    [
        (NEW_YORK, "2013-07-01", utc(2013, 7, 1, 4), utc(2013, 7, 2, 4)),
        # 10 March 2013, 2:00: an hour is skipped. 3 November, 2:00: an hour comes twice.
        (NEW_YORK, "2013-03-10", utc(2013, 3, 10, 5), utc(2013, 3, 11, 4)),
        (NEW_YORK, "2013-11-03", utc(2013, 11, 3, 4), utc(2013, 11, 4, 5)),
        # Half an hour: +11:00 to +10:30 on 7 April 2013, and back on 6 October.
        (LORD_HOWE, "2013-04-07", utc(2013, 4, 6, 13), utc(2013, 4, 7, 13, 30)),
        (LORD_HOWE, "2013-10-06", utc(2013, 10, 5, 13, 30), utc(2013, 10, 6, 13)),
        # Midnight is skipped: the day begins at 1:00, which is 3:00 in UTC.
        (SAO_PAULO, "2018-11-03", utc(2018, 11, 3, 3), utc(2018, 11, 4, 3)),
        (SAO_PAULO, "2018-11-04", utc(2018, 11, 4, 3), utc(2018, 11, 5, 2)),
        # At midnight clocks go back to 23:00: that evening's hour comes twice.
        (SAO_PAULO, "2018-02-17", utc(2018, 2, 17, 2), utc(2018, 2, 18, 3)),
        # Midnight comes twice: the day begins at the first.
        ("America/Havana", "2013-11-03", utc(2013, 11, 3, 4), utc(2013, 11, 4, 5)),
        ("Asia/Kolkata", "2013-07-01", utc(2013, 6, 30, 18, 30), utc(2013, 7, 1, 18, 30)),
        ("UTC", "2012-02-29", utc(2012, 2, 29), utc(2012, 3, 1)),
        ("UTC", "2000-02-29", utc(2000, 2, 29), utc(2000, 3, 1)),
    ],
)
def test_a_day_is_the_zones_own(timezone, as_of, start, end):
    assert daily(timezone).parse(as_of) == Window(as_of, start, end)


@pytest.mark.parametrize(
    ("every", "as_of", "start", "end"),
    [
        ("1w", "2013-07-01", utc(2013, 7, 1, 4), utc(2013, 7, 8, 4)),
        ("1w", "2013-03-04", utc(2013, 3, 4, 5), utc(2013, 3, 11, 4)),
        ("1mo", "2013-03-01", utc(2013, 3, 1, 5), utc(2013, 4, 1, 4)),
        ("1mo", "2012-02-01", utc(2012, 2, 1, 5), utc(2012, 3, 1, 5)),
        ("1mo", "2013-12-01", utc(2013, 12, 1, 5), utc(2014, 1, 1, 5)),
    ],
)
def test_weeks_begin_on_monday_and_months_on_the_first(every, as_of, start, end):
    assert daily(NEW_YORK, every=every).parse(as_of) == Window(as_of, start, end)


@pytest.mark.parametrize(
    ("every", "as_of", "minutes"),
    [("15min", "2013-07-01T0545Z", 15), ("1h", "2013-07-01T0500Z", 60), ("90min", "2013-07-01T0130Z", 90)],
)
def test_windows_shorter_than_a_day_are_utc_whatever_the_zone(every, as_of, minutes):
    window = daily(NEW_YORK, every=every).parse(as_of)
    assert window.start == dt.datetime.strptime(as_of, "%Y-%m-%dT%H%MZ").replace(tzinfo=dt.UTC)
    assert window.end - window.start == dt.timedelta(minutes=minutes)
    assert window.start.tzinfo == dt.UTC


def test_hours_go_on_through_a_change_of_clocks():
    spec = daily(NEW_YORK, every="1h")
    labels = [window.as_of for window in spec.between("2013-11-03T0400Z", "2013-11-03T0700Z")]
    assert labels == ["2013-11-03T0400Z", "2013-11-03T0500Z", "2013-11-03T0600Z", "2013-11-03T0700Z"]


def test_a_snapshot_window_is_an_instant():
    spec = WindowSpec(kind="snapshot", every="1w", timezone=NEW_YORK)
    window = spec.parse("2013-07-01")
    assert window == Window("2013-07-01", utc(2013, 7, 1, 4), utc(2013, 7, 1, 4))
    assert spec.after(window) == Window("2013-07-08", utc(2013, 7, 8, 4), utc(2013, 7, 8, 4))
    assert spec.before(window).as_of == "2013-06-24"


@pytest.mark.parametrize(
    ("every", "as_of", "suggested"),
    [
        ("1w", "2013-07-03", "2013-07-01"),
        ("1w", "2013-06-30", "2013-06-24"),
        ("1mo", "2013-07-31", "2013-07-01"),
        ("15min", "2013-07-01T0552Z", "2013-07-01T0545Z"),
        ("6h", "2013-07-01T0500Z", "2013-07-01T0000Z"),
        ("1w", "0999-01-08", "0999-01-07"),
    ],
)
def test_a_date_within_a_window_is_refused_with_the_windows_own(every, as_of, suggested):
    with pytest.raises(DefinitionError, match=f"Next: use --as-of {suggested}"):
        daily(every=every).parse(as_of)
    assert daily(every=every).parse(suggested).as_of == suggested


def test_a_day_that_never_was_is_refused():
    # Samoa went over the date line: its 29 December 2011 was followed by the 31st.
    spec = daily("Pacific/Apia")
    with pytest.raises(DefinitionError, match="use --as-of 2011-12-31"):
        spec.parse("2011-12-30")
    before, after = spec.parse("2011-12-29"), spec.parse("2011-12-31")
    assert (spec.after(before), spec.before(after)) == (after, before)
    assert before.end == after.start


@pytest.mark.parametrize(
    ("every", "as_of"),
    [
        ("1d", ""),
        ("1d", "yesterday"),
        ("1d", "2013-7-1"),
        ("1d", "2013-07-01 "),
        ("1d", "2013-07-01\n"),
        ("1d", "2013-07-01T0000Z"),
        ("1d", "20130701"),
        ("1d", "../2013-07-01"),
        ("1d", "２０１３-07-01"),
        ("1d", "2013-02-29"),
        ("1d", "2013-13-01"),
        ("1d", "0000-01-01"),
        ("1d", "0001-01-01"),
        ("1d", "9999-12-31"),
        ("1mo", "9999-12-01"),
        ("1h", "2013-07-01"),
        ("1h", "2013-07-01T05:00Z"),
        ("1h", "2013-07-01T2400Z"),
        ("1h", "2013-07-01T0560Z"),
        ("1h", "9999-12-31T2300Z"),
    ],
)
def test_what_is_no_window_is_refused(every, as_of):
    # In Tokyo the first day of the calendar begins before there are instants.
    with pytest.raises(DefinitionError) as refused:
        daily("Asia/Tokyo", every=every).parse(as_of)
    assert refused.value.exit_code == 2
    assert refused.value.next_step


@pytest.mark.parametrize(
    "every", ["", "d", "2d", "0d", "2w", "1y", "0min", "7min", "1440min", "24h", "5h", "1.5h", "-1h", "1 d", "1d\n"]
)
def test_lengths_that_do_not_divide_are_refused(every):
    with pytest.raises(ValidationError):
        daily(every=every)


@pytest.mark.parametrize("timezone", ["", "Mars/Olympus", "America", "../../etc/passwd", "/etc/localtime", "UTC\0"])
def test_what_is_no_zone_is_refused(timezone):
    with pytest.raises(ValidationError, match="is not an IANA time zone"):
        daily(timezone)


def test_an_instant_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        daily(NEW_YORK).containing(dt.datetime(2013, 7, 1))


def test_between_holds_both_ends_in_order():
    spec = daily(NEW_YORK)
    assert [w.as_of for w in spec.between("2012-02-28", "2012-03-01")] == ["2012-02-28", "2012-02-29", "2012-03-01"]
    assert [w.as_of for w in spec.between("2013-07-01", "2013-07-01")] == ["2013-07-01"]
    assert list(spec.between("2013-07-02", "2013-07-01")) == []


def test_an_evening_that_comes_twice_belongs_to_one_window():
    # St. John's, 25 October 1987: at 0:01 clocks went back to 23:01 of the 24th, so that the 25th began twice.
    spec = daily("America/St_Johns")
    again_the_24th = utc(1987, 10, 25, 3)
    assert again_the_24th.astimezone(ZoneInfo("America/St_Johns")).day == 24
    window = spec.containing(again_the_24th)
    assert window == spec.parse("1987-10-25")
    assert window.start <= again_the_24th < window.end


def test_a_morning_that_begins_late_belongs_to_one_window():
    # Toronto, 30 March 1919: at 23:30 it was 0:30 of the 31st, a day without a midnight of its own.
    spec = daily("America/Toronto")
    just_after = utc(1919, 3, 31, 4, 36)
    assert just_after.astimezone(ZoneInfo("America/Toronto")).day == 31
    window = spec.containing(just_after)
    assert window.start <= just_after < window.end
    assert spec.after(window).start == window.end


specs = st.builds(
    WindowSpec,
    kind=st.just("interval"),
    every=st.sampled_from(["1d", "1w", "1mo", "15min", "1h", "6h"]),
    timezone=st.sampled_from(ZONES),
)
# The years in which Samoa skipped a day, and those zones change their clocks; and a time before them.
instants = st.one_of(
    st.datetimes(dt.datetime(1985, 1, 1), dt.datetime(2020, 1, 1)),
    st.datetimes(dt.datetime(900, 1, 1), dt.datetime(2100, 1, 1)),
).map(lambda instant: instant.replace(tzinfo=dt.UTC))
# Within a day and a half of a change: this is where windows go wrong.
changes = st.builds(
    lambda change, minutes: change + dt.timedelta(minutes=minutes),
    st.sampled_from(
        [
            utc(2013, 3, 10, 7),
            utc(2013, 11, 3, 6),
            utc(2018, 11, 4, 3),
            utc(2018, 2, 18, 2),
            utc(1987, 10, 25, 2, 31),
            utc(2011, 12, 30, 10),
        ]
    ),
    st.integers(-2200, 2200),
)


@steady
@given(specs, st.one_of(instants, changes))
def test_every_instant_lies_in_the_window_that_contains_it(spec, instant):
    window = spec.containing(instant)
    assert window.start <= instant < window.end
    assert spec.containing(window.start) == window
    assert spec.containing(window.end - dt.timedelta.resolution) == window


@steady
@given(specs, st.one_of(instants, changes))
def test_after_and_before_are_each_others_inverse_and_leave_no_gap(spec, instant):
    window = spec.containing(instant)
    after, before = spec.after(window), spec.before(window)
    assert (spec.before(after), spec.after(before)) == (window, window)
    assert (before.end, window.end) == (window.start, after.start)


@steady
@given(specs, st.one_of(instants, changes))
def test_the_label_leads_back_to_the_window(spec, instant):
    window = spec.containing(instant)
    assert spec.parse(window.as_of) == window


@steady
@given(specs, st.one_of(instants, changes), st.one_of(instants, changes))
def test_labels_sort_as_their_windows_do(spec, one, other):
    first, second = spec.containing(one), spec.containing(other)
    assert (first.as_of < second.as_of) == (first.start < second.start)
