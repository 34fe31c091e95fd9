"""Dask: the shards go to the workers of a scheduler, through Prefect's DaskTaskRunner."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any

import distributed
from joblib import cpu_count
from prefect.tasks import Task
from prefect_dask import DaskTaskRunner

from tasks.core.definitions.engine import Engine
from tasks.core.workers import stop_children
from tasks.orchestration.engines.cluster import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    LOOK_SECONDS,
    STOP_SECONDS,
    Cluster,
    knock,
    unreachable,
    within,
)

_STOP_CALL_SECONDS = 5.0


@contextlib.contextmanager
def connected(engine: Engine) -> Iterator[Cluster]:
    """The cluster at the engine's address; one of processes of this machine, which ends with the block, where it has none."""
    knock(engine)
    # It tells at length what the run says in one paragraph.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as held:
        try:
            runner = held.enter_context(_runner(engine))
            # It connects when it is first asked for.
            client = runner.client
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            raise unreachable(engine, error) from None
        yield DaskCluster(engine, runner, client)


def _runner(engine: Engine) -> Any:
    if engine.address:
        return DaskTaskRunner(address=engine.address, client_kwargs={"timeout": CONNECT_SECONDS, "name": "lamplighter"})
    return DaskTaskRunner(
        cluster_class=distributed.LocalCluster,
        # No dashboard: its port may be another's, and nobody looks.
        cluster_kwargs={
            "n_workers": engine.workers or cpu_count(),
            "threads_per_worker": 1,
            "dashboard_address": None,
            "memory_limit": 0,
        },
    )


class DaskCluster(Cluster):
    """A worker has room for as many shards as it has threads; one that it lost, the scheduler gives to another, three times."""

    def __init__(self, engine: Engine, runner: Any, client: Any) -> None:
        super().__init__(engine, runner)
        self.client = client

    def present(self) -> dict[str, tuple[str, int]]:
        try:
            threads = within(CONNECT_SECONDS, self.client.nthreads)
        except (OSError, TimeoutError) as error:
            raise unreachable(self.engine, error) from None
        return {worker: (machine_of(worker), count) for worker, count in threads.items()}

    def ask_each(self, function: Callable[[], str]) -> dict[str, str]:
        async def ask() -> str:
            # Not in the worker's own loop: it would not answer its scheduler meanwhile.
            import asyncio  # noqa: PLC0415

            return await asyncio.to_thread(function)

        ask.__module__ = "__main__"
        try:
            answers = within(ANSWER_SECONDS, lambda: self.client.run(ask, on_error="return"))
        except (OSError, TimeoutError) as error:
            raise unreachable(self.engine, f"its workers do not answer: {error}") from None
        return {worker: one if isinstance(one, str) else repr(one) for worker, one in answers.items()}

    def submit(self, task: Task[..., Any], parameters: dict[str, Any]) -> Any:
        return self.runner.submit(task, parameters)

    def ended(self, futures: Sequence[Any], seconds: float) -> list[Any]:
        # Cancelled are those of a scheduler that is gone: they have ended, and say why.
        with self.client.as_current(), contextlib.suppress(TimeoutError, CancelledError):
            wrapped = [future.wrapped_future for future in futures]
            distributed.wait(wrapped, timeout=seconds, return_when="FIRST_COMPLETED")
        return [future for future in futures if future.wrapped_future.done()]

    def result(self, future: Any) -> Any:
        return future.wrapped_future.result(timeout=ANSWER_SECONDS)

    def stop(self, run: str, futures: Sequence[Any]) -> None:
        """What waits is not begun; what works loses its children and ends by itself, as a thread cannot be ended."""
        until = time.monotonic() + STOP_SECONDS
        busy = [future.wrapped_future for future in futures if not future.wrapped_future.done()]
        with contextlib.suppress(Exception):
            while busy and time.monotonic() < until:
                within(_STOP_CALL_SECONDS, lambda: self.client.run(stop_children, run, on_error="ignore"))
                busy = [future for future in busy if not future.done()]
                time.sleep(LOOK_SECONDS)
        with contextlib.suppress(Exception):
            wrapped = [future.wrapped_future for future in futures]
            within(_STOP_CALL_SECONDS, lambda: self.client.cancel(wrapped, force=True))


def here() -> str:
    """The machine that a task works on."""
    return machine_of(distributed.get_worker().address)


def machine_of(worker: str) -> str:
    """Of tcp://10.0.0.7:40123 the part that all workers of a machine share."""
    return worker.rpartition("://")[2].rpartition(":")[0]
