"""Profiles against counting in plain Python."""

import bisect
import datetime as dt
import decimal
import itertools
import math
import sys
from collections import Counter
from fractions import Fraction
from functools import reduce

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.core.profiles.profile import (
    BatchProfile,
    ReferenceProfile,
    empty,
    merge,
    moments,
    profile_batch,
    reference_profile,
)

steady = settings(deadline=None, derandomize=True)

# Few values, so that ties are heavy; and all of them, so that nothing is safe.
FLOATS = st.sampled_from([0.0, -0.0, 1.0, 2.5, math.inf, -math.inf, math.nan]) | st.floats()
KINDS = {
    pa.float64(): FLOATS,
    pa.int64(): st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(width=32),
    pa.decimal128(9, 0): st.integers(-(10**6), 10**6).map(decimal.Decimal),
    pa.date32(): st.dates(),
    pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(dt.UTC)),
    pa.time64("us"): st.times(),
    pa.string(): st.text("ab", max_size=3),
    pa.bool_(): st.booleans(),
    pa.list_(pa.int8()): st.lists(st.integers(0, 3), max_size=2),
}
TEXT, LISTS = pa.string(), pa.list_(pa.int8())
NUMBERS = [kind for kind in KINDS if kind not in (TEXT, pa.bool_(), LISTS)]
MIDNIGHT = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)


@st.composite
def pairs(draw, kinds=tuple(KINDS)):
    """A table to train on and one to observe, with columns of some of these types."""
    picked = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=2, unique=True))
    return draw(tables(picked)), draw(tables(picked))


@st.composite
def tables(draw, kinds):
    rows = draw(st.integers(0, 40))
    columns = [draw(st.lists(st.none() | KINDS[kind], min_size=rows, max_size=rows)) for kind in kinds]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return pa.Table.from_arrays(arrays, names=[str(kind) for kind in kinds])


