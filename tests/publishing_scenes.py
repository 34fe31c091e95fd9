"""A run of which all batches are scored, as it stands before it is published: five rows in batches of two, and no model.

Row 1 (b) was taken out by two stages, row 3 repeats row 2 (c); so a, c and d are scored.
"""

import datetime as dt
import hashlib
from types import SimpleNamespace

import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Definition
from tasks.core.definitions.window import Window
from tasks.core.models.model_version import Event
from tasks.core.rows import contract, rejects, snapshot
from tasks.core.rows.digest import RowDigest, hash_rows
from tasks.core.rows.reasons import Reason, rejects_table
from tasks.core.runs.manifest import (
    CodeRecord,
    KeyDigests,
    Manifest,
    ModelRecord,
    RowCounts,
    SnapshotRecord,
    WindowRecord,
)
from tasks.core.runs.run import Run, write_manifest
from tasks.core.storage import Lake

JOB, DAY, RUN_ID = "readings", "2024-05-01", "plan-rows"
START = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
SENSORS, XS = ["a", "b", "c", "c", "d"], [1.0, 2.0, 3.0, 3.0, 5.0]
SCORED = [[0], [2], [4]]  # By batch.
UNREADABLE = Reason("not_convertible", "float64", "x", "2,0", "x is '2,0', which is no number")
TOO_HIGH = Reason("expectation", "expect_column_values_to_be_between", "x", "2.0", "x is 2.0")


def job(**changes) -> Job:
    values = {
        "job": JOB,
        "window": {"kind": "interval"},
        "source": {"type": "files", "path": "data"},
        "keys": ["sensor"],
        "event_time": "at",
        "columns": {"sensor": "string", "at": "timestamp", "x": "float64"},
        "model": {"name": JOB},
        "output": {"columns": {"p": {"type": "float64"}}},
        "limits": {"batch_rows": 2},
    }
    return Job.model_validate(values | changes)


def keys(*sensors: str) -> RowDigest:
    return RowDigest.of(hash_rows(pa.table({"sensor": pa.array(sensors, pa.string())})))


def scored_run(lake: Lake, *, folder: str = layout.runs(JOB, DAY), **changes) -> Run:
    """The run, its workspace written; `changes` are of the job."""
    definition = Definition(job(**changes), None, None, None)
    model = SimpleNamespace(name=JOB, version=1, label=f"{JOB}/0001", digest="m")
    window = Window(DAY, START, START + dt.timedelta(days=1))
    workspace = f"{folder}/{RUN_ID}"
    run = Run(
        lake,
        lake,
        definition,
        window,
        model,
        plan_key="plan",
        workspace=workspace,
        started_at=START + dt.timedelta(days=1),
    )
    _write_snapshot(run)
    _write_checkpoints(run)
    write_manifest(lake, workspace, _manifest(run))
    return run


def recall_event(version: int) -> Event:
    at = START + dt.timedelta(days=2)
    return Event(sequence=1, action="recall", version=version, at=at, actor="ann", reason="it learnt from the future")


def _write_snapshot(run: Run) -> None:
    pulled = pa.table([SENSORS, [START] * 5, XS], schema=run.job.arrow_schema)
    with run.lake.parquet_writer(run.key(snapshot.SNAPSHOT), pulled.schema) as writer:
        writer.write_table(pulled, row_group_size=2)
    record = SnapshotRecord(
        digest="s",
        rows=5,
        batches=3,
        batch_rows=2,
        bytes=1,
        sha256=run.lake.sha256(run.key(snapshot.SNAPSHOT)),
        complete_at=START,
        columns={},
    )
    run.lake.write_bytes(run.key(snapshot.RECORD), record.model_dump_json().encode())
    rejects.write_rejects(run.lake, run.key(rejects.PULLED), rejects_table([(1, UNREADABLE)]))
    rejects.write_rejects(run.lake, run.key(rejects.validated(0)), rejects_table([(1, TOO_HIGH)]))
    with run.lake.parquet_writer(run.key(rejects.DUPLICATES), rejects.DUPLICATES_SCHEMA) as writer:
        writer.write_table(pa.table({"row": [3]}, schema=rejects.DUPLICATES_SCHEMA))


def _write_checkpoints(run: Run) -> None:
    schema = contract.predictions_schema(run.job)
    for batch, rows in enumerate(SCORED):
        count = len(rows)
        columns = {
            "sensor": [SENSORS[row] for row in rows],
            "at": [START] * count,
            "window_start": [START] * count,
            "p": [XS[row] / 10 for row in rows],
            "model_version": [run.model.label] * count,
            "run_id": [RUN_ID] * count,
            "scored_at": [START] * count,
        }
        with run.lake.parquet_writer(run.key(layout.checkpoint(batch)), schema) as writer:
            writer.write_table(pa.table(columns, schema=schema))


def _manifest(run: Run) -> Manifest:
    return Manifest(
        job=JOB,
        as_of=DAY,
        run_id=RUN_ID,
        plan_key="plan",
        job_digest="j",
        window=WindowRecord(kind="interval", start=run.window.start, end=run.window.end, timezone="UTC"),
        model=ModelRecord(name=JOB, version=1, digest="m", alias="production", format="joblib"),
        code=CodeRecord(version="0", commit=None, dirty=None, digest="c"),
        environment={},
        started_at=run.started_at,
        shadow=run.job.output.shadow,
        snapshot=SnapshotRecord.model_validate_json(run.lake.read_bytes(run.key(snapshot.RECORD))),
        rows=RowCounts(pulled=5, duplicates=1),
        key_digests=KeyDigests(pulled=keys(*SENSORS).hex, duplicates=keys("c").hex, scored="", quarantined=""),
    )


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
