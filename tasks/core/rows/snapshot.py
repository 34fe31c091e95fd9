"""The snapshot: the immutable copy of the rows that a run pulled, and what was found about them on the way in."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa

from tasks.core.ahead import ahead
from tasks.core.definitions.column_types import type_name
from tasks.core.definitions.job import Job
from tasks.core.definitions.window import Window
from tasks.core.errors import LakeCorrupt, SnapshotGone
from tasks.core.records import read_beside
from tasks.core.rows import rejects
from tasks.core.rows.batch_size import bytes_per_row, rows_in_batch
from tasks.core.rows.conform import conform
from tasks.core.rows.digest import Hashes, RowDigest, hash_rows
from tasks.core.rows.duplicates import DuplicateFinder
from tasks.core.rows.reasons import REJECTS_SCHEMA, Kind, Reason, rejects_table
from tasks.core.runs.manifest import Manifest, SnapshotRecord, read_manifest
from tasks.core.source import rebatch
from tasks.core.storage import Folder, Lake, TableWriter

SNAPSHOT = "snapshot.parquet"
RECORD = "snapshot.json"
_SCRATCH = "scratch"
_DUPLICATES_BYTES = 64 * 1024 * 1024  # Beyond it the hashes of keys wait on the disk.


def read_record(lake: Folder, workspace: str) -> SnapshotRecord | None:
    """The record of a complete snapshot, or None; LakeCorrupt where the file is not what the record says."""
    return read_beside(
        lake,
        f"{workspace}/{RECORD}",
        SnapshotRecord,
        wrong="is not the record of a snapshot",
        next_step=f"restore it from a backup, or remove {lake.address(workspace)} and score the window again",
    )


def required_record(lake: Folder, workspace: str) -> SnapshotRecord:
    """The record of a snapshot that must be complete by now."""
    record = read_record(lake, workspace)
    if record is None:
        refuse_pruned(lake, workspace)
        raise LakeCorrupt(
            f"{lake.address(workspace)} has no complete snapshot any more",
            next_step="score the window again, which pulls it",
        )
    return record


def refuse_pruned(lake: Folder, workspace: str) -> None:
    """SnapshotGone where the run's manifest says that retention took its rows."""
    key = f"{workspace}/manifest.json"
    if lake.exists(key):
        manifest = read_manifest(lake.read_bytes(key), where=lake.address(key))
        if manifest.pruned:
            raise gone(manifest)


def gone(manifest: Manifest) -> SnapshotGone:
    """Why the rows that a run pulled are not there: when retention took them, and by which policy."""
    window = f"{manifest.job} --as-of {manifest.as_of}"
    return SnapshotGone(
        f"the rows that run {manifest.run_id} of {manifest.job} {manifest.as_of} pulled are not kept any more: "
        f"{manifest.pruned[-1].sentence}",
        state="what readers see stands, and so does the manifest",
        next_step=f'lamplighter score {window} --rescore "why", which pulls the window from its source again',
    )


def check_bytes(lake: Folder, workspace: str, record: SnapshotRecord) -> None:
    """LakeCorrupt when the snapshot's bytes are not those of its record."""
    key = f"{workspace}/{SNAPSHOT}"
    if not lake.exists(key) or lake.sha256(key) != record.sha256:
        raise LakeCorrupt(
            f"{lake.address(key)} is not the file that was written: its SHA-256 differs from {record.sha256[:16]}...",
            state="nothing was scored from it, and what was published stands",
            next_step=f"remove {lake.address(workspace)} and score the window again, which pulls it anew",
        )


def batch_bounds(record: SnapshotRecord, batch: int) -> tuple[int, int]:
    """The first row of a batch and the row after its last."""
    first = batch * record.batch_rows
    return first, min(first + record.batch_rows, record.rows)


def read_batch(lake: Folder, workspace: str, batch: int, columns: Sequence[str] | None = None) -> pa.Table:
    with lake.parquet(f"{workspace}/{SNAPSHOT}") as file:
        return file.read_row_group(batch, columns=list(columns) if columns is not None else None)


