"""The project's own expectation: an arrival that lies after the departure, as long as the distance needs."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from tasks.shards.validating import conclude, load_suite, measure_batch, render_data_docs

SCHEMA = pa.schema([("distance", pa.int64()), ("scheduled_minutes", pa.int64())])


def suite(**kwargs):
    columns = {"column_A": "distance", "column_B": "scheduled_minutes"}
    expectation = {
        "type": "expect_consistent_schedule",
        "kwargs": {**columns, **kwargs},
        "meta": {"on_failure": "quarantine"},
    }
    text = json.dumps({"expectations": [expectation]})
    return load_suite(text, name="s", schema=SCHEMA, custom=["expectations.consistent_schedule"])


def test_speeds_out_of_bounds_and_arrivals_before_departures_leave():
    # New York to Miami in 3 h; 17 miles in 160 min (6 mph); without a time; arriving at once; before departing; at 1,200 mph.
    rows = {"distance": [1089, 17, 500, 100, 200, 600], "scheduled_minutes": [180, 160, None, 0, -30, 30]}
    measure = measure_batch(suite(), pa.table(rows, schema=SCHEMA), np.arange(6))
    assert [row for row, _ in measure.rejects] == [1, 3, 4, 5]
    assert measure.rejects[0][1].message == (
        "distance is 17 and scheduled_minutes is 160, expected a speed between 50 and 700 miles an hour"
    )


def test_it_is_judged_batch_by_batch_and_told_in_words():
    strict = suite(min_mph=300)
    measure = measure_batch(
        strict, pa.table({"distance": [200, 600], "scheduled_minutes": [60, 60]}, schema=SCHEMA), np.arange(2)
    )
    result = conclude(strict, [measure])
    assert result.results[0].sentence == "1 of 2 rows fail expect_consistent_schedule(distance, scheduled_minutes, 300)"
    assert "miles an hour" in render_data_docs(result, "x")
