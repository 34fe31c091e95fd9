"""Expectations of a project's own: batch by batch only where their author says so."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pyarrow as pa
import pytest

from tasks.shards.validating import conclude, gx, load_suite, measure_batch, measure_whole, whole_table_columns

SOURCE = """
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial

class AtMostTheFirst(ColumnMapMetricProvider):
    condition_metric_name = "column_values.at_most_the_first"

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column, **kwargs):
        return column <= column.iloc[0]

class ExpectColumnValuesToBeAtMostTheFirst(ColumnMapExpectation):
    map_metric = "column_values.at_most_the_first"
    expected_in_words = "at most the first"
"""


@pytest.fixture(scope="module")
def custom():
    gx.great_expectations()
    module = types.ModuleType("custom_expectations_of_a_test")
    sys.modules[module.__name__] = module
    with gx.quiet():
        exec(SOURCE, module.__dict__)
    return module.__name__


def test_without_a_promise_the_whole_table_is_judged_together(custom):
    schema = pa.schema([("x", pa.int64())])
    expectation = {
        "type": "expect_column_values_to_be_at_most_the_first",
        "kwargs": {"column": "x"},
        "meta": {"on_failure": "quarantine"},
    }
    suite = load_suite(json.dumps({"expectations": [expectation]}), name="s", schema=schema, custom=[custom])
    assert whole_table_columns(suite) == ["x"]
    assert "row_local" in suite.advice[0]
    parts = [
        (pa.table({"x": values}, schema=schema), np.array(rows))
        for values, rows in (([3, 1], [0, 1]), ([5, 3], [2, 3]))
    ]
    measures = [measure_batch(suite, table, rows) for table, rows in parts]
    whole = measure_whole(suite, lambda _: iter(parts))
    assert [(row, reason.message) for row, reason in whole.rejects] == [(2, "x is 5, expected at most the first")]
    assert conclude(suite, measures, whole).results[0].unexpected_count == 1
