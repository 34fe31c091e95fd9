"""The gate that counts: what share of a window's rows may leave before nothing is published."""

from __future__ import annotations

from tasks.core.definitions.job import Job
from tasks.core.errors import Blocked
from tasks.core.rows import rejects
from tasks.core.rows.snapshot import batch_bounds, required_record
from tasks.core.runs.run import Run, manifest_of, record


def quarantine_limit(job: Job, distinct: int) -> float:
    """How many of so many distinct rows may be quarantined; a count above it blocks."""
    return job.limits.quarantine_share * distinct


def count_quarantined(run: Run) -> int:
    """Counts the rows that the stages so far took out, and records them by reason."""
    snapshot = required_record(run.lake, run.workspace)
    taken = [
        rejects.read_taken_out(run.lake, run.workspace, batch, batch_bounds(snapshot, batch))
        for batch in range(snapshot.batches)
    ]
    quarantined = sum(len(one.quarantined) for one in taken)
    rows = manifest_of(run).rows.model_copy(update={"quarantined": quarantined})
    record(run, rows=rows, quarantine_reasons=rejects.total_count_by_reason(taken))
    return quarantined


def refuse_large_quarantine(run: Run) -> None:
    """Blocked when more rows were quarantined than the job allows; it names the most frequent reasons."""
    quarantined = count_quarantined(run)
    manifest, job = manifest_of(run), run.job
    distinct = manifest.rows.pulled - manifest.rows.duplicates
    if quarantined <= quarantine_limit(job, distinct):
        return
    most = ", ".join(f"{count:,} x {name}" for name, count in list(manifest.quarantine_reasons.items())[:3])
    raise Blocked(
        f"{quarantined:,} of {distinct:,} rows of {run.name} ({quarantined / distinct:.1%}) are quarantined, "
        f"and the job allows {job.limits.quarantine_share:.1%}: {most}",
        state="nothing was published, and what readers saw before stands",
        next_step=f"lamplighter show {job.job} --as-of {run.window.as_of}; then mend the feed and score the window "
        "again, or raise limits.quarantine_share",
    )
