"""What needs the whole table, against pandas and Python's own sets, with bounds so small that nothing fits at once."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.shards.validating import duplicates, quantiles
from tasks.shards.validating.frames import View

FLOATS = st.floats(-1e300, 1e300)
SHARES = [0.0, 0.05, 0.25, 0.5, 1 / 3, 0.9, 1.0]


def views_of(columns: dict, size: int):
    """A table in views of some rows."""
    table = pa.table(columns)
    return lambda: (
        View(table.slice(start, size), np.arange(start, min(start + size, len(table))))
        for start in range(0, len(table), size)
    )


@pytest.fixture(autouse=True, scope="module")
def _narrow():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantiles, "IN_MEMORY_VALUES", 4)
        patch.setattr(duplicates, "ROWS_AT_ONCE", 5)
        yield


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(FLOATS, min_size=1, max_size=60),
    interpolation=st.sampled_from(["linear", "lower", "higher", "nearest", "midpoint"]),
)
def test_quantiles_of_floats_are_those_of_pandas(values, interpolation):
    found = quantiles.quantiles_of(views_of({"x": values}, 7), "x", pa.float64(), SHARES, interpolation)
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = pd.Series(values).quantile(SHARES, interpolation=interpolation).tolist()
    assert found == pytest.approx(wanted, rel=1e-12, abs=1e-14 * max(map(abs, values)))


@settings(max_examples=150, deadline=None)
@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40))
def test_ranks_of_integers_are_exact(values):
    column = {"x": pa.array(values, pa.int64())}
    found = quantiles.quantiles_of(views_of(column, 3), "x", pa.int64(), [0.0, 1.0], "lower")
    assert found == [min(values), max(values)]
    ordered = sorted(values)
    middle = quantiles.quantiles_of(views_of(column, 3), "x", pa.int64(), [0.5], "lower")
    assert middle == [ordered[math.floor((len(values) - 1) / 2)]]


def test_a_value_that_fills_the_table_is_found_though_no_range_parts_it():
    column = {"x": pa.array([5] * 100 + [6] * 3, pa.int64())}
    assert quantiles.quantiles_of(views_of(column, 10), "x", pa.int64(), [0.0, 0.5, 1.0], "nearest") == [5, 5, 6]


def test_the_median_of_instants_is_an_instant():
    start = dt.datetime(2013, 7, 1, tzinfo=dt.UTC)
    kind = pa.timestamp("us", "UTC")
    column = {"t": pa.array([start + dt.timedelta(hours=h) for h in (9, 1, 4, 2)], kind)}
    assert quantiles.median_of(views_of(column, 2), "t", kind) == start + dt.timedelta(hours=3)


def test_no_value_has_no_quantile():
    assert math.isnan(quantiles.median_of(views_of({"x": pa.array([], pa.float64())}, 2), "x", pa.float64()))


@settings(max_examples=150, deadline=None)
@given(values=st.lists(st.one_of(st.none(), st.integers(0, 12)), max_size=60))
def test_recurring_rows_are_those_that_counting_finds(values):
    found = duplicates.find(views_of({"x": pa.array(values, pa.int64())}, 7), ("x",), "any_value_is_missing")
    present = [value for value in values if value is not None]
    assert found.considered == len(present)
    assert found.ordinals.tolist() == [
        row for row, value in enumerate(values) if value is not None and present.count(value) > 1
    ]
    assert found.considered - found.repeated == len(set(present))


def test_missing_values_are_alike_and_so_are_the_two_zeros():
    columns = {"x": pa.array([0.0, -0.0, float("nan"), None, 1.0]), "y": pa.array(["a"] * 5)}
    assert duplicates.find(views_of(columns, 2), ("x", "y"), "never").ordinals.tolist() == [0, 1, 2, 3]
    assert duplicates.find(views_of(columns, 2), ("x", "y"), "any_value_is_missing").ordinals.tolist() == [0, 1]
