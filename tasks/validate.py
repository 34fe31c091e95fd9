"""Validate: the job's Great Expectations suite, batch by batch; failing rows leave, or the run does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.core import layout, progress
from tasks.core.rows.snapshot import required_record
from tasks.core.runs import gate
from tasks.core.runs.run import Run, manifest_of, record, record_timing
from tasks.core.runs.shards import ShardDone, each_batch, workers_of
from tasks.shards.accepting import accepted_of, gates_of
from tasks.shards.output_validation import output_suite_of
from tasks.shards.validation import Validation, conclude_suite, suite_of, validate_batch
from tasks.stage import Stage

if TYPE_CHECKING:
    from tasks.shards.validating import BatchMeasure

STAGE = "validate"


def check_suite(run: Run) -> None:
    """SuiteError for a suite that is wrong, of what comes in or of what goes out, before a row is pulled."""
    suite_of(run.definition)
    output_suite_of(run.definition)


def validate_batches(run: Run, batches: tuple[int, ...]) -> ShardDone[BatchMeasure]:
    """Measures the batches of one shard; a job without a suite has nothing to measure."""
    snapshot = required_record(run.lake, run.workspace)
    if run.job.suite is None:
        return ShardDone(time.time(), ())
    task = Validation(run.lake, run.workspace, run.definition, snapshot)
    return each_batch(run, STAGE, snapshot, batches, validate_batch, task)


def conclude_validated(run: Run, shards: Sequence[ShardDone[BatchMeasure]]) -> None:
    """Merges what the shards measured into the suite's result, and blocks where it or the quarantine says so."""
    snapshot = required_record(run.lake, run.workspace)
    if run.job.suite is not None:
        task = Validation(run.lake, run.workspace, run.definition, snapshot)
        measures = [measure for shard in shards for measure in shard.results]
        call = workers_of(run, snapshot.batches).call
        what, accepted = f"the suite's conclusion for {run.name}", accepted_of(run, gates_of(run.definition).suite)
        suite, page = call(what, conclude_suite, task, measures, run.name, accepted)
        record(run, suite=suite)
        docs = layout.docs_page(run.job.job, run.window.as_of, dry_run=run.is_dry_run)
        run.lake.write_bytes(docs, page.encode())
        progress.end(run.name, STAGE)
        record_timing(run, STAGE, time.time() - min(shard.started_at for shard in shards), snapshot.rows)
    _refuse(run)


def _refuse(run: Run) -> None:
    """Blocked by the expectations that failed and by the share of rows that left, all of them at once."""
    too_many = gate.quarantine_failures(run)
    failed = gate.suite_failures(manifest_of(run).suite, gates_of(run.definition).suite)
    mend = "mend the feed or the suite" if failed else "mend the feed, or raise limits.quarantine_share"
    gate.judge(run, [*failed, *too_many], mend=mend)


check = Stage("Check the suite", check_suite)
validate_shard = Stage("Validate the batches", validate_batches, does="Validate")
conclude_validation = Stage("Judge the expectations", conclude_validated)
