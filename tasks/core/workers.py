"""Child processes for work on the CPU: only a process can be timed out, killed, and survive a model's segfault."""

from __future__ import annotations

import resource
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from joblib.externals.loky import cpu_count, get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from tasks.core.errors import WorkerError

P = ParamSpec("P")
T = TypeVar("T")


def worker_count(wanted: int, batches: int, isolate: str) -> int:
    """How many child processes serve a window; 0 means that the parent does the work itself."""
    if batches <= 1 and isolate != "always":
        return 0
    return max(1, min(wanted or cpu_count(), batches))


@dataclass(frozen=True)
class Workers:
    """Where a call on one batch runs: in one of `count` child processes, or here if there are none."""

    count: int
    timeout_seconds: float

    def call(self, what: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result; its exceptions pass. WorkerError when the child died or overran its time limit."""
        if self.count == 0:
            return function(*args, **kwargs)
        executor = get_reusable_executor(max_workers=self.count, env=_thread_limits(self.count), timeout=600)
        try:
            result: T = executor.submit(function, *args, **kwargs).result(timeout=self.timeout_seconds)
        except FutureTimeoutError as error:
            executor.shutdown(wait=False, kill_workers=True)
            raise WorkerError(
                f"{what} did not end within {self.timeout_seconds:g} s, and its process was ended",
                state="complete batches are kept",
                next_step="raise limits.batch_timeout_seconds or lower limits.batch_rows, and run it again",
            ) from error
        except TerminatedWorkerError as error:
            raise WorkerError(
                f"the process that worked on {what} died: {str(error).splitlines()[0]}",
                state="complete batches are kept",
                next_step="look for a lack of memory (lower limits.batch_rows) or a fault in the model's own code, and run it again",
            ) from error
        return result


def _thread_limits(processes: int) -> dict[str, int]:
    """What pins the threads of the numeric libraries in a child: processes x threads = cores."""
    threads = max(1, cpu_count() // processes)
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)


def peak_memory_bytes() -> int:
    """The largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
