"""A first suite from a sample: the sample passes it, what is unlike it does not."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.shards.validating import conclude, load_suite, measure_batch, measure_whole, suggest_suite

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("wind", pa.float64()),
        ("origin", pa.string()),
        ("tail", pa.string()),
        ("when", pa.timestamp("us", "UTC")),
        ("late", pa.bool_()),
        ("price", pa.decimal128(8, 2)),
    ]
)


def sample(rows: int = 400) -> pa.Table:
    rng = np.random.default_rng(7)
    wind = rng.gamma(2, 5, rows).round(2).tolist()
    wind[5] = 1048.36
    start = dt.datetime(2013, 7, 1, tzinfo=dt.UTC)
    return pa.table(
        {
            "id": range(rows),
            "wind": wind,
            "origin": [["EWR", "JFK", "LGA"][n % 3] for n in range(rows)],
            "tail": [None if n % 10 == 0 else f"N{n}" for n in range(rows)],
            "when": [start + dt.timedelta(minutes=n) for n in range(rows)],
            "late": [n % 2 == 0 for n in range(rows)],
            "price": [Decimal(n) / 4 for n in range(rows)],
        },
        schema=SCHEMA,
    )


def outcome(text: str, table: pa.Table):
    suite = load_suite(text, name="suggested", schema=table.schema)
    rows = np.arange(len(table))
    whole = measure_whole(suite, lambda names: iter([(table.select(names), rows)]))
    return conclude(suite, [measure_batch(suite, table, rows)], whole)


def kwargs_of(text: str, kind: str, column: str) -> dict | None:
    found = [
        e["kwargs"]
        for e in json.loads(text)["expectations"]
        if e["type"] == f"expect_{kind}" and e["kwargs"].get("column") == column
    ]
    return found[0] if found else None


def test_the_sample_passes_its_own_suite():
    text = suggest_suite(sample().to_batches(max_chunksize=90), name="flights", schema=SCHEMA, keys=["id"])
    result = outcome(text, sample())
    assert [one.sentence for one in result.results if not one.success] == []
    assert json.loads(text)["name"] == "flights"


def test_ranges_are_wide_and_not_moved_by_one_wild_value():
    bounds = kwargs_of(suggest_suite([sample()], name="s", schema=SCHEMA), "column_values_to_be_between", "wind")
    assert bounds["min_value"] == 0
    assert 50 < bounds["max_value"] < 150
    # 399 of 400 lie inside: 99.75 %, less one point for smaller windows.
    assert bounds["mostly"] == 0.98


def test_categories_null_rates_types_and_keys_are_told():
    text = suggest_suite([sample()], name="s", schema=SCHEMA, keys=["id", "when"])
    assert kwargs_of(text, "column_values_to_be_in_set", "origin")["value_set"] == ["EWR", "JFK", "LGA"]
    assert kwargs_of(text, "column_values_to_be_in_set", "tail") is None
    # 10 % are missing: less three standard deviations of 1.5 % and 5 %, rounded down.
    assert kwargs_of(text, "column_values_to_not_be_null", "tail")["mostly"] == 0.8
    assert kwargs_of(text, "column_type_to_be", "when")["type_"] == "datetime64[us, UTC]"
    assert '"column_list": [\n' in text
    assert kwargs_of(text, "column_values_to_be_between", "id") is None


def test_what_is_unlike_the_sample_fails():
    text = suggest_suite([sample()], name="s", schema=SCHEMA, keys=["id"])
    strange = sample().set_column(2, "origin", pa.array(["ORD"] * 400)).slice(0, 150)
    failed = {one.type for one in outcome(text, strange).results if not one.success}
    assert failed == {"expect_column_values_to_be_in_set", "expect_table_row_count_to_be_between"}


def test_an_empty_sample_suggests_what_can_be_known():
    text = suggest_suite([], name="s", schema=SCHEMA, keys=["id"])
    assert outcome(text, SCHEMA.empty_table()).success


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(
        st.one_of(st.none(), st.floats(), st.integers(-(10**15), 10**15).map(float)), min_size=1, max_size=50
    )
)
def test_any_numbers_make_a_suite_that_they_pass(values):
    schema = pa.schema([("x", pa.float64())])
    table = pa.table({"x": values}, schema=schema)
    finite = [value for value in values if value is not None and np.isfinite(value)]
    result = outcome(suggest_suite([table], name="s", schema=schema), table)
    if len(finite) == sum(value is not None and not np.isnan(value) for value in values):
        assert [one.sentence for one in result.results if not one.success] == []
