"""The flow `backfill`: `score` for each window of a range, or for those that a recall has queued, oldest first."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import First, JobName, Last, PlanOnly, Queued, Reason, Repull, RescoreAll
from flows.score import score
from tasks.backfill import begin, conclude, foresee, settle
from tasks.core.runs.recalling.backfill import Backfilled, Plan, Wanted
from tasks.outcome import told_as_state
from tasks.report import report_again


@flow(name="backfill", flow_run_name="backfill {job}")
@told_as_state
def backfill(
    job: JobName,
    first: First = "",
    last: Last = "",
    reason: Reason = "",
    queued: Queued = False,
    rescore: RescoreAll = False,
    repull: Repull = False,
    plan: PlanOnly = False,
) -> Backfilled | Plan:
    """Scores the windows of a range that are not finished, or those that wait; one that is blocked stops no other."""
    wanted = Wanted(job=job, first=first, last=last, reason=reason, queued=queued, rescore=rescore, repull=repull)
    if plan:
        return foresee(wanted)
    planned = begin(wanted)
    ended = [
        settle(planned, due, score(job, due.as_of, due.reason, due.from_snapshot, return_state=True))
        for due in planned.due
    ]
    report_again(planned.queued_windows)
    return conclude(planned, ended)
