"""Three ways to run a flow for many windows: here, in child processes of this one, or as runs of a deployment.

Whoever uses a way asks for at most `at_once` windows, and then for those that have ended; leaving it by an error ends all.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol
from uuid import UUID

from prefect import Flow
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.flow_engine import run_flow
from prefect.runtime import deployment, flow_run

from tasks.core.logs import log
from tasks.core.runs.recalling.round import Final
from tasks.orchestration.flow_runs import FlowRuns, parts_of
from tasks.orchestration.lane import serve

AnyFlow = Flow[..., Any]

POLL_SECONDS = 2.0
# Where no worker has a place for them, as when the backfill itself holds the only one, it does their work itself.
PICK_UP_SECONDS = 60.0
BEGIN_SECONDS = 600.0  # From the moment a worker has taken one; a busy machine takes minutes to start a process.
# What a cancelled run may take to end before its worker kills it is 30 s.
_HURRY_SECONDS = 8.0
_LEAVE_SECONDS = 60.0  # A process that is done hands its last log lines to the server.
_QUEUE = "low"
_CANCELLED = "the backfill that asked for it was ended"
_UNBEGUN = "no worker began it in time: the backfill scores the window in its own process"


class Way(Protocol):
    """How windows are run."""

    at_once: int

    def start(self, as_of: str, parameters: dict[str, Any]) -> None:
        """Asks for the run of a window."""

    def ended(self) -> list[Final]:
        """Those that have ended since; waits a moment where none has."""

    def stop(self) -> None:
        """Ends those that are under way: this run was ended itself."""

    def close(self) -> None:
        """All have ended."""


@contextlib.contextmanager
def way_of(flow: AnyFlow, job: str, at_once: int) -> Iterator[Way]:
    """A deployment's run asks for runs of the deployment `flow/job`, where there is one: each has a process and a page."""
    with parts_of(flow_run.id) as runs:
        found = runs.deployment(f"{flow.name}/{job}") if deployment.id else None
        with _used(_chosen(flow, runs, found, at_once)) as way:
            yield way


def _chosen(flow: AnyFlow, runs: FlowRuns, found: DeploymentResponse | None, at_once: int) -> Way:
    if found is not None:
        return Deployed(flow, runs, found, at_once)
    return Here(flow, runs) if at_once == 1 else Children(flow, runs, at_once)


@contextlib.contextmanager
def _used(way: Way) -> Iterator[Way]:
    try:
        yield way
    except BaseException:
        way.stop()
        raise
    way.close()


class Here:
    """One window after the other in this process."""

    at_once = 1

    def __init__(self, flow: AnyFlow, runs: FlowRuns) -> None:
        self._flow, self._runs = flow, runs
        self._ended: list[Final] = []

    def start(self, as_of: str, parameters: dict[str, Any]) -> None:
        made = self._runs.create(self._flow, f"{parameters['job']} {as_of}", parameters)
        try:
            state: Any = run_flow(self._flow, flow_run=made, return_type="state")
            self._ended.append(Final(as_of, state.name or "", state.message or ""))
        except Exception as error:  # noqa: BLE001 - the next window is not to suffer for it
            self._ended.append(Final(as_of, "Failed", f"{type(error).__name__}: {error}"))

    def ended(self) -> list[Final]:
        found, self._ended = self._ended, []
        if not found:
            time.sleep(POLL_SECONDS)
        return found

    def stop(self) -> None:
        """What runs here has ended with this process's own signal."""

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class _Lane:
    """A child process, and the window and flow run that it has now."""

    process: Any
    connection: Connection
    work: tuple[str, UUID] | None = None


