"""What the clusters have in common: who is there, who is fit, how shards are awaited, and when that is given up."""

from __future__ import annotations

import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import cloudpickle
from prefect.task_runners import TaskRunner
from prefect.tasks import Task

from tasks.core.definitions.engine import MOST_SHARDS, Engine
from tasks.core.definitions.schedule import length
from tasks.core.errors import WorkerError
from tasks.core.joining import Joining, unfit
from tasks.core.logs import log
from tasks.core.runs.run import Run

T = TypeVar("T")
KNOCK_SECONDS = 10.0
# Where somebody listens: a scheduler may have much to do.
CONNECT_SECONDS = 30.0
# A worker imports numpy, pandas and scikit-learn when it is first asked, from a disk that may be slow.
ANSWER_SECONDS = 120.0
STOP_SECONDS = 30.0
LOOK_SECONDS = 0.2
_COUNT_SECONDS = 2.0


class Cluster(ABC):
    """A cluster that is connected, for one run. `runner` is Prefect's, and started."""

    def __init__(self, engine: Engine, runner: TaskRunner[Any]) -> None:
        self.engine = engine
        self.runner = runner
        self._seen: set[str] = set()
        self._counted_at = 0.0
        self._deserted_at: float | None = None

    @abstractmethod
    def present(self) -> dict[str, tuple[str, int]]:
        """By worker, its machine and how many shards it takes at once; of those that are there now."""

    @abstractmethod
    def ask_each(self, function: Callable[[], str]) -> dict[str, str]:
        """What a function says on each worker, be it busy or not, or what went wrong there."""

    @abstractmethod
    def ended(self, futures: Sequence[Any], seconds: float) -> list[Any]:
        """Those futures that have ended, as soon as there is one."""

    @abstractmethod
    def result(self, future: Any) -> Any:
        """The final state of the task run, of a future that has ended. What it raises is the cluster's own failure."""

    @abstractmethod
    def stop(self, run: str, futures: Sequence[Any]) -> None:
        """Ends what is not done yet, also in the midst of a batch, and returns within STOP_SECONDS."""

    @abstractmethod
    def submit(self, task: Task[..., Any], parameters: dict[str, Any]) -> Any:
        """Hands a task to the runner; its future."""

    def rooms(self, shards: int = MOST_SHARDS) -> dict[str, int]:
        """By machine, how many of so many shards are on it at once. It waits for a worker; WorkerError where none comes in time."""
        patience = length(self.engine.wait_for_workers).total_seconds()
        until = time.monotonic() + patience
        while not (found := self.present()):
            if time.monotonic() > until:
                raise self._no_workers(f"none came within {patience:g} s")
            time.sleep(LOOK_SECONDS)
        self._seen = set(found)
        rooms: dict[str, int] = {}
        for machine, room in found.values():
            rooms[machine] = rooms.get(machine, 0) + room
        shards = min(sum(rooms.values()), self._most, shards)
        # Of more room than there are shards to be, each machine gets its part: the cores are shared by those that are there.
        return {machine: -(-room * shards // sum(rooms.values())) for machine, room in rooms.items()}

    def room(self) -> int:
        """How many shards a stage is dealt into."""
        return min(sum(self.rooms().values()), self._most)

    def workers(self) -> int:
        return len(self.present())

    @property
    def _most(self) -> int:
        return self.engine.workers or MOST_SHARDS

    def refuse_unfit(self, run: Run, api_url: str | None) -> None:
        """WorkerError names the first worker that lacks something which the run needs, and what."""
        answers = self.ask_each(_question(Joining(run, {}, api_url)))
        there = self.present()
        faults = {worker: why for worker, why in answers.items() if why and worker in there}
        if faults:
            worker, why = next(iter(faults.items()))
            more = f" (and {len(faults) - 1} more of {len(there)})" if len(faults) > 1 else ""
            raise unfit(f"{worker}{more}", why)

    def each_ended(self, run: Run, futures: Sequence[Any]) -> Iterator[Any]:
        """Every future once it has ended, whichever comes first; WorkerError where the cluster has been deserted."""
        waiting = list(futures)
        while waiting:
            ended = self.ended(waiting, LOOK_SECONDS)
            for future in ended:
                waiting.remove(future)
                yield future
            if not ended:
                self._look_who_is_there(run)

    def _look_who_is_there(self, run: Run) -> None:
        now = time.monotonic()
        if now - self._counted_at < _COUNT_SECONDS:
            return
        self._counted_at, there = now, self._still_there()
        if there and (gone := self._seen - there):
            log.warning(
                "Of the cluster's workers %s %s gone in the midst of %s; shards that were there begin again on another: their "
                "complete batches are kept",
                ", ".join(sorted(gone)),
                "is" if len(gone) == 1 else "are",
                run.name,
            )
        self._seen = there or self._seen
        patience = length(self.engine.wait_for_workers).total_seconds()
        self._deserted_at = None if there else (self._deserted_at or now)
        if self._deserted_at and now - self._deserted_at > patience:
            raise self._no_workers(f"none is left in the midst of {run.name}, and for {patience:g} s none came back")

    def _still_there(self) -> set[str]:
        """None where nobody answers: that may pass, and the shards be done meanwhile."""
        try:
            return set(self.present())
        except WorkerError as error:
            log.warning("%s", error.failed)
            return set()

    def _no_workers(self, why: str) -> WorkerError:
        return WorkerError(
            f"the {self.engine.kind} cluster{self._where} has no workers: {why}",
            state="nothing was published; complete batches are kept",
            next_step="start its workers, raise engine.wait_for_workers, or set LAMPLIGHTER_ENGINE=local, and run it again",
        )

    def lost(self, what: str, error: BaseException) -> WorkerError:
        """What the cluster itself says of a shard that it gave up."""
        said = " ".join(str(error).split()) or type(error).__name__
        return WorkerError(
            f"{what} was given up by the {self.engine.kind} cluster{self._where}: {type(error).__name__}: {said}",
            state="nothing was published; complete batches are kept",
            next_step="look at the workers' logs, for a lack of memory first, and run it again",
        )

    @property
    def _where(self) -> str:
        return f" at {self.engine.address}" if self.engine.address else ""


def unreachable(engine: Engine, why: object) -> WorkerError:
    said = " ".join(str(why).split()) or type(why).__name__
    return WorkerError(
        f"the {engine.kind} cluster{f' at {engine.address}' if engine.address else ''} cannot be reached: {said}",
        state="nothing was pulled, and nothing was published",
        next_step="start it, mend the address (engine.address in the job, LAMPLIGHTER_ENGINE_ADDRESS before it), or set "
        "LAMPLIGHTER_ENGINE=local",
    )


def knock(engine: Engine) -> None:
    """Whether anybody listens there: the libraries themselves are patient, and tell of it at length."""
    if engine.address is None:
        return
    host, _, port = engine.address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise unreachable(engine, error) from None


def within(seconds: float, function: Callable[[], T]) -> T:
    """What the function gives, in a thread of its own; TimeoutError where that takes longer, and nobody waits for it then."""
    given: list[T] = []
    raised: list[BaseException] = []

    def call() -> None:
        try:
            given.append(function())
        except BaseException as error:  # noqa: BLE001 - it is raised where it was called from
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not given:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return given[0]


def _question(joining: Joining) -> Callable[[], str]:
    """What each worker is asked. It is sent as it stands, since a worker may have no Lamplighter, or another one."""
    packed, digest, version = cloudpickle.dumps(joining), joining.code.digest, joining.code.version

    def ask() -> str:
        try:
            from tasks.core.provenance import code_record  # noqa: PLC0415

            there = code_record()
            if there.digest != digest:
                return (
                    f"its Lamplighter is {there.version} with the code {there.digest[:12]}, and the run's is {version} with the "
                    f"code {digest[:12]}"
                )
            import cloudpickle as pickled  # noqa: PLC0415

            fault: str = pickled.loads(packed).fault_at_first()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what that worker lacks
            return f"{type(error).__name__}: {error}"
        return fault

    # Known by its module it would be looked for there.
    ask.__module__ = "__main__"
    return ask