def write_snapshot(
    lake: Lake,
    workspace: str,
    job: Job,
    window: Window,
    batches: Iterable[pa.RecordBatch],
    *,
    earlier_rejects: pa.Table | None = None,
    ignored_columns: tuple[str, ...] = (),
    tell: Callable[[int], None],
    now: Callable[[], dt.datetime],
    several: Callable[[], object] = lambda: None,
) -> tuple[SnapshotRecord, RowDigest, RowDigest]:
    """Writes the rows of a source as they come. Returns the record, and the digests of the keys: pulled, repeated.

    Beside the snapshot it leaves the rows that no later stage may score: those without a key, with an event time that
    is missing or not in the window, with a value that is not of its column's type (rejects.parquet), and those that
    repeat another row (duplicates.parquet). `several` is called when a batch is full: more may follow.
    """
    with contextlib.ExitStack() as stack:
        rows = stack.enter_context(lake.parquet_writer(f"{workspace}/{SNAPSHOT}", job.arrow_schema))
        taken = stack.enter_context(lake.parquet_writer(f"{workspace}/{rejects.PULLED}", REJECTS_SCHEMA))
        finder = stack.enter_context(DuplicateFinder(lake, f"{workspace}/{_SCRATCH}", memory_bytes=_DUPLICATES_BYTES))
        intake = _Intake(job, window, taken, finder, earlier_rejects)
        taken_in = map(intake.add, stack.enter_context(contextlib.closing(ahead(batches))))
        first = list(itertools.islice(filter(len, taken_in), 1))
        row_bytes = max(map(bytes_per_row, first), default=0)
        batch_rows = rows_in_batch(job.limits, row_bytes)
        whole = rebatch(itertools.chain(first, taken_in), batch_rows)
        for batch in stack.enter_context(contextlib.closing(ahead(whole))):
            if batch.num_rows == batch_rows:
                several()
            rows.write_table(pa.Table.from_batches([batch]), row_group_size=batch_rows)
            tell(batch.num_rows)
        repeated = intake.finish()
    with lake.parquet_writer(f"{workspace}/{rejects.DUPLICATES}", rejects.DUPLICATES_SCHEMA) as writer:
        writer.write_table(pa.table({"row": pa.array(repeated, pa.int64())}, schema=rejects.DUPLICATES_SCHEMA))
    record = SnapshotRecord(
        digest=intake.row_digest.hex,
        rows=intake.count,
        batches=-(-intake.count // batch_rows),
        batch_rows=batch_rows,
        bytes_per_row=row_bytes,
        bytes=lake.size_bytes(f"{workspace}/{SNAPSHOT}"),
        sha256=lake.sha256(f"{workspace}/{SNAPSHOT}"),
        complete_at=now().replace(microsecond=0),
        columns={field.name: type_name(field.type) for field in job.arrow_schema},
        ignored_columns=ignored_columns,
    )
    return record, intake.key_digest, keys_digest(lake, f"{workspace}/{SNAPSHOT}", job.keys, record, repeated)


def keys_digest(lake: Folder, key: str, names: Sequence[str], record: SnapshotRecord, rows: rejects.Rows) -> RowDigest:
    """The digest of the keys of some rows of a snapshot, given sorted; only the batches that hold any are read."""
    digest = RowDigest.empty()
    with lake.parquet(key) as file:
        for batch in np.unique(rows // record.batch_rows):
            first, end = batch_bounds(record, int(batch))
            here = rows[(rows >= first) & (rows < end)] - first
            table = file.read_row_group(int(batch), columns=list(names)).take(here)
            digest += RowDigest.of(hash_rows(table, names))
    return digest


class _Intake:
    """What is gathered while rows come in: they are brought to their types, hashed and checked."""

    def __init__(
        self, job: Job, window: Window, taken: TableWriter, finder: DuplicateFinder, unread_before: pa.Table | None
    ) -> None:
        self.count = 0
        self.row_digest = RowDigest.empty()
        self.key_digest = RowDigest.empty()
        self._job, self._window, self._taken, self._finder = job, window, taken, finder
        self._bounds = (window.start, window.end)
        self._unread_before = REJECTS_SCHEMA.empty_table() if unread_before is None else unread_before

    def add(self, found: pa.RecordBatch) -> pa.RecordBatch:
        """The batch in its declared types; what is wrong with its rows has been put aside."""
        batch, unconvertible = conform(found, self._job.arrow_schema, self.count, may_lack=self._job.may_lack)
        keyed = are_given(batch, self._job.keys)
        row_hashes, key_hashes = hash_rows(batch), hash_rows(batch, self._job.keys)
        self.row_digest += RowDigest.of(row_hashes)
        self.key_digest += RowDigest.of(key_hashes)
        self._reject_unread(rejects_table(unconvertible), row_hashes)
        self._reject_unread(self._known_of(batch.num_rows), row_hashes)
        self._finder.add(key_hashes, row_hashes, ~keyed)
        self.reject(self._without_key(keyed))
        if self._job.event_time:
            self.reject(self._outside(batch, self._job.event_time))
        self.count += batch.num_rows
        return batch

    def reject(self, records: pa.Table) -> None:
        if len(records):
            self._taken.write_table(records)

    def _reject_unread(self, records: pa.Table, row_hashes: Hashes) -> None:
        """Puts aside rows with values that could not be converted: null in the snapshot, so its digest says what they were.

        And so do their own hashes: such a row repeats neither one whose value is missing nor one with another bad value.
        """
        if not len(records):
            return
        told = hash_rows(records, ["reason"])
        self.row_digest += RowDigest.of(told)
        np.add.at(row_hashes, records["row"].to_numpy() - self.count, told)
        self.reject(records)

    def _known_of(self, rows: int) -> pa.Table:
        """What the kept snapshot's own record says of the next rows."""
        row = self._unread_before["row"].to_numpy()
        return self._unread_before.filter((row >= self.count) & (row < self.count + rows))

    def finish(self) -> rejects.Rows:
        """Puts aside the rows whose key has other values elsewhere; returns those that merely repeat another."""
        found = self._finder.finish()
        keys = ", ".join(self._job.keys)
        reason = Reason(
            "duplicate_key", "duplicate_key", keys, None, f"another row has the same {keys} and other values"
        )
        self.reject(_same_reason(found.conflicting, reason))
        return found.repeated

    def _without_key(self, keyed: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pa.Table:
        keys = ", ".join(self._job.keys)
        reason = Reason("null_key", "null_key", keys, None, f"a part of the key ({keys}) is missing")
        return _same_reason(np.flatnonzero(~keyed) + self.count, reason)

    def _outside(self, batch: pa.RecordBatch, event_time: str) -> pa.Table:
        column = batch[event_time]
        dated = column.is_valid().to_numpy(zero_copy_only=False)
        # Microseconds since the epoch on both sides; where there is none the value does not count.
        instants = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        start, end = (pa.scalar(bound, column.type).cast(pa.int64()).as_py() for bound in self._bounds)
        undated, outside = np.flatnonzero(~dated), np.flatnonzero(dated & ((instants < start) | (instants >= end)))
        return pa.concat_tables(
            [
                _same_reason(undated + self.count, _of_event_time("no_event_time", event_time, "is missing")),
                _same_reason(
                    outside + self.count,
                    _of_event_time("outside_window", event_time, f"is not in window {self._window.as_of}"),
                ),
            ]
        )


def _of_event_time(kind: Kind, column: str, what: str) -> Reason:
    return Reason(kind, kind, column, None, f"the event time {column} {what}")


def are_given(batch: pa.RecordBatch, names: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which rows have a value in every one of these columns."""
    given = np.ones(batch.num_rows, dtype=bool)
    for name in names:
        given &= batch[name].is_valid().to_numpy(zero_copy_only=False)
    return given


def _same_reason(rows: rejects.Rows, reason: Reason) -> pa.Table:
    values = {
        "row": pa.array(rows, pa.int64()),
        "reason": pa.repeat(pa.scalar(vars(reason), REJECTS_SCHEMA.field("reason").type), len(rows)),
    }
    return pa.table(values, schema=REJECTS_SCHEMA)
