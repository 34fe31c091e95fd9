"""The thin skin of every stage: a Prefect task that ends in a state with a name, and without a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed
from prefect.tasks import Task

from tasks.core.errors import Blocked, LamplighterError

P = ParamSpec("P")
T = TypeVar("T")


def stage(name: str, *, run_name: str | None = None) -> Callable[[Callable[P, T]], Task[P, T]]:
    """Makes a task of a function. What it raises on purpose becomes the task's final state, which raises it again.

    Tasks get paths and records, never data, so nothing is hashed for a cache and no result is kept.
    """

    def make(function: Callable[P, T]) -> Task[P, T]:
        @functools.wraps(function)
        def told(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                return function(*args, **kwargs)
            except LamplighterError as error:
                return failed_state(error)

        return task(told, name=name, task_run_name=run_name, cache_policy=NO_CACHE, persist_result=False)

    return make


def failed_state(error: LamplighterError) -> Any:
    """The final state of what ended with this error: 'Blocked' is a state of its own, not a crash."""
    return Failed(name="Blocked" if isinstance(error, Blocked) else "Failed", message=str(error), data=error)
