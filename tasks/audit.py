"""Audit: every published window's chain is followed, and a random sample of rows is scored again. It changes nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from prefect.runtime import flow_run

from tasks.core import layout
from tasks.core.auditing import concluding, keeping, rescoring
from tasks.core.auditing.asked import Asked
from tasks.core.auditing.chain import Checked
from tasks.core.auditing.concluding import record_of
from tasks.core.auditing.contents import Said
from tasks.core.auditing.drawing import Drawn
from tasks.core.auditing.mending import Mending
from tasks.core.auditing.records import MOST_EXAMPLES, Apart, AuditRecord, Difference, Finding, Rescored
from tasks.core.auditing.rescoring import Again, changed_since, finding_of, is_defined_otherwise, why_not
from tasks.core.auditing.walking import Walked, walk
from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError, LakeCorrupt, LamplighterError, ModelBlocked
from tasks.core.events import AUDIT_FAILED
from tasks.core.logs import log
from tasks.core.models.elsewhere.estimator import interpreter_of
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registry import Registry
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.run import published_manifest
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.core.workers import Workers, dismiss
from tasks.orchestration import events
from tasks.scheduled import scheduled_at
from tasks.shards.auditing import Auditing, BatchAudited, audit_batch
from tasks.stage import Stage

STAGE = "audit"
# Whoever comes second at the same job finds what the first has found, and looks again.
_WAIT_SECONDS = 600.0
_MOST_TOLD = 20
_MOST_DAMAGED = 5  # Failures in a row of children that die: a model that kills its process is not asked for ever.


@contextlib.contextmanager
def auditing(job: str, as_of: Sequence[str], rows: int, seed: str) -> Iterator[Asked]:
    """An audit of a job, one at a time. DefinitionError for a window that is none; WindowBusy where another takes too long."""
    settings = Settings()
    lake, project = Lake(settings.lake), Folder(settings.project)
    definition = Project(project).load(job)
    if not lake.exists(""):
        raise DefinitionError(f"there is no lake in {lake.address()}", next_step="set LAMPLIGHTER_LAKE to its folder")
    for one in as_of:
        definition.job.window.parse(one)
    asked = Asked(
        lake, project, definition, scheduled_at(), scope=tuple(as_of), rows=rows, seed=int(seed) if seed else None
    )
    with lake.lock(layout.audit_lock(job), holder=f"the audit of {asked.name}", wait_seconds=_WAIT_SECONDS):
        yield asked


def follow_chains(asked: Asked) -> Walked:
    """Holds every published window against its records, link by link."""
    walked = walk(asked.lake, asked.job.job, asked.job.keys, asked.scope)
    rows = sum(one.rows.scored for one in walked.published)
    log.info("%s windows with %s rows were followed; %s breaks", len(walked.published), rows, len(walked.findings))
    return walked


def score_sample_again(asked: Asked, walked: Walked) -> Again:
    """Scores a sample of batches again, in a child process, and holds it against what readers see."""
    again = Again()
    windows = {one.as_of: one for one in walked.windows}
    died = 0
    try:
        for as_of, batch in rescoring.to_score(asked, walked, _earlier(asked)):
            if died < _MOST_DAMAGED:
                died = 0 if _one_again(asked, walked, windows[as_of], (as_of, batch), again) else died + 1
            else:
                again.apart.append(
                    Apart(as_of=as_of, why="it was not tried: of the batches before it none could be scored")
                )
    finally:
        # What such a model did to its process is not to be met by anybody else.
        dismiss(STAGE)
    log.info("%s rows were scored again", sum(one.rows for one in again.rescored))
    return again


def keep_record(asked: Asked, walked: Walked, again: Again) -> AuditRecord:
    """Keeps what was found, in the place of an earlier audit of the same day."""
    earlier = _earlier(asked)
    record = record_of(asked, walked, again, earlier, dt.datetime.now(dt.UTC))
    keeping.keep(asked.lake, record)
    return record


def tell_found(asked: Asked, record: AuditRecord) -> bool:
    """Tells of findings that nobody was told of, once; whether it did. An event that is not taken is sent by the next audit."""
    lake, job = asked.lake, asked.job.job
    try:
        keeping.forget_mended(lake, job, record.standing)
        if not (record.findings and keeping.has_news(lake, job, record.findings)):
            return False
        sent = events.tell(
            AUDIT_FAILED,
            job,
            record.findings[0].as_of or record.day,
            owner=asked.job.owner,
            payload=_payload(asked, record),
            event_id=keeping.event_id(lake, job, record.day, record.findings),
        )
        # Noted only when a server has taken it that stays.
        if sent and events.has_server():
            keeping.remember_told(lake, job, record.standing)
    except Exception as error:  # noqa: BLE001 - what was found is kept, and the run says it
        log.warning("What the audit of %s has found was not told: %s", asked.name, error)
        return False
    return sent


def conclude(record: AuditRecord) -> AuditRecord:
    """What the audit has come to; Differs, with it, where anything is not as its records say."""
    return concluding.refuse_findings(record)


def named() -> str:
    """The run's name in the Prefect UI."""
    return f"audit {flow_run.parameters.get('job')}"


