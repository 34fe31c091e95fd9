"""Quantiles from counts in bins, against those of the values themselves."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.profiles.drift import observe, prediction_summaries
from tasks.core.profiles.profile import NumericCounts, NumericReference, profile_batch, reference_profile
from tasks.core.profiles.quantiles import LEVELS, quantiles

TENS = NumericReference(
    kind="numeric",
    edges=(10.0, 20.0, 30.0),
    counts=(0, 0, 0, 0),
    missing=0,
    infinite=0,
    min=None,
    max=None,
    mean=None,
    std=None,
)


def test_values_lie_evenly_within_their_bin():
    observed = NumericCounts(counts=(0, 50, 50, 0), min=10.0, max=30.0)
    # 5 of 100 rows lie below 11: a tenth of the bin from 10 to 20.
    assert quantiles(TENS, observed) == pytest.approx((11.0, 15.0, 20.0, 25.0, 29.0))


def test_the_outer_bins_end_where_the_values_do():
    observed = NumericCounts(counts=(10, 0, 0, 10), min=4.0, max=34.0)
    assert quantiles(TENS, observed) == pytest.approx((4.6, 7.0, 10.0, 32.0, 33.6))


def test_what_is_infinite_counts_at_its_end():
    observed = NumericCounts(counts=(0, 1, 0, 3), infinite=2, min=12.0, max=31.0)
    assert quantiles(TENS, observed, (0.25, 1.0)) == pytest.approx((20.0, 31.0))


def test_of_no_values_there_is_none():
    assert quantiles(TENS, NumericCounts(counts=(0, 0, 0, 0), missing=3)) is None


def test_a_window_of_one_value_has_it_everywhere():
    assert quantiles(TENS, NumericCounts(counts=(0, 7, 0, 0), min=15.0, max=15.0)) == (15.0,) * 5


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=60), st.integers(1, 59))
def test_they_are_in_order_within_the_values_and_the_same_in_any_batches(values, cut):
    table = pa.table({"score": pa.array(values, pa.float64())})
    reference = reference_profile(table)
    whole = prediction_summaries(observe("prediction", reference, [profile_batch(reference, table)]))["score"]
    parts = [profile_batch(reference, part) for part in (table[cut:], table[:cut])]
    assert prediction_summaries(observe("prediction", reference, parts))["score"].quantiles == whole.quantiles
    assert list(whole.quantiles) == sorted(whole.quantiles)
    assert min(values) <= whole.quantiles[0] <= whole.quantiles[-1] <= max(values)


def test_they_are_those_of_the_values_to_the_width_of_a_bin():
    values = np.random.default_rng(7).beta(2, 5, 20_000)
    table = pa.table({"score": values})
    reference = reference_profile(table)
    found = quantiles(reference.columns["score"], profile_batch(reference, table).columns["score"])
    assert found == pytest.approx(np.quantile(values, LEVELS), abs=0.002)
