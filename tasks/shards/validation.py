"""Validates one batch of a snapshot against the job's suite, and leaves the failing rows with their reasons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import pyarrow as pa

from tasks.core import rejects, snapshot
from tasks.core.manifest import SnapshotRecord
from tasks.core.project import Definition
from tasks.core.reasons import rejects_table
from tasks.core.storage import Lake
from tasks.shards import validating
from tasks.shards.validating import BatchMeasure, Suite, SuiteResult


@dataclass(frozen=True)
class Validation:
    """What validating a batch of one run needs to know."""

    lake: Lake
    workspace: str
    definition: Definition
    snapshot: SnapshotRecord


def suite_of(definition: Definition) -> Suite | None:
    """The job's suite, checked against its columns; SuiteError names what is wrong."""
    if definition.suite_text is None or definition.job.suite is None:
        return None
    return validating.load_suite(definition.suite_text, name=definition.job.suite, schema=definition.job.arrow_schema)


def validate_batch(task: Validation, batch: int) -> BatchMeasure:
    """Measures the rows of a batch that the pull did not take out, and writes those that are to be quarantined."""
    suite = _suite(task.definition)
    table, rows = _rows_to_validate(task, batch)
    measure = validating.measure_batch(suite, table, rows)
    rejects.write_rejects(task.lake, f"{task.workspace}/{rejects.validated(batch)}", rejects_table(measure.rejections))
    return measure.without_rejections()


def conclude_suite(task: Validation, measures: Sequence[BatchMeasure]) -> SuiteResult:
    """The suite's result on the whole window; what needs the whole table reads its own columns once more."""
    suite = _suite(task.definition)
    whole = None
    if validating.whole_table_columns(suite):
        whole = validating.measure_whole(suite, partial(_read_batches, task))
        rejects.write_rejects(task.lake, f"{task.workspace}/{rejects.VALIDATED_WHOLE}", rejects_table(whole.rejections))
    return validating.conclude(suite, measures, whole)


def _read_batches(task: Validation, columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, rejects.Rows]]:
    for batch in range(task.snapshot.batches):
        table, rows = _rows_to_validate(task, batch, columns)
        yield table, rows


def _rows_to_validate(
    task: Validation, batch: int, columns: Sequence[str] | None = None
) -> tuple[pa.Table, rejects.Rows]:
    first, end = bounds = snapshot.batch_bounds(task.snapshot, batch)
    rows = rejects.read_taken_out_by_pull(task.lake, task.workspace, bounds).remaining
    table = snapshot.read_batch(task.lake, task.workspace, batch, columns)
    return (table if len(rows) == end - first else table.take(pa.array(rows - first))), rows


@lru_cache(maxsize=4)
def _cached_suite(text: str, name: str, schema: pa.Schema) -> Suite:
    return validating.load_suite(text, name=name, schema=schema)


def _suite(definition: Definition) -> Suite:
    assert definition.suite_text is not None and definition.job.suite is not None  # noqa: S101, PT018 - a task has one
    return _cached_suite(definition.suite_text, definition.job.suite, definition.job.arrow_schema)
