"""Open: everything that is decided before a row is pulled, and the record of how the run ended."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator

from prefect.runtime import flow_run

from tasks.core import layout, logs, progress, provenance
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Definition, Project
from tasks.core.definitions.schedule import length
from tasks.core.definitions.window import Window
from tasks.core.errors import Blocked, DefinitionError, LakeError, LamplighterError
from tasks.core.models.mlflow.mirror import followed
from tasks.core.models.registry import Registry
from tasks.core.rows import snapshot
from tasks.core.runs import dry_run, formats
from tasks.core.runs.acceptance import last_blocked
from tasks.core.runs.asked import Asked
from tasks.core.runs.manifest import Manifest, Trigger
from tasks.core.runs.publication import recover
from tasks.core.runs.run import (
    Run,
    first_manifest,
    has_manifest,
    load_manifest,
    manifests,
    manifests_in,
    plan_key,
    published_manifest,
    pulling_name,
    refuse_finished,
    write_manifest,
)
from tasks.core.runs.showing import refuse_shadow_over_live
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.orchestration.asking import asked_by
from tasks.scheduled import scheduled_at
from tasks.shards.accepting import accepted_names

NOTHING_MORE = Asked()
# Of the server that schedules and the machine that scores.
_CLOCKS_DIFFER = dt.timedelta(minutes=1)


@contextlib.contextmanager
def opened(
    job: str, as_of: str, asked: Asked = NOTHING_MORE, *, started_at: dt.datetime | None = None
) -> Iterator[Run]:
    """Holds the window for one run: its lock, its plan, its workspace. What the block raises becomes the verdict.

    WindowFinished if the window is published and nobody asked for it again; WindowBusy if another run holds it, for
    longer than the job waits.
    """
    logs.know(job=job, as_of=as_of)
    asked.check()
    settings = Settings()
    lake, project = Lake(settings.lake), Folder(settings.project)
    definition = Project(project).load(job)
    window = definition.job.window.parse(as_of)
    started_at = started_at or now()
    if not asked.dry_run:
        _refuse_future(definition.job, window, started_at)
    with lake.lock(
        layout.dry_run_lock(job, as_of) if asked.dry_run else layout.lock(job, as_of),
        holder=f"run {flow_run.name or 'unnamed'}, started {started_at:%H:%M:%S} UTC",
        wait_seconds=length(definition.job.limits.wait_for_window).total_seconds(),
    ):
        if not asked.dry_run:
            recover(lake, job, as_of)
        if asked.leaves_finished:
            refuse_finished(lake, job, as_of)
        if not asked.dry_run:
            refuse_shadow_over_live(lake, job, as_of, shadow=definition.job.output.shadow)
        formats.check_table(lake, definition.job)
        trigger = _trigger(lake, definition, as_of, asked)
        run = _planned(lake, project, definition, window, started_at, trigger)
        _give_up_others(run)
        _begin(run, trigger)
        logs.know(run_id=run.run_id)
        try:
            yield run
        except BaseException as error:
            _conclude(run, error)
            raise
        finally:
            progress.forget(run.name)


@contextlib.contextmanager
def reopened(job: str, as_of: str) -> Iterator[Run]:
    """Holds a published window for what is added beside it: the run that readers see, whose verdict stands in any case.

    DefinitionError if nothing is published; WindowBusy if a run holds the window.
    """
    settings = Settings()
    lake, project = Lake(settings.lake), Folder(settings.project)
    definition = Project(project).load(job)
    window, started_at = definition.job.window.parse(as_of), now()
    with lake.lock(
        layout.lock(job, as_of), holder=f"run {flow_run.name or 'unnamed'}, started {started_at:%H:%M:%S} UTC"
    ):
        recover(lake, job, as_of)
        seen = published_manifest(lake, job, as_of)
        if seen is None:
            raise DefinitionError(
                f"{job} {as_of} is not published", next_step=f"lamplighter score {job} --as-of {as_of}"
            )
        model = Registry(lake).version(seen.model.name, seen.model.version)
        workspace = layout.workspace(job, as_of, seen.run_id)
        logs.know(job=job, as_of=as_of, run_id=seen.run_id)
        run = Run(
            lake, project, definition, window, model, plan_key=seen.plan_key, workspace=workspace, started_at=started_at
        )
        try:
            yield run
        finally:
            progress.forget(run.name)


def now() -> dt.datetime:
    """The present, in UTC: read here, and an argument everywhere below."""
    return dt.datetime.now(dt.UTC)


def _refuse_future(job: Job, window: Window, at: dt.datetime) -> None:
    """DefinitionError for a snapshot whose instant has not come: what is there now would stand for it, for ever."""
    comes_at = job.known_at(window)
    if job.window.kind == "snapshot" and comes_at > at + _CLOCKS_DIFFER:
        raise DefinitionError(
            f"{job.job} {window.as_of} is the snapshot of {comes_at:%Y-%m-%d %H:%M} UTC, which has not come yet",
            state="nothing was started",
            next_step=f"lamplighter score {job.job} --as-of {window.as_of} --dry-run; or give a window that has begun: "
            f"--as-of {job.window.containing(at).as_of}",
        )


def _trigger(lake: Lake, definition: Definition, as_of: str, asked: Asked) -> Trigger:
    """What is asked for, by whom, in the record's words. DefinitionError where what is to be accepted is no gate of the job."""
    blocked = last_blocked(lake, definition.job.job, as_of) if asked.accept else None
    return Trigger(
        kind=asked.kind,
        actor=asked_by(),
        flow_run_id=str(flow_run.id) if flow_run.id else None,
        scheduled_at=scheduled_at() if flow_run.id else None,
        rescore_reason=asked.rescore or None,
        from_snapshot=asked.from_snapshot,
        only_if_changed=asked.only_if_changed,
        accept=accepted_names(definition, asked.accept, blocked) if asked.accept else (),
        reason=asked.reason.strip() or None,
        # The rows that were judged are the ones to accept, and not what the source holds by now.
        snapshot_of=blocked.run_id if blocked else None,
    )


