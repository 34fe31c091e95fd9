"""The flow `train`: fit, calibrate, benchmark, and register a new version. It promotes nothing."""

# Annotations are values here, not text: Prefect makes a form of them.
from prefect import flow

from flows.parameters import JobName, Until
from tasks.core.models.model_version import ModelVersion
from tasks.outcome import told_as_state
from tasks.report_model import report_model
from tasks.train import fit, register, score_past_out_of_sample


@flow(name="train", flow_run_name="train {job}")
@told_as_state
def train(job: JobName, until: Until = "") -> ModelVersion:
    """Fits the job's estimator on past windows, benchmarks it on later ones, and registers it as a new version."""
    fitted = fit(job, until)
    version = register(job, fitted, score_past_out_of_sample(job, fitted), "lamplighter train")
    report_model(version.name)
    return version