# -- a batch --------------------------------------------------------------------------------------------------------


def _one_again(asked: Asked, walked: Walked, window: Checked, drawn: Drawn, again: Again) -> bool:
    """Scores one batch again and adds what came of it; False where nothing could come of it."""
    as_of, batch = drawn
    if apart := why_not(window, walked):
        again.apart.append(apart)
        return True
    manifest = window.manifest
    assert manifest is not None  # noqa: S101 - why_not has seen it
    changed: list[str] = []
    try:
        version = Registry(asked.lake).version(manifest.model.name, manifest.model.version)
        changed = changed_since(asked, manifest, version)
        found = _scored(asked, _task(asked, window, manifest, version, is_exact=not changed), manifest, batch)
    except Exception as error:  # noqa: BLE001 - what cannot be audited of one window keeps no other from it
        _refuse(asked, window, manifest, changed, error, again)
        return False
    if not _still_stands(asked, manifest):
        again.apart.append(Apart(as_of=as_of, why="it was published again while it was audited"))
        return True
    _add(asked, window, manifest, changed, batch, found, again)
    return True


def _task(asked: Asked, window: Checked, manifest: Manifest, version: ModelVersion, *, is_exact: bool) -> Auditing:
    assert manifest.snapshot is not None  # noqa: S101 - why_not has seen it
    published = manifest.files[layout.PREDICTIONS].key
    with asked.lake.parquet(published) as file:
        names = file.schema_arrow.names
    # As the job says; of a column that it has no more, as the version was registered with.
    made = {**version.outputs, **asked.job.output.columns}
    return Auditing(
        lake=asked.lake,
        workspace=manifest.workspace,
        published=published,
        quarantine=manifest.files[layout.QUARANTINE].key,
        keys=window.keys or tuple(asked.job.keys),
        said=Said.of(manifest),
        outputs={name: made[name] for name in names if name in made},
        model=version,
        allowed_types=asked.job.model.allowed_types,
        snapshot=manifest.snapshot,
        is_exact=is_exact,
        timeout_seconds=asked.job.limits.batch_timeout_seconds,
        most_examples=MOST_EXAMPLES,
        interpreter=interpreter_of(version),
    )


def _scored(asked: Asked, task: Auditing, manifest: Manifest, batch: int) -> BatchAudited:
    """Always in a child: the model may be what was changed."""
    workers = Workers(1, asked.job.limits.batch_timeout_seconds, STAGE)
    what = f"batch {batch + 1} of {task.snapshot.batches} of {manifest.job} {manifest.as_of}, scored again"
    return workers.call(what, partial(audit_batch, task), batch)


def _still_stands(asked: Asked, manifest: Manifest) -> bool:
    seen = published_manifest(asked.lake, manifest.job, manifest.as_of)
    return seen is not None and (seen.run_id, seen.finished_at) == (manifest.run_id, manifest.finished_at)


