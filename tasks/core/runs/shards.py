"""Shards: how the batches of a window are dealt out, one Prefect task a shard, one child process behind each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tasks.core import progress
from tasks.core.rows.snapshot import batch_bounds, required_record
from tasks.core.runs.manifest import SnapshotRecord
from tasks.core.runs.run import Run
from tasks.core.workers import Workers, worker_count

T = TypeVar("T")


class ShardDone(Generic[T]):
    """What the batches of a shard gave, and when the shard began (seconds since the epoch).

    It is no dataclass, as `Run` is none: Prefect would take it apart.
    """

    def __init__(self, started_at: float, results: tuple[T, ...]) -> None:
        self.started_at = started_at
        self.results = results


def deal(run: Run) -> list[tuple[int, ...]]:
    """The batches of each shard. Which shard does a batch changes nothing: its rows are fixed with the snapshot."""
    batches = required_record(run.lake, run.workspace).batches
    shards = max(1, workers_of(run, batches).count)
    return [tuple(range(shard, batches, shards)) for shard in range(shards)]


def workers_of(run: Run, batches: int) -> Workers:
    """Where the batches of a window are worked on."""
    limits = run.job.limits
    return Workers(worker_count(limits.workers, batches, limits.isolate), limits.batch_timeout_seconds)


def each_batch(
    run: Run,
    stage: str,
    record: SnapshotRecord,
    batches: tuple[int, ...],
    function: Callable[..., T],
    *args: Any,
) -> ShardDone[T]:
    """Calls `function(*args, batch)` for every batch of a shard, in a child process where the window has several."""
    started_at = time.time()
    workers = workers_of(run, record.batches)
    results = []
    for batch in batches:
        first, end = batch_bounds(record, batch)
        what = f"{stage} of batch {batch + 1} of {record.batches} (rows {first:,} to {end - 1:,}) of {run.name}"
        results.append(workers.call(what, function, *args, batch))
        progress.advance(run.name, stage, end - first, record.rows)
    return ShardDone(started_at, tuple(results))
