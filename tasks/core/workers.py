"""Child processes for work on the CPU: only a process can be timed out, killed, and survive a model's segfault."""

from __future__ import annotations

import contextlib
import os  # noqa: TID251 - a child asks who its parent is; no file is touched
import re
import resource
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from multiprocessing.util import Finalize
from typing import Any, ParamSpec, TypeVar

from joblib.externals.loky import cpu_count
from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.process_executor import (
    BrokenProcessPool,
    ProcessPoolExecutor,
    ShutdownExecutorError,
    TerminatedWorkerError,
)

from tasks.core import own_code
from tasks.core.errors import ChildDied, LamplighterError, WorkerError
from tasks.core.orphans import end_with_parent
from tasks.core.storage import Folder, Lake

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_SIGNAL, _EXIT = re.compile(r"(SIG\w+)\(-\d+\)"), re.compile(r"EXIT\((\d+)\)")

P = ParamSpec("P")
T = TypeVar("T")

_IDLE_SECONDS = 600
# A pool's name, the threads that each of its children may use, and the project whose modules they know.
Kind = tuple[str, int, str]

# Children that wait for work, each a pool of its own: one that dies, or is killed for its time limit, takes no other batch
# with it, and the blame falls on the right one. Pools do not share children.
_idle: dict[Kind, list[Any]] = {}
_busy: set[Any] = set()
_lock = threading.Lock()


def worker_count(wanted: int, batches: int, isolate: str) -> int:
    """How many child processes serve a window; 0 means that the parent does the work itself."""
    if batches <= 1 and isolate != "always":
        return 0
    return max(1, min(wanted or cpu_count(), batches))


@dataclass(frozen=True)
class Workers:
    """Where a call on one batch runs: in one of `count` child processes, or here if there are none.

    Children of a named pool serve that pool alone, until it is dismissed; should memory run out, they are ended first.
    """

    count: int
    timeout_seconds: float
    pool: str = ""

    def call(self, what: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result; its exceptions pass. ChildDied, or WorkerError when the child overran its time limit."""
        if self.count == 0:
            return function(*args, **kwargs)
        project = own_code.joined()
        kind = (self.pool, threads_of(self.count), str(project.root) if project else "")
        executor, future = _submit(kind, function, args, kwargs)
        try:
            result: T = future.result(timeout=self.timeout_seconds)
        except TimeoutError as error:
            if future.done():
                return future.result()  # The function's own time-out, or a result that came in the last instant.
            raise WorkerError(
                f"{what} did not end within {self.timeout_seconds:g} s, and its process was ended",
                state="complete batches are kept",
                next_step="raise limits.batch_timeout_seconds or lower limits.batch_rows, and run it again",
            ) from error
        except BrokenProcessPool as error:
            raise _died(what, error) from error
        except ShutdownExecutorError as error:
            raise WorkerError(
                f"{what} was stopped", state="complete batches are kept", next_step="run it again"
            ) from error
        finally:
            _give_back(kind, executor, future)
        return result


def dismiss(pool: str) -> None:
    """Ends the children of a pool that wait for work."""
    with _lock:
        waiting = [executor for kind in _idle if kind[0] == pool for executor in _idle[kind]]
        for kind in [kind for kind in _idle if kind[0] == pool]:
            del _idle[kind]
    for executor in waiting:
        # They are idle, so this is quick; and who dismisses them is often about to end, with locks still in hand.
        executor.shutdown(wait=True, kill_workers=True)


def stop_children() -> None:
    """Ends every child that works. Whoever waits for one gets a WorkerError, and waits no longer."""
    with _lock:
        working = list(_busy)
    for executor in working:
        executor.shutdown(wait=False, kill_workers=True)


def threads_of(processes: int) -> int:
    """How many threads each of so many processes may use: processes x threads = cores."""
    return max(1, int(cpu_count()) // processes)


def _submit(kind: Kind, function: Callable[..., T], args: Any, kwargs: Any) -> tuple[Any, Future[T]]:
    while True:
        with _lock:
            waiting = _idle.setdefault(kind, [])
            executor = waiting.pop() if waiting else _new_child(*kind)
            _busy.add(executor)
        try:
            return executor, executor.submit(function, *args, **kwargs)
        except BrokenProcessPool:
            # It died while it waited, and nothing was lost: another one takes the work.
            with _lock:
                _busy.discard(executor)
            executor.shutdown(wait=False)


def _new_child(pool: str, threads: int, project: str) -> Any:
    _tell_tracker_all()
    pinned: dict[str, Any] = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    return ProcessPoolExecutor(
        max_workers=1,
        # Python would look into the current folder, which may be a project's, before it looks into its own.
        env=pinned | {"PYTHONSAFEPATH": "1"},
        timeout=_IDLE_SECONDS,
        initializer=_begin_child,
        initargs=(os.getpid(), pool, project),
    )


@cache
def _tell_tracker_all() -> None:
    """Has what loky's tracker of locks was not told yet told to it at the end, after every other finalizer.

    A lock that is collected while another is being taken waits for the next message, and after the last there is none:
    the tracker would tell the user of a leak that is none.
    """
    Finalize(None, resource_tracker.ensure_running, exitpriority=-100)


def _begin_child(parent: int, pool: str, project: str) -> None:
    end_with_parent(parent)
    if project:
        own_code.join_as_told(project)
    if pool:
        _offer_to_the_kernel()


def _offer_to_the_kernel() -> None:
    """When memory runs out the kernel ends this process before any other; its parent has more to lose."""
    with contextlib.suppress(LamplighterError):
        Lake("/proc/self").append("oom_score_adj", b"1000")


def _give_back(kind: Kind, executor: Any, future: Future[Any]) -> None:
    """A child that is done waits for more work; one that is not, because its time was up or the run is stopped, is killed."""
    with _lock:
        _busy.discard(executor)
        if future.done() and not isinstance(future.exception(), BrokenProcessPool | ShutdownExecutorError):
            _idle.setdefault(kind, []).append(executor)
            return
    executor.shutdown(wait=False, kill_workers=True)


def _died(what: str, error: BrokenProcessPool) -> WorkerError:
    """One whose result cannot be handed over is ended as well, and would be again: that is another thing."""
    kind = ChildDied if isinstance(error, TerminatedWorkerError) else WorkerError
    told = kind(
        f"the process that worked on {what} died: {_cause(error)}",
        state="complete batches are kept",
        next_step="look for a lack of memory (lower limits.batch_rows) or a fault in the model's own code, and run it again",
    )
    if isinstance(told, ChildDied):
        told.how = _how(str(error))
    return told


def _how(told: str) -> str:
    if found := _SIGNAL.search(told):
        return f"signal {found[1]}"
    return f"exit code {found[1]}" if (found := _EXIT.search(told)) else "unknown"


def _cause(error: BrokenProcessPool) -> str:
    """What is known of a child's end, without the advice that the library adds."""
    told = [line for line in str(error).splitlines() if line.startswith(("A ", "The exit codes"))]
    return " ".join(told) or type(error).__name__


def peak_memory_bytes(*others: int) -> int:
    """The largest resident set so far, of this process or of another that is given by its number."""
    known = [_peak_of(str(process)) for process in others if process]
    # getrusage counts what the process was before it was executed anew: of a child, its parent's size.
    ours = _peak_of("self") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return max(ours, *known) if known else ours


def _peak_of(process: str) -> int:
    """0 where nothing is known of it."""
    folder = Folder(f"/proc/{process}")
    found = _PEAK.search(folder.read_text("status")) if folder.exists("status") else None
    return int(found[1]) * 1024 if found else 0
