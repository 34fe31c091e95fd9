"""Load: the model passes its gate before a row is scored; the child processes then load the very same bytes."""

from __future__ import annotations

import time

from tasks.core.models.model import check_input_schema, load_model
from tasks.core.models.registry import Registry
from tasks.core.runs.run import Run, manifest_of, record, record_timing
from tasks.stage import Stage

STAGE = "load"


def load_checked(run: Run) -> None:
    """Digest, allow-list, library versions, input schema, probe rows; ModelBlocked names the first that fails."""
    started = time.monotonic()
    check_input_schema(run.model, run.job.arrow_schema)
    model = load_model(Registry(run.lake), run.model, allowed_types=run.job.model.allowed_types)
    record(run, model=manifest_of(run).model.model_copy(update={"warnings": tuple(model.warnings)}))
    record_timing(run, STAGE, time.monotonic() - started)


load = Stage("Load and check the model", load_checked)
