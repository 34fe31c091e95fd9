"""Pull: the window's rows, from the source into an immutable snapshot. Everything after it reads the snapshot."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from tasks.core import layout, logs, progress
from tasks.core.children import warm_up
from tasks.core.definitions import schema_changes
from tasks.core.definitions.schema_changes import SourceColumns
from tasks.core.errors import SchemaBlocked, WindowBlocked, WindowFinished
from tasks.core.logs import log
from tasks.core.rows import rejects, snapshot
from tasks.core.rows.reasons import REJECTS_SCHEMA
from tasks.core.runs import partitions
from tasks.core.runs.compared import are_same, changes_since, note_looked_at
from tasks.core.runs.manifest import KeyDigests, Manifest, RowCounts, SchemaChangeRecord, SnapshotRecord
from tasks.core.runs.publication import is_visible
from tasks.core.runs.retained import retained_snapshot, why_pruned
from tasks.core.runs.run import (
    Run,
    has_manifest,
    manifest_of,
    published_before,
    published_manifest,
    record,
    record_timing,
    run_id_of,
    write_manifest,
)
from tasks.core.runs.seal import seal_of
from tasks.core.runs.showing import partition_of
from tasks.core.source import open_window, retry
from tasks.secrets import secret_address
from tasks.stage import Stage

STAGE = "pull"


def pull_window(run: Run) -> Run:
    """Writes the snapshot, unless the run's workspace holds it already. Returns the run under its final name."""
    found = snapshot.read_record(run.lake, run.workspace)
    if found is not None:
        snapshot.check_bytes(run.lake, run.workspace, found)
    else:
        found = _pull_timed(run)
    seen = published_manifest(run.lake, run.job.job, run.window.as_of)
    if seen is not None:
        _refuse_unchanged(run, found, seen)
    named = _under_final_name(run, found)
    logs.know(run_id=named.run_id)
    _record_changes(named, found, seen)
    _refuse_changes(named)
    _refuse_empty(named, found)
    return named


def _pull_timed(run: Run) -> SnapshotRecord:
    started = time.monotonic()
    # A stream that breaks cannot be resumed: the pull begins again, in a transaction of its own.
    written = retry(lambda: _pull_once(run), run.job.source.retries)
    progress.end(run.name, STAGE)
    record_timing(run, STAGE, time.monotonic() - started, written.rows)
    # From here on the snapshot is complete: a run that is killed later does not pull again.
    run.lake.write_bytes(run.key(snapshot.RECORD), written.model_dump_json(indent=2).encode())
    return written


def _pull_once(run: Run) -> SnapshotRecord:
    columns = SourceColumns(types_values=getattr(run.job.source, "driver", None) == "sqlite")
    with _showing_difference(run, columns), _batches(run, columns) as (batches, earlier, ignored):
        written, pulled, duplicates = snapshot.write_snapshot(
            run.lake,
            run.workspace,
            run.job,
            run.window,
            batches,
            earlier_rejects=earlier,
            ignored_columns=ignored,
            tell=lambda rows: progress.advance(run.name, STAGE, rows, None),
            several=warm_up,
            now=lambda: dt.datetime.now(dt.UTC),
        )
    written = written.model_copy(update={"source_columns": columns.types})
    record(
        run,
        snapshot=written,
        schema_changes=_changes(run, columns.types)[0],
        rows=RowCounts(pulled=written.rows, duplicates=duplicates.count),
        key_digests=KeyDigests(pulled=pulled.hex, duplicates=duplicates.hex, scored="", quarantined=""),
    )
    return written


