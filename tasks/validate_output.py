"""Validate the output: the scored rows against the output suite and the volume of earlier windows, before any is seen."""

from __future__ import annotations

import time

from tasks.core import layout, progress
from tasks.core.rows.snapshot import required_record
from tasks.core.runs import gate, volume
from tasks.core.runs.run import Run, manifest_of, published_before, record, record_timing
from tasks.core.runs.shards import each_batch, workers_of
from tasks.shards.accepting import accepted_of, gates_of
from tasks.shards.output_validation import conclude_output_suite, validate_output_batch
from tasks.shards.validation import Validation
from tasks.stage import Stage

STAGE = "validate output"


def validate_scored(run: Run) -> None:
    """Blocked where the output suite or the volume rule says so; a job without them has nothing to check."""
    if run.job.output.suite is not None:
        _validate_rows(run)
    if run.job.output.volume is not None:
        earlier = published_before(run.lake, run.job.job, run.window.as_of)
        judged = volume.judge(run.job.output.volume, _scored(run), earlier)
        record(run, volume=volume.accepted(judged) if gate.VOLUME in manifest_of(run).trigger.accept else judged)
    _refuse(run)


def _validate_rows(run: Run) -> None:
    snapshot = required_record(run.lake, run.workspace)
    task = Validation(run.lake, run.workspace, run.definition, snapshot)
    done = each_batch(run, STAGE, snapshot, tuple(range(snapshot.batches)), validate_output_batch, task)
    call = workers_of(run, snapshot.batches).call
    what = f"the conclusion of the output suite for {run.name}"
    accepted = accepted_of(run, gates_of(run.definition).output_suite)
    record(run, output_suite=call(what, conclude_output_suite, task, list(done.results), accepted))
    progress.end(run.name, STAGE)
    record_timing(run, STAGE, time.time() - done.started_at, _scored(run))


def _scored(run: Run) -> int:
    rows = 0
    for batch in range(required_record(run.lake, run.workspace).batches):
        with run.lake.parquet(run.key(layout.checkpoint(batch))) as file:
            rows += file.metadata.num_rows
    return rows


def _refuse(run: Run) -> None:
    manifest, names = manifest_of(run), gates_of(run.definition).output_suite
    failed = gate.suite_failures(manifest.output_suite, names, "scored rows")
    too_few_or_many = gate.volume_failures(manifest.volume)
    gate.judge(run, [*failed, *too_few_or_many], mend="mend the feed, the model or the output's rules")


validate_output = Stage("Check what goes out", validate_scored)
