"""The flow `promote`: a version is held against the one in its place, and takes it if every check passes."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import Alias, Force, LabelledJob, ModelName, Version, Why
from tasks.approve import agreed, check_answerable
from tasks.core.runs.promotions import Promoted
from tasks.outcome import told_as_state
from tasks.promote import judge, look, move_alias, refuse, show
from tasks.report_model import model_reported, report_model
from tasks.watch import watched


@flow(name="promote", flow_run_name="promote {model} version {version}")
@told_as_state
def promote(
    model: ModelName,
    version: Version,
    reason: Why,
    alias: Alias = "production",
    job: LabelledJob = "",
    force: Force = False,
) -> Promoted:
    """Holds a version against production on the same labelled rows, and lets the alias name it if it passes."""
    with watched(model, f"version {version}"), model_reported(model):
        candidacy = look(model, version, alias, job)
        check_answerable(candidacy)
        verdict = show(judge(candidacy))
        refuse(verdict, force)
        approval = agreed(verdict)
        promoted = move_alias(verdict, reason, approval)
        report_model(model)
        return promoted
