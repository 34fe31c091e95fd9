"""Distances between profiles, against their formulas in plain Python and by hand."""

import math

import numpy as np
import pyarrow as pa
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.profiles.comparison import (
    chi_squared,
    compare,
    jensen_shannon,
    kolmogorov_smirnov,
    missing_change,
    psi,
    wasserstein,
)
from tasks.core.profiles.profile import empty, merge, profile_batch, reference_profile

steady = settings(deadline=None, derandomize=True)
PAIRS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=25)


def with_rows(pairs):
    expected, observed = zip(*pairs, strict=True)
    return expected, observed, sum(expected) > 0 and sum(observed) > 0


@given(PAIRS)
@steady
def test_psi_is_its_formula(pairs):
    expected, observed, have_rows = with_rows(pairs)
    if not have_rows:
        assert psi(expected, observed) is None
        return
    half = len(pairs) / 2
    p = [(count + 0.5) / (sum(expected) + half) for count in expected]
    q = [(count + 0.5) / (sum(observed) + half) for count in observed]
    by_hand = math.fsum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert psi(expected, observed) == pytest.approx(by_hand, rel=1e-9, abs=1e-12)
    assert psi(expected, observed) == pytest.approx(psi(observed, expected), rel=1e-9, abs=1e-12)


@given(PAIRS)
@steady
def test_jensen_shannon_is_its_formula(pairs):
    expected, observed, have_rows = with_rows(pairs)
    if not have_rows:
        assert jensen_shannon(expected, observed) is None
        return
    p = [count / sum(expected) for count in expected]
    q = [count / sum(observed) for count in observed]
    divergence = math.fsum(entropy((a + b) / 2) - entropy(a) / 2 - entropy(b) / 2 for a, b in zip(p, q, strict=True))
    assert jensen_shannon(expected, observed) ** 2 == pytest.approx(divergence, abs=1e-9)


def entropy(share):
    return -share * math.log2(share) if share else 0.0


FEW = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=25)


@given(FEW)
@steady
def test_kolmogorov_smirnov_is_that_of_the_samples(pairs):
    expected, observed, have_rows = with_rows(pairs)
    if not have_rows:
        assert kolmogorov_smirnov(expected, observed) is None
        return
    bins = np.arange(len(pairs))
    with np.errstate(divide="ignore"):  # In its p-value, of a row on each side.
        known = scipy.stats.ks_2samp(np.repeat(bins, expected), np.repeat(bins, observed), method="asymp")
    assert kolmogorov_smirnov(expected, observed) == pytest.approx(known.statistic, abs=1e-12)


@given(FEW)
@steady
def test_wasserstein_is_the_area_between_the_distributions_over_the_references_ranks(pairs):
    expected, observed, have_rows = with_rows(pairs)
    if not have_rows:
        assert wasserstein(expected, observed) is None
        return
    before, after = ([0, *np.cumsum(counts) / sum(counts)] for counts in (expected, observed))
    apart = np.abs(np.subtract(before, after))
    assert wasserstein(expected, observed) == pytest.approx(np.trapezoid(apart, before), abs=1e-12)
    assert wasserstein(expected, observed) <= 0.5 + 1e-12


@given(PAIRS)
@steady
def test_chi_squared_is_its_formula(pairs):
    expected, observed, have_rows = with_rows(pairs)
    if not have_rows:
        assert chi_squared(expected, observed) is None
        return
    # Of two samples of n and m rows with counts a and b: the sum of (a m - b n)^2 / (n m (a + b)).
    n, m = sum(expected), sum(observed)
    by_hand = math.fsum((a * m - b * n) ** 2 / (n * m * (a + b)) for a, b in pairs if a + b)
    statistic, cramers_v = chi_squared(expected, observed)
    assert statistic == pytest.approx(by_hand, rel=1e-9, abs=1e-9)
    assert cramers_v == pytest.approx(math.sqrt(by_hand / (n + m)), rel=1e-9, abs=1e-9)


def test_distances_by_hand():
    # Below the first edge lie 1/4 and 2/3, below the second 1/2 and 2/3, below the third 3/4 and 1.
    assert kolmogorov_smirnov([1, 1, 1, 1], [2, 0, 1, 0]) == pytest.approx(2 / 3 - 1 / 4)
    # Half of the rows move from the middle of a bin to that of the next, past half of the reference.
    assert wasserstein([10, 10], [0, 10]) == pytest.approx(0.25)
    assert wasserstein([10, 0], [0, 10]) == 0.5  # To beyond the largest of the reference.
    # In each of four cells 10 are expected, and 5 more or less are found: 4 x 25 / 10; and the root of 10 / 40.
    assert chi_squared([15, 5], [5, 15]) == (pytest.approx(10), pytest.approx(0.5))
    assert chi_squared([7, 0], [9, 0]) == (0, 0)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=25).filter(any), st.integers(1, 50))
@steady
def test_equal_shares_are_no_distance(counts, times):
    assert psi(counts, counts) == 0
    assert jensen_shannon(counts, [count * times for count in counts]) == pytest.approx(0, abs=1e-7)


def test_no_bin_in_common_is_distance_one():
    assert jensen_shannon([5, 0], [0, 9]) == 1
    # Smoothed to shares of 10.5/11 and 0.5/11, the other way round: 2 (10/11) ln 21.
    assert psi([10, 0], [0, 10]) == pytest.approx(20 / 11 * math.log(21))


def test_shares_almost_equal_are_no_distance_and_no_nan():
    # SciPy's sum for these is below nothing by a rounding, and its root not a number.
    assert jensen_shannon([816_162, 8_042], [4_896_973, 48_252]) == 0


