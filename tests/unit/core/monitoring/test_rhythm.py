"""Units and blocks: by the calendar, on the clock of the job's windows."""

import pytest

from tasks.core.definitions.window import WindowSpec
from tasks.core.monitoring.rhythm import Rhythm, rhythm_of, unit_of

DAYS = Rhythm("day", 7, 365.25 / 7)
WEEKS = Rhythm("week", 1, 365.25 / 7)
MONTHS = Rhythm("month", 1, 12)


def spec(every, timezone="UTC"):
    return WindowSpec(kind="interval", every=every, timezone=timezone)


@pytest.mark.parametrize(
    ("every", "rhythm"), [("15min", DAYS), ("1h", DAYS), ("1d", DAYS), ("1w", WEEKS), ("1mo", MONTHS)]
)
def test_days_have_blocks_of_a_week_and_longer_windows_are_blocks(every, rhythm):
    assert rhythm_of(spec(every)) == rhythm


@pytest.mark.parametrize(
    ("every", "timezone", "as_of", "unit"),
    [
        ("1d", "America/New_York", "2013-07-01", "2013-07-01"),
        ("1w", "UTC", "2013-07-01", "2013-07-01"),
        ("1mo", "UTC", "2013-07-01", "2013-07-01"),
        # 03:00 in UTC is 23:00 of the day before in New York.
        ("1h", "America/New_York", "2013-07-02T0300Z", "2013-07-01"),
        ("1h", "America/New_York", "2013-07-02T0400Z", "2013-07-02"),
        ("1h", "Asia/Tokyo", "2013-07-01T1500Z", "2013-07-02"),
    ],
)
def test_the_unit_of_a_window_is_its_local_day(every, timezone, as_of, unit):
    assert unit_of(spec(every, timezone), as_of) == unit


@pytest.mark.parametrize(
    ("rhythm", "unit", "after"),
    [
        (DAYS, "2013-12-31", "2014-01-01"),
        (DAYS, "2012-02-28", "2012-02-29"),
        (WEEKS, "2013-12-30", "2014-01-06"),
        (MONTHS, "2013-12-01", "2014-01-01"),
    ],
)
def test_the_next_unit_has_the_next_number(rhythm, unit, after):
    assert rhythm.number(after) == rhythm.number(unit) + 1
    assert rhythm.at(rhythm.number(unit)) == unit
    assert rhythm.at(rhythm.number(after)) == after


def test_a_block_ends_with_its_unit():
    assert DAYS.first_of_block("2013-07-07") == "2013-07-01"
    assert MONTHS.first_of_block("2013-07-01") == "2013-07-01"
    assert (DAYS.fewest_units, WEEKS.fewest_units) == (5, 1)


@pytest.mark.parametrize(("every", "units"), [("1h", 14), ("1d", 14), ("1w", 3), ("1mo", 2)])
def test_as_much_is_told_together_as_is_known_in_good_time_whatever_the_unit(every, units):
    rhythm = rhythm_of(WindowSpec(kind="interval", every=every))
    assert rhythm.degraded_after(None) == units
    assert rhythm.degraded_after(5) == 5


def test_the_same_in_longer_blocks():
    assert DAYS.of(14) == Rhythm("day", 14, 365.25 / 14)
    assert DAYS.of(14).first_of_block("2013-09-14") == "2013-09-01"
