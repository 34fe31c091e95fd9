"""The flow `recall`: a version is withdrawn for ever, and with it what readers see of it."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import KeepUntilReplaced, ModelName, PlanOnly, Repull, Version, Why
from tasks.core.runs.recalling.recalls import Recall, check_complete
from tasks.deliver import check_delivered, deliver_touched
from tasks.latest import check_latest, keep_latest_again
from tasks.outcome import told_as_state
from tasks.recall import foresee, withdraw
from tasks.report import report_again
from tasks.report_model import report_model


@flow(name="recall", flow_run_name="recall {model} {version}")
@told_as_state
def recall(
    model: ModelName,
    version: Version,
    reason: Why,
    plan: PlanOnly = False,
    keep_until_replaced: KeepUntilReplaced = False,
    repull: Repull = False,
) -> Recall:
    """Withdraws a version: no alias names it, its rows leave the tables, the last good ones come back, windows are queued."""
    if plan:
        return foresee(model, version, keep_until_replaced)
    record = withdraw(model, version, reason, keep_until_replaced, repull)
    left = keep_latest_again(record.touched)
    delivered = deliver_touched(record)
    report_again(record.touched)
    report_model(model)
    return check_delivered(check_latest(check_complete(record), left), delivered)
