"""The flow `deadlines`: which windows of all jobs are late or missed. It tells of each once, and starts nothing."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from tasks.core.runs.late import Looked
from tasks.deadlines import look
from tasks.outcome import told_as_state


@flow(name="deadlines", flow_run_name="deadlines of all jobs")
@told_as_state
def deadlines() -> Looked:
    """Raises lamplighter.run.missed or lamplighter.run.late for each window that is not there in time, once."""
    return look()