def test_change_of_what_is_missing():
    assert missing_change((1, 10), (6, 20)) == pytest.approx(0.2)
    assert missing_change((0, 0), (6, 20)) is None
    assert missing_change((1, 10), (0, 0)) is None


TRAINING = pa.table(
    {
        "number": [float(i % 10) for i in range(100)],
        "name": ["a", "b", None, "a", "b"] * 20,
        "tail": [f"t{i}" for i in range(100)],
        "score": [i / 100 for i in range(100)],
    }
)
BATCH = pa.table(
    {
        "number": [-1.0, 5.0, 12.0, None, 4.0],
        "name": ["a", None, None, "c", "d"],
        "tail": ["t1", "t99", "u", None, "t5"],
        "score": [0.5] * 5,
    }
)


def test_columns_compared():
    reference = reference_profile(TRAINING)
    number, name, tail, score = compare(reference, profile_batch(reference, BATCH))
    assert [number.column, name.column, tail.column, score.column] == ["number", "name", "tail", "score"]
    assert (number.kind, name.kind, number.rows) == ("numeric", "categorical", 5)
    assert (number.missing_share_reference, number.missing_share_observed, number.missing_change) == (0, 0.2, 0.2)
    assert number.outside_range_share == 0.5  # -1 and 12 of four.
    assert (number.mean_reference, number.std_reference) == (4.5, pytest.approx(math.sqrt(8.25)))
    assert (number.mean_observed, number.std_observed) == (
        pytest.approx(5, abs=1e-4),
        pytest.approx(math.sqrt(21.5), abs=1e-4),
    )
    assert (number.new_category_share, number.new_categories) == (None, ())
    assert (name.missing_share_reference, name.missing_share_observed) == (0.2, 0.4)
    assert (name.new_category_share, name.new_categories) == (pytest.approx(2 / 3), ("c", "d"))
    assert (name.outside_range_share, name.mean_observed) == (None, None)
    assert name.psi == psi([40, 40, 0, 0], [1, 0, 0, 2])
    assert name.jensen_shannon == jensen_shannon([40, 40, 0, 0], [1, 0, 0, 2])
    assert (name.chi_squared, name.cramers_v) == chi_squared([40, 40, 0], [1, 0, 2])
    assert (name.kolmogorov_smirnov, name.wasserstein, number.chi_squared, number.cramers_v) == (None,) * 4
    # Below 0 lies one of four and none of a hundred; and from 5 on two of four and half of the hundred.
    assert number.kolmogorov_smirnov == 0.25
    assert (tail.new_category_share, tail.new_categories) == (0.25, ("u",))
    # All of five rows in one bin of twenty: p = 1/20, q = 1, and the mean of the two 21/40. To base 2,
    # half of (1/20) lg(2/21) + (19/20) lg 2 + lg(40/21) is 0.8551, of which the root is 0.9247.
    assert score.jensen_shannon == pytest.approx(0.9247, abs=1e-4)


@given(st.permutations(range(60)), st.lists(st.integers(0, 60), max_size=4).map(sorted))
@settings(steady, max_examples=40)
def test_any_split_in_any_order_gives_the_same_figures(order, cuts):
    """To the last bit: what is compared are whole numbers."""
    reference, window = reference_profile(TRAINING), pa.concat_tables([BATCH, TRAINING.slice(0, 55)])
    shuffled = window.take(pa.array(order, pa.int64()))
    parts = [shuffled.slice(low, high - low) for low, high in zip([0, *cuts], [*cuts, 60], strict=True)]
    merged = empty(reference)
    for part in parts:
        merged = merge(merged, profile_batch(reference, part))
    assert compare(reference, merged) == compare(reference, profile_batch(reference, window))


def test_the_reference_against_itself():
    reference = reference_profile(TRAINING)
    for drift in compare(reference, profile_batch(reference, TRAINING)):
        assert (drift.psi, drift.jensen_shannon, drift.missing_change) == (0, 0, 0)
        assert (drift.kolmogorov_smirnov, drift.wasserstein) == ((0, 0) if drift.kind == "numeric" else (None, None))
        assert (drift.chi_squared, drift.cramers_v) == ((0, 0) if drift.kind == "categorical" else (None, None))
        assert drift.new_category_share in (0, None)
        assert drift.outside_range_share in (0, None)


def test_no_rows_observed_is_no_figure():
    reference = reference_profile(TRAINING)
    for drift in compare(reference, empty(reference)):
        assert drift.rows == 0
        assert (drift.psi, drift.jensen_shannon, drift.missing_share_observed, drift.missing_change) == (None,) * 4
        assert (drift.kolmogorov_smirnov, drift.wasserstein, drift.chi_squared, drift.cramers_v) == (None,) * 4
        assert (drift.new_category_share, drift.outside_range_share, drift.mean_observed) == (None, None, None)


def test_too_many_categories_to_tell_new_ones():
    reference = reference_profile(pa.table({"x": [str(i) for i in range(2000)]}))
    (drift,) = compare(reference, profile_batch(reference, pa.table({"x": ["new"]})))
    assert (drift.new_category_share, drift.new_categories) == (None, ())


def test_a_reference_without_a_value_has_no_range_to_lie_outside():
    reference = reference_profile(pa.table({"x": pa.array([None, None], pa.float64())}))
    (drift,) = compare(reference, profile_batch(reference, pa.table({"x": [1.0]})))
    assert (drift.outside_range_share, drift.psi, drift.mean_reference, drift.mean_observed) == (None, None, None, 1.0)


def test_another_references_profile_is_refused():
    reference = reference_profile(TRAINING)
    with pytest.raises(ValueError, match="another reference"):
        compare(reference, empty(reference_profile(BATCH)))
