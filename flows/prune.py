"""The flow `prune`: what has outlived the retention of jobs, in the lake and on the Prefect server."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import AnyJob, ApplyRetention
from tasks.outcome import told_as_state
from tasks.prune import Summary, conclude, named, remove_outlived, remove_runs
from tasks.report import report_pruned


@flow(name="prune", flow_run_name=named)
@told_as_state
def prune(job: AnyJob = "", apply: ApplyRetention = "no") -> Summary:
    """Lists what has outlived its retention, and removes it where that is asked for. What readers see stays as it is."""
    found = remove_outlived(job, apply)
    server = remove_runs(job, apply)
    report_pruned(found)
    return conclude(found, server)
