"""Score: the rows that nobody took out, batch by batch in child processes, each batch with a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tasks.core import layout, progress
from tasks.core.models.elsewhere.estimator import interpreter_of
from tasks.core.models.model import may_end_its_process
from tasks.core.profiles import drift
from tasks.core.profiles.profile import WindowProfile
from tasks.core.rows.snapshot import required_record
from tasks.core.runs import gate
from tasks.core.runs.run import Run, manifest_of, record, record_timing
from tasks.core.runs.shards import ShardDone, each_batch
from tasks.shards.poison import score_surely
from tasks.shards.scoring import BatchScored, Scoring, profiles_of, score_batch
from tasks.stage import Stage

STAGE = "score"


def score_batches(run: Run, batches: tuple[int, ...]) -> ShardDone[BatchScored]:
    """Scores the batches of one shard."""
    snapshot = required_record(run.lake, run.workspace)
    task = Scoring(
        lake=run.lake,
        workspace=run.workspace,
        run_id=run.run_id,
        job=run.job,
        window=run.window,
        model=run.model,
        snapshot=snapshot,
        give_up_after=int(gate.quarantine_limit(run.job, snapshot.rows)) + 1,
        interpreter=interpreter_of(run.model),
    )
    apart = may_end_its_process(run.model, run.job.model.allowed_types)
    return each_batch(run, STAGE, snapshot, batches, score_batch, task, surely=score_surely, apart=apart)


def conclude_scored(run: Run, shards: Sequence[ShardDone[BatchScored]]) -> None:
    """Merges what the shards found: drift against the reference, and whether too many rows left on the way."""
    batches = [batch for shard in shards for batch in shard.results]
    of_features, of_predictions = profiles_of(run.lake, run.model)
    features = drift.observe("feature", of_features, [batch.features for batch in batches])
    predictions = drift.observe("prediction", of_predictions, [batch.predictions for batch in batches])
    drawn = drift.figures([predictions, features])
    run.lake.write_bytes(run.key(layout.FIGURES), drawn.model_dump_json().encode())
    observed = WindowProfile(features=features.profile, predictions=predictions.profile)
    run.lake.write_bytes(run.key(layout.PROFILE), observed.model_dump_json().encode())
    record(
        run,
        drift=(*drift.drift_records(predictions), *drift.drift_records(features)),
        predictions=drift.prediction_summaries(predictions),
        peak_memory_bytes=max((batch.peak_memory_bytes for batch in batches), default=None),
    )
    progress.end(run.name, STAGE)
    seconds = time.time() - min(shard.started_at for shard in shards)
    record_timing(run, STAGE, seconds, manifest_of(run).rows.pulled)
    gate.judge(run, gate.quarantine_failures(run), mend="mend the feed, or raise limits.quarantine_share")


score_shard = Stage("Score the batches", score_batches, does="Score")
conclude_scoring = Stage("Compare the scores", conclude_scored)