@contextlib.contextmanager
def _batches(
    run: Run, columns: SourceColumns
) -> Iterator[tuple[Iterator[pa.RecordBatch], pa.Table | None, tuple[str, ...]]]:
    """The window's rows: from the source, or from a retained snapshot where one was asked for or the source has forgotten."""
    retained = retained_snapshot(run)
    if retained is not None:
        workspace, found = retained
        snapshot.check_bytes(run.lake, workspace, found)
        _record_origin(run, workspace)
        columns.recall(found.source_columns)
        with run.lake.parquet(f"{workspace}/{snapshot.SNAPSHOT}") as file:
            earlier = rejects.read_between(
                run.lake, f"{workspace}/{rejects.PULLED}", 0, file.metadata.num_rows, REJECTS_SCHEMA
            )
            # What could not be converted is null in the snapshot: only the earlier record still knows it.
            kept = [reason["kind"] == "not_convertible" for reason in earlier["reason"].to_pylist() if reason]
            yield file.iter_batches(run.job.rows_at_once), earlier.filter(np.array(kept, dtype=bool)), ()
        return
    _say_pruned(run)
    with open_window(run.definition, run.window, project=run.project, read_block=secret_address) as stream:
        columns.begin(stream.names)
        yield columns.watch(stream), None, stream.extra
        columns.know(stream.names)


@contextlib.contextmanager
def _showing_difference(run: Run, columns: SourceColumns) -> Iterator[None]:
    """Adds to a SchemaBlocked of the block how the source differs from that of the last published window."""
    try:
        yield
    except SchemaBlocked as error:
        if error.found:
            columns.begin(error.found)
        changes, last = _changes(run, columns.types)
        record(run, schema_changes=changes)
        if last is not None and changes:
            error.failed += f"; {schema_changes.difference(changes, last)}"
        raise


def _changes(run: Run, found: dict[str, str]) -> tuple[tuple[SchemaChangeRecord, ...], str | None]:
    """What differs from the last window published before this one; and which window that is."""
    before, last = _last_known(run)
    return schema_changes.compare(before, found, run.job.schema_changes, list(run.job.columns)), last


def _last_known(run: Run) -> tuple[dict[str, str], str | None]:
    """The source's columns as the last window before this one had them that is published and knows them."""
    for manifest in published_before(run.lake, run.job.job, run.window.as_of):
        if manifest.snapshot and manifest.snapshot.source_columns:
            return manifest.snapshot.source_columns, manifest.as_of
    return {}, None


def _say_pruned(run: Run) -> None:
    """Whoever asked for the kept snapshot is to know that it is the source which is read."""
    if manifest_of(run).trigger.from_snapshot and (why := why_pruned(run)):
        log.warning("%s is pulled from its source: %s", run.name, why)


def _record_origin(run: Run, workspace: str) -> None:
    trigger = manifest_of(run).trigger
    record(run, trigger=trigger.model_copy(update={"snapshot_of": workspace.rpartition("/")[2]}))


def _under_final_name(run: Run, written: SnapshotRecord) -> Run:
    """Renames the workspace from its plan to its run id.

    Where the same plan has met the same rows before, that workspace is taken up again: its result is this one's.
    """
    run_id = run_id_of(run.plan_key, written.digest, manifest_of(run).trigger.accept)
    named = run.under(f"{run.folder}/{run_id}")
    if named.workspace == run.workspace:
        return run
    if _is_as_it_was_left(named) or _stands_without_snapshot(named):
        return _taken_up(run, named)
    if _is_name_taken(run, run_id, written):
        accepted = manifest_of(run).trigger.accept
        run_id = run_id_of(run.plan_key, written.digest, accepted, again=written.complete_at)
        named = run.under(f"{run.folder}/{run_id}")
        if named.workspace == run.workspace:
            return run
    record(run, run_id=run_id)
    run.lake.remove(named.workspace)
    run.lake.rename(run.workspace, named.workspace)
    return named


def _is_name_taken(run: Run, run_id: str, written: SnapshotRecord) -> bool:
    """Whether readers of a Delta table may open the file that a run of this name wrote: other bytes need another name."""
    partition = partition_of(manifest_of(run), layout.PREDICTIONS)
    return partitions.keeps_name(run.lake, partition, layout.part(run_id), now=written.complete_at)


