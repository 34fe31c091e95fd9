"""Load: the model passes its gate before a row is scored; the child processes then load the very same bytes."""

from __future__ import annotations

import time

from tasks.core.models.model import check_input_schema, load_model
from tasks.core.models.model_events import refuse_recalled
from tasks.core.models.registry import Registry
from tasks.core.runs.run import Run, manifest_of, record, record_timing
from tasks.orchestration.tags import tag_run
from tasks.stage import Stage

STAGE = "load"


def load_checked(run: Run) -> None:
    """Digest, allow-list, library versions, input schema, probe rows; ModelBlocked names the first that fails."""
    started = time.monotonic()
    registry = Registry(run.lake)
    refuse_recalled(registry.history(run.model.name), run.model.name, run.model.version)
    tag_run(f"model:{run.model.name}/{run.model.version:04d}")
    check_input_schema(run.model, run.job.arrow_schema)
    model = load_model(
        registry,
        run.model,
        allowed_types=run.job.model.allowed_types,
        timeout_seconds=run.job.limits.batch_timeout_seconds,
    )
    found = {
        "warnings": tuple(model.warnings),
        "interpreter": run.model.signature.interpreter,
        "libraries": dict(model.libraries),
    }
    record(run, model=manifest_of(run).model.model_copy(update=found))
    record_timing(run, STAGE, time.monotonic() - started)


load = Stage("Load and check the model", load_checked)
