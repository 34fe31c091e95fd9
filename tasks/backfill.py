"""Backfill: windows of a range, or those that a recall has queued, one run of `score` each."""

from __future__ import annotations

import time
from typing import Any

from prefect import Flow

from tasks.core import progress
from tasks.core.definitions.project import Project
from tasks.core.runs.recalling import backfill
from tasks.core.runs.recalling.backfill import Backfilled, Ended, Plan, Wanted
from tasks.core.runs.recalling.round import Round
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.orchestration.ways import Way, way_of
from tasks.outcome import show_table
from tasks.stage import Stage

STAGE = "windows"
_MOST_ROWS = 1000  # Of a table in the Prefect UI, which keeps it whole in its database.


def plan_backfill(wanted: Wanted) -> Plan:
    """Which windows are due, oldest first; changes nothing."""
    settings = Settings()
    job = Project(Folder(settings.project)).load(wanted.job).job
    return backfill.plan(Lake(settings.lake), job, wanted)


def begin_backfill(wanted: Wanted) -> Plan:
    """As plan_backfill; what somebody has published since it was queued leaves the queue."""
    planned = plan_backfill(wanted)
    backfill.begin(Lake(Settings().lake), planned)
    return planned


def fill(planned: Plan, score: Flow[..., Any], at_once: int, stop_after: int) -> list[Ended]:
    """Runs `score` for the windows that are due, so many at once; none is begun any more when so many have failed."""
    if not planned.due:
        return []
    windows = Round(Lake(Settings().lake), planned, stop_after=stop_after)
    try:
        with way_of(score, windows.job, min(at_once, len(planned.due))) as way:
            while not windows.is_over:
                _begin_some(windows, way)
                _end_some(windows, way)
    finally:
        progress.forget(_name(windows))
    return windows.all_ended()


def conclude(planned: Plan, ended: list[Ended]) -> Backfilled:
    """The summary, also as a table in the UI; an error that holds it, where a window failed or was blocked."""
    every = sorted((*planned.ended, *ended), key=lambda one: one.as_of)
    # What was skipped says least, and goes first where there are too many.
    told = sorted(sorted(every, key=lambda one: one.outcome == "skipped")[:_MOST_ROWS], key=lambda one: one.as_of)
    left = f" The first {_MOST_ROWS:,} of {len(every):,} windows." if len(every) > _MOST_ROWS else ""
    rows = [{"window" if key == "as_of" else key: value for key, value in one} for one in told]
    show_table(f"{planned.wanted.job} backfill", rows, f"{planned.wanted.reason}{left}")
    return backfill.conclude(planned, ended)


def _begin_some(windows: Round, way: Way) -> None:
    while windows.under_way < way.at_once and (due := windows.next(time.monotonic())):
        way.start(due.as_of, due.parameters(windows.job))
    _tell(windows)


def _end_some(windows: Round, way: Way) -> None:
    for final in way.ended() if not windows.is_over else ():
        windows.conclude(final, time.monotonic())
    _tell(windows)


def _name(windows: Round) -> str:
    """By which `watched` knows it."""
    return f"{windows.job} backfill"


def _tell(windows: Round) -> None:
    if news := windows.news():
        progress.advance(_name(windows), STAGE, news, windows.total)


foresee = Stage("Look up which windows are due", plan_backfill)
begin = Stage("Decide which windows are due", begin_backfill)
