"""A dry run: all of a run but its publication. It has a folder of its own, which no table, run or page of others meets.

`dry_runs/<job>/as_of=.../<run_id>/` holds the window's last one: its manifest, its snapshot, and the files of
predictions, quarantine and metrics as they would stand in the tables.
"""

from __future__ import annotations

import datetime as dt

from tasks.core import layout
from tasks.core.runs.gate import accepting
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.publication import staged
from tasks.core.runs.run import Run, manifests_in, published_manifest, write_manifest
from tasks.core.storage import Folder, Lake


def clear(lake: Lake, job: str, as_of: str) -> None:
    """Removes the window's last dry run, and what a killed one left. The caller holds the lock of its dry runs."""
    folder = layout.dry_runs(job, as_of)
    for name in lake.names(folder):
        lake.remove(f"{folder}/{name}")
    lake.sweep(folder)


def last(lake: Folder, job: str, as_of: str) -> Manifest | None:
    """The record of the window's last dry run; its `files` say where the scored rows are, if it came so far."""
    found = manifests_in(lake, layout.dry_runs(job, as_of))
    return max(found, key=lambda one: one.started_at, default=None)


def conclude(run: Run, intent: Manifest, *, finished_at: dt.datetime) -> Manifest:
    """Keeps what would be published where it can be read. `intent` has the verdict that it would have."""
    for table in layout.TABLES:
        run.lake.rename(staged(run.workspace, table), run.key(table))
    for done in ("staged", "batches", "validated"):
        if run.lake.exists(run.key(done)):
            run.lake.remove(run.key(done))
    concluded = intent.but(state="dry_run", finished_at=finished_at, next_step=_next_step(run, intent))
    write_manifest(run.lake, run.workspace, concluded)
    return concluded


def _next_step(run: Run, intent: Manifest) -> str:
    window = f"{run.job.job} --as-of {run.window.as_of}"
    if published_manifest(run.lake, run.job.job, run.window.as_of):
        return f'lamplighter score {window} --rescore "why", to do it'
    command = accepting(window, intent.trigger.accept) if intent.trigger.accept else f"lamplighter score {window}"
    return f"{command}, to do it"
