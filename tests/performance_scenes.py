"""A job whose labels lie in a SQLite file, and a lake with windows that were published: for tests of its performance."""

import contextlib
import datetime as dt
import json
import sqlite3
from functools import cached_property

import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.modelling import Prediction
from tasks.core.definitions.project import Definition, Project
from tasks.core.models.model_version import Candidate, InputColumn, InputSchema, Signature
from tasks.core.models.registry import Registry
from tasks.core.performance.measuring import measure_window
from tasks.core.performance.pulling import due, labels_of
from tasks.core.rows import rejects, snapshot
from tasks.core.rows.contract import predictions_schema
from tasks.core.runs.manifest import ModelRecord, SnapshotRecord
from tasks.core.storage import Folder, Lake
from tests import status_scenes

JOB, DAY = "late", "2026-03-01"
QUERY = "SELECT id, y FROM truth WHERE day = :as_of"


class World:
    """A project and its lake; rows are dictionaries with id, p, and what else the job's columns name."""

    def __init__(self, folder, *, query=QUERY, kind="bool", output=None, **changes):
        labels = {"query": query, "target": "y", "type": kind, "delay": "1d", "revisit": ["1d", "7d"]}
        self.folder = folder
        status_scenes.write_job(
            folder,
            JOB,
            **{
                "source": {"type": "sql", "driver": "sqlite", "uri": "truth.sqlite", "query": "SELECT 1"},
                "columns": {"id": "string", "at": "timestamp", "site": "string", "size": "int64"},
                "output": {
                    "columns": {"p": output or {"method": "predict_proba", "class": True}},
                    "pass_through": ["site"],
                },
                "labels": labels,
                "monitor": {"slices": ["site", "size"]},
            }
            | changes,
        )
        self.lake = Lake(folder / "lake")
        self.tell()

    @cached_property
    def definition(self) -> Definition:
        return Project(Folder(self.folder)).load(JOB)

    @property
    def job(self):
        return self.definition.job

    def tell(self, day=DAY, **truth):
        """What the source says is true of a day from now on; an id that is not named has no label."""
        with contextlib.closing(sqlite3.connect(self.folder / "truth.sqlite")) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS truth (day, id, y)")
            database.execute("DELETE FROM truth WHERE day = ?", (day,))
            database.executemany("INSERT INTO truth VALUES (?, ?, ?)", [(day, *one) for one in truth.items()])

    def publish(self, rows, run_id="one", *, day=DAY, version=1, kept=True):
        """A run's rows are what readers see of a day; its snapshot has one row more, the first, which was not published."""
        schema = predictions_schema(self.job)
        start = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
        full = [{"at": start, "window_start": start, "model_version": "", "run_id": run_id, **row} for row in rows]
        folder = layout.partition(layout.PREDICTIONS, JOB, day)
        self.lake.remove(folder)
        says = {"lamplighter": json.dumps({"model": f"{JOB}/{version:04d}"})}
        with self.lake.parquet_writer(f"{folder}/{layout.part(run_id)}", schema, metadata=says) as writer:
            writer.write_table(pa.Table.from_pylist(full, schema), 2)
        model = ModelRecord(name=JOB, version=version, digest="m", alias="production", format="joblib")
        pulled = [{"id": "unpublished", "at": start}, *full]
        record = self._snapshot(layout.workspace(JOB, day, run_id), pulled) if kept else None
        published = {"state": "concluded", "verdict": "published"}
        status_scenes.run(self.lake, day, run_id, JOB, model=model, snapshot=record, **published)

    def _snapshot(self, workspace, rows):
        table = pa.Table.from_pylist(
            [{name: row.get(name) for name in self.job.arrow_schema.names} for row in rows], self.job.arrow_schema
        )
        with self.lake.parquet_writer(f"{workspace}/{snapshot.SNAPSHOT}", table.schema) as writer:
            writer.write_table(table)
        with self.lake.parquet_writer(f"{workspace}/{rejects.DUPLICATES}", rejects.DUPLICATES_SCHEMA) as writer:
            writer.write_table(rejects.DUPLICATES_SCHEMA.empty_table())
        batches = {"batches": 1, "batch_rows": len(rows), "bytes": 0, "sha256": "", "columns": {}}
        return SnapshotRecord(digest="", rows=len(rows), complete_at=status_scenes.at("2026-03-02 02:31"), **batches)

    def register(self, *metrics):
        """A version that was worth this when it was accepted: (name, value, low, high) each."""
        keys = ("name", "value", "low", "high")
        benchmark = {
            "metrics": [dict(zip(keys, one, strict=True)) for one in metrics],
            "first": "2026-01-01",
            "last": "2026-01-31",
            "rows": 100,
            "rows_without_label": 0,
        }
        signature = Signature(
            inputs=InputSchema(columns=(InputColumn(name="x", type="float64"),)),
            outputs={"p": Prediction(method="predict_proba", class_=True)},
        )
        probe = {"probe": pa.table({"x": [0.0]}), "expected": pa.table({"p": [0.5]})}
        candidate = Candidate(model_bytes=b"model", signature=signature, profile={}, benchmark=benchmark, **probe)
        return Registry(self.lake).register(JOB, candidate, at=status_scenes.at("2026-02-01 00:00"), actor="ann")

    def due(self, day):
        return due(self.lake, self.definition, now=midnight_after(day), day=day)

    def look(self, day):
        """All that a look at a day finds to be done is done; what it says of each window."""
        return [self.measure(one, day) for one in self.due(day)]

    def measure(self, one, day):
        pulled = labels_of(self.definition, Folder(self.folder), one.window, str) if one.pull else None
        return measure_window(self.lake, self.definition, one, pulled, day=day, now=midnight_after(day))


def midnight_after(day: str) -> dt.datetime:
    return status_scenes.at(f"{day} 00:00") + dt.timedelta(days=1)
