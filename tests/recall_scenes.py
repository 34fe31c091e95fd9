"""Lakes in which versions of a model have published windows, for the tests of what recalls them: small, and without any model."""

import datetime as dt
import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core import layout
from tasks.core.models.registry import Registry
from tasks.core.runs.manifest import (
    CodeRecord,
    FileRecord,
    Manifest,
    ModelRecord,
    RowCounts,
    SnapshotRecord,
    StageTiming,
    WindowRecord,
)
from tasks.core.runs.publication import publish_staged, staged
from tasks.core.runs.recalling.recalls import Order
from tasks.core.runs.run import write_manifest
from tasks.core.storage import Lake
from tests import delta_scenes

MODEL, JOB, DAY = "late", "late", "2013-07-01"
MIDNIGHT = dt.datetime(2013, 7, 2, tzinfo=dt.UTC)
SNAPSHOT_BYTES, SECONDS = 1000, 2.5


def add_versions(lake: Lake, count: int, model: str = MODEL) -> None:
    """Versions that can be recalled, and nothing else: there is no model in them."""
    for number in range(1, count + 1):
        lake.write_bytes(f"models/{model}/versions/{number:04d}/manifest.json", b"{}\n")


def set_alias(lake: Lake, version: int, alias: str = "production", model: str = MODEL, **parts) -> None:
    """As the registry does it, without looking at the version's files."""
    Registry(lake)._append(
        model,
        lambda _: {"action": "set_alias", "alias": alias, "version": version},
        at=MIDNIGHT,
        actor="ann",
        reason="better",
        **parts,
    )


def order(version: int, **changes) -> Order:
    values = {"model": MODEL, "version": version, "reason": "it learnt from the future", "by": "ann"}
    return Order(**{**values, "at": MIDNIGHT + dt.timedelta(days=9), **changes})


def publish(
    lake: Lake, run_id: str, version: int, *, rows: int = 3, day: str = DAY, job: str = JOB, hour: int = 0, **changes
) -> Manifest:
    """A run of a version publishes a window, over whatever stands there; in each row x is the number of the version."""
    intent = stage(lake, run_id, version, rows=rows, day=day, job=job, hour=hour).but(**changes)
    at = MIDNIGHT + dt.timedelta(hours=hour + 1)
    return publish_staged(lake, layout.workspace(job, day, run_id), intent, finished_at=at)


def stage(
    lake: Lake, run_id: str, version: int, *, rows: int = 3, day: str = DAY, job: str = JOB, hour: int = 0
) -> Manifest:
    """A workspace as it stands before it is published, and its manifest."""
    workspace, name = layout.workspace(job, day, run_id), layout.part(run_id)
    lake.write_bytes(f"{workspace}/snapshot.parquet", b"s" * SNAPSHOT_BYTES)
    files = {}
    for table in layout.TABLES:
        key = f"{staged(workspace, table)}/{name}"
        write_part(lake, key, version, rows)
        data = lake.read_bytes(key)
        files[table] = FileRecord(
            key=f"{layout.partition(table, job, day)}/{name}",
            rows=rows,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
    manifest = Manifest(
        job=job,
        as_of=day,
        run_id=run_id,
        plan_key="p",
        job_digest="j",
        window=WindowRecord(kind="interval", start=MIDNIGHT, end=MIDNIGHT, timezone="UTC"),
        rows=RowCounts(pulled=rows, scored=rows),
        snapshot=SnapshotRecord(
            digest="d",
            rows=rows,
            batches=1,
            batch_rows=rows,
            bytes=SNAPSHOT_BYTES,
            sha256="s",
            complete_at=MIDNIGHT,
            columns={},
        ),
        model=ModelRecord(name=MODEL, version=version, digest="m", alias="production", format="joblib"),
        code=CodeRecord(version="0", commit=None, dirty=None, digest="c"),
        environment={},
        timings=(StageTiming(stage="score", seconds=SECONDS),),
        started_at=MIDNIGHT + dt.timedelta(hours=hour),
        verdict="published",
        files=files,
    )
    write_manifest(lake, workspace, manifest.but(verdict=None, files={}))
    return manifest


def challenge(lake: Lake, run_id: str, version: int, *, rows: int = 3, day: str = DAY, job: str = JOB) -> str:
    """The rows of a run as a challenger scored them."""
    key = f"{layout.partition(layout.CHALLENGERS, job, day)}/{layout.challenger_part(run_id, version)}"
    write_part(lake, key, version, rows)
    return key


def write_part(lake: Lake, key: str, version: int, rows: int) -> None:
    table = pa.table({"x": pa.array([version] * rows, pa.int64())})
    says = {"lamplighter": json.dumps({"model": f"{MODEL}/{version:04d}"})}
    with lake.parquet_writer(key, table.schema, metadata=says) as writer:
        writer.write_table(table, row_group_size=10)


def seen(lake: Lake, table: str = layout.PREDICTIONS) -> list[int]:
    """The versions in what a reader's glob finds, a row each: by pyarrow alone, from the folder itself."""
    files = (path for job in lake.names(table) for path in delta_scenes.files(lake.root, f"{table}/{job}"))
    return sorted(version for path in files for version in pq.read_table(path, partitioning=None)["x"].to_pylist())


def withdrawn(lake: Lake, table: str = layout.PREDICTIONS) -> list[int]:
    """The versions in what recalls took out of a table, a row each."""
    return sorted(
        version
        for path in sorted((lake.root / "withdrawn").rglob(f"{table}/**/*.parquet"))
        for version in pq.read_table(path, partitioning=None)["x"].to_pylist()
    )
