"""Load: the model passes its gate before a row is scored; the child processes then load the very same bytes.

One that may end its process, or never end, passes it in a child process as well.
"""

from __future__ import annotations

import time
from dataclasses import replace

from tasks.core.models.elsewhere.estimator import interpreter_of
from tasks.core.models.model import check_input_schema, may_end_its_process
from tasks.core.models.model_events import refuse_recalled
from tasks.core.models.registry import Registry
from tasks.core.rows.snapshot import required_record
from tasks.core.runs.run import Run, manifest_of, record, record_timing
from tasks.core.runs.shards import naming, twice, workers_of
from tasks.core.workers import Workers
from tasks.orchestration.tags import tag_run
from tasks.shards.loading import check_version
from tasks.stage import Stage

STAGE = "load"
# At least: a process has to start for it, and to import what the model is made of. The limit of a job is that of a batch.
_SECONDS = 120.0


def load_checked(run: Run) -> None:
    """Digest, allow-list, library versions, input schema, probe rows; ModelBlocked names the first that fails."""
    started = time.monotonic()
    registry = Registry(run.lake)
    refuse_recalled(registry.history(run.model.name), run.model.name, run.model.version)
    tag_run(f"model:{run.model.name}/{run.model.version:04d}")
    check_input_schema(run.model, run.job.arrow_schema)
    what, limits = f"the loading of {run.model} for {run.name}", run.job.limits
    task = (run.lake, run.model, run.job.model.allowed_types, interpreter_of(run.model), limits.batch_timeout_seconds)
    with naming(what):
        model = twice(_place(run), what, check_version, *task)
    found = {
        "warnings": model.warnings,
        "interpreter": run.model.signature.interpreter,
        "libraries": model.libraries,
    }
    record(run, model=manifest_of(run).model.model_copy(update=found))
    record_timing(run, STAGE, time.monotonic() - started)


def _place(run: Run) -> Workers:
    limits = run.job.limits
    apart = may_end_its_process(run.model, run.job.model.allowed_types) or limits.isolate == "always"
    if not apart and not run.takes_over:
        return Workers(0, limits.batch_timeout_seconds)
    workers = workers_of(run, required_record(run.lake, run.workspace).batches, apart=True)
    return replace(workers, timeout_seconds=max(workers.timeout_seconds, _SECONDS))


load = Stage("Load and check the model", load_checked)
