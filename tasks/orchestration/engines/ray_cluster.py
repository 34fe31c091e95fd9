"""Ray: the shards go to the processors of its nodes, through Prefect's RayTaskRunner."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from joblib import cpu_count

from tasks.core.settings import prepare_ray

prepare_ray()

import ray  # noqa: E402
from prefect.tasks import Task  # noqa: E402
from prefect_ray import RayTaskRunner  # noqa: E402
from prefect_ray.context import remote_options  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

from tasks.core.definitions.engine import Engine  # noqa: E402
from tasks.orchestration.engines.cluster import (  # noqa: E402
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    STOP_SECONDS,
    Cluster,
    knock,
    unreachable,
    within,
)

# Of a shard whose worker is lost.
_MOST_RETRIES = 3
_START_SECONDS = 60.0
_WHERE_TOKENS_ARE = "a cluster that was started with a token wants RAY_AUTH_MODE=token and the same token here"

_lock = threading.Lock()
_users: list[str | None] = []


@contextlib.contextmanager
def connected(engine: Engine) -> Iterator[Cluster]:
    """The cluster at the engine's address; one of this machine, which ends with the block, where it has none."""
    knock(engine)
    with _initialised(engine), RayTaskRunner(address=engine.address) as runner:
        yield RayCluster(engine, runner)


@contextlib.contextmanager
def _initialised(engine: Engine) -> Iterator[None]:
    """Ray's one connection of this process, which runs at the same time share; the last one closes it."""
    with _lock:
        if _users and _users[0] != engine.address:
            raise unreachable(
                engine, f"this process is connected to {_users[0] or 'a cluster of its own'}, for another run"
            )
        if not _users:
            try:
                _init(engine)
            except Exception as error:  # noqa: BLE001 - Ray raises what it likes
                raise unreachable(engine, f"{error}; {_WHERE_TOKENS_ARE}") from None
        _users.append(engine.address)
    try:
        yield
    finally:
        with _lock:
            _users.pop()
            if not _users:
                ray.shutdown()


def _init(engine: Engine) -> None:
    # Else the root logger's lines would be Ray's.
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "namespace": "prefect"}
    logging.getLogger("ray").setLevel(logging.ERROR)
    if engine.address is not None:
        within(_START_SECONDS, lambda: ray.init(engine.address, **quiet))
        return
    # Its processes end with the thread that begins them, so that is this one.
    with _own_sigterm():
        ray.init("local", num_cpus=engine.workers or cpu_count(), include_dashboard=False, **quiet)


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """In the main thread Ray takes SIGTERM for itself, by which Prefect cancels a run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class RayCluster(Cluster):
    """A node has room for as many shards as it has processors of Ray's; a shard that is lost begins again elsewhere."""

    def present(self) -> dict[str, tuple[str, int]]:
        try:
            nodes = [node for node in within(CONNECT_SECONDS, ray.nodes) if node["Alive"]]
        except Exception as error:  # noqa: BLE001 - Ray raises what it likes
            raise unreachable(self.engine, error) from None
        rooms = {node["NodeID"]: (_machine_of(node), int(node["Resources"].get("CPU", 0))) for node in nodes}
        return {node: (machine, room) for node, (machine, room) in rooms.items() if room}

    def ask_each(self, function: Callable[[], str]) -> dict[str, str]:
        asked = ray.remote(num_cpus=0, max_retries=0)(function)
        refs = {
            asked.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(): node
            for node in self.present()
        }
        done, late = ray.wait(list(refs), num_returns=len(refs), timeout=ANSWER_SECONDS)
        if late:
            raise unreachable(self.engine, f"its node {refs[late[0]]} does not answer within {ANSWER_SECONDS:g} s")
        return {refs[ref]: _answer(ref) for ref in done}

    def submit(self, task: Task[..., Any], parameters: dict[str, Any]) -> Any:
        with remote_options(num_cpus=1, max_retries=_MOST_RETRIES, scheduling_strategy="SPREAD"):
            return self.runner.submit(task, parameters)

    def ended(self, futures: Sequence[Any], seconds: float) -> list[Any]:
        refs = [future.wrapped_future for future in futures]
        done, _ = ray.wait(refs, num_returns=1, timeout=seconds)
        return [future for future in futures if future.wrapped_future in done]

    def result(self, future: Any) -> Any:
        return ray.get(future.wrapped_future, timeout=ANSWER_SECONDS)

    def stop(self, run: str, futures: Sequence[Any]) -> None:
        """A worker of Ray has one shard: it is ended with it, and its children end with their parent."""
        del run
        until, refs = time.monotonic() + STOP_SECONDS, [future.wrapped_future for future in futures]
        with contextlib.suppress(Exception):
            for ref in refs:
                ray.cancel(ref, force=True)
            ray.wait(refs, num_returns=len(refs), timeout=max(0.0, until - time.monotonic()))


def here() -> str:
    """The machine that a task works on: several of Ray's nodes may be on one."""
    node = ray.get_runtime_context().get_node_id()
    return next(_machine_of(one) for one in ray.nodes() if one["NodeID"] == node)


def _machine_of(node: dict[str, Any]) -> str:
    return str(node["NodeManagerAddress"])


def _answer(ref: Any) -> str:
    try:
        answer: str = ray.get(ref)
    except Exception as error:  # noqa: BLE001 - it is what that node has to say
        return " ".join(str(error).split())
    return answer