def _planned(
    lake: Lake, project: Folder, definition: Definition, window: Window, started_at: dt.datetime, trigger: Trigger
) -> Run:
    job = definition.job
    model = followed(Registry(lake), job, at=started_at)
    code = provenance.code_of(job, project, model)
    plan = plan_key(definition, window, model, provenance.decisive_digest(code))
    folder = layout.dry_run if trigger.kind == "dry_run" else layout.workspace
    new = folder(job.job, window.as_of, pulling_name(plan))
    # A dry run is never resumed, and resumes nothing.
    found = None if trigger.kind == "dry_run" else _resumable(lake, job.job, window.as_of, plan, trigger)
    return Run(
        lake,
        project,
        definition,
        window,
        model,
        plan_key=plan,
        workspace=found.workspace if found else new,
        started_at=started_at,
        takes_over=found is not None and found.state == "running",
    )


def _resumable(lake: Lake, job: str, as_of: str, plan: str, trigger: Trigger) -> Manifest | None:
    """The record of the unfinished workspace with the same plan and a complete snapshot, the last one first.

    A blocked run is not resumed: its data was judged, and whoever scores again wants the mended data. What one run
    accepts, another does not.
    """
    candidates = [
        one
        for one in manifests(lake, job, as_of)
        if one.plan_key == plan and (one.state == "running" or one.verdict == "failed") and one.snapshot
        if set(one.trigger.accept) == set(trigger.accept)
    ]
    for one in sorted(candidates, key=lambda manifest: manifest.started_at, reverse=True):
        if snapshot.read_record(lake, layout.workspace(job, as_of, one.run_id)):
            return one
    return None


def _begin(run: Run, trigger: Trigger) -> None:
    if has_manifest(run.lake, run.workspace) and snapshot.read_record(run.lake, run.workspace):
        manifest = load_manifest(run.lake, run.workspace)
        # Its rows are there already: where they came from stays true.
        origin = {"snapshot_of": manifest.trigger.snapshot_of}
        write_manifest(run.lake, run.workspace, manifest.begun_again(trigger=trigger.model_copy(update=origin)))
        return
    run.lake.remove(run.workspace)
    code = provenance.code_of(run.job, run.project, run.model)
    first = first_manifest(run, code=code, environment=provenance.environment(), trigger=trigger)
    write_manifest(run.lake, run.workspace, first)


def _give_up_others(run: Run) -> None:
    """Runs beside this one that are 'running' while it holds the lock were killed, and it is not them that it resumes.

    Of dry runs the last alone is kept: any other goes.
    """
    if run.is_dry_run:
        dry_run.clear(run.lake, run.job.job, run.window.as_of)
        return
    for one in manifests_in(run.lake, run.folder):
        if one.state == "running" and one.workspace != run.workspace:
            why = "it was killed, and another run has begun since, of another plan"
            write_manifest(run.lake, one.workspace, one.but(state="concluded", verdict="failed", reasons=(why,)))


def _conclude(run: Run, error: BaseException) -> None:
    """Writes the verdict of a run that did not publish. A publication that was under way is left to `recover`."""
    if run.is_dry_run and isinstance(error, LamplighterError):
        error.state = f"it was a dry run; {error.state or 'nothing was published'}"
    with contextlib.suppress(LakeError):
        workspace = _workspace_now(run)
        manifest = load_manifest(run.lake, workspace)
        if manifest.state != "running":
            return
        write_manifest(
            run.lake,
            workspace,
            manifest.but(
                state="concluded",
                verdict="blocked" if isinstance(error, Blocked) else "failed",
                reasons=(_why(error),),
                next_step=error.next_step if isinstance(error, LamplighterError) else "",
                finished_at=now(),
            ),
        )


def _why(error: BaseException) -> str:
    if isinstance(error, LamplighterError):
        return error.failed
    if isinstance(error, Exception):
        return f"{type(error).__name__}: {error}"
    return f"it was stopped before its end ({type(error).__name__}); what is complete is kept"


def _workspace_now(run: Run) -> str:
    """The run's workspace, which has its final name as soon as its snapshot is complete."""
    if has_manifest(run.lake, run.workspace):
        return run.workspace
    found = [one for one in manifests_in(run.lake, run.folder) if one.plan_key == run.plan_key]
    last = max(found, key=lambda one: one.started_at, default=None)
    return last.workspace if last else run.workspace
