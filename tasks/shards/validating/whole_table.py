"""The expectations that need the whole table: only their own columns are read, in a second pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from tasks.shards.validating.measure import evaluate
from tasks.shards.validating.outcome import ExpectationSpec, Suite, WholeMeasure, no_rejects

ReadColumns = Callable[[Sequence[str]], Iterator[tuple[pa.RecordBatch, np.ndarray]]]


def measure_whole(suite: Suite, read: ReadColumns) -> WholeMeasure:
    """One expectation after another: memory holds the columns of one of them."""
    tallies, rejects = [], [no_rejects()]
    for spec in suite.expectations:
        if spec.route == "whole":
            table, rows = _columns(spec, suite, read)
            found, taken = evaluate(suite, [spec], table, rows)
            tallies += found
            rejects.append(taken)
    return WholeMeasure(tuple(tallies), pa.concat_tables(rejects))


def _columns(spec: ExpectationSpec, suite: Suite, read: ReadColumns) -> tuple[pa.Table, np.ndarray]:
    names = list(dict.fromkeys(spec.columns + spec.condition_columns))
    batches, rows = [], [np.zeros(0, dtype=np.int64)]
    for batch, ordinals in read(names):
        batches.append(pa.table(batch).select(names))
        rows.append(ordinals)
    empty = pa.schema([suite.schema.field(name) for name in names]).empty_table()
    return pa.concat_tables([empty, *batches]), np.concatenate(rows)
