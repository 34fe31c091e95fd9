"""Challenge: what production has published is scored once more, by the version that the alias `challenger` names.

It comes after the publication and never before: whatever the challenger does, production's table, manifest and verdict
stand. Its model is loaded and called in child processes of its own, which are ended with it. The alias is looked up only
here: a challenger is no part of production's plan, and one that is recalled while production is scored is not loaded.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from tasks.core import layout, progress, provenance
from tasks.core.errors import (
    ChallengerFailed,
    DefinitionError,
    LakeCorrupt,
    LakeError,
    LamplighterError,
    ModelNotFound,
)
from tasks.core.logs import log
from tasks.core.models.mlflow.mirror import follow_challenger
from tasks.core.models.model import check_input_schema
from tasks.core.models.model_events import refuse_recalled
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registry import Registry
from tasks.core.profiles import differences, drift
from tasks.core.rows import snapshot
from tasks.core.rows.contract import predictions_schema
from tasks.core.runs import challenger, gate, pairing
from tasks.core.runs.challenger import Challenge
from tasks.core.runs.manifest import FileRecord, Manifest, ModelRecord
from tasks.core.runs.publication import is_visible
from tasks.core.runs.run import Run, manifest_of
from tasks.core.runs.shards import workers_of
from tasks.core.runs.staging import file_metadata
from tasks.core.workers import Workers, dismiss
from tasks.shards.challenging import BatchChallenged, Challenging, challenge_batch, scored_key
from tasks.shards.scoring import profiles_of
from tasks.stage import Stage

STAGE = "challenge"


def challenge(run: Run, *, first: Callable[[str, str], object]) -> None:
    """Scores the rows of a run that has published, where there is a challenger. Raises nothing: it is a thing aside.

    `first` is called before, with the job and the window: what is to be said of production does not wait.
    """
    if run.is_dry_run:
        return
    try:
        # Of a model that MLflow keeps, even who the challenger is may take its time.
        if run.job.model.mlflow or _named(run):
            first(run.job.job, run.window.as_of)
        if begin(run):
            score_challenger(run)
    except Exception as error:  # noqa: BLE001 - production's verdict stands, whatever this one does
        log.warning("%s", error)


def challenge_again(run: Run) -> Challenge:
    """Scores the rows of a window that was published before; ModelNotFound where the model has no challenger."""
    if begin(run) is None:
        name = run.model.name
        raise ModelNotFound(
            f"no challenger of '{name}' can score {run.name}: the alias '{challenger.ALIAS}' names no version but the "
            f"one that scored it, which is {run.model}",
            state="nothing was changed",
            next_step=f'lamplighter promote {name} --version N --alias {challenger.ALIAS} --reason "why"',
        )
    return score_challenger(run)


def begin(run: Run) -> Challenge | None:
    """Records that the challenger is at work, for whoever comes while it is, or after it was killed. None: there is none."""
    follow_challenger(Registry(run.lake), run.job, at=dt.datetime.now(dt.UTC))
    version = _named(run)
    if version is None:
        return None
    manifest = manifest_of(run)
    begun = Challenge(
        job=manifest.job,
        as_of=manifest.as_of,
        run_id=manifest.run_id,
        model=run.model.name,
        version=version,
        rows=manifest.rows.scored,
        code=provenance.code_of(run.job, run.project, run.model),
        started_at=dt.datetime.now(dt.UTC),
    )
    challenger.write(run.lake, manifest, begun)
    return begun


def score_with_challenger(run: Run) -> Challenge:
    """Scores, compares, and puts the challenger's rows into their table; ChallengerFailed, once that is recorded."""
    manifest = manifest_of(run)
    try:
        return _scored(run, manifest, challenger.required(run.lake, manifest))
    except Exception as error:
        raise _failed(run, manifest, error) from error
    finally:
        # What such a model did to its process is not to be met by anybody else.
        dismiss(STAGE)


def _scored(run: Run, manifest: Manifest, begun: Challenge) -> Challenge:
    challenger.prepare(run.lake, manifest)
    version = Registry(run.lake).version(begun.model, begun.version)
    begun = begun.model_copy(update={"digest": version.digest})
    challenger.write(run.lake, manifest, begun)
    task = _task(run, manifest, version)
    bounds = pairing.published_bounds(run.lake, task.published, run.workspace, task.snapshot, run.job.keys)
    done = _compared(task, begun, _each_batch(run, task, bounds))
    done = done.model_copy(update={"file": _staged(task, manifest, done)})
    with contextlib.suppress(LakeError):
        # Before it is recorded: nobody comes back to what is.
        run.lake.remove(task.scored)
    # Last: a recall that comes later waits for this window's lock, and finds what is put here.
    refuse_recalled(Registry(run.lake).history(begun.model), begun.model, begun.version)
    challenger.put(run.lake, manifest)
    challenger.write(run.lake, manifest, done)
    progress.end(run.name, STAGE)
    return done


def _named(run: Run) -> int | None:
    """The challenger's version; None where there is none, or it is the very one that has scored."""
    named = Registry(run.lake).aliases(run.model.name).get(challenger.ALIAS)
    return named if named != run.model.version else None


