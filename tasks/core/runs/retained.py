"""Whether a run reads the source, or the snapshot that an earlier run of the window has kept."""

from __future__ import annotations

from tasks.core import layout
from tasks.core.errors import WindowBlocked
from tasks.core.rows import snapshot
from tasks.core.runs.manifest import SnapshotRecord
from tasks.core.runs.run import Run, manifest_of, manifests

_PUBLISHED = ("published", "published_with_warnings")


def retained_snapshot(run: Run) -> tuple[str, SnapshotRecord] | None:
    """The workspace whose snapshot is read in the source's stead; None where the source itself is.

    It is read where that was asked for, if there is one, and where the source no longer knows the window.
    """
    if of_blocked := _blocked_kept(run):
        return of_blocked
    is_forgotten = run.job.source.history == "current_only" and _is_past(run)
    if not (is_forgotten or manifest_of(run).trigger.from_snapshot):
        return None
    kept = _last_kept(run)
    if kept is None and is_forgotten:
        why = why_pruned(run)
        raise WindowBlocked(
            f"{run.name} is past, its source knows the present only (history: current_only), and no snapshot of it "
            f"{f'is kept: {why}' if why else 'was kept'}",
            state="nothing was pulled",
            next_step="score a window that is not past, or declare history: replayable if the query of "
            f"'{run.job.job}' can go back",
        )
    return kept


def why_pruned(run: Run) -> str:
    """That retention took what a run of the window had pulled, in words; '' where it took nothing."""
    found = [one for one in manifests(run.lake, run.job.job, run.window.as_of) if one.pruned]
    last = max(found, key=lambda one: one.started_at, default=None)
    return f"run {last.run_id} had one, and {last.pruned[-1].sentence}" if last else ""


def _is_past(run: Run) -> bool:
    """Whether the source has moved on: the next window has begun."""
    return run.started_at >= run.job.window.after(run.window).start


def _blocked_kept(run: Run) -> tuple[str, SnapshotRecord] | None:
    """The workspace of the blocked run whose rows somebody accepts."""
    trigger = manifest_of(run).trigger
    if not (trigger.accept and trigger.snapshot_of):
        return None
    workspace = layout.workspace(run.job.job, run.window.as_of, trigger.snapshot_of)
    return workspace, snapshot.required_record(run.lake, workspace)


def _last_kept(run: Run) -> tuple[str, SnapshotRecord] | None:
    """The snapshot of the run that readers saw last, withdrawn or not; else that of the run that began last."""
    job, as_of = run.job.job, run.window.as_of
    found = [
        (one.verdict in _PUBLISHED, one.finished_at or one.started_at, layout.workspace(job, as_of, one.run_id), kept)
        for one in manifests(run.lake, job, as_of)
        if (kept := one.snapshot) and one.run_id != run.run_id
    ]
    there = [one for one in found if run.lake.exists(f"{one[2]}/{snapshot.SNAPSHOT}")]
    return max(there, key=lambda one: one[:2])[2:] if there else None
