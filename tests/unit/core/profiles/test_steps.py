"""Sums of steps against exact fractions."""

import math
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.profiles.steps import Steps, deviations, sum_steps, unscaled_moments

steady = settings(deadline=None, derandomize=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.floats(-1000, 1000)
VALUES = st.lists(FINITE, min_size=1, max_size=30) | st.lists(PLAIN, min_size=1, max_size=30)
SCALES = st.tuples(PLAIN, st.floats(0, 1000)) | st.tuples(FINITE, FINITE.map(abs))


def summed(values, scale):
    return sum_steps(np.array(values, np.float64), scale)


def figures(values, scale):
    return unscaled_moments(summed(values, scale), len(values), scale, (min(values), max(values)))


def step_of(scale):
    """A step as it is defined: at most 2^-19 of the deviation (or of the mean, or of 1), and a power of two."""
    mean, std = scale
    return max(Fraction(std or abs(mean) or 1.0) / 2**19, Fraction(1, 2**1000))


@given(VALUES, SCALES, st.randoms(use_true_random=False), st.integers(0, 30))
@settings(steady, max_examples=300)
def test_order_and_split_do_not_count(values, scale, random, cut):
    whole = summed(values, scale)
    random.shuffle(values)
    one, other = summed(values[:cut], scale), summed(values[cut:], scale)
    assert Steps(one.steps + other.steps, one.squares + other.squares) == whole


@given(VALUES, SCALES)
@settings(steady, max_examples=300)
def test_mean_and_deviation_are_as_near_as_promised(values, scale):
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / len(exact)
    # A value is rounded to a step, or to 2^-16 of its distance from the centre.
    error = step_of(scale) + max(abs(value - Fraction(scale[0])) for value in exact) / 2**16
    found_mean, found_std = figures(values, scale)
    rounding = Fraction(1, 2**50) * (abs(mean) + 1)
    assert abs(Fraction(found_mean) - mean) <= error + rounding
    # |std(x + e) - std(x)| <= std(e), so compare squares of std +- error, without a root of a fraction.
    slack = error + rounding
    assert (Fraction(found_std) - slack) <= 0 or (Fraction(found_std) - slack) ** 2 <= variance
    assert (Fraction(found_std) + slack) ** 2 >= variance


def test_figures_by_hand():
    # 2, 4, 4, 4, 5, 5, 7, 9: mean 5, standard deviation 2.
    assert figures([2, 4, 4, 4, 5, 5, 7, 9], (5.0, 2.0)) == (5.0, 2.0)
    # Whole numbers far from the centre are steps too.
    assert figures([2**40, 2**40 + 2**20], (0.0, 1.0)) == (2**40 + 2**19, 2**19)


def test_a_thousandfold_unit_keeps_five_digits():
    random = np.random.default_rng(0)
    grams = random.normal(75, 12, 50_000)
    mean, std = figures((grams * 1000).tolist(), (75.0, 12.0))
    assert mean == pytest.approx(75_000 + (grams.mean() - 75) * 1000, rel=1e-5)
    assert std == pytest.approx(grams.std() * 1000, rel=1e-4)


def test_the_largest_floats():
    largest = sys.float_info.max
    assert figures([largest, -largest], (0.0, 1.0)) == (0.0, largest)
    assert figures([largest, largest], (-largest, 0.0)) == (largest, 0.0)
    assert deviations(np.array([largest, largest])) == (largest, 0.0)
    assert deviations(np.array([largest, -largest])) == (0.0, largest)


def test_constant_values_have_no_deviation():
    assert figures([0.1] * 7, (0.1, 0.0)) == (0.1, 0.0)
    assert deviations(np.array([])) == (None, None)


def test_many_blocks():
    values = np.arange(100_000, dtype=np.float64)
    mean, std = figures(values.tolist(), (0.0, 2.0**20))
    # Of 0 to n-1: the mean is (n - 1) / 2, the variance (n^2 - 1) / 12. Steps are 2, so odd numbers are rounded.
    assert mean == pytest.approx(49_999.5, abs=1)
    assert std == pytest.approx(math.sqrt((100_000**2 - 1) / 12), abs=1)
