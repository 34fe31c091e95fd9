"""The flow `revisit`: published windows are pulled again, and replaced only where their rows have changed."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import JobName
from flows.score import score
from tasks.core.runs.revisits import Round
from tasks.outcome import told_as_state
from tasks.revisit import alone, conclude, due, settle


@flow(name="revisit", flow_run_name="revisit {job}")
@told_as_state
def revisit(job: JobName) -> Round:
    """Scores again, oldest first, each window of which a revisit is due; one that is blocked or fails stops no other."""
    with alone(job):
        planned = due(job)
        ended = [
            settle(one, score(job, one.as_of, rescore=one.reason, only_if_changed=True, return_state=True))
            for one in planned.due
        ]
        return conclude(planned, ended)
