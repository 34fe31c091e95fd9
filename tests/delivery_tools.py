"""What the tests of deliveries share: published windows, made without a run."""

import contextlib
import datetime as dt
import hashlib
import itertools

import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.rows.contract import predictions_schema
from tasks.core.runs.manifest import CodeRecord, FileRecord, Manifest, ModelRecord, RowCounts, WindowRecord
from tasks.core.runs.run import write_manifest
from tasks.core.storage import Lake

NOON = dt.datetime(2024, 6, 1, 12, tzinfo=dt.UTC)


_numbers = itertools.count(1)


@contextlib.contextmanager
def a_schema(postgresql, monkeypatch):
    """A schema that nobody else has, for as long as the block lasts; TARGET_URI is the server."""
    name = f"delivery_{next(_numbers)}"
    postgresql.execute(f"CREATE SCHEMA {name}")
    monkeypatch.setenv("TARGET_URI", postgresql.uri)
    try:
        yield name
    finally:
        postgresql.execute(f"DROP SCHEMA {name} CASCADE")


def a_job(table="scores", name="churn", *, columns=None, pass_through=(), output=None, **sql):
    """A job of customers, by day, whose rows go to a table too; the address is in TARGET_URI."""
    return Job.model_validate(
        {
            "job": name,
            "window": {"kind": "snapshot", "every": "1d"},
            "source": {"type": "files", "path": "data"},
            "keys": ["customer"],
            "columns": {"customer": "int64", **(columns or {})},
            "model": {"name": "churn"},
            "output": {
                "columns": {"probability": {"method": "predict_proba", "class": 1}},
                "pass_through": list(pass_through),
                "sql": {"table": table, "uri_env": "TARGET_URI", **sql},
                **(output or {}),
            },
        }
    )


def rows_of(job: Job, run_id: str, count: int, score: float = 0.5, **columns) -> pa.Table:
    """Rows as a run writes them: customers from 0 on, all with this score."""
    day = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
    schema = predictions_schema(job)
    given = {
        "customer": range(count),
        "window_start": [day] * count,
        "probability": [score] * count,
        "model_version": ["churn/0001"] * count,
        "run_id": [run_id] * count,
        "scored_at": [NOON] * count,
        **columns,
    }
    return pa.table([pa.array(list(given[name]), schema.field(name).type) for name in schema.names], schema=schema)


def publish(lake: Lake, job: Job, as_of: str, run_id: str, rows: pa.Table | int, score: float = 0.5) -> Manifest:
    """What readers see of a window is this run's file from now on, with the run's manifest."""
    table = rows_of(job, run_id, rows, score) if isinstance(rows, int) else rows
    folder = layout.partition(layout.PREDICTIONS, job.job, as_of)
    if lake.exists(folder):
        lake.remove(folder)
    key = f"{folder}/{layout.part(run_id)}"
    with lake.parquet_writer(key, table.schema) as writer:
        writer.write_table(table, 64)
    file = FileRecord(key=key, rows=len(table), bytes=lake.size_bytes(key), sha256=lake.sha256(key))
    digest = hashlib.sha256(run_id.encode()).hexdigest()
    manifest = Manifest(
        job=job.job,
        as_of=as_of,
        run_id=run_id,
        plan_key=digest,
        job_digest=digest,
        window=WindowRecord(kind="snapshot", start=NOON, end=NOON, timezone="UTC"),
        state="concluded",
        verdict="published",
        rows=RowCounts(pulled=len(table), scored=len(table)),
        model=ModelRecord(name="churn", version=1, digest=digest, alias="production", format="joblib"),
        code=CodeRecord(version="1", commit=None, dirty=None, digest=digest),
        environment={},
        files={layout.PREDICTIONS: file},
        started_at=NOON,
        finished_at=NOON,
    )
    write_manifest(lake, layout.workspace(job.job, as_of, run_id), manifest)
    return manifest


def withdraw(lake: Lake, job: Job, as_of: str) -> None:
    """Readers see nothing of the window any more."""
    lake.remove(layout.partition(layout.PREDICTIONS, job.job, as_of))
