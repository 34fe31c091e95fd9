"""The flow `deadlines`: which windows of all jobs are not published in time. It tells of each once, and starts nothing."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from tasks.core.runs.late import Looked
from tasks.deadlines import look
from tasks.outcome import told_as_state


@flow(name="deadlines", flow_run_name="deadlines of all jobs")
@told_as_state
def deadlines() -> Looked:
    """Raises lamplighter.run.late for each window that is past its deadline, once a window and deadline."""
    return look()
