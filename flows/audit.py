"""The flow `audit`: whether what readers see of a job is what its records say, and what the model makes of the same rows."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import AuditedRows, AuditedWindows, JobName, Seed
from tasks.audit import auditing, conclude, follow, keep, named, score_again, tell
from tasks.core.auditing.records import AuditRecord
from tasks.outcome import told_as_state
from tasks.report import report_audit


@flow(name="audit", flow_run_name=named)
@told_as_state
def audit(job: JobName, as_of: AuditedWindows = (), rows: AuditedRows = 0, seed: Seed = "") -> AuditRecord:
    """Follows the chain of every published window, and scores a random sample of rows again. It changes nothing."""
    with auditing(job, as_of, rows, seed) as asked:
        walked = follow(asked)
        again = score_again(asked, walked)
        record = keep(asked, walked, again)
        tell(asked, record)
        report_audit(job)
        return conclude(record)
