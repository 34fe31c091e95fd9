"""Backfill: windows of a range, or those that a recall has queued, one run of `score` each."""

from __future__ import annotations

from typing import Any

from tasks.core.definitions.project import Project
from tasks.core.runs.recalling import backfill
from tasks.core.runs.recalling.backfill import Backfilled, Due, Ended, Plan, Wanted
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.outcome import show_table
from tasks.stage import Stage


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


def settle(planned: Plan, due: Due, state: Any) -> Ended:
    """Notes how the run of a window ended, and takes the window off the queue if it may. One that failed stops no other."""
    return backfill.settle(Lake(Settings().lake), planned.wanted, due, state.name or "", state.message or "")


def conclude(planned: Plan, ended: list[Ended]) -> Backfilled:
    """The summary, also as a table in the UI; an error that holds it, where a window failed or was blocked."""
    rows = [one.model_dump() for one in sorted((*planned.ended, *ended), key=lambda one: one.as_of)]
    show_table(f"{planned.wanted.job} backfill", rows, planned.wanted.reason)
    return backfill.conclude(planned, ended)


foresee = Stage("Look up which windows are due", plan_backfill)
begin = Stage("Decide which windows are due", begin_backfill)
