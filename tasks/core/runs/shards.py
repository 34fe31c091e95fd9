"""Shards: how the batches of a window are dealt out, one Prefect task a shard, one child process behind each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from tasks.core import places, progress
from tasks.core.errors import ChildDied, WorkerError
from tasks.core.logs import log
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
    room = places.room()
    shards = max(1, workers_of(run, batches).count if room is None else min(room, batches))
    return [tuple(range(shard, batches, shards)) for shard in range(shards)]


def workers_of(run: Run, batches: int, *, apart: bool = False) -> Workers:
    """Where the batches of a window are worked on. `apart`: never here.

    Nor where an earlier attempt came to no end: what it did here may have taken its process with it.
    """
    limits = run.job.limits
    isolate = "always" if apart or run.takes_over else limits.isolate
    return Workers(worker_count(limits.workers, batches, isolate), limits.batch_timeout_seconds)


def each_batch(
    run: Run,
    stage: str,
    record: SnapshotRecord,
    batches: tuple[int, ...],
    function: Callable[..., T],
    *args: Any,
    surely: Callable[..., T] | None = None,
    apart: bool = False,
) -> ShardDone[T]:
    """Calls `function(*args, batch)` for every batch of a shard, in a child process where the window has several.

    `surely` is what is done about a child that dies: `twice`, where nothing better is known.
    """
    started_at = time.time()
    workers = workers_of(run, record.batches, apart=apart)

    def done(batch: int) -> T:
        first, end = batch_bounds(record, batch)
        what = f"{stage} of batch {batch + 1} of {record.batches} (rows {first:,} to {end - 1:,}) of {run.name}"
        with naming(what):
            result: T = (surely or twice)(workers, what, function, *args, batch)
        progress.advance(run.name, stage, end - first, record.rows)
        return result

    return ShardDone(started_at, _each(done, batches, at_once=_at_once(workers)))


def _at_once(workers: Workers) -> int:
    """A shard has one child; on a cluster's machine all those which the other shards there leave to it."""
    place = places.here()
    return workers.count // place.shards if place else 1


def _each(function: Callable[[int], T], batches: tuple[int, ...], *, at_once: int) -> tuple[T, ...]:
    """What it gives for each, in their order; after one that fails no other is begun."""
    if min(at_once, len(batches)) <= 1:
        return tuple(map(function, batches))
    with ThreadPoolExecutor(at_once) as threads:
        futures = [threads.submit(copy_context().run, function, batch) for batch in batches]
        try:
            return tuple(future.result() for future in futures)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def twice(workers: Workers, what: str, function: Callable[..., T], *args: Any) -> T:
    """Once more, in a new process, where the first one died: a machine that was short of memory may have some again."""
    try:
        return workers.call(what, function, *args)
    except ChildDied as error:
        log.warning("The process that worked on %s died (%s); it is tried once more in a new one", what, error.how)
        return workers.call(what, function, *args)


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """Whatever went wrong with a process or its memory says in which batch."""
    try:
        yield
    except WorkerError as error:
        if what not in error.failed:
            error.failed = f"{what}: {error.failed}"
        raise
    except MemoryError as error:
        raise WorkerError(
            f"{what} ran out of memory{f': {error}' if str(error) else ''}",
            state="complete batches are kept",
            next_step="lower limits.batch_rows or limits.workers, or give it more memory, and run it again",
        ) from error
