"""Scores the published rows of one batch with the challenger, and measures how far its scores lie from production's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.core.definitions.job import Job
from tasks.core.models.model import score_with_bisection
from tasks.core.models.model_version import ModelVersion
from tasks.core.profiles import differences
from tasks.core.profiles.differences import Gathered
from tasks.core.profiles.profile import BatchProfile, profile_batch
from tasks.core.rows import rejects
from tasks.core.runs import pairing
from tasks.core.runs.manifest import SnapshotRecord
from tasks.core.storage import Lake
from tasks.core.workers import peak_memory_bytes
from tasks.shards.loading import loaded
from tasks.shards.scoring import profiles_of


@dataclass(frozen=True)
class Challenging:
    """What scoring a batch of a published run with its challenger needs to know. `scored` is a folder for the results."""

    lake: Lake
    workspace: str
    published: str
    scored: str
    job: Job
    production: ModelVersion
    challenger: ModelVersion
    snapshot: SnapshotRecord
    rows: int
    give_up_after: int


@dataclass(frozen=True)
class BatchChallenged:
    """What came of one batch. Both profiles are in the bins of production's reference."""

    scored: int
    reasons: Counter[str]
    gathered: dict[str, Gathered]
    production: BatchProfile
    challenger: BatchProfile
    warnings: tuple[str, ...]
    peak_memory_bytes: int


def challenge_batch(task: Challenging, bounds: tuple[int, int], batch: int) -> BatchChallenged:
    """Scores the rows of a batch that were published, which are those within these bounds of the published file."""
    # Unlike production's, this model was never loaded in the parent: all of the gate is passed here.
    limit = task.job.limits.batch_timeout_seconds
    model = loaded(task.lake, task.challenger, task.job.model.allowed_types, probe=True, timeout_seconds=limit)
    with task.lake.parquet(task.published) as file:
        published = pairing.read_rows(file, bounds)
    table, rows = _inputs(task, batch, published)
    scores, kept, culprits = score_with_bisection(
        model, table, rows, task.job.output.columns, give_up_after=task.give_up_after
    )
    published = published.filter(np.isin(rows, kept))
    with task.lake.parquet_writer(scored_key(task, batch), published.schema) as writer:
        writer.write_table(_as_published(task, published, scores))
    _, reference = profiles_of(task.lake, task.production)
    return BatchChallenged(
        scored=len(kept),
        reasons=Counter(rejects.label(vars(reason)) for _, reason in culprits),
        gathered=_gathered(task, published, scores),
        production=profile_batch(reference, published),
        challenger=profile_batch(reference, scores),
        warnings=model.warnings,
        peak_memory_bytes=peak_memory_bytes(*model.processes),
    )


def scored_key(task: Challenging, batch: int) -> str:
    """The key of a batch's rows as the challenger scored them."""
    return f"{task.scored}/{batch:06d}.parquet"


def _inputs(task: Challenging, batch: int, published: pa.Table) -> tuple[pa.Table, rejects.Rows]:
    """The rows of the snapshot that were published, in their order: of its columns those that the challenger takes."""
    taken = [name for name in task.challenger.inputs.names if name in task.snapshot.columns]
    return pairing.snapshot_rows(
        task.lake, task.workspace, task.snapshot, batch, task.job.keys, published, [*task.job.keys, *taken]
    )


def _as_published(task: Challenging, published: pa.Table, scores: pa.Table) -> pa.Table:
    """Production's rows with the challenger's scores and name in place of its own."""
    name = pa.repeat(pa.scalar(task.challenger.label), len(published))
    instead: dict[str, Any] = {column: scores[column] for column in task.job.output.columns} | {"model_version": name}
    columns = [instead.get(field.name, published[field.name]) for field in published.schema]
    return pa.table(columns, schema=published.schema)


def _gathered(task: Challenging, published: pa.Table, scores: pa.Table) -> dict[str, Gathered]:
    columns, keys = task.job.output.columns, published.select(list(task.job.keys))
    is_ranked = differences.ranked(keys, task.rows, len(columns))
    return {
        name: differences.gather(made, keys, published[name].combine_chunks(), scores[name].combine_chunks(), is_ranked)
        for name, made in columns.items()
    }
