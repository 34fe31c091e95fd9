"""The thin skin of every stage: a Prefect task that ends in a state with a name, and without a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.tasks import Task

from tasks.core.errors import LamplighterError
from tasks.outcome import failed_state

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")


class Stage(Generic[P, T]):
    """A function as a task. What it raises on purpose is the task's final state, and is raised again for the flow.

    Tasks get paths and records, never data, so nothing is hashed for a cache and no result is kept.
    """

    def __init__(self, name: str, function: Callable[P, T], *, run_name: str | None = None) -> None:
        @functools.wraps(function)
        def told(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                return function(*args, **kwargs)
            except LamplighterError as error:
                return failed_state(error)

        options: dict[str, Any] = {"name": name, "task_run_name": run_name}
        self.task: Task[..., Any] = task(cache_policy=NO_CACHE, persist_result=False, **options)(told)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs the task; what it returns."""
        # Prefect hands a state that a task returned on to the flow as a value: a failed one must not pass for a result.
        state: Any = self.task(*args, return_state=True, **kwargs)
        result: T = result_of(state)
        return result


def on_each(stage: Stage[Concatenate[R, S, ...], T], first: R, shards: Sequence[S]) -> list[T]:
    """Runs the stage on every shard at once, a task each; all are awaited before the first failure is raised."""
    futures = [stage.task.submit(first, shard) for shard in shards]
    for future in futures:
        future.wait()
    return [result_of(future.state) for future in futures]


def result_of(state: State[T]) -> T:
    """What a completed state holds; of any other state, what it holds as an error is raised."""
    found: Any = state.result(raise_on_failure=False)
    if isinstance(found, BaseException):
        raise found
    if not state.is_completed():
        state.result()
    result: T = found
    return result
