"""Validating: Great Expectations' own suites, batch by batch, with the exact rows that fail.

    suite = load_suite(text, name=..., schema=...)
    measures = [measure_batch(suite, batch, rows) for each batch]
    whole = measure_whole(suite, read)            # where whole_table_columns(suite) is not empty
    result = conclude(suite, measures, whole)
    page = render_data_docs(result, title)

Importing this package does not import Great Expectations: each function does, when it is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.shards.validating.outcome import (
    BatchMeasure,
    ExpectationOutcome,
    ExpectationSpec,
    ReadColumns,
    Suite,
    SuiteResult,
    WholeMeasure,
)

__all__ = [
    "BatchMeasure",
    "ExpectationOutcome",
    "ExpectationSpec",
    "ReadColumns",
    "Suite",
    "SuiteResult",
    "WholeMeasure",
    "conclude",
    "load_suite",
    "measure_batch",
    "measure_whole",
    "render_data_docs",
    "whole_table_columns",
]


def load_suite(
    text: str,
    *,
    name: str,
    schema: pa.Schema,
    custom: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
) -> Suite:
    """The suite in this JSON text, checked for batches of this schema; SuiteError names what is wrong."""
    from tasks.shards.validating import suite  # noqa: PLC0415 - imports Great Expectations when called

    return suite.load_suite(text, name=name, schema=schema, custom=custom, parameters=parameters)


def measure_batch(suite: Suite, batch: pa.Table | pa.RecordBatch, rows: npt.NDArray[np.int64]) -> BatchMeasure:
    """What a batch says about the suite; `rows` are the ordinals of its rows in the snapshot."""
    from tasks.shards.validating import measure  # noqa: PLC0415 - as above

    return measure.measure_batch(suite, batch, rows)


def whole_table_columns(suite: Suite) -> list[str]:
    """The columns that a second pass over the table needs; empty where none is needed."""
    needed = [spec.columns + spec.condition_columns for spec in suite.expectations if spec.route == "whole"]
    return list(dict.fromkeys(name for names in needed for name in names))


def measure_whole(suite: Suite, read: ReadColumns) -> WholeMeasure:
    """What the expectations that need the whole table say; `read` may be called more than once."""
    from tasks.shards.validating import whole_table  # noqa: PLC0415 - as above

    return whole_table.measure_whole(suite, read)


def conclude(suite: Suite, measures: Iterable[BatchMeasure], whole: WholeMeasure | None = None) -> SuiteResult:
    """The measures merged into GX's own result, and what each expectation means for the run."""
    from tasks.shards.validating import merge  # noqa: PLC0415 - as above

    return merge.conclude(suite, measures, whole)


def render_data_docs(result: SuiteResult, title: str) -> str:
    """GX's validation page of a result, complete in itself: it requests nothing from anywhere."""
    from tasks.shards.validating import docs  # noqa: PLC0415 - as above

    return docs.render_data_docs(result, title)
