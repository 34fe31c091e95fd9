"""A window that is pulled again: whether its rows are those that readers see, and by how many they differ."""

from __future__ import annotations

import datetime as dt

from tasks.core import layout
from tasks.core.errors import LakeError
from tasks.core.records import Record, read_beside
from tasks.core.rows import snapshot
from tasks.core.rows.changes import Side, common_columns, count_changes
from tasks.core.runs.manifest import Manifest, RowChanges, SnapshotRecord
from tasks.core.runs.run import Run
from tasks.core.storage import Folder, Lake

_SCRATCH = "scratch"


class LookedAt(Record):
    """That the source was read again, and held the rows of this digest, which readers see."""

    at: dt.datetime
    run_id: str
    digest: str


def are_same(found: SnapshotRecord, seen: Manifest) -> bool:
    """Whether a run has pulled the very rows that readers see."""
    return seen.snapshot is not None and (seen.snapshot.digest, seen.snapshot.columns) == (found.digest, found.columns)


def note_looked_at(lake: Lake, seen: Manifest, at: dt.datetime) -> None:
    """Records that the source still holds what readers see."""
    digest = seen.snapshot.digest if seen.snapshot else ""
    noted = LookedAt(at=at, run_id=seen.run_id, digest=digest)
    lake.write_bytes(layout.looked_at(seen.job, seen.as_of), noted.model_dump_json(indent=2).encode() + b"\n")


def last_looked_at(lake: Folder, job: str, as_of: str) -> LookedAt | None:
    """When the source was last found unchanged; LakeCorrupt where the file is not such a record."""
    key = layout.looked_at(job, as_of)
    return read_beside(
        lake,
        key,
        LookedAt,
        wrong="is not a record of when the source was looked at",
        state="the record was left as it is",
        next_step="remove it: the window is looked at once more",
    )


def changes_since(run: Run, found: SnapshotRecord, seen: Manifest) -> RowChanges | None:
    """What differs from the rows that readers see; None where their snapshot is gone, or has other keys."""
    if seen.snapshot is None:
        return None
    if are_same(found, seen):
        return RowChanges(of_run=seen.run_id, added=0, removed=0, changed=0)
    try:
        return _counted(run, found, seen, seen.snapshot)
    except LakeError:
        # An old snapshot that cannot be read is no reason to publish nothing.
        return None


def _counted(run: Run, found: SnapshotRecord, seen: Manifest, old: SnapshotRecord) -> RowChanges | None:
    theirs = f"{layout.workspace(seen.job, seen.as_of, seen.run_id)}/{snapshot.SNAPSHOT}"
    if not run.lake.exists(theirs):
        return None
    with run.lake.parquet(theirs) as before, run.lake.parquet(run.key(snapshot.SNAPSHOT)) as now:
        columns, others = common_columns(before.schema_arrow, now.schema_arrow)
    if not set(run.job.keys) <= set(columns):
        return None
    counted = count_changes(
        Side(run.lake, theirs, old.rows),
        Side(run.lake, run.key(snapshot.SNAPSHOT), found.rows),
        run.job.keys,
        columns,
        lake=run.lake,
        scratch=run.key(_SCRATCH),
    )
    return RowChanges(
        of_run=seen.run_id,
        added=counted.added,
        removed=counted.removed,
        changed=counted.changed,
        not_compared=tuple(others),
    )
