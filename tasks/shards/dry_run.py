"""Scores a release's sample as a run would, in a process of its own, behind the load gate; and compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.core.definitions.job import Job
from tasks.core.models.model import check_input_schema, score_with_bisection
from tasks.core.models.model_version import ModelVersion
from tasks.core.storage import Lake
from tasks.core.workers import Workers, dismiss
from tasks.shards.loading import loaded

_POOL = "dry run"
_EXACT = 1e-12  # How far a float may be off between machines; a format that promises less has a tolerance of its own.
_PROBED_TIGHTLY = 1e-9


@dataclass(frozen=True)
class DryRun:
    """Which version scores which rows, by the terms of which job."""

    lake: Lake
    version: ModelVersion
    job: Job
    rows: pa.Table


@dataclass(frozen=True)
class Scored:
    """The scores of the rows that could be scored, which rows these are, and what was remarked while the model loaded."""

    scores: pa.Table
    kept: tuple[int, ...]
    warnings: tuple[str, ...]


def run_dry(task: DryRun) -> Scored:
    """ModelBlocked where the version does not pass the load gate; WorkerError where it ends its process."""
    check_input_schema(task.version, task.job.arrow_schema)
    try:
        return Workers(1, task.job.limits.batch_timeout_seconds, _POOL).call(
            f"the dry run of {task.version}", _score, task
        )
    finally:
        dismiss(_POOL)


def tolerance_of(version: ModelVersion) -> float:
    """How far a score may be off on another machine; above 1 in proportion."""
    allowed = version.signature.probe_rtol
    return _EXACT if allowed <= _PROBED_TIGHTLY else allowed


def worst_difference(expected: pa.Table, found: pa.Table) -> float:
    """How far the scores are off at the worst, in proportion above 1: 0.0 where all are the same, bit for bit.

    Infinite where a value that is no number differs, or is one in one table only.
    """
    if expected.num_rows != found.num_rows or expected.schema.names != found.schema.names:
        return float("inf")
    pairs = zip(expected.itercolumns(), found.itercolumns(), strict=True)
    return max((_worst(then, now) for then, now in pairs), default=0.0)


def _score(task: DryRun) -> Scored:
    model = loaded(task.lake, task.version, task.job.model.allowed_types, probe=True)
    scores, kept, _ = score_with_bisection(model, task.rows, np.arange(len(task.rows)), task.job.output.columns)
    return Scored(scores, tuple(int(row) for row in kept), model.warnings)


def _worst(then: pa.ChunkedArray[Any], now: pa.ChunkedArray[Any]) -> float:
    if not then.type.equals(now.type):
        return float("inf")
    if not pa.types.is_floating(then.type):
        return 0.0 if then.to_pylist() == now.to_pylist() else float("inf")
    one, other = (each.to_numpy().astype(np.float64) for each in (then, now))
    if len(one) == 0 or np.array_equal(one, other, equal_nan=True):
        return 0.0
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    if not (np.isfinite(one) & np.isfinite(other) | same).all():
        return float("inf")
    one, other = one[~same], other[~same]
    return float((np.abs(one - other) / np.maximum(np.abs(one), 1.0)).max())
