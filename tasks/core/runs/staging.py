"""Stages what a run will publish: one file a table, made from the checkpoints, and proven to hold every row."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from tasks.core import layout
from tasks.core.ahead import ahead
from tasks.core.errors import NotConserved
from tasks.core.rows import contract, rejects
from tasks.core.rows.digest import RowDigest, hash_rows
from tasks.core.rows.snapshot import batch_bounds, read_batch, required_record
from tasks.core.runs.manifest import FileRecord, KeyDigests, Manifest, RowCounts
from tasks.core.runs.publication import staged
from tasks.core.runs.run import Run
from tasks.core.runs.showing import table_of
from tasks.core.storage import Lake


def stage_predictions(run: Run, manifest: Manifest) -> FileRecord:
    """The checkpoints, in the order of the batches, as one file; its metadata explains it without the manifest."""
    key = _staged_key(run, layout.PREDICTIONS)
    schema = contract.predictions_schema(run.job)
    batches = required_record(run.lake, run.workspace).batches
    with (
        run.lake.parquet_writer(
            key, schema, metadata=file_metadata(manifest), repeating=contract.repeating_columns(run.job)
        ) as writer,
        contextlib.closing(ahead(_checkpoints(run, batches))) as tables,
    ):
        for table in tables:
            writer.write_table(table)
    return _file_record(run.lake, key, layout.PREDICTIONS, run)


def _checkpoints(run: Run, batches: int) -> Iterator[pa.Table]:
    for batch in range(batches):
        with run.lake.parquet(run.key(layout.checkpoint(batch))) as file:
            yield file.read()


def stage_quarantine(run: Run, manifest: Manifest) -> FileRecord:
    """Every row that was taken out and is no repetition: as it was pulled, with all its reasons."""
    key = _staged_key(run, layout.QUARANTINE)
    schema = contract.quarantine_schema(run.job)
    record = required_record(run.lake, run.workspace)
    with run.lake.parquet_writer(key, schema, metadata=file_metadata(manifest)) as writer:
        for batch in range(record.batches):
            taken = rejects.read_taken_out(run.lake, run.workspace, batch, batch_bounds(record, batch))
            rows = taken.quarantined
            if len(rows):
                pulled = read_batch(run.lake, run.workspace, batch).take(rows - taken.first)
                writer.write_table(_quarantined(run, schema, pulled, taken.reasons_by_row()))
    return _file_record(run.lake, key, layout.QUARANTINE, run)


def stage_metrics(run: Run, manifest: Manifest, rows: list[tuple[str, str, float]]) -> FileRecord:
    """The run's figures, long: metric, what it is of, and its value."""
    key = _staged_key(run, layout.METRICS)
    table = pa.table(
        {
            "window_start": pa.repeat(pa.scalar(run.window.start, contract.INSTANT), len(rows)),
            "metric": pa.array([metric for metric, _, _ in rows], pa.string()),
            "subject": pa.array([subject for _, subject, _ in rows], pa.string()),
            "value": pa.array([value for _, _, value in rows], pa.float64()),
            "model_version": pa.repeat(pa.scalar(run.model.label), len(rows)),
            "run_id": pa.repeat(pa.scalar(run.run_id), len(rows)),
        },
        schema=contract.METRICS_SCHEMA,
    )
    with run.lake.parquet_writer(key, contract.METRICS_SCHEMA, metadata=file_metadata(manifest)) as writer:
        writer.write_table(table)
    return _file_record(run.lake, key, layout.METRICS, run)


