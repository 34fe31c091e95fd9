"""Validates one batch of a snapshot against the job's suite, and leaves the failing rows with their reasons."""

from __future__ import annotations

import pkgutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import pyarrow as pa

import expectations
from tasks.core.definitions.project import Definition
from tasks.core.errors import SuiteError
from tasks.core.rows import rejects, snapshot
from tasks.core.rows.reasons import REJECTS_SCHEMA
from tasks.core.runs.manifest import ExpectationRecord, SnapshotRecord, SuiteRecord
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
    return load_checked(definition.suite_text, definition.job.suite, definition.job.arrow_schema)


def refuse_quarantine(suite: Suite, what: str) -> None:
    """SuiteError where an expectation would take rows out of what no row can leave any more."""
    for spec in suite.expectations:
        if spec.on_failure is not None:
            raise SuiteError(
                f"suite '{suite.name}', expectation {spec.index + 1} ({spec.type}): on_failure: {spec.on_failure} is not "
                f"for {what}",
                next_step="leave on_failure out, and let the severity decide; rows are kept from being scored by the "
                "job's own suite",
            )


def validate_batch(task: Validation, batch: int) -> BatchMeasure:
    """Measures the rows of a batch that the pull did not take out, and writes those that are to be quarantined."""
    suite = _suite(task.definition)
    table, rows = _rows_to_validate(task, batch)
    measure = validating.measure_batch(suite, table, rows)
    rejects.write_rejects(task.lake, f"{task.workspace}/{rejects.validated(batch)}", measure.rejects_table)
    return replace(measure, rejects_table=REJECTS_SCHEMA.empty_table())


def conclude_suite(
    task: Validation, measures: Sequence[BatchMeasure], title: str, accepted: Collection[int]
) -> tuple[SuiteRecord, str]:
    """The suite's result on the whole window, and its page; what needs the whole table reads its own columns once more.

    `accepted` are the places of the expectations that may fail this once.
    """
    suite = _suite(task.definition)
    whole = None
    if validating.whole_table_columns(suite):
        whole = validating.measure_whole(suite, partial(_read_batches, task))
        rejects.write_rejects(task.lake, f"{task.workspace}/{rejects.VALIDATED_WHOLE}", whole.rejects_table)
    result = validating.conclude(suite, measures, whole).accepting(accepted)
    return suite_record(result), validating.render_data_docs(result, title)


def judge_table(suite: Suite, table: pa.Table) -> SuiteResult:
    """The suite's result on a table that is held as one."""
    rows = np.arange(len(table), dtype=np.int64)
    whole = None
    if validating.whole_table_columns(suite):
        whole = validating.measure_whole(suite, lambda columns: iter([(table.select(list(columns)), rows)]))
    return validating.conclude(suite, [validating.measure_batch(suite, table, rows)], whole)


def suite_record(result: SuiteResult) -> SuiteRecord:
    """What the manifest keeps of a suite's result."""
    kept = ExpectationRecord.model_fields.keys()
    outcomes = [{key: value for key, value in vars(one).items() if key in kept} for one in result.results]
    return SuiteRecord.model_validate(
        {"name": result.suite, "digest": result.digest, "success": result.success, "expectations": outcomes}
    )


def _read_batches(task: Validation, columns: Sequence[str]) -> Iterator[tuple[pa.Table, rejects.Rows]]:
    for batch in range(task.snapshot.batches):
        yield _rows_to_validate(task, batch, columns)


def _rows_to_validate(
    task: Validation, batch: int, columns: Sequence[str] | None = None
) -> tuple[pa.Table, rejects.Rows]:
    first, end = bounds = snapshot.batch_bounds(task.snapshot, batch)
    rows = rejects.read_taken_out_by_pull(task.lake, task.workspace, bounds).remaining
    table = snapshot.read_batch(task.lake, task.workspace, batch, columns)
    return (table if len(rows) == end - first else table.take(rows - first)), rows


def load_checked(text: str, name: str, schema: pa.Schema) -> Suite:
    """The suite of this text, with the project's own expectations known; SuiteError names what is wrong."""
    return _load_checked(text, name, schema, tuple(expectations.__path__))


@lru_cache(maxsize=4)
def _load_checked(text: str, name: str, schema: pa.Schema, places: tuple[str, ...]) -> Suite:
    custom = [f"expectations.{module.name}" for module in pkgutil.iter_modules(places)]
    return validating.load_suite(text, name=name, schema=schema, custom=custom)


def _suite(definition: Definition) -> Suite:
    assert definition.suite_text is not None and definition.job.suite is not None  # noqa: S101, PT018 - a task has one
    return load_checked(definition.suite_text, definition.job.suite, definition.job.arrow_schema)
