"""Rows in quarantine, as a person looks at them: a few of each reason, from the published table or from a workspace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.rows import rejects
from tasks.core.rows.snapshot import batch_bounds, read_batch, read_record
from tasks.core.runs.manifest import Manifest
from tasks.core.storage import Folder

_EACH_REASON = 5
_ROWS_LOOKED_AT = 20_000


@dataclass(frozen=True)
class Example:
    """A row in quarantine under one reason: its keys, the value at fault, the sentence, and all its values as text."""

    keys: dict[str, str | None]
    value: str | None
    message: str
    row: dict[str, str | None]


@dataclass(frozen=True)
class ReasonGroup:
    """The rows that have one reason, with a few of them."""

    reason: str
    column: str | None
    rows: int
    examples: tuple[Example, ...]


def groups(lake: Folder, job: Job, manifest: Manifest) -> list[ReasonGroup]:
    """The rows in quarantine by reason, most rows first. A row with several reasons stands under each."""
    found: dict[str, list[Example]] = {}
    columns: dict[str, str | None] = {}
    for label, reason, row in _few_of_each(lake, job, manifest):
        columns[label] = reason["column"]
        example = Example({key: row.get(key) for key in job.keys}, reason["value"], str(reason["message"]), row)
        found.setdefault(label, []).append(example)
    counts = _counts(lake, manifest)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [ReasonGroup(label, columns.get(label), rows, tuple(found.get(label, ()))) for label, rows in ranked]


def example_rows(
    lake: Folder, job: Job, manifest: Manifest
) -> list[tuple[str, str, str | None, dict[str, str | None]]]:
    """A few rows of each reason: the reason's label, its message, its column, and the row's values as text."""
    few = _few_of_each(lake, job, manifest)
    return [(label, str(reason["message"]), reason["column"], row) for label, reason, row in few]


def _few_of_each(
    lake: Folder, job: Job, manifest: Manifest
) -> Iterator[tuple[str, dict[str, Any], dict[str, str | None]]]:
    seen: Counter[str] = Counter()
    # The run's own columns: the job may have others by now.
    names = manifest.snapshot.columns if manifest.snapshot else job.columns
    for row in _quarantined_rows(lake, job, manifest):
        values = {name: None if row[name] is None else str(row[name]) for name in names}
        for reason in row["reasons"]:
            label = rejects.label(reason)
            seen[label] += 1
            if seen[label] <= _EACH_REASON:
                yield label, reason, values


def _counts(lake: Folder, manifest: Manifest) -> dict[str, int]:
    """Rows by reason: as recorded, or, of a run that broke off before it counted, from what its stages left."""
    if manifest.quarantine_reasons or manifest.is_published:
        return manifest.quarantine_reasons
    workspace = manifest.workspace
    record = read_record(lake, workspace)
    bounds = [batch_bounds(record, batch) for batch in range(record.batches)] if record else []
    return rejects.total_count_by_reason(
        [rejects.read_taken_out(lake, workspace, batch, each) for batch, each in enumerate(bounds)]
    )


def _quarantined_rows(lake: Folder, job: Job, manifest: Manifest) -> Iterator[dict[str, Any]]:
    has_table = manifest.is_published or manifest.state == "dry_run"
    tables = _in_table(lake, job, manifest) if has_table else _kept_aside(lake, manifest)
    looked_at = 0
    for table in tables:
        yield from table.slice(0, _ROWS_LOOKED_AT - looked_at).to_pylist()
        looked_at += len(table)
        if looked_at >= _ROWS_LOOKED_AT:
            return


def _in_table(lake: Folder, job: Job, manifest: Manifest) -> Iterator[pa.Table]:
    partition = layout.partition(layout.QUARANTINE, job.job, manifest.as_of)
    folder = f"{manifest.workspace}/{layout.QUARANTINE}" if manifest.is_dry_run else partition
    key = f"{folder}/{layout.part(manifest.run_id)}"
    if not lake.exists(key):
        return
    with lake.parquet(key) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


def _kept_aside(lake: Folder, manifest: Manifest) -> Iterator[pa.Table]:
    """Of a run that did not publish: what its stages took out, with the rows of its snapshot."""
    workspace = manifest.workspace
    record = read_record(lake, workspace)
    for batch in range(record.batches if record else 0):
        assert record is not None  # noqa: S101 - narrowing
        taken = rejects.read_taken_out(lake, workspace, batch, batch_bounds(record, batch))
        rows = taken.quarantined
        if len(rows):
            pulled = read_batch(lake, workspace, batch).take(rows - taken.first)
            yield pulled.append_column("reasons", taken.reasons_by_row())