def _is_as_it_was_left(named: Run) -> bool:
    """Whether the earlier workspace can be taken up: its snapshot by its bytes, its record by its seal.

    What was damaged or edited there gives way to what was pulled now: nothing is scored from it.
    """
    found = snapshot.read_record(named.lake, named.workspace)
    if found is None or not has_manifest(named.lake, named.workspace):
        return False
    key, record = named.key(snapshot.SNAPSHOT), named.lake.read_bytes(named.key("manifest.json"))
    is_same = named.lake.exists(key) and named.lake.sha256(key) == found.sha256
    return is_same and not seal_of(record).is_broken


def _stands_without_snapshot(named: Run) -> bool:
    """Whether readers see what this run published, though retention took its snapshot: its record must not go as well."""
    if not has_manifest(named.lake, named.workspace):
        return False
    earlier = manifest_of(named)
    return bool(earlier.pruned) and earlier.is_published and is_visible(named.lake, earlier, layout.PREDICTIONS)


def _taken_up(run: Run, named: Run) -> Run:
    """The earlier workspace of the same run id, unless what it published stands as it should: then all is done."""
    fresh, earlier = manifest_of(run), manifest_of(named)
    run.lake.remove(run.workspace)
    tables = (layout.PREDICTIONS,) if earlier.pruned else layout.TABLES
    if earlier.is_published and all(is_visible(run.lake, earlier, table) for table in tables):
        raise WindowFinished(
            f"{run.name} was pulled again: the same {earlier.rows.pulled:,} rows, for the same model and code",
            state=f"what run {earlier.run_id} published is what this run would write, and stands",
        )
    again = earlier.begun_again(trigger=fresh.trigger, started_at=run.started_at, superseded_by=None)
    write_manifest(named.lake, named.workspace, again)
    if earlier.snapshot and fresh.snapshot:
        # The rows are the same; what the source calls their types may have changed.
        as_found = earlier.snapshot.model_copy(update={"source_columns": fresh.snapshot.source_columns})
        record(named, snapshot=as_found, schema_changes=fresh.schema_changes)
    return named


def _refuse_unchanged(run: Run, found: SnapshotRecord, seen: Manifest) -> None:
    """WindowFinished where the run is for changed rows only, and these are what readers see; nothing is left of it."""
    trigger = manifest_of(run).trigger
    if not trigger.only_if_changed or not are_same(found, seen):
        return
    run.lake.remove(run.workspace)
    if not (run.is_dry_run or trigger.snapshot_of):
        note_looked_at(run.lake, seen, found.complete_at)
    raise WindowFinished(
        f"the source of {run.name} has not changed: its {found.rows:,} rows are those that readers see",
        state=f"what run {seen.run_id} published stands",
    )


def _record_changes(run: Run, found: SnapshotRecord, seen: Manifest | None) -> None:
    """What differs from the rows that readers see, and that this run is to replace."""
    changes = changes_since(run, found, seen) if seen and seen.run_id != run.run_id else None
    if changes != manifest_of(run).changes:
        record(run, changes=changes)


def _refuse_changes(run: Run) -> None:
    """SchemaBlocked where the job blocks a change of the source's columns; the snapshot is kept."""
    manifest = manifest_of(run)
    schema_changes.refuse(manifest.schema_changes, run.name, _last_known(run)[1])


def _refuse_empty(run: Run, written: SnapshotRecord) -> None:
    if written.rows == 0 and run.job.on_empty == "block":
        raise WindowBlocked(
            f"the source has no rows for {run.name} ({run.window.start:%Y-%m-%d %H:%M} to {run.window.end:%Y-%m-%d %H:%M} UTC)",
            state="nothing was published",
            next_step="find out whether the feed is late; if a window without rows is right, set on_empty: publish",
        )


pull = Stage("Pull the window", pull_window)