def as_number(value):
    """A value as the number it counts as; None for what is missing."""
    if isinstance(value, dt.datetime):
        return float((value - MIDNIGHT) // MICROSECOND)
    if isinstance(value, dt.date):
        return float((value - MIDNIGHT.date()) // MICROSECOND)
    if isinstance(value, dt.time):
        return float(dt.timedelta(hours=value.hour, minutes=value.minute, seconds=value.second) // MICROSECOND) + (
            value.microsecond
        )
    return None if value is None or math.isnan(float(value)) else float(value)


def numbers_of(table, name):
    found = [as_number(value) for value in table.column(name).to_pylist()]
    return [value for value in found if value is not None]


def naive_edges(numbers):
    """From the definition: 21 quantiles, each the least value that i/20 of all do not exceed."""
    ordered = sorted(value for value in numbers if math.isfinite(value))
    if not ordered:
        return []
    quantiles = [ordered[max(math.ceil(Fraction(i * len(ordered), 20)) - 1, 0)] for i in range(21)]
    heavy = {value for value, times in Counter(quantiles).items() if times > 1}
    distinct = sorted(set(ordered))
    edges = {distinct[0], min(math.nextafter(distinct[-1], math.inf), sys.float_info.max)}
    for low, high in itertools.pairwise(distinct):
        if high in quantiles[:-1] or low in heavy:
            edges.add(max(low / 2 + high / 2, math.nextafter(low, high)))
    return sorted(edges)


@given(pairs(NUMBERS))
@settings(steady, max_examples=300)
def test_numbers_are_counted_in_the_bins_of_the_reference(pair):
    training, batch = pair
    reference = reference_profile(training)
    observed = profile_batch(reference, batch)
    for name, column in reference.columns.items():
        assert list(column.edges) == naive_edges(numbers_of(training, name))
        check_counts(column, training, name, column)
        check_counts(observed.columns[name], batch, name, column)


def check_counts(found, table, name, column):
    numbers = numbers_of(table, name)
    bins = Counter(bisect.bisect_right(column.edges, value) for value in numbers)
    finite = [value for value in numbers if math.isfinite(value)]
    assert found.counts == tuple(bins[i] for i in range(len(column.edges) + 1))
    assert found.missing == table.num_rows - len(numbers)
    assert found.infinite == len(numbers) - len(finite)
    assert (found.min, found.max) == (min(finite, default=None), max(finite, default=None))


@given(pairs([TEXT]))
@steady
def test_categories_are_counted(pair):
    training, batch = pair
    reference = reference_profile(training)
    observed = profile_batch(reference, batch)
    known = Counter(v for v in training.column("string").to_pylist() if v is not None)
    column, counts = reference.columns["string"], observed.columns["string"]
    assert column.values == tuple(sorted(known, key=lambda name: (-known[name], name)))  # Fewer than fifty.
    assert column.counts == (*(known[name] for name in column.values), 0, 0)
    seen = Counter(v for v in batch.column("string").to_pylist() if v is not None)
    new = {name: times for name, times in seen.items() if name not in known}
    assert counts.counts == (*(seen[name] for name in column.values), 0, sum(new.values()))
    assert counts.new_values == tuple(sorted(new)[:20])
    assert counts.missing == batch.column("string").null_count


@given(tables([pa.bool_(), LISTS]))
@steady
def test_booleans_and_what_cannot_be_profiled(table):
    reference = reference_profile(table)
    booleans = Counter(table.column("bool").to_pylist())
    assert reference.columns["bool"].values == ("false", "true")
    assert reference.columns["bool"].counts == (booleans[False], booleans[True], 0, 0)
    lists = reference.columns["list<item: int8>"]
    missing = table.column("list<item: int8>").null_count
    assert (lists.kind, lists.counts, lists.missing) == ("opaque", (table.num_rows - missing, 0), missing)


@given(pairs(), st.data())
@settings(steady, max_examples=200)
def test_any_split_in_any_order_gives_the_same_profile(pair, data):
    training, batch = pair
    reference = reference_profile(training)
    whole = profile_batch(reference, batch)
    order = data.draw(st.permutations(range(batch.num_rows)))
    cuts = sorted(data.draw(st.lists(st.integers(0, batch.num_rows), max_size=4)))
    shuffled = batch.take(pa.array(order, pa.int64()))
    bounds = zip([0, *cuts], [*cuts, batch.num_rows], strict=True)
    parts = [profile_batch(reference, shuffled.slice(low, high - low)) for low, high in bounds]
    assert reduce(merge, parts) == whole
    assert reduce(merge, reversed(parts), empty(reference)) == whole
    assert profile_batch(reference, pa.concat_tables([shuffled.slice(0, 3), shuffled.slice(3)])) == whole


@given(pairs())
@steady
def test_json_keeps_all(pair):
    training, batch = pair
    reference = reference_profile(training)
    observed = profile_batch(reference, batch)
    again = ReferenceProfile.model_validate_json(reference.model_dump_json())
    assert again == reference
    assert again.digest == reference.digest
    assert BatchProfile.model_validate_json(observed.model_dump_json()) == observed


@given(pairs())
@steady
def test_training_data_observed_is_the_reference(pair):
    training, _ = pair
    reference = reference_profile(training)
    observed = profile_batch(reference, training)
    assert observed.rows == reference.rows == training.num_rows
    for name, column in reference.columns.items():
        assert observed.columns[name].counts == column.counts
        assert observed.columns[name].missing == column.missing


def one(values, kind=None):
    return pa.table({"x": pa.array(values, kind)})


def column_of(values, kind=None):
    return reference_profile(one(values, kind)).columns["x"]


# --- Examples by hand ------------------------------------------------------------------------------------------------


def test_twenty_bins_of_five_hundredths_each():
    column = column_of(np.random.default_rng(0).permutation(1000).astype(float))
    # Of 0..999 the quantile of i/20 is 50 i - 1; the edge lies halfway to the value before.
    assert column.edges == (0.0, *(50 * i - 1.5 for i in range(1, 20)), math.nextafter(999, math.inf))
    assert column.counts == (0, 49, *[50] * 18, 51, 0)
    assert (column.min, column.max, column.mean) == (0.0, 999.0, 499.5)
    assert column.std == pytest.approx(math.sqrt((1000**2 - 1) / 12), rel=1e-12)


def test_constant_column_has_one_bin_and_what_lies_beside_it():
    column = column_of([7.0] * 50)
    assert column.edges == (7, math.nextafter(7, 8))
    assert column.counts == (0, 50, 0)
    assert (column.mean, column.std) == (7.0, 0.0)
    observed = profile_batch(reference_profile(one([7.0] * 50)), one([6.9, 7.0, 7.0, 7.1])).columns["x"]
    assert observed.counts == (1, 2, 1)


def test_a_heavy_value_has_a_bin_of_its_own():
    column = column_of([0.0] * 80 + [float(i) for i in range(1, 21)])
    # Quantiles from 5 to 80 hundredths are 0, then 5, 10, 15 and 20.
    assert column.edges == (0.0, 0.5, 4.5, 9.5, 14.5, math.nextafter(20, 21))
    assert column.counts == (0, 80, 4, 5, 5, 6, 0)


def test_the_last_bit_moves_no_value():
    exact = [0.1, 0.7, 0.3] * 30
    reference = reference_profile(one(exact))
    rounded = profile_batch(reference, one(exact, pa.float32())).columns["x"]
    inside = reference.columns["x"].counts[1:3], rounded.counts[1:3]
    assert inside == ((30, 30), (30, 30))


def test_few_whole_numbers_have_a_bin_each():
    column = column_of([1, 2, 3, 4, 5, 6] * 100)
    assert column.edges == (1, 1.5, 2.5, 3.5, 4.5, 5.5, math.nextafter(6, 7))
    assert column.counts == (0, *[100] * 6, 0)


def test_infinities_lie_outside_and_in_no_moment():
    column = column_of([1.0, 3.0, math.inf, -math.inf, -math.inf, math.nan, None])
    assert (column.counts[0], column.counts[-1], column.infinite, column.missing) == (2, 1, 3, 2)
    assert (column.min, column.max, column.mean, column.std) == (1.0, 3.0, 2.0, 1.0)


def test_the_largest_float_can_be_kept():
    reference = reference_profile(one([1.0, sys.float_info.max]))
    assert reference.columns["x"].edges[-1] == sys.float_info.max
    assert ReferenceProfile.model_validate_json(reference.model_dump_json()) == reference


@pytest.mark.parametrize("values", [[], [None, None], [math.nan], [math.inf]])
def test_column_without_a_finite_value(values):
    reference = reference_profile(one(values, pa.float64()))
    column = reference.columns["x"]
    assert (column.edges, column.min, column.max, column.mean, column.std) == ((), None, None, None, None)
    assert moments(column, profile_batch(reference, one(values, pa.float64())).columns["x"]) is None
    observed = profile_batch(reference, one([1.0, 5.0])).columns["x"]
    assert observed.counts == (2,)
    assert moments(column, observed) == (3.0, 2.0)


def test_moments_of_a_batch():
    reference = reference_profile(one([float(i) for i in range(100)]))
    observed = profile_batch(reference, one([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0, None, math.inf]))
    mean, std = moments(reference.columns["x"], observed.columns["x"])
    assert mean == pytest.approx(5, abs=1e-4)
    assert std == pytest.approx(2, abs=1e-4)


def test_instants_are_microseconds():
    day = 86_400_000_000
    column = column_of([dt.date(1970, 1, 2), dt.date(1970, 1, 4)])
    assert (column.kind, column.min, column.max) == ("datetime", day, 3 * day)
    column = column_of([dt.datetime(1970, 1, 2, tzinfo=dt.UTC)], pa.timestamp("ns", "Asia/Tokyo"))
    assert (column.kind, column.min) == ("datetime", day)
    assert column_of([dt.timedelta(seconds=2)], pa.duration("s")).min == 2_000_000


def names(count, repeat):
    return [f"n{i:04d}" for i in range(count) for _ in range(repeat)]


def test_top_fifty_then_the_others_then_the_new():
    reference = reference_profile(one(names(50, 3) + [f"rare{i}" for i in range(7)]))
    column = reference.columns["x"]
    assert column.values == tuple(f"n{i:04d}" for i in range(50))
    assert column.others == tuple(f"rare{i}" for i in range(7))
    assert column.knows_all
    assert column.counts == (*[3] * 50, 7, 0)
    observed = profile_batch(reference, one(["n0000", "rare1", "rare1", "never", "ever" * 100])).columns["x"]
    assert observed.counts == (1, *[0] * 49, 2, 2)
    assert observed.new_values == ("ever" * 50, "never")


def test_of_many_new_names_the_first_twenty_are_kept():
    reference = reference_profile(one(["a"]))
    parts = [profile_batch(reference, one(names(30, 1)[start:])) for start in (15, 0)]
    assert merge(*parts).columns["x"].new_values == tuple(names(20, 1))


@pytest.mark.parametrize(("distinct", "knows_all"), [(1050, True), (1051, False)])
def test_beyond_a_thousand_others_new_is_not_told_from_rare(distinct, knows_all):
    reference = reference_profile(one(names(distinct, 1)))
    assert reference.columns["x"].knows_all is knows_all
    assert len(reference.columns["x"].others) == 1000
    observed = profile_batch(reference, one(["never"])).columns["x"]
    assert observed.counts[-2:] == ((0, 1) if knows_all else (1, 0))
    assert observed.new_values == (("never",) if knows_all else ())


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())])
def test_encoding_of_text_does_not_count(kind):
    plain = one(["a", "b", None, "a"])
    encoded = one(["a", "b", None, "a"], kind)
    assert reference_profile(encoded) == reference_profile(plain)
    reference = reference_profile(plain)
    assert profile_batch(reference, encoded) == profile_batch(reference, plain)
    assert profile_batch(reference, encoded.to_batches()[0]) == profile_batch(reference, plain)


def test_other_columns_are_left_aside_and_one_that_lacks_is_an_error():
    reference = reference_profile(one([1.0, 2.0]))
    assert list(profile_batch(reference, pa.table({"x": [1.0], "y": ["a"]})).columns) == ["x"]
    with pytest.raises(KeyError, match="x"):
        profile_batch(reference, pa.table({"y": ["a"]}))


def test_profiles_of_different_references_are_not_merged():
    here, there = reference_profile(one([1.0, 2.0])), reference_profile(one([1.0, 3.0]))
    with pytest.raises(ValueError, match="different references"):
        merge(empty(here), empty(there))


def test_a_later_version_is_refused():
    text = reference_profile(one([1.0])).model_dump_json().replace('"version":1', '"version":2')
    with pytest.raises(ValidationError, match="version"):
        ReferenceProfile.model_validate_json(text)
