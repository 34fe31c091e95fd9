"""Which windows a job's schedule has asked for, and which of those readers do not see."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from tasks.core.definitions.job import Job
from tasks.core.definitions.schedule import Schedule, length
from tasks.core.definitions.window import Window, WindowSpec
from tasks.core.errors import DefinitionError, LakeError
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.run import as_of_labels, latest_manifest
from tasks.core.runs.showing import shown_labels
from tasks.core.storage import Folder

# running: a run of it has begun and not ended, or was killed. withdrawn: its model version was recalled. unreadable: the
# record of a run is damaged.
WindowState = Literal["never run", "running", "blocked", "failed", "withdrawn", "unreadable"]


class Scheduled(Protocol):
    """A job, or what is kept of one."""

    @property
    def window(self) -> WindowSpec: ...

    @property
    def schedule(self) -> Schedule | None: ...


@dataclass(frozen=True)
class Expected:
    """A window, and the first tick of the schedule that asked for it."""

    window: Window
    tick: dt.datetime


@dataclass(frozen=True)
class Missing:
    """A window that the schedule has asked for and readers do not see: what its last run did, and by when it was due."""

    as_of: str
    tick: dt.datetime
    due_at: dt.datetime | None
    state: WindowState
    run_id: str | None

    def is_late(self, now: dt.datetime) -> bool:
        """Whether its deadline has passed; never where the job has none."""
        return self.due_at is not None and now > self.due_at


def expected_windows(job: Scheduled, first: Window, last: dt.datetime) -> Iterator[Expected]:
    """The windows from `first` on that ticks up to the instant `last` have asked for, in order; none without a schedule."""
    if job.schedule is None:
        return
    begins = job.schedule.first_tick_of(first, job.window)
    # From one window's first tick to that of the next: there may be many between.
    while (tick := next(job.schedule.due(begins, last, job.window), None)) is not None:
        window = job.schedule.window_of(tick, job.window)
        begins = job.schedule.first_tick_of(job.window.after(window), job.window)
        yield Expected(window, tick)


def missing(lake: Folder, job: Job, *, now: dt.datetime, since: dt.datetime | None = None) -> list[Missing]:
    """The windows that were asked for by `now` and are not published, in order.

    They begin with the first window of which the lake knows a run, or with the one that contains `since`. A schedule that
    is not active asks for nothing, unless it is said since when. What the tables hold is taken from one listing;
    manifests are read only of windows that are not there.
    """
    if job.schedule is None or not (job.schedule.active or since):
        return []
    known = as_of_labels(lake, job.job)
    first = job.window.containing(since) if since else _first_of(job, known)
    if first is None:
        return []
    seen, with_runs = set(published_labels(lake, job.job)), set(known)
    return [
        _missing(lake, job, one, has_runs=one.window.as_of in with_runs)
        for one in expected_windows(job, first, now)
        if one.window.as_of not in seen
    ]


def _first_of(job: Job, labels: list[str]) -> Window | None:
    """The first label that is a window of the job: its windows may have been of another length once."""
    for label in labels:
        with contextlib.suppress(DefinitionError):
            return job.window.parse(label)
    return None


def published_labels(lake: Folder, job: str) -> list[str]:
    """The windows that show rows, in the order of time: those with a partition of predictions, or of the shadow."""
    return shown_labels(lake, job)


def _missing(lake: Folder, job: Job, expected: Expected, *, has_runs: bool) -> Missing:
    state, run_id = _last_run(lake, job.job, expected.window.as_of) if has_runs else ("never run", None)
    return Missing(
        as_of=expected.window.as_of,
        tick=expected.tick,
        due_at=expected.tick + length(job.deadline) if job.deadline else None,
        state=state,
        run_id=run_id,
    )


def _last_run(lake: Folder, job: str, as_of: str) -> tuple[WindowState, str | None]:
    try:
        last = latest_manifest(lake, job, as_of)
    except LakeError:
        return "unreadable", None
    return (_state(last), last.run_id) if last else ("never run", None)


def _state(manifest: Manifest) -> WindowState:
    if manifest.state in ("running", "publishing"):
        return "running"
    if manifest.state in ("withdrawing", "withdrawn"):
        return "withdrawn"
    return "blocked" if manifest.verdict == "blocked" else "failed"
