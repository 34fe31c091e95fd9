"""Many hourly windows of one job, published through the real foundations without any model; and how often the lake is asked."""

import contextlib
import datetime as dt
import hashlib
import json
from collections import Counter

import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.rows import contract, rejects, snapshot
from tasks.core.rows.reasons import REJECTS_SCHEMA
from tasks.core.runs.manifest import FileRecord, Interval, ModelRecord, PredictionSummary, RowCounts, WindowRecord
from tasks.core.runs.publication import publish_staged, staged
from tasks.core.runs.run import write_manifest
from tasks.core.storage import Folder, Lake
from tests import page_samples as samples

FIRST = dt.datetime(2023, 5, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
# All doors of the lake but the locks: a lock is taken for as long as something is waited for.
_ASKED = (
    "exists", "names", "folder_marks", "files", "size_bytes", "read_bytes", "sha256", "is_locked", "parquet",
    "write_bytes", "append", "create", "parquet_writer", "rename", "swap", "remove",
)  # fmt: skip
_KEYS = 40  # The same sensors each hour.


def label(number: int) -> str:
    return f"{FIRST + number * HOUR:%Y-%m-%dT%H%MZ}"


def publish_hours(lake: Lake, job: Job, numbers: range) -> None:
    for number in numbers:
        publish_hour(lake, job, number)


def publish_hour(lake: Lake, job: Job, number: int) -> None:
    """A window with all the files that a whole run leaves, two rows in predictions, and a manifest of the usual length."""
    start, as_of, run_id = FIRST + number * HOUR, label(number), f"{number:016x}-{number:016x}"
    workspace = layout.workspace(job.job, as_of, run_id)
    rows = _rows(job, start, run_id, number)
    tables = {
        layout.PREDICTIONS: rows,
        layout.QUARANTINE: contract.quarantine_schema(job).empty_table(),
        layout.METRICS: contract.METRICS_SCHEMA.empty_table(),
    }
    files = {name: _stage(lake, job, workspace, name, as_of, run_id, table) for name, table in tables.items()}
    manifest = samples.manifest(
        job=job.job,
        as_of=as_of,
        run_id=run_id,
        window=WindowRecord(kind="interval", start=start, end=start + HOUR, timezone="UTC"),
        model=ModelRecord(name=job.model.name, version=1, digest="m", alias="production", format="joblib"),
        rows=RowCounts(pulled=2, scored=2),
        quarantine_reasons={},
        predictions={"probability": PredictionSummary(mean=0.2, minimum=0.1, maximum=0.3, quantiles=(0.1,) * 5)},
        estimates={"roc_auc": Interval(value=0.7, low=0.6, high=0.8)},
        started_at=start + HOUR,
        files=files,
        state="running",
        finished_at=None,
    )
    sn = manifest.snapshot.model_copy(
        update={"complete_at": start + HOUR, "rows": 2, "source_columns": {"x": "double"}}
    )
    manifest = manifest.but(snapshot=sn)
    lake.write_bytes(f"{workspace}/{snapshot.RECORD}", sn.model_dump_json().encode())
    lake.write_bytes(f"{workspace}/{snapshot.SNAPSHOT}", b"s" * 4000)
    for name, schema in ((rejects.PULLED, REJECTS_SCHEMA), (rejects.DUPLICATES, rejects.DUPLICATES_SCHEMA)):
        with lake.parquet_writer(f"{workspace}/{name}", schema):
            pass
    lake.write_bytes(f"{workspace}/{layout.FIGURES}", samples.FIGURES.model_dump_json().encode())
    lake.write_bytes(f"{workspace}/{layout.PROFILE}", b"{}")
    lake.write_bytes(layout.window_page(job.job, as_of), b"<html></html>")
    lake.write_bytes(layout.docs_page(job.job, as_of), b"<html></html>")
    write_manifest(lake, workspace, manifest.but(verdict=None, files={}))
    publish_staged(lake, workspace, manifest, finished_at=start + HOUR + dt.timedelta(minutes=2))


def _rows(job: Job, start: dt.datetime, run_id: str, number: int) -> pa.Table:
    values = {
        "sensor": [f"s{(2 * number + each) % _KEYS:05d}" for each in (0, 1)],
        "at": [start] * 2,
        "window_start": [start] * 2,
        "probability": [0.1, 0.3],
        "kind": ["hot", "cold"],
        "model_version": [f"{job.model.name}/0001"] * 2,
        "run_id": [run_id] * 2,
        "scored_at": [start + HOUR] * 2,
    }
    return pa.table(values, schema=contract.predictions_schema(job))


def _stage(lake: Lake, job: Job, workspace: str, table: str, as_of: str, run_id: str, rows: pa.Table) -> FileRecord:
    key, says = (
        f"{staged(workspace, table)}/{layout.part(run_id)}",
        {"lamplighter": json.dumps({"contract_version": 1})},
    )
    with lake.parquet_writer(key, rows.schema, metadata=says) as writer:
        writer.write_table(rows)
    data = lake.read_bytes(key)
    place = f"{layout.partition(table, job.job, as_of)}/{layout.part(run_id)}"
    return FileRecord(key=place, rows=len(rows), bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


@contextlib.contextmanager
def counting(monkeypatch, lake: Lake):
    """How often each door of the lake is gone through by this process while the block runs."""
    found: Counter[str] = Counter()
    with monkeypatch.context() as patch:
        for name in _ASKED:
            kind = Folder if name in vars(Folder) else Lake
            patch.setattr(kind, name, _counted(vars(kind)[name], name, found, lake.root))
        yield found


def _counted(method, name, found, root):
    def asked(self, *args, **kwargs):
        if self.root == root:
            found[name] += 1
        return method(self, *args, **kwargs)

    return asked


def files_by_place(lake: Lake) -> Counter[str]:
    """How many files lie in each folder of the lake's root."""
    return Counter(name.partition("/")[0] for name in lake.files())
