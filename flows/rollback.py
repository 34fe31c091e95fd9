"""The flow `rollback`: an alias goes back to the version that it named before. What is published stays."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import Alias, ModelName, Why
from tasks.core.runs.recalling.rollback import RolledBack
from tasks.outcome import told_as_state
from tasks.recall import roll_back
from tasks.report_model import report_model


@flow(name="rollback", flow_run_name="rollback {model}")
@told_as_state
def rollback(model: ModelName, reason: Why, alias: Alias = "production") -> RolledBack:
    """Lets an alias name the version before again, and lists what the version it left has written."""
    moved = roll_back(model, reason, alias)
    report_model(model)
    return moved
