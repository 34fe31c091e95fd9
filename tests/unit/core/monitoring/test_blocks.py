"""Blocks that slide: what each holds where runs were missed, the highest and the lowest of values in a row."""

import numpy as np
import pytest

from tasks.core.monitoring.blocks import blocks_of, count_blocks, highest, lasting, scale_of
from tasks.core.monitoring.rhythm import Rhythm

DAYS = Rhythm("day", 7, 365.25 / 7)
MONTHS = Rhythm("month", 1, 12)
NAN = np.nan


def march(*days):
    return [f"2026-03-{day:02d}" for day in days]


def sums(days, values):
    return blocks_of(DAYS, march(*days)).sums(np.array(values, np.int64)).tolist()


def judged(days):
    return [day for day, is_judged in zip(days, blocks_of(DAYS, march(*days)).is_judged, strict=True) if is_judged]


def test_a_block_is_the_week_that_ends_with_a_day():
    assert sums(range(1, 10), [1, 2, 4, 8, 16, 32, 64, 128, 256])[6:] == [127, 254, 508]
    assert judged(range(1, 10)) == [7, 8, 9]


def test_a_day_that_was_missed_is_that_of_a_week_before():
    days = [*range(1, 9), *range(10, 15)]
    found = blocks_of(DAYS, march(*days))
    assert judged(days) == [7, 8, 10, 11, 12, 13, 14]
    # The week to the 14th: its own six days, and for the 9th the 2nd.
    assert sorted(days[place] for place in found.members[-1]) == [2, 8, 10, 11, 12, 13, 14]


def test_days_that_are_never_run_make_no_week_wait():
    weekdays = [day for day in range(1, 29) if day % 7 not in (0, 1)]  # March 2026 begins with a Sunday.
    # The first Friday has no week before it; from the second on, Saturdays are not missed but not there.
    assert judged(weekdays) == [day for day in weekdays if day >= 13]


def test_a_few_days_of_a_week_are_not_judged():
    assert judged([1, 2, 3, 4, 5, 6]) == []
    # Where a month lies between, nothing stands in.
    assert judged([1, 2, 3, 4, 5, 6, 7, 28]) == [7]


def test_a_month_is_a_block():
    found = blocks_of(MONTHS, ["2026-01-01", "2026-02-01", "2026-04-01"])
    assert found.sums(np.array([[1], [2], [4]])).tolist() == [[1], [2], [4]]
    assert found.is_judged.all()


def test_of_no_units_there_are_no_blocks():
    found = blocks_of(DAYS, [])
    assert (found.sums(np.zeros(0, np.int64)).tolist(), found.is_judged.tolist()) == ([], [])


def test_the_rest_leaves_out_the_block_and_its_neighbours():
    blocks = blocks_of(DAYS, march(*range(1, 29)))
    values = np.ones(28, np.int64)
    # The week of the 8th to the 14th with three days on both sides: thirteen days.
    assert blocks.sums_of_rest(values, 3)[13] == 28 - 13
    assert blocks.sums_of_rest(values, 0)[13] == 21


def test_the_highest_of_seven_in_a_row():
    numbers = np.arange(9)
    assert highest(np.array([0.0, 5, 1, 1, 1, 1, 1, 1, 1]), numbers, DAYS).tolist() == [5, 5, 1]
    assert highest(np.array([0.0, 5, 1]), np.arange(3), MONTHS).tolist() == [0, 5, 1]
    assert highest(np.array([NAN, 5, 1, 1, 1, 1, 1, 1, 1]), numbers, DAYS).tolist() == [5, 1]
    # Six known and two weeks before: not in a row.
    assert highest(np.ones(7), np.array([0, 20, 21, 22, 23, 24, 25]), DAYS).tolist() == []


def test_values_make_blocks_that_do_not_overlap():
    assert count_blocks(np.array([NAN, *range(20)]), DAYS) == 2
    assert count_blocks(np.arange(20.0), MONTHS) == 20


@pytest.mark.parametrize(
    ("values", "numbers", "expected"),
    [
        ([3, 2, 4, 5], [0, 1, 2, 3], [NAN, 2, 2, 4]),
        ([3, NAN, 4, 5], [0, 1, 2, 3], [NAN, NAN, 3, 4]),
        # A week later is still in a row, two are not.
        ([3, 4, 5], [0, 7, 15], [NAN, 3, NAN]),
    ],
)
def test_what_lasts_is_the_lowest_of_two_in_a_row(values, numbers, expected):
    found = lasting(np.array(values, float), np.array(numbers), DAYS, 2)
    assert found.tolist() == pytest.approx(expected, nan_ok=True)


def test_the_scale_is_the_mean_excess_of_the_upper_half():
    found = scale_of(np.array([1.0, 2.0, 3.0, 5.0, 9.0]), 0.1)
    assert (found.middle, found.spread) == (3.0, 4.0)
    assert scale_of(np.array([1.0, 1.0, 1.0]), 0.1).spread == 0.1
