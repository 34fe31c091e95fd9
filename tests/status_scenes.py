"""Lakes of many windows, without any rows, for the tests of what is said of them."""

import datetime as dt

import yaml

from tasks.core import layout
from tasks.core.definitions.project import Project
from tasks.core.runs.manifest import CodeRecord, Manifest, ModelRecord, RowCounts, WindowRecord
from tasks.core.runs.run import write_manifest
from tasks.core.storage import Folder, Lake

DAYS = [f"2026-03-{day:02d}" for day in range(1, 32)]


def at(text: str) -> dt.datetime:
    """'2026-03-05 02:30' in UTC."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def write_job(folder, job: str = "late", **changes) -> Project:
    """A job whose daily window is scored at 2:30 on the day after, and due at 4:30; None takes a key away."""
    content = {
        "job": job,
        "owner": "network",
        "window": {"kind": "interval", "every": "1d"},
        "schedule": {"cron": "30 2 * * *"},
        "deadline": "2h",
        "source": {"type": "files", "path": "data", "format": "parquet"},
        "keys": ["id"],
        "event_time": "at",
        "columns": {"id": "string", "at": "timestamp", "x": "float64"},
        "model": {"name": "late"},
        "output": {"columns": {"probability": {"method": "predict_proba", "class": 1}}},
    } | changes
    file = folder / f"deployments/jobs/{job}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return Project(Folder(folder))


def run(lake: Lake, as_of: str, run_id: str, job: str = "late", *, began: str = "", **changes) -> Manifest:
    """The record of a run that began on the day after its window, at 2:30 unless it is said when."""
    start = at(f"{as_of} 00:00")
    values = {
        "job": job,
        "as_of": as_of,
        "run_id": run_id,
        "plan_key": "plan",
        "job_digest": "job",
        "window": WindowRecord(kind="interval", start=start, end=start + dt.timedelta(days=1), timezone="UTC"),
        "model": ModelRecord(name="late", version=3, digest="model", alias="production", format="joblib"),
        "code": CodeRecord(version="0.1.0", commit=None, dirty=None, digest="code"),
        "environment": {"python": "3.11.9"},
        "rows": RowCounts(pulled=10, scored=10),
        "started_at": at(began) if began else start + dt.timedelta(days=1, hours=2, minutes=30),
    }
    made = Manifest(**values | changes)
    write_manifest(lake, layout.workspace(job, as_of, run_id), made)
    return made


def publish(lake: Lake, as_of: str, run_id: str = "good", job: str = "late", **changes) -> Manifest:
    """A run whose file the table holds."""
    lake.write_bytes(f"{layout.partition(layout.PREDICTIONS, job, as_of)}/{layout.part(run_id)}", b"rows")
    finished = at(f"{as_of} 00:00") + dt.timedelta(days=1, hours=2, minutes=40)
    values = {"state": "concluded", "verdict": "published", "finished_at": finished}
    return run(lake, as_of, run_id, job, **values | changes)


def block(lake: Lake, as_of: str, run_id: str = "bad", job: str = "late", **changes) -> Manifest:
    values = {
        "state": "concluded",
        "verdict": "blocked",
        "reasons": ("214 of 958 rows fail",),
        "finished_at": at(f"{as_of} 00:00") + dt.timedelta(days=1, hours=2, minutes=50),
    }
    return run(lake, as_of, run_id, job, **values | changes)
