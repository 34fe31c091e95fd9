"""Estimates the performance of a window's scored rows, from the checkpoints as they will stand in the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core import layout
from tasks.core.estimation.estimator import PerformanceEstimator, estimate
from tasks.core.estimation.past_errors import MOST_ROWS, evenly
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registry import Registry
from tasks.core.runs import pairing
from tasks.core.runs.manifest import Interval, SnapshotRecord
from tasks.core.storage import Lake


@dataclass(frozen=True)
class Estimating:
    """What the estimate of one run needs to know."""

    lake: Lake
    workspace: str
    keys: tuple[str, ...]
    model: ModelVersion
    kept: PerformanceEstimator
    snapshot: SnapshotRecord


def estimate_window(task: Estimating) -> dict[str, Interval]:
    """Of all scored rows, or of 200,000 that are spread evenly over them; a batch at a time is read."""
    sizes = [_rows_of(task, batch) for batch in range(task.snapshot.batches)]
    places = evenly(sum(sizes), MOST_ROWS)
    parts = list(_each_batch(task, sizes, places))
    if not parts:
        return {}
    outputs, features = (pa.concat_tables(tables) for tables in zip(*parts, strict=True))
    return estimate(task.kept, outputs, features, Registry(task.lake).loss_model(task.model))


def _each_batch(
    task: Estimating, sizes: list[int], places: npt.NDArray[np.intp]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Of each batch the chosen rows: what was predicted of them, and the features that are needed."""
    end = 0
    for batch, size in enumerate(sizes):
        first, end = end, end + size
        chosen = places[(places >= first) & (places < end)] - first
        outputs, features = _batch(task, batch)
        yield outputs.take(chosen), features.take(chosen)


def _batch(task: Estimating, batch: int) -> tuple[pa.Table, pa.Table]:
    keys = list(task.keys) if task.kept.features else []
    with task.lake.parquet(_checkpoint(task, batch)) as file:
        scored = file.read(columns=[*keys, task.kept.column])
    if not keys:
        return scored, scored.select([])
    features, _ = pairing.snapshot_rows(
        task.lake, task.workspace, task.snapshot, batch, task.keys, scored, task.kept.features
    )
    return scored, features


def _rows_of(task: Estimating, batch: int) -> int:
    with task.lake.parquet(_checkpoint(task, batch)) as file:
        return file.metadata.num_rows


def _checkpoint(task: Estimating, batch: int) -> str:
    return f"{task.workspace}/{layout.checkpoint(batch)}"
