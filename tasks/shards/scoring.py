"""Scores one batch of a snapshot, and leaves a checkpoint: the published rows, as they will stand in the table."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.window import Window
from tasks.core.errors import LakeCorrupt
from tasks.core.models.elsewhere.estimator import Interpreter
from tasks.core.models.model import LoadedModel, score_with_bisection
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registry import Registry
from tasks.core.profiles.profile import BatchProfile, ReferenceProfile, profile_batch
from tasks.core.records import read_beside
from tasks.core.rows import rejects, snapshot
from tasks.core.rows.contract import predictions_schema, repeating_columns
from tasks.core.rows.reasons import Reason, rejects_table
from tasks.core.runs.manifest import SnapshotRecord
from tasks.core.storage import Lake
from tasks.core.workers import peak_memory_bytes
from tasks.shards.loading import loaded


@dataclass(frozen=True)
class Scoring:
    """What scoring a batch of one run needs to know."""

    lake: Lake
    workspace: str
    run_id: str
    job: Job
    window: Window
    model: ModelVersion
    snapshot: SnapshotRecord
    give_up_after: int
    interpreter: Interpreter | None = None


class BatchScored(BaseModel):
    """What came of one batch; kept beside its checkpoint, and written last."""

    model_config = ConfigDict(frozen=True)

    scored: int
    rejected: int
    features: BatchProfile
    predictions: BatchProfile
    peak_memory_bytes: int


def score_batch(
    task: Scoring,
    batch: int,
    died: Mapping[int, str] = MappingProxyType({}),
    watch: Callable[[rejects.Rows], object] | None = None,
) -> BatchScored:
    """Scores the rows of a batch that nobody took out. A batch whose record stands is not scored again.

    `died` are rows that end the model's process, each with how: they are not given to it. `watch`: see `score_with_bisection`.
    """
    done = f"{task.workspace}/batches/{batch:06d}.json"
    with contextlib.suppress(LakeCorrupt):
        # A record that is none is as good as not there: the batch is scored again.
        if found := read_beside(task.lake, done, BatchScored, wrong="is not the record of a batch"):
            return found
    table, rows = rows_to_score(task, batch, died)
    model = model_of(task)
    predictions, kept, culprits = score_with_bisection(
        model, table, rows, task.job.output.columns, give_up_after=task.give_up_after, watch=watch
    )
    culprits += [(row, _of_death(how)) for row, how in died.items()]
    if len(kept) < len(rows):
        table = table.take(np.flatnonzero(np.isin(rows, kept)))
    with task.lake.parquet_writer(
        f"{task.workspace}/{layout.checkpoint(batch)}",
        predictions_schema(task.job),
        repeating=repeating_columns(task.job),
    ) as writer:
        writer.write_table(_published_rows(task, table, predictions))
    rejects.write_rejects(
        task.lake, f"{task.workspace}/{rejects.scored(batch)}", rejects_table(sorted(culprits, key=_row))
    )
    features, scores = profiles_of(task.lake, task.model)
    result = BatchScored(
        scored=len(kept),
        rejected=len(culprits),
        features=profile_batch(features, table),
        predictions=profile_batch(scores, predictions),
        peak_memory_bytes=peak_memory_bytes(*model.processes),
    )
    task.lake.write_bytes(done, result.model_dump_json().encode())
    return result


def model_of(task: Scoring) -> LoadedModel:
    """The model of the run. Its probe rows were tried before; digests and types are checked here again."""
    return loaded(
        task.lake,
        task.model,
        task.job.model.allowed_types,
        probe=False,
        interpreter=task.interpreter,
        timeout_seconds=task.job.limits.batch_timeout_seconds,
    )


def rows_to_score(task: Scoring, batch: int, died: Collection[int]) -> tuple[pa.Table, rejects.Rows]:
    """The rows of a batch that nobody took out, but those that end the model's process, and their positions."""
    first, end = bounds = snapshot.batch_bounds(task.snapshot, batch)
    rows = rejects.read_taken_out_before_scoring(task.lake, task.workspace, batch, bounds).remaining
    if died:
        rows = np.setdiff1d(rows, np.array(sorted(died), np.int64), assume_unique=True)
    table = snapshot.read_batch(task.lake, task.workspace, batch)
    return (table if len(rows) == end - first else table.take(rows - first)), rows


def _published_rows(task: Scoring, table: pa.Table, predictions: pa.Table) -> pa.Table:
    same = {
        "window_start": task.window.start,
        "model_version": task.model.label,
        "run_id": task.run_id,
        "scored_at": task.snapshot.complete_at.astimezone(dt.UTC),
    }
    columns = []
    for field in predictions_schema(task.job):
        if field.name in same:
            columns.append(pa.repeat(pa.scalar(same[field.name], field.type), len(table)))
        else:
            columns.append((predictions if field.name in task.job.output.columns else table)[field.name])
    return pa.table(columns, schema=predictions_schema(task.job))


def _of_death(how: str) -> Reason:
    said = f"the model's process did not survive this row, even alone: {how}"
    return Reason("model_died", "model_died", None, None, said)


def _row(reject: tuple[int, Reason]) -> int:
    return reject[0]


def profiles_of(lake: Lake, version: ModelVersion) -> tuple[ReferenceProfile, ReferenceProfile]:
    """The reference profiles of the version's features and of its predictions; empty where it was registered without."""
    return _profiles(lake, version.name, version.version)


@lru_cache(maxsize=2)
def _profiles(lake: Lake, name: str, version: int) -> tuple[ReferenceProfile, ReferenceProfile]:
    registry = Registry(lake)
    kept = registry.profile(registry.version(name, version))
    none = {"rows": 0, "columns": {}}
    features, predictions = (
        ReferenceProfile.model_validate(kept.get(role) or none) for role in ("features", "predictions")
    )
    return features, predictions
