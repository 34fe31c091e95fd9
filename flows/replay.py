"""The flow `replay`, of the demo alone: the days of 2013 arrive one after the other, are scored, and looked at."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.monitor import monitor
from flows.score import score
from tasks.core.runs.manifest import Manifest
from tasks.demo import JOB
from tasks.outcome import told_as_state
from tasks.replay import named, one_at_a_time


@flow(name="replay", flow_run_name=named)
@told_as_state
def replay() -> Manifest | None:
    """Scores the first day after the demo's that is neither published nor blocked, and looks at the job as of it."""
    with one_at_a_time() as day:
        published = score(JOB, day)
        # A look that fails says so itself, and does not undo the day.
        monitor(JOB, day, return_state=True)
        return published
