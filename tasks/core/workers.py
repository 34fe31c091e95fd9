"""Child processes for work on the CPU: only a process can be timed out, killed, and survive a model's segfault."""

from __future__ import annotations

import atexit
import contextlib
import os  # noqa: TID251 - a child is told how many threads it may use; no file is touched
import re
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from joblib import cpu_count

from tasks.core import own_code, places
from tasks.core.children import Answer, Child, Died, Gone, NotHandedOver, Overran, Stopped
from tasks.core.errors import ChildDied, LamplighterError, WorkerError
from tasks.core.storage import Folder, Lake

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=WorkerError)

# A pool's name, the threads that each of its children may use, and the project whose modules they know.
Kind = tuple[str, int, str]

# Children that wait for work. Pools do not share them.
_idle: dict[Kind, list[Child]] = {}
# Those that work, each with the run whose shard it serves on a cluster's machine; '' on the run's own.
_busy: dict[Child, str] = {}
_stopped: set[str] = set()
_stops: list[str] = []
_lock = threading.Lock()


def worker_count(wanted: int, batches: int, isolate: str) -> int:
    """How many child processes serve a window; 0 means that the parent does the work itself.

    On a cluster's machine, all shards that are there: its workers are others' too, and no model may end one.
    """
    if place := places.here():
        return place.processes(wanted, int(cpu_count()))
    if batches <= 1 and isolate != "always":
        return 0
    return max(1, min(wanted or cpu_count(), batches))


@dataclass(frozen=True)
class Workers:
    """Where a call on one batch runs: in one of `count` child processes, or here if there are none.

    One that dies, or is killed for its time limit, takes no other batch with it, and the blame falls on the right one.
    Children of a named pool serve that pool alone, until it is dismissed; should memory run out, they are ended first.
    """

    count: int
    timeout_seconds: float
    pool: str = ""

    def call(self, what: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result; its exceptions pass. ChildDied, or WorkerError when the child overran its time limit."""
        if self.count == 0:
            return function(*args, **kwargs)
        kind = (self.pool, threads_of(self.count), _project())
        try:
            answer = _asked(kind, lambda child: child.ask(self.timeout_seconds, function, args, kwargs))
        except (Died, NotHandedOver, Overran, Stopped) as error:
            raise _told(what, self.timeout_seconds, error) from error
        if answer.raised:
            raise answer.value
        result: T = answer.value
        return result


def dismiss(pool: str) -> None:
    """Ends the children of a pool that wait for work."""
    with _lock:
        waiting = [child for kind in _idle if kind[0] == pool for child in _idle[kind]]
        for kind in [kind for kind in _idle if kind[0] == pool]:
            del _idle[kind]
    for child in waiting:
        child.kill()


def stop_children(run: str = "") -> None:
    """Ends every child that works, or those of one run. Whoever waits for one gets a WorkerError, and waits no longer.

    A run that is named gets no more children here: it is over.
    """
    with _lock:
        _stopped.update({run} - {""})
        _stops.append(run)
        for child in [child for child, of in _busy.items() if run in ("", of)]:
            child.kill()


@atexit.register
def _end_all() -> None:
    """Before multiprocessing's own farewell, which waits for them: they hold nothing that is not in the lake."""
    for pool in {kind[0] for kind in _idle}:
        dismiss(pool)
    stop_children()


def threads_of(processes: int) -> int:
    """How many threads each of so many processes may use: processes x threads = cores."""
    return max(1, int(cpu_count()) // processes)


def _project() -> str:
    """Whose modules a child is to know: several projects' shards may be in one process of a cluster."""
    if place := places.here():
        return place.project
    joined = own_code.joined()
    return str(joined.root) if joined else ""


def _asked(kind: Kind, ask: Callable[[Child], Answer]) -> Answer:
    """The answer of a child, which then waits for more work. One that gives none, or whom nobody waits for, is ended."""
    while True:
        child = _taken(kind)
        try:
            answer = ask(child)
        except Gone:
            # It ended while it waited, and nothing was lost: another one takes the work.
            _end(child)
        except BaseException:
            _end(child)
            raise
        else:
            with _lock:
                _busy.pop(child, None)
                if not child.is_stopped:
                    _idle.setdefault(kind, []).append(child)
            return answer


def _taken(kind: Kind) -> Child:
    """A child that waits, or a new one, which is begun without the lock: its server may still be importing."""
    place = places.here()
    run = place.run if place else ""
    with _lock:
        seen = len(_stops)
        waiting = _idle.get(kind)
        child = waiting.pop() if waiting and run not in _stopped else None
        if child:
            _busy[child] = run
            return child
        is_over = run in _stopped
    if not is_over:
        child = _new_child(kind)
        with _lock:
            is_over = run in _stopped or "" in _stops[seen:]
            if not is_over:
                _busy[child] = run
                return child
        child.kill()
    raise WorkerError("the run was stopped", state="complete batches are kept", next_step="run it again")


def _new_child(kind: Kind) -> Child:
    try:
        return Child(_begin_child, *kind)
    except (OSError, EOFError) as error:
        raise WorkerError(
            f"no child process could be started: {error or type(error).__name__}",
            state="complete batches are kept",
            next_step="look for a lack of memory, processes or open files, and whether TMPDIR is a short path that can be "
            "written, and run it again",
        ) from error


def _end(child: Child) -> None:
    with _lock:
        _busy.pop(child, None)
    child.kill()


def _begin_child(pool: str, threads: int, project: str) -> None:
    _pin(threads)
    if project:
        own_code.join_as_told(project)
    if pool:
        _offer_to_the_kernel()


def _pin(threads: int) -> None:
    """Libraries that are loaded later read the environment; those that are loaded already are told."""
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    if arrow := sys.modules.get("pyarrow"):
        arrow.set_cpu_count(threads)
    if "numpy" in sys.modules:
        from threadpoolctl import threadpool_limits  # noqa: PLC0415 - of no use before there is a library

        threadpool_limits(threads)


def _offer_to_the_kernel() -> None:
    """When memory runs out the kernel ends this process before any other; its parent has more to lose."""
    with contextlib.suppress(LamplighterError):
        Lake("/proc/self").append("oom_score_adj", b"1000")


def _told(what: str, timeout_seconds: float, error: Exception) -> WorkerError:
    """Why there is no answer, as a run says it."""
    kept = "complete batches are kept"
    if isinstance(error, Overran):
        return WorkerError(
            f"{what} did not end within {timeout_seconds:g} s, and its process was ended",
            state=kept,
            next_step="raise limits.batch_timeout_seconds or lower limits.batch_rows, and run it again",
        )
    if isinstance(error, Stopped):
        return WorkerError(f"{what} was stopped", state=kept, next_step="run it again")
    if not isinstance(error, Died):
        # Another process would say the same.
        return _died(WorkerError, what, str(error))
    told = _died(ChildDied, what, f"it ended with {_how(error.exit_code)}")
    told.how = _how(error.exit_code)
    return told


def _died(kind: type[E], what: str, cause: str) -> E:
    return kind(
        f"the process that worked on {what} died: {cause}",
        state="complete batches are kept",
        next_step="look for a lack of memory (lower limits.batch_rows) or a fault in the model's own code, and run it again",
    )


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "an unknown code"
    return f"exit code {exit_code}" if exit_code >= 0 else f"signal {signal.Signals(-exit_code).name}"


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
