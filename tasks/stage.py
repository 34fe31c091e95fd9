"""The thin skin of every stage: a Prefect task that ends in a state with a name, and without a traceback."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.tasks import Task

from tasks.core import progress
from tasks.core.errors import LamplighterError
from tasks.core.joining import Joining
from tasks.core.logs import counted, log, run_fields
from tasks.core.pages import wording
from tasks.core.rows.snapshot import batch_bounds, required_record
from tasks.core.runs.run import Run
from tasks.core.workers import stop_children
from tasks.orchestration import engines
from tasks.orchestration.engines.cluster import Cluster
from tasks.orchestration.quiet import say_it_once
from tasks.orchestration.run_logs import log_to_run_page
from tasks.outcome import failed_state

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
_MOST_NAMED = 4
_LOOK_SECONDS = 0.1


class Stage(Generic[P, T]):
    """A function as a task. What it raises on purpose is the task's final state, and is raised again for the flow.

    `name` is what people read; of a stage that is dealt out, `does` begins the name of each part: "Score batch 1 of 4".
    Tasks get paths and records, never data, so nothing is hashed for a cache and no result is kept.
    """

    def __init__(self, name: str, function: Callable[P, T], *, does: str = "") -> None:
        @functools.wraps(function)
        def told(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                return function(*args, **kwargs)
            except LamplighterError as error:
                return failed_state(error)

        self.name, self.does = name, does or name
        # Else Prefect adds letters of its own to each run's name.
        options: dict[str, Any] = {"name": name, "task_run_name": name}
        self.task: Task[..., Any] = task(cache_policy=NO_CACHE, persist_result=False, **options)(told)

        def afar(kind: str, joining: Joining, first: Any, shard: tuple[int, ...]) -> Any:
            run = joining.run
            with run_fields(job=run.job.job, as_of=run.window.as_of, run_id=run.run_id):
                log_to_run_page()
                say_it_once()
                try:
                    with joining.joined(engines.machine(kind)):
                        return told(first, shard)  # type: ignore[call-arg, arg-type]
                except LamplighterError as error:
                    return failed_state(error)

        # The same on a worker of a cluster, which has its place there first.
        self.afar: Task[..., Any] = task(cache_policy=NO_CACHE, persist_result=False, **options)(afar)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs the task; what it returns."""
        with _logged(self.name):
            # Prefect hands a state that a task returned on to the flow as a value: a failed one must not pass for a result.
            state: Any = self.task(*args, return_state=True, **kwargs)
            result: T = result_of(state)
            return result


def on_each(
    stage: Stage[Concatenate[R, tuple[int, ...], ...], T], first: R, shards: Sequence[tuple[int, ...]]
) -> list[T]:
    """Runs the stage on every shard at once, a task each; all are awaited before the first failure is raised."""
    with _logged(f"{stage.name} ({wording.plural(len(shards), 'shard')})"):
        cluster = engines.current()
        if cluster and isinstance(first, Run):
            return _on_cluster(cluster, stage, first, shards)
        batches = sum(map(len, shards))
        futures = [
            stage.task.with_options(task_run_name=f"{stage.does} {batches_named(shard, batches)}").submit(first, shard)
            for shard in shards
        ]
        try:
            for future in futures:
                future.wait()
        except BaseException:
            _stop(futures)
            raise
        return [result_of(future.state) for future in futures]


def _on_cluster(cluster: Cluster, stage: Stage[..., T], run: Run, shards: Sequence[tuple[int, ...]]) -> list[T]:
    """The same on the workers of a cluster, which hands a shard whose worker it has lost to another."""
    record = required_record(run.lake, run.workspace)
    joining = Joining(run, cluster.rooms(len(shards)), None)
    named = {shard: f"{stage.does} {batches_named(shard, record.batches)}" for shard in shards}
    futures = {
        cluster.submit(
            stage.afar.with_options(task_run_name=named[shard]),
            {"kind": cluster.engine.kind, "joining": joining, "first": run, "shard": shard},
        ): shard
        for shard in shards
    }
    states: dict[tuple[int, ...], Any] = {}
    try:
        for future in cluster.each_ended(run, list(futures)):
            shard = futures[future]
            states[shard] = _state_of(cluster, future, named[shard])
            bounds = [batch_bounds(record, batch) for batch in shard]
            progress.advance(run.name, stage.does.lower(), sum(end - begin for begin, end in bounds), record.rows)
    except BaseException:
        cluster.stop(joining.name, list(futures))
        raise
    return [result_of(states[shard]) for shard in shards]


def _state_of(cluster: Cluster, future: Any, what: str) -> State[Any]:
    """The task run's final state; of a shard that the cluster gave up there may be none but what it says itself."""
    try:
        state: State[Any] = cluster.result(future)
    except Exception as error:  # noqa: BLE001 - of whatever kind: it is the cluster's, the task's own are in its state
        lost = cluster.lost(what, error)
        log.warning("%s", lost.failed)
        return failed_state(lost)  # type: ignore[no-any-return]
    return state


def _stop(futures: Sequence[Any]) -> None:
    """Who stops a run waits some seconds for its end, and then kills it: no task is to wait for a child any longer.

    Again until all have ended: a task may just have begun its next batch.
    """
    while not all(future.wrapped_future.done() for future in futures):
        stop_children()
        time.sleep(_LOOK_SECONDS)


def batches_named(batches: Sequence[int], total: int) -> str:
    """As a person counts: batch 1 of 4; batches 1, 3 of 4; batches 1, 3, 5 … 23 of 24."""
    numbers = [str(batch + 1) for batch in batches]
    if len(numbers) > _MOST_NAMED:
        numbers = [*numbers[: _MOST_NAMED - 2], f"{numbers[_MOST_NAMED - 2]} … {numbers[-1]}"]
    return f"batch{'es' if len(batches) > 1 else ''} {', '.join(numbers)} of {total}"


def result_of(state: State[T]) -> T:
    """What a completed state holds; of any other state, what it holds as an error is raised."""
    found: Any = state.result(raise_on_failure=False)
    if isinstance(found, BaseException):
        raise found
    if not state.is_completed():
        state.result()
    result: T = found
    return result


@contextlib.contextmanager
def _logged(stage: str) -> Iterator[None]:
    """A line when a stage begins and one when it ends: how long it took, and of how many rows it says so itself."""
    began, more = time.monotonic(), dict[str, Any](stage=stage)
    log.info("%s: begins", stage, extra=more)
    try:
        yield
    except BaseException as error:
        # Why it stopped is said once, at the end of the run.
        level = logging.INFO if getattr(error, "exit_code", 1) == 0 else logging.WARNING
        log.log(level, "%s: stopped after %s", stage, wording.seconds(time.monotonic() - began), extra=more)
        raise
    seconds, rows = counted() or (time.monotonic() - began, None)
    done = "done" if rows is None else wording.plural(rows, "row")
    figures = {"seconds": round(seconds, 3), "rows": rows}
    log.info("%s: %s in %s", stage, done, wording.seconds(seconds), extra=more | figures)
