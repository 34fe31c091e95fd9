"""Revisit: windows whose source may have changed since they were published are pulled again, one run of `score` each."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from typing import Any

from tasks.core import layout
from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError, NothingToDo, WindowBusy
from tasks.core.runs import revisits
from tasks.core.runs.revisits import DueRevisit, Revisited, Revisits, Round
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.outcome import show_table
from tasks.stage import Stage


def find_due(job: str) -> Revisits:
    """The windows of which a revisit is due, from the lake alone. DefinitionError where the job has no `revisit`."""
    settings = Settings()
    definition = Project(Folder(settings.project)).load(job, suites=False).job
    if not definition.revisit:
        raise DefinitionError(
            f"the job '{job}' revisits no window",
            state="nothing was started",
            next_step=f"write 'revisit: [24h, 7d]' into deployments/jobs/{job}.yaml, or take the deployment out",
        )
    return revisits.due_revisits(Lake(settings.lake), definition, now=_now())


@contextlib.contextmanager
def alone(job: str) -> Iterator[None]:
    """One round of a job at a time. NothingToDo where the one before is still at work: it does the same."""
    lake = Lake(Settings().lake)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(lake.lock(layout.revisits_lock(job), holder=f"the revisits of {job}"))
        except WindowBusy as busy:
            raise NothingToDo(f"another round of revisits of {job} is at work; this one did nothing") from busy
        yield


def settle(due: DueRevisit, state: Any) -> Revisited:
    """Notes how the run of a window ended; one that is blocked or fails stops no other."""
    return revisits.settled(due, state.name or "", state.message or "")


def conclude(planned: Revisits, ended: list[Revisited]) -> Round:
    """The summary, also as a table in the UI; an error that holds it, where a window failed or was blocked."""
    if ended:
        rows = [{"window": one.as_of, "lag": one.lag, "outcome": one.outcome, "why": one.why} for one in ended]
        show_table(f"{planned.job} revisit", rows, "Windows that were pulled again")
    return revisits.concluded(planned, tuple(ended))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


due = Stage("Look up which windows to pull again", find_due)
