"""Rows in quarantine, as a person looks at them: a few of each reason, from the published table or from a workspace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from tasks.core import layout, rejects
from tasks.core.job import Job
from tasks.core.manifest import Manifest
from tasks.core.snapshot import batch_bounds, read_batch, read_record
from tasks.core.storage import Folder

_EACH_REASON = 5
_ROWS_LOOKED_AT = 20_000


def example_rows(
    lake: Folder, job: Job, manifest: Manifest
) -> list[tuple[str, str, str | None, dict[str, str | None]]]:
    """A few rows of each reason: the reason's label, its message, its column, and the row's values as text."""
    seen: Counter[str] = Counter()
    found = []
    for row in _quarantined_rows(lake, job, manifest):
        values = {name: None if row[name] is None else str(row[name]) for name in job.columns}
        for reason in row["reasons"]:
            label = rejects.label(reason)
            seen[label] += 1
            if seen[label] <= _EACH_REASON:
                found.append((label, str(reason["message"]), reason["column"], values))
    return found


def _quarantined_rows(lake: Folder, job: Job, manifest: Manifest) -> Iterator[dict[str, Any]]:
    tables = _published(lake, job, manifest) if manifest.is_published else _kept_aside(lake, job, manifest)
    looked_at = 0
    for table in tables:
        yield from table.slice(0, _ROWS_LOOKED_AT - looked_at).to_pylist()
        looked_at += len(table)
        if looked_at >= _ROWS_LOOKED_AT:
            return


def _published(lake: Folder, job: Job, manifest: Manifest) -> Iterator[pa.Table]:
    key = f"{layout.partition(layout.QUARANTINE, job.job, manifest.as_of)}/{layout.part(manifest.run_id)}"
    if not lake.exists(key):
        return
    with lake.parquet(key) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


def _kept_aside(lake: Folder, job: Job, manifest: Manifest) -> Iterator[pa.Table]:
    """Of a run that did not publish: what its stages took out, with the rows of its snapshot."""
    workspace = layout.workspace(job.job, manifest.as_of, manifest.run_id)
    record = read_record(lake, workspace)
    for batch in range(record.batches if record else 0):
        assert record is not None  # noqa: S101 - narrowing
        taken = rejects.read_taken_out(lake, workspace, batch, batch_bounds(record, batch))
        rows = taken.quarantined
        if len(rows):
            pulled = read_batch(lake, workspace, batch).take(rows - taken.first)
            yield pulled.append_column("reasons", taken.reasons_by_row())
