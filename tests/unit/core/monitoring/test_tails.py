"""Lines and the rates that they promise, against scipy, by hand and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.monitoring import tails

YEAR = 365.25 / 7


def test_the_tail_is_the_upper_half_over_the_median():
    found = tails.fit([1.0, 9.0, 2.0, 3.0, 5.0], 52.0)
    # The median is 3; beyond it lie 5 and 9, by 2 and 6.
    assert (found.middle, found.spread, found.excesses) == (3.0, 4.0, 2)
    assert (found.highest, found.blocks, found.blocks_a_year) == (9.0, 5, 52.0)


def test_values_of_blocks_that_slide_count_as_those_that_do_not_overlap():
    found = tails.fit([float(value) for value in range(70)], 52.0, blocks=10)
    # 35 of 70 lie beyond 34.5: half of ten blocks.
    assert (found.middle, found.excesses, found.blocks) == (34.5, 5, 10)


def test_a_tail_of_nothing_is_refused():
    with pytest.raises(ValueError, match="one block at least"):
        tails.fit([], 52.0)


def test_the_line_by_hand():
    # Two excesses of a mean of 4, which count for one, 20.8 blocks a year beyond 3: 20.8 / (1 + x / 4) = 1.3 where 1 + x / 4
    # is 16.
    tail = tails.fit([1.0, 9.0, 2.0, 3.0, 5.0], 52.0)
    assert tails.line_of(tail, 1.3) == pytest.approx(3 + 60)
    assert tails.rate_at(tail, 63.0).per_year == pytest.approx(1.3)
    assert tails.rate_of(tail, 1.3).per_year == pytest.approx(1.3)


def test_the_interval_of_the_rate_by_hand():
    # Chi-squared with 2 degrees of freedom: 0.0506 and 7.3778 (any table), so the true mean lies between 1.084 and 158.1.
    tail = tails.fit([1.0, 9.0, 2.0, 3.0, 5.0], 52.0)
    found = tails.rate_at(tail, 63.0)
    assert found.low == pytest.approx(20.8 * math.exp(-60 / (8 / 7.3778)), rel=1e-3)
    assert found.high == pytest.approx(20.8 * math.exp(-60 / (8 / 0.0506)), rel=1e-3)


def test_the_line_is_never_below_the_highest_seen():
    tail = tails.fit([1.0, 9.0, 2.0, 3.0, 5.0], 52.0)
    assert tails.line_of(tail, 50.0) == 9.0
    # And then promises less than was asked for.
    assert tails.rate_of(tail, 50.0).per_year < 50.0


def test_of_what_has_never_moved_the_line_is_where_it_stood():
    tail = tails.fit([2.0] * 26, 52.0)
    assert (tail.excesses, tail.spread) == (0, 0.0)
    assert tails.line_of(tail, 1.0) == 2.0
    found = tails.rate_of(tail, 1.0)
    assert (found.per_year, found.low) == (0.0, 0.0)
    # None in half a year: up to 3 in as long.
    assert found.high == pytest.approx(6.0, rel=0.01)


@settings(max_examples=50)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60), st.floats(0.01, 52))
def test_a_smaller_budget_is_a_higher_line_within_its_interval(maxima, budget):
    tail = tails.fit(maxima, YEAR)
    line, rate = tails.line_of(tail, budget), tails.rate_of(tail, budget)
    assert line >= max(maxima)
    assert tails.line_of(tail, budget / 2) >= line
    assert rate.low - 1e-9 <= rate.per_year <= rate.high + 1e-9
    assert rate.per_year <= budget * (1 + 1e-9)


@pytest.mark.parametrize("blocks", [13, 26])
def test_of_exponential_maxima_the_rate_stays_below_what_is_asked_for(blocks):
    """By what the scales cost, which are known here and are not in the world: with the mean excess put in for the truth
    the rate would be twice what is asked for.
    """
    draws = np.random.default_rng(7).exponential(size=(400, blocks))
    made = [tails.fit(each.tolist(), YEAR) for each in draws]
    lines = np.array([tails.line_of(tail, 1.0) for tail in made])
    true = YEAR * np.exp(-lines)
    assert 0.3 < true.mean() < 0.9
    rates = [tails.rate_at(tail, line) for tail, line in zip(made, lines, strict=True)]
    covered = np.mean([rate.low <= one <= rate.high for rate, one in zip(rates, true, strict=True)])
    assert covered > 0.95
