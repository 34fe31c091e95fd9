"""Validates the rows of one batch as they are to be published: its checkpoint, against the job's output suite."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.project import Definition
from tasks.core.rows import rejects, snapshot
from tasks.core.rows.contract import predictions_schema
from tasks.core.runs.manifest import SuiteRecord
from tasks.shards import validating
from tasks.shards.validating import BatchMeasure, Suite
from tasks.shards.validation import Validation, load_checked, refuse_quarantine, suite_record


def output_suite_of(definition: Definition) -> Suite | None:
    """The suite of what goes out, checked against the published columns; SuiteError names what is wrong."""
    name = definition.job.output.suite
    if definition.output_suite_text is None or name is None:
        return None
    suite = load_checked(definition.output_suite_text, name, predictions_schema(definition.job))
    refuse_quarantine(suite, "an output suite, whose rows are scored already")
    return suite


def validate_output_batch(task: Validation, batch: int) -> BatchMeasure:
    """Measures the rows of a batch's checkpoint."""
    return validating.measure_batch(_suite(task), *_rows_to_publish(task, batch))


def conclude_output_suite(task: Validation, measures: Sequence[BatchMeasure], accepted: Collection[int]) -> SuiteRecord:
    """The output suite's result on the whole window; `accepted` are the places of what may fail this once."""
    suite = _suite(task)
    whole = None
    if validating.whole_table_columns(suite):
        whole = validating.measure_whole(suite, partial(_read_batches, task))
    return suite_record(validating.conclude(suite, measures, whole).accepting(accepted))


def _read_batches(task: Validation, columns: Sequence[str]) -> Iterator[tuple[pa.Table, rejects.Rows]]:
    return (_rows_to_publish(task, batch, columns) for batch in range(task.snapshot.batches))


def _rows_to_publish(
    task: Validation, batch: int, columns: Sequence[str] | None = None
) -> tuple[pa.Table, rejects.Rows]:
    """The rows with their ordinals: numbers that tell them apart and keep their order, no more."""
    with task.lake.parquet(f"{task.workspace}/{layout.checkpoint(batch)}") as file:
        table = file.read(columns=list(columns) if columns is not None else None)
    first, _ = snapshot.batch_bounds(task.snapshot, batch)
    return table, np.arange(first, first + len(table), dtype=np.int64)


def _suite(task: Validation) -> Suite:
    suite = output_suite_of(task.definition)
    assert suite is not None  # noqa: S101 - a task has one
    return suite