def _refuse(
    asked: Asked, window: Checked, manifest: Manifest, changed: Sequence[str], error: Exception, again: Again
) -> None:
    """A model that does not pass the gate, where nothing has changed that would explain it, is a finding; all else is told."""
    said = error.failed if isinstance(error, LamplighterError) else f"{type(error).__name__}: {error}"
    is_known = layout.PREDICTIONS in window.broken
    is_explained = changed or is_defined_otherwise(asked, manifest) or manifest.model.interpreter or is_known
    of_the_window = isinstance(error, (ModelBlocked, LakeCorrupt))
    if not of_the_window or is_explained or not _still_stands(asked, manifest):
        since = f" (other than then: {', '.join(changed)})" if changed else ""
        # A disk that could not be read just now has nothing to do with what is known.
        why = "what readers see of it is damaged, or gone" if is_known and of_the_window else f"{said}{since}"
        again.apart.append(Apart(as_of=manifest.as_of, why=why))
        return
    again.findings.append(
        Finding(
            link="scores",
            as_of=manifest.as_of,
            file=asked.lake.address(manifest.files[layout.PREDICTIONS].key),
            what="what comes of scoring it again",
            found=said,
            expected="the rows that readers see: neither the code nor the environment has changed",
            next_step=getattr(error, "next_step", "") or Mending(manifest.job, manifest.as_of).scores(),
        )
    )


def _add(
    asked: Asked,
    window: Checked,
    manifest: Manifest,
    changed: list[str],
    batch: int,
    found: BatchAudited,
    again: Again,
) -> None:
    record = Rescored(
        as_of=manifest.as_of,
        run_id=manifest.run_id,
        model=f"{manifest.model.name}/{manifest.model.version:04d}",
        batch=batch + 1,
        rows=found.rows,
        differing=found.differing,
        by_column=found.by_column,
        examples=tuple(_difference(manifest.as_of, one) for one in found.examples),
        other_than_then=tuple(changed),
        notes=tuple(_notes(asked, manifest, found)),
    )
    again.rescored.append(record)
    again.notes += [f"{asked.job.job} {manifest.as_of}: {note}" for note in record.notes]
    # Of a file that is known to be another, its hash has told: which rows, the examples say.
    if found.differing and layout.PREDICTIONS not in window.broken:
        again.findings.append(finding_of(asked, manifest, record, Mending(manifest.job, manifest.as_of).scores()))


def _difference(as_of: str, one: Any) -> Difference:
    return Difference(as_of=as_of, **vars(one))


def _notes(asked: Asked, manifest: Manifest, found: BatchAudited) -> Iterator[str]:
    if found.freed:
        yield f"{found.freed:,} rows are in quarantine because the model raised on them, and can be scored now"
    if found.differing and is_defined_otherwise(asked, manifest):
        yield "the job's definition is another than the run's"


# -- telling --------------------------------------------------------------------------------------------------------


def _earlier(asked: Asked) -> AuditRecord | None:
    """The last audit; one that cannot be read is as none."""
    try:
        return keeping.newest(asked.lake, asked.job.job)
    except LakeCorrupt as error:
        log.warning("The last audit of %s counts for nothing: %s", asked.job.job, error)
        return None


def _payload(asked: Asked, record: AuditRecord) -> dict[str, Any]:
    """What the event says: as those of windows do, with the first findings."""
    first = record.findings[0]
    return {
        "job": record.job,
        "as_of": first.as_of or record.day,
        "verdict": "the audit found what is not as it was published",
        "reason": f"{record.headline} {record.told}",
        "next_step": first.next_step,
        "readers_see": "what they saw: an audit takes nothing back",
        "report": asked.lake.address(layout.index_page(record.job)),
        "owner": asked.job.owner,
        "audited_on": record.day,
        "findings_count": record.findings_count,
        "findings": [one.model_dump(mode="json") for one in record.findings[:_MOST_TOLD]],
        "rows_compared": record.rows_compared,
        "rows_differing": record.rows_differing,
    }


follow = Stage("Follow the chain of each window", follow_chains)
score_again = Stage("Score a sample again", score_sample_again)
keep = Stage("Keep what was found", keep_record)
tell = Stage("Tell what was found", tell_found)
