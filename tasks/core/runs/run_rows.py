"""The table of all runs: one row a run that has come to a verdict, in a file of its own in the run's workspace.

    runs/<job>/as_of=.../<run_id>/run.parquet

All files have one schema, so that `read_parquet('lake/runs/*/*/*/run.parquet')` is one table, which joins predictions by
`run_id`. What becomes of a run later (replaced, withdrawn) is not in it: the row stays as it is.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core import layout
from tasks.core.rows.contract import INSTANT
from tasks.core.runs.manifest import Manifest
from tasks.core.storage import Lake

_DECIDED = ("concluded", "superseded", "withdrawing", "withdrawn")

_FIELDS: list[pa.Field[Any]] = [
    pa.field("run_id", pa.string()),
    pa.field("job", pa.string()),
    # The type in which pandas finds as_of in the path: as plain text the two could not be brought together.
    pa.field("as_of", pa.dictionary(pa.int32(), pa.string())),
    pa.field("window_start", INSTANT),
    pa.field("window_end", INSTANT),
    pa.field("verdict", pa.string()),
    pa.field("reasons", pa.string()),
    pa.field("rows_pulled", pa.int64()),
    pa.field("rows_scored", pa.int64()),
    pa.field("rows_quarantined", pa.int64()),
    pa.field("rows_duplicates", pa.int64()),
    pa.field("model_version", pa.string()),
    pa.field("model_digest", pa.string()),
    pa.field("snapshot_digest", pa.string()),
    pa.field("suite_digest", pa.string()),
    pa.field("code_version", pa.string()),
    pa.field("code_digest", pa.string()),
    pa.field("code_commit", pa.string()),
    pa.field("job_digest", pa.string()),
    pa.field("contract_version", pa.int64()),
    pa.field("shadow", pa.bool_()),
    pa.field("asked_by", pa.string()),
    pa.field("trigger", pa.string()),
    pa.field("trigger_reason", pa.string()),
    pa.field("flow_run_id", pa.string()),
    pa.field("replaces", pa.string()),
    pa.field("started_at", INSTANT),
    pa.field("finished_at", INSTANT),
    pa.field("seconds", pa.float64()),
    pa.field("peak_memory_bytes", pa.int64()),
]
SCHEMA = pa.schema(_FIELDS)


def keep_row(lake: Lake, workspace: str, manifest: Manifest) -> None:
    """Writes the row of a run that has come to a verdict into its workspace; nothing where it stands there already."""
    if not _has_row(workspace, manifest):
        return
    key, data = f"{workspace}/{layout.RUN_ROW}", _as_file(row_of(manifest))
    if not (lake.exists(key) and lake.read_bytes(key) == data):
        lake.write_bytes(key, data)


def row_of(manifest: Manifest) -> dict[str, Any]:
    """A run as a row: the figures of its manifest, under the names of SCHEMA."""
    rows, trigger, code = manifest.rows, manifest.trigger, manifest.code
    return {
        "run_id": manifest.run_id,
        "job": manifest.job,
        "as_of": manifest.as_of,
        "window_start": manifest.window.start,
        "window_end": manifest.window.end,
        "verdict": manifest.verdict,
        "reasons": "; ".join(manifest.reasons) or None,
        "rows_pulled": rows.pulled,
        "rows_scored": rows.scored,
        "rows_quarantined": rows.quarantined,
        "rows_duplicates": rows.duplicates,
        "model_version": f"{manifest.model.name}/{manifest.model.version:04d}",
        "model_digest": manifest.model.digest,
        "snapshot_digest": manifest.snapshot.digest if manifest.snapshot else None,
        "suite_digest": manifest.suite.digest if manifest.suite else None,
        "code_version": code.version,
        "code_digest": code.digest,
        "code_commit": code.commit,
        "job_digest": manifest.job_digest,
        "contract_version": manifest.contract_version,
        "shadow": manifest.shadow,
        "asked_by": trigger.actor or None,
        "trigger": trigger.kind,
        "trigger_reason": trigger.rescore_reason or trigger.reason,
        "flow_run_id": trigger.flow_run_id,
        "replaces": manifest.replaces,
        "started_at": manifest.started_at,
        "finished_at": manifest.finished_at,
        "seconds": _seconds(manifest),
        "peak_memory_bytes": manifest.peak_memory_bytes,
    }


def _has_row(workspace: str, manifest: Manifest) -> bool:
    """A dry run is no run; and a record that is kept elsewhere has its row in the workspace."""
    folder, _, name = workspace.rpartition("/")
    return (
        folder == layout.runs(manifest.job, manifest.as_of)
        and name == manifest.run_id
        and manifest.verdict is not None
        and manifest.state in _DECIDED
    )


def _seconds(manifest: Manifest) -> float | None:
    if manifest.finished_at is None:
        return None
    return (manifest.finished_at - manifest.started_at).total_seconds()


def _as_file(row: dict[str, Any]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_pylist([row], schema=SCHEMA),
        sink,
        compression="zstd",
        version="2.6",
        store_schema=True,
        write_page_checksum=True,
    )
    return bytes(sink.getvalue())
