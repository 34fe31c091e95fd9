"""Estimate: how well the rows were probably predicted, before any label has come. It stands aside: a run is never lost for it."""

from __future__ import annotations

import contextlib
import time

from tasks.core.errors import LamplighterError
from tasks.core.estimation.estimator import PerformanceEstimator
from tasks.core.logs import log
from tasks.core.models.registry import Registry
from tasks.core.records import validate_record
from tasks.core.rows.snapshot import required_record
from tasks.core.runs.run import Run, record, record_timing
from tasks.core.runs.shards import workers_of
from tasks.shards.estimating import Estimating, estimate_window
from tasks.stage import Stage

STAGE = "estimate"


def estimate_scored(run: Run) -> None:
    """Adds the estimates to the run's record, or the sentence that says why there are none. Raises nothing."""
    try:
        _estimate(run)
    except Exception as error:  # noqa: BLE001 - what is published does not hang on what is guessed of it
        said = error.failed if isinstance(error, LamplighterError) else f"{type(error).__name__}: {error}"
        why = f"The performance of {run.name} was not estimated: {' '.join(said.split())}"
        log.warning("%s", why)
        with contextlib.suppress(LamplighterError):
            record(run, estimates={}, estimate_note=why)


def _estimate(run: Run) -> None:
    started = time.monotonic()
    kept = _kept(run)
    if kept is None:
        return  # A version of before, or one that was registered without labels.
    if kept.method == "none":
        record(run, estimates={}, estimate_note=" ".join(kept.lacks))
        return
    snapshot = required_record(run.lake, run.workspace)
    task = Estimating(run.lake, run.workspace, run.job.keys, run.model, kept, snapshot)
    what = f"the estimate of the performance of {run.name}"
    found = workers_of(run, snapshot.batches).call(what, estimate_window, task)
    note = "" if found else "No row was scored, and so no performance is estimated."
    record(run, estimates=found, estimate_note=note)
    record_timing(run, STAGE, time.monotonic() - started)


def _kept(run: Run) -> PerformanceEstimator | None:
    """The version's estimator; one of another output than the job publishes now says nothing of it."""
    found = Registry(run.lake).estimator(run.model)
    if found is None:
        return None
    kept = validate_record(found, PerformanceEstimator, f"the estimator of {run.model} cannot be used")
    if run.job.output.columns.get(kept.column) == run.model.outputs.get(kept.column):
        return kept
    why = (
        f"The job publishes another '{kept.column}' than {run.model} was registered with: no performance is estimated."
    )
    return PerformanceEstimator(method="none", column=kept.column, lacks=(why,))


estimate = Stage("Estimate the performance", estimate_scored)
