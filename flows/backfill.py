"""The flow `backfill`: `score` for each window of a range, or for those that a recall has queued, oldest first."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import (
    AtOnce,
    First,
    JobName,
    Last,
    OnlyIfChanged,
    PlanOnly,
    Queued,
    Reason,
    Repull,
    RescoreAll,
    StopAfter,
)
from flows.score import score
from tasks.backfill import begin, conclude, fill, foresee
from tasks.core.runs.recalling.backfill import Backfilled, Plan, Wanted
from tasks.outcome import told_as_state
from tasks.report import report_again
from tasks.watch import watched


@flow(name="backfill", flow_run_name="backfill {job}")
@told_as_state
def backfill(  # noqa: PLR0917 - each is a field of the form
    job: JobName,
    first: First = "",
    last: Last = "",
    reason: Reason = "",
    queued: Queued = False,
    rescore: RescoreAll = False,
    repull: Repull = False,
    only_if_changed: OnlyIfChanged = False,
    at_once: AtOnce = 2,
    stop_after: StopAfter = 3,
    plan: PlanOnly = False,
) -> Backfilled | Plan:
    """Scores the windows of a range that are not finished, or those that wait; one that is blocked stops no other."""
    wanted = Wanted(
        job=job,
        first=first,
        last=last,
        reason=reason,
        queued=queued,
        rescore=rescore,
        repull=repull,
        only_if_changed=only_if_changed,
    )
    if plan:
        return foresee(wanted)
    planned = begin(wanted)
    with watched(job, "backfill"):
        ended = fill(planned, score, at_once, stop_after)
    report_again(planned.queued_windows)
    return conclude(planned, ended)