class Children:
    """Each of the windows under way in a child process, which takes one after the other.

    Not in threads: a window of one batch is validated and scored in its run's own process, and Great Expectations in
    two threads would mix up the windows; a model that ends its process ends one window with it.
    """

    def __init__(self, flow: AnyFlow, runs: FlowRuns, at_once: int) -> None:
        self._flow, self._runs, self.at_once = flow, runs, at_once
        self._lanes: list[_Lane] = []

    def start(self, as_of: str, parameters: dict[str, Any]) -> None:
        lane = next((one for one in self._lanes if one.work is None), None) or self._new_lane()
        made = self._runs.create(self._flow, f"{parameters['job']} {as_of}", parameters)
        lane.work = (as_of, made.id)
        with contextlib.suppress(OSError):  # A child that died is met when it is looked at.
            lane.connection.send(str(made.id))

    def ended(self) -> list[Final]:
        at_work = {one.connection: one for one in self._lanes if one.work}
        if not at_work:
            time.sleep(POLL_SECONDS)
        return [self._take(at_work[ready]) for ready in wait(list(at_work), POLL_SECONDS) if ready in at_work]

    def stop(self) -> None:
        for lane in self._lanes:
            lane.process.terminate()
        self._end_processes(_HURRY_SECONDS)
        hurried = self._runs.hurried(_HURRY_SECONDS)
        for lane in self._lanes:
            if lane.work:
                with contextlib.suppress(Exception):
                    hurried.write_off(lane.work[1], _CANCELLED, cancelled=True)

    def close(self) -> None:
        for lane in self._lanes:
            with contextlib.suppress(OSError):
                lane.connection.send(None)
        self._end_processes(_LEAVE_SECONDS)

    def _new_lane(self) -> _Lane:
        spawning = multiprocessing.get_context("spawn")
        ours, theirs = spawning.Pipe()
        name = f"{self._flow.fn.__module__}.{self._flow.fn.__name__}"
        this = multiprocessing.current_process().pid
        # As in this process: a command that is typed shows none.
        level = "info" if deployment.id else None
        arguments = (theirs, this, self._runs.environment(), name, level)
        process = spawning.Process(target=serve, args=arguments)
        process.start()
        theirs.close()
        self._lanes.append(_Lane(process, ours))
        return self._lanes[-1]

    def _take(self, lane: _Lane) -> Final:
        assert lane.work is not None  # noqa: S101 - narrowing
        (as_of, run_id), lane.work = lane.work, None
        try:
            return Final(as_of, *lane.connection.recv())
        except (EOFError, OSError):
            self._lanes.remove(lane)
            lane.process.join()
            why = f"the process that scored {as_of} died (exit code {lane.process.exitcode})"
            self._runs.write_off(run_id, why)
            return Final(as_of, "Crashed", why)

    def _end_processes(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for lane in self._lanes:
            lane.process.join(max(0.0, end - time.monotonic()))
            if lane.process.is_alive():
                lane.process.kill()
                lane.process.join()
            lane.connection.close()


class Deployed:
    """Each window as a run of a deployment, in a process that a worker starts; below what is scheduled, in its queue."""

    def __init__(self, flow: AnyFlow, runs: FlowRuns, found: DeploymentResponse, at_once: int) -> None:
        self._flow, self._runs, self._deployment, self.at_once = flow, runs, found, at_once
        self._queue = _QUEUE if found.work_pool_name and runs.has_queue(_QUEUE, found.work_pool_name) else None
        # One that the killed attempt had in its own process has died with it.
        left = [one for one in runs.unfinished() if one.deployment_id == found.id]
        self._left = {str(one.parameters.get("as_of")): one for one in left}
        self._asked: dict[UUID, str] = {}
        self._times: dict[str, int] = {}
        self._moved_at = time.monotonic()
        self._instead: Here | None = None

    def start(self, as_of: str, parameters: dict[str, Any]) -> None:
        if self._instead:
            self._instead.start(as_of, parameters)
            return
        # One that an earlier attempt of this run has asked for is taken over.
        made = self._left.pop(as_of, None) or self._create(as_of, parameters)
        self._asked[made.id] = as_of
        self._moved_at = time.monotonic()

    def ended(self) -> list[Final]:
        if self._instead and not self._asked:
            return self._instead.ended()
        time.sleep(POLL_SECONDS)
        found = {one.id: one for one in self._runs.read(list(self._asked))}
        finals = [self._final(run_id, found.get(run_id)) for run_id in self._asked if _has_ended(found.get(run_id))]
        for run_id in [run_id for run_id in self._asked if _has_ended(found.get(run_id))]:
            del self._asked[run_id]
        if finals or any(_has_begun(one) for one in found.values()):
            self._moved_at = time.monotonic()
        elif self._asked and time.monotonic() - self._moved_at > _patience_seconds(found.values()):
            self._do_it_here(found)
        return finals

    def stop(self) -> None:
        hurried = self._runs.hurried(_HURRY_SECONDS)
        for run_id in self._asked:
            with contextlib.suppress(Exception):
                hurried.cancel(run_id, _CANCELLED)

    def close(self) -> None:
        """Nothing is held."""

    def _create(self, as_of: str, parameters: dict[str, Any]) -> FlowRun:
        self._times[as_of] = self._times.get(as_of, 0) + 1
        # A retry of this run asks anew; within one attempt a question that is asked twice makes one run.
        key = f"{flow_run.id} {flow_run.run_count} {as_of} {self._times[as_of]}"
        name = f"{parameters['job']} {as_of}"
        return self._runs.create_of(self._deployment, name, parameters, key=key, queue=self._queue)

    def _final(self, run_id: UUID, found: FlowRun | None) -> Final:
        as_of = self._asked[run_id]
        if found is None or found.state is None:
            return Final(as_of, "Crashed", "its run was deleted from the Prefect server")
        state = found.state
        began = not (state.is_cancelled() and self._instead)  # What this run took back is still to be done.
        return Final(as_of, state.name or "", state.message or f"its run was {(state.name or '').lower()}", began)

    def _do_it_here(self, found: dict[UUID, FlowRun]) -> None:
        """Takes back what nobody has begun. One that a worker begins in this instant is cancelled there, or busy here."""
        self._moved_at = time.monotonic()
        if self._instead:
            # A worker that took one and was gone before it began does not answer to a cancellation either.
            for run_id in found:
                self._runs.write_off(run_id, _UNBEGUN, cancelled=True)
            return
        log.warning(
            "No worker began any of %d windows: no place is free in the work pool, or no worker is there. "
            "This run scores the rest in its own process, one at a time.",
            len(found),
        )
        self._instead, self.at_once = Here(self._flow, self._runs), 1
        for run_id in found:
            self._runs.cancel(run_id, _UNBEGUN)


def _patience_seconds(found: Iterable[FlowRun]) -> float:
    is_taken = any(one.state is not None and one.state.is_pending() for one in found)
    return BEGIN_SECONDS if is_taken else PICK_UP_SECONDS


def _has_ended(found: FlowRun | None) -> bool:
    return found is None or (found.state is not None and found.state.is_final())


def _has_begun(found: FlowRun) -> bool:
    return found.state is not None and (found.state.is_running() or found.state.is_paused())
