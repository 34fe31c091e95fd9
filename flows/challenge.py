"""The flow `challenge`: a published window, scored by the model's challenger as well."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import AsOf, JobName
from tasks.challenge import challenge_again
from tasks.core.runs.challenger import Challenge
from tasks.open import reopened
from tasks.outcome import told_as_state
from tasks.report import reported
from tasks.watch import watched


@flow(name="challenge", flow_run_name="challenge {job} {as_of}")
@told_as_state
def challenge(job: JobName, as_of: AsOf) -> Challenge:
    """Scores the rows of a published window with the challenger, from the snapshot that was kept, and compares."""
    with watched(job, as_of), reported(job, as_of), reopened(job, as_of) as run:
        return challenge_again(run)
