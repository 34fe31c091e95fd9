"""The flow `monitor`: one job, looked at as labels arrive."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import JobName, LookedAtAsOf
from tasks.core.monitoring.finding import Finding
from tasks.monitor import compare, conclude, looking, named, pull_labels, tell
from tasks.outcome import told_as_state
from tasks.report import report_look


@flow(name="monitor", flow_run_name=named)
@told_as_state
def monitor(job: JobName, as_of: LookedAtAsOf = "now") -> Finding:
    """Joins labels that have arrived to what was published, and tells once of each alarm. Nothing published changes."""
    with looking(job, as_of) as look:
        pulled = pull_labels(look)
        compare(look, pulled)
        told = tell(look)
        report_look(job, pulled.measured)
        return conclude(look, pulled, told)
