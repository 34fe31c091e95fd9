"""What would be slow or would pile up in stock GX, as ratios: they hold on any machine."""

from __future__ import annotations

import datetime as dt
import gc
import json
import time
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from tasks.shards.validating import load_suite, measure_batch

ROWS = 60_000


def seconds(table: pa.Table, expectation: dict) -> float:
    """CPU seconds of measuring, the least of three."""
    suite = load_suite(json.dumps({"expectations": [expectation]}), name="s", schema=table.schema)
    rows = np.arange(len(table))
    measure_batch(suite, table.slice(0, 10), rows[:10])
    spent = []
    for _ in range(3):
        start = time.process_time()
        measure_batch(suite, table, rows)
        spent.append(time.process_time() - start)
    return min(spent)


def between(low, high) -> dict:
    return {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "x", "min_value": low, "max_value": high},
    }


@pytest.fixture(scope="module")
def plain() -> float:
    return seconds(pa.table({"x": pa.array(np.arange(ROWS), pa.int64())}), between(0, ROWS))


NUMBERS = np.arange(ROWS) % 100
INSTANTS = (np.datetime64("2013-07-01", "us") + np.arange(ROWS) * np.timedelta64(1, "m")).astype("datetime64[us]")
FIRST, LAST = "2013-07-01T00:00:00", "2014-07-01T00:00:00"
SLOW_IN_STOCK = {
    "int32": (pa.array(NUMBERS, pa.int32()), between(0, 50)),
    "float32": (pa.array(NUMBERS, pa.float32()), between(0, 50)),
    "integers with nulls": (pa.array(NUMBERS, pa.int64(), mask=NUMBERS == 7), between(0, 50)),
    "naive microseconds": (pa.array(INSTANTS), between(FIRST, LAST)),
    "microseconds in UTC": (
        pa.array(INSTANTS).cast(pa.timestamp("us", "UTC")),
        between(f"{FIRST}+00:00", f"{LAST}+00:00"),
    ),
    "dates, one beyond nanoseconds": (
        pa.array([*[dt.date(2013, 7, 1)] * (ROWS - 1), dt.date(9999, 12, 31)]),
        between("2013-07-01", "2014-07-01"),
    ),
    "decimals": (pa.array(NUMBERS).cast(pa.decimal128(21, 2)), between(0, 50)),
    "a regex that needs Python": (
        pa.array([f"N{n}" for n in NUMBERS]),
        {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "x", "regex": r"^N(?!0)\d"}},
    ),
    "JSON": (
        pa.array([f'{{"n": {n}}}' for n in NUMBERS]),
        {"type": "expect_column_values_to_be_json_parseable", "kwargs": {"column": "x"}},
    ),
    "a sum of decimals": (
        pa.array(NUMBERS).cast(pa.decimal128(21, 2)),
        {"type": "expect_column_sum_to_be_between", "kwargs": {"column": "x", "min_value": 0}},
    ),
}


@pytest.mark.parametrize("name", SLOW_IN_STOCK)
def test_a_slow_path_of_stock_costs_little_more_than_integers(name, plain):
    """Row by row these cost 30 to 400 times what int64 does."""
    array, expectation = SLOW_IN_STOCK[name]
    assert seconds(pa.table({"x": array}), expectation) < 15 * plain + 0.01


def test_a_batch_is_let_go_when_it_was_measured():
    """GX ties its frames into cycles: without care they stay until some later garbage collection."""
    table = pa.table({"x": pa.array(np.arange(ROWS), pa.int64()), "s": pa.array(["a"] * ROWS)})
    expectations = [
        between(0, 50),
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "s", "value_set": ["a"]}},
        {
            "type": "expect_column_mean_to_be_between",
            "kwargs": {"column": "x", "min_value": 0, "row_condition": "x > 5", "condition_parser": "pandas"},
        },
    ]
    suite = load_suite(json.dumps({"expectations": expectations}), name="s", schema=table.schema)
    measure_batch(suite, table, np.arange(ROWS))
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before, traced = pa.total_allocated_bytes(), tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            batch = pa.concat_tables([table.slice(0, 1), table.slice(1)]).combine_chunks()
            measure_batch(suite, batch, np.arange(ROWS))
            del batch
        assert pa.total_allocated_bytes() - before < table.nbytes / 2
        assert tracemalloc.get_traced_memory()[0] - traced < table.nbytes / 2
    finally:
        tracemalloc.stop()
        gc.enable()


def test_what_stays_slow_is_said():
    schema = pa.schema([("x", pa.decimal128(10, 2)), ("s", pa.string()), ("n", pa.int64())])
    expectations = [
        between(0, 50),
        {"type": "expect_column_values_to_match_strftime_format", "kwargs": {"column": "s", "strftime_format": "%Y"}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}},
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "n"}},
    ]
    suite = load_suite(json.dumps({"expectations": expectations}), name="s", schema=schema)
    assert [line.partition("(")[0] for line in suite.advice] == [
        "expect_column_values_to_be_between",
        "expect_column_values_to_match_strftime_format",
    ]
    assert "x (decimal(10, 2))" in suite.advice[0]