def prove_conservation(run: Run, manifest: Manifest) -> tuple[RowCounts, KeyDigests]:
    """Counts and key digests from the staged files themselves. NotConserved when they do not add up to what was pulled.

    keys pulled = keys scored + keys quarantined + exact duplicates, as counts and as an order-independent digest.
    """
    if manifest.key_digests is None:
        raise NotConserved(f"the keys that were pulled for {run.name} were not counted", state="nothing was published")
    scored = _keys_of(run, layout.PREDICTIONS)
    quarantined = _keys_of(run, layout.QUARANTINE)
    pulled = RowDigest.from_hex(manifest.rows.pulled, manifest.key_digests.pulled)
    duplicates = RowDigest.from_hex(manifest.rows.duplicates, manifest.key_digests.duplicates)
    accounted = scored + quarantined + duplicates
    if accounted != pulled:
        raise NotConserved(
            f"rows of {run.name} are unaccounted for: pulled {pulled.count:,}, but scored {scored.count:,} + quarantined "
            f"{quarantined.count:,} + duplicates {duplicates.count:,} = {accounted.count:,} (key digests {pulled.hex} "
            f"and {accounted.hex})",
            state=f"nothing was published; the workspace {run.lake.address(run.workspace)} holds all that was done",
            next_step="report this: it is a fault of Lamplighter or of the disk; then remove the workspace and run it again",
        )
    return (
        RowCounts(pulled=pulled.count, scored=scored.count, quarantined=quarantined.count, duplicates=duplicates.count),
        KeyDigests(pulled=pulled.hex, scored=scored.hex, quarantined=quarantined.hex, duplicates=duplicates.hex),
    )


def file_metadata(manifest: Manifest) -> dict[str, str]:
    """The key-value metadata of every published file: enough to find and to check its manifest."""
    says: dict[str, Any] = {
        "job": manifest.job,
        "as_of": manifest.as_of,
        "run_id": manifest.run_id,
        "plan_key": manifest.plan_key,
        "contract_version": manifest.contract_version,
        "model": f"{manifest.model.name}/{manifest.model.version:04d}",
        "model_digest": manifest.model.digest,
        "snapshot_digest": manifest.snapshot.digest if manifest.snapshot else None,
        "suite_digest": manifest.suite.digest if manifest.suite else None,
        "output_suite_digest": manifest.output_suite.digest if manifest.output_suite else None,
        "code_digest": manifest.code.digest,
        "code_version": manifest.code.version,
    }
    if manifest.shadow:
        says |= {"shadow": True}
    if manifest.accepted:
        says |= {"accepted": [{"gate": one.gate, "reason": one.reason, "by": one.by} for one in manifest.accepted]}
    return {"lamplighter": json.dumps(says, sort_keys=True)}


def _quarantined(run: Run, schema: pa.Schema, pulled: pa.Table, reasons: pa.ListArray[Any]) -> pa.Table:
    count = len(pulled)
    return pa.table(
        [
            *(pulled[name] for name in run.job.columns),
            pa.repeat(pa.scalar(run.window.start, contract.INSTANT), count),
            pa.repeat(pa.scalar(run.run_id), count),
            reasons,
        ],
        schema=schema,
    )


def _keys_of(run: Run, table: str) -> RowDigest:
    digest = RowDigest.empty()
    with run.lake.parquet(_staged_key(run, table)) as file:
        found = file.iter_batches(columns=list(run.job.keys), batch_size=run.job.rows_at_once)
        with contextlib.closing(ahead(found)) as batches:
            for batch in batches:
                digest += RowDigest.of(hash_rows(batch, run.job.keys))
    return digest


def _staged_key(run: Run, table: str) -> str:
    return f"{staged(run.workspace, table)}/{layout.part(run.run_id)}"


def _file_record(lake: Lake, key: str, table: str, run: Run) -> FileRecord:
    with lake.parquet(key) as file:
        rows = file.metadata.num_rows
    place = table_of(table, shadow=run.job.output.shadow)
    folder = run.key(table) if run.is_dry_run else layout.partition(place, run.job.job, run.window.as_of)
    return FileRecord(
        key=f"{folder}/{layout.part(run.run_id)}", rows=rows, bytes=lake.size_bytes(key), sha256=lake.sha256(key)
    )