def _task(run: Run, manifest: Manifest, version: ModelVersion) -> Challenging:
    """What each batch needs; refused is what has changed since the publication, and a model that the rows cannot feed."""
    record = snapshot.required_record(run.lake, run.workspace)
    snapshot.check_bytes(run.lake, run.workspace, record)
    published = manifest.files[layout.PREDICTIONS].key
    if not is_visible(run.lake, manifest, layout.PREDICTIONS):
        raise LakeCorrupt(f"{run.lake.address(published)} is not the file that run {manifest.run_id} published")
    _check_schemas(run, published, version)
    return Challenging(
        lake=run.lake,
        workspace=run.workspace,
        published=published,
        scored=challenger.scratch(manifest, "batches"),
        job=run.job,
        production=run.model,
        challenger=version,
        snapshot=record,
        rows=manifest.rows.scored,
        give_up_after=int(gate.quarantine_limit(run.job, record.rows)) + 1,
    )


def _check_schemas(run: Run, published: str, version: ModelVersion) -> None:
    with run.lake.parquet(published) as file:
        as_published = file.schema_arrow
    if not as_published.equals(predictions_schema(run.job)):
        raise DefinitionError(
            f"the job '{run.job.job}' publishes other columns now than when {run.name} was published",
            next_step=f"score the window again: lamplighter score {run.job.job} --as-of {run.window.as_of} --rescore WHY",
        )
    with run.lake.parquet(run.key(snapshot.SNAPSHOT)) as file:
        check_input_schema(version, file.schema_arrow)


def _each_batch(run: Run, task: Challenging, bounds: Sequence[pairing.Bounds]) -> list[BatchChallenged]:
    """All batches, in their order; after the first that fails no other is begun. Always in children of this stage's own."""
    workers = workers_of(run, len(bounds))
    workers = Workers(max(workers.count, 1), workers.timeout_seconds, STAGE)

    def call(batch: int) -> BatchChallenged:
        return workers.call(f"batch {batch + 1} of {len(bounds)}", challenge_batch, task, bounds[batch], batch)

    with ThreadPoolExecutor(workers.count) as threads:
        begun = {threads.submit(call, batch): batch for batch in range(len(bounds))}
        try:
            for future in as_completed(begun):
                future.result()
                first, end = bounds[begun[future]]
                # Here, and not in the thread: who listens knows the flow run by its thread.
                progress.advance(run.name, STAGE, end - first, task.rows)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in begun]


def _compared(task: Challenging, begun: Challenge, batches: Sequence[BatchChallenged]) -> Challenge:
    _, reference = profiles_of(task.lake, task.production)
    production = drift.observe("prediction", reference, [one.production for one in batches])
    scores = drift.observe("prediction", reference, [one.challenger for one in batches])
    reasons: Counter[str] = sum((one.reasons for one in batches), Counter())
    scored = sum(one.scored for one in batches)
    return begun.model_copy(
        update={
            "verdict": "scored",
            "warnings": tuple(dict.fromkeys(warning for one in batches for warning in one.warnings)),
            "scored": scored,
            "unscored": task.rows - scored,
            "unscored_reasons": dict(reasons.most_common()),
            "differences": tuple(differences.conclude(task.job.output.columns, [one.gathered for one in batches])),
            "distributions": drift.side_by_side(scores, production),
            "peak_memory_bytes": max((one.peak_memory_bytes for one in batches), default=None),
            "finished_at": dt.datetime.now(dt.UTC),
        }
    )


def _staged(task: Challenging, manifest: Manifest, done: Challenge) -> FileRecord:
    """The batches as one file, which explains itself as those of production do."""
    key = challenger.staged(manifest, done.version)
    made = task.challenger
    model = ModelRecord(
        name=made.name, version=made.version, digest=made.digest, alias=challenger.ALIAS, format=made.format
    )
    metadata = file_metadata(manifest.but(model=model, code=done.code))
    with task.lake.parquet_writer(key, predictions_schema(task.job), metadata=metadata) as writer:
        for batch in range(task.snapshot.batches):
            with task.lake.parquet(scored_key(task, batch)) as file:
                writer.write_table(file.read())
    return FileRecord(
        key=challenger.published(manifest, done.version),
        rows=done.scored,
        bytes=task.lake.size_bytes(key),
        sha256=task.lake.sha256(key),
    )


def _failed(run: Run, manifest: Manifest, error: Exception) -> ChallengerFailed:
    """Records the failure and takes out what an earlier attempt may have put into the table; the error that says so."""
    reason = error.failed if isinstance(error, LamplighterError) else f"{type(error).__name__}: {error}"
    next_step = f"lamplighter challenge {run.job.job} --as-of {run.window.as_of}, once that is mended"
    with contextlib.suppress(LakeError):
        # Room first: the disk may be full of what this one wrote.
        run.lake.remove(challenger.scratch(manifest, "batches"))
    with contextlib.suppress(LakeError):
        challenger.take_out(run.lake, manifest)
        begun = challenger.required(run.lake, manifest)
        ended = {"verdict": "failed", "reason": reason, "next_step": next_step, "finished_at": dt.datetime.now(dt.UTC)}
        challenger.write(run.lake, manifest, begun.model_copy(update=ended))
    return ChallengerFailed(
        f"the challenger of {run.name} failed: {reason}",
        state=f"what {run.model} published stands, and so does its verdict",
        next_step=next_step,
    )


score_challenger = Stage("Score with the challenger", score_with_challenger)
