"""Report: the pages that people read, and the same numbers as artifacts in the Prefect UI."""

from __future__ import annotations

import contextlib
import datetime as dt
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from prefect.exceptions import MissingContextError

from tasks.core import layout, pages
from tasks.core.auditing import keeping as audits
from tasks.core.auditing.records import Standing
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Project
from tasks.core.definitions.retention import FOR_EVER
from tasks.core.delivery import state as delivery
from tasks.core.errors import LakeCorrupt, LakeError, WindowBusy, WindowFinished
from tasks.core.home import alone, newest_to_show, point, write_home
from tasks.core.logs import log
from tasks.core.monitoring import keeping
from tasks.core.monitoring.records import Monitored
from tasks.core.monitoring.rhythm import unit_of
from tasks.core.pages.verdicts import headline
from tasks.core.performance import tables
from tasks.core.profiles.figures import Figures
from tasks.core.pruning.records import Pruned
from tasks.core.records import read_beside
from tasks.core.rows import contract, quarantine
from tasks.core.runs import challenger, latest, partitions
from tasks.core.runs import dry_run as dry_runs
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.recalling import queue
from tasks.core.runs.run import as_of_labels, latest_manifest, published_manifest
from tasks.core.runs.showing import table_of
from tasks.core.settings import Settings
from tasks.core.storage import ABANDONED_SECONDS, Folder, Lake
from tasks.orchestration.artifacts import show_look, show_window
from tasks.stage import Stage

# The index shows the newest windows only; reading more manifests would make every run slower than the one before.
_WINDOWS_IN_INDEX = 400
T = TypeVar("T")


@contextlib.contextmanager
def reported(job: str, as_of: str, *, dry_run: bool = False) -> Iterator[None]:
    """Writes the window's report when the block ends, however it ends. A report that fails undoes nothing.

    That of a dry run is a page of its own.
    """
    try:
        yield
    except WindowFinished:
        if dry_run or not _is_told(Lake(Settings().lake), job, as_of):
            try_to_report(job, as_of, dry_run=dry_run)
        raise
    except WindowBusy:
        # The page is the other run's: what is seen of it now would stand over what it writes at its end.
        raise
    except BaseException:
        try_to_report(job, as_of, dry_run=dry_run)
        raise
    try_to_report(job, as_of, dry_run=dry_run)


def write_report(job: str, as_of: str, *, dry_run: bool = False) -> str | None:
    """The page of the window's last run, the job's index and the list of jobs; the page's path, if there is a run.

    Of a dry run its own page, and no other: in the lists there is none.
    """
    settings = Settings()
    lake, project = Lake(settings.lake), Project(Folder(settings.project))
    definition = project.load(job).job
    manifest = dry_runs.last(lake, job, as_of) if dry_run else latest_manifest(lake, job, as_of)
    if manifest is None:
        return None
    monitored = _monitored(lake, job)
    if not dry_run:
        _write_index(lake, definition, monitored)
        write_home(lake, project, now=_now())
    # Last: where it stands, all of them were written.
    page = _page(job, as_of, dry_run=dry_run)
    lake.write_bytes(page, _window_html(lake, definition, manifest, monitored).encode())
    _write_artifacts(lake, page, manifest)
    return lake.address(page)


def write_reports(windows: Sequence[tuple[str, str]]) -> None:
    """The pages of many windows, given as (job, as_of); each job's index and the list of jobs are written once.

    A job that the project no longer has gets no pages. A page that cannot be drawn undoes nothing.
    """
    settings = Settings()
    lake, project = Lake(settings.lake), Project(Folder(settings.project))
    for job in sorted({job for job, _ in windows}):
        with _warned(job):
            _write_job_pages(lake, project.load(job).job, [as_of for one, as_of in windows if one == job])
    with _warned("all jobs"):
        write_home(lake, project, now=_now())


def write_look(job: str, windows: Sequence[str]) -> None:
    """After a look at a job: the pages of the windows that were measured, its index, the list of jobs, and the artifacts.

    It undoes nothing either.
    """
    settings = Settings()
    lake, project = Lake(settings.lake), Project(Folder(settings.project))
    with _warned(job):
        _write_job_pages(lake, project.load(job).job, windows)
        write_home(lake, project, now=_now())
        if found := _monitored(lake, job):
            with contextlib.suppress(MissingContextError):
                show_look(lake, found)


def write_lists(pruned: Sequence[Pruned]) -> None:
    """The lists of windows of the jobs of which anything was removed: their pages may be gone."""
    settings = Settings()
    lake, project = Lake(settings.lake), Project(Folder(settings.project))
    for name in sorted({one.job for one in pruned if one.job and one.applied and one.count}):
        with _warned(name):
            _write_index(lake, project.load(name).job, _monitored(lake, name))


def write_audit(job: str) -> None:
    """After an audit: the job's index and the list of jobs."""
    settings = Settings()
    lake, project = Lake(settings.lake), Project(Folder(settings.project))
    with _warned(job):
        _write_job_pages(lake, project.load(job).job, ())
        write_home(lake, project, now=_now())


@contextlib.contextmanager
def _warned(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - what was done stands, whatever a page cannot draw
        log.warning("The report of %s was not written: %s", what, error)


def _write_job_pages(lake: Lake, job: Job, labels: Sequence[str]) -> None:
    monitored = _monitored(lake, job.job)
    for as_of in labels:
        if manifest := latest_manifest(lake, job.job, as_of):
            html = _window_html(lake, job, manifest, monitored)
            lake.write_bytes(layout.window_page(job.job, as_of), html.encode())
    _write_index(lake, job, monitored)


def _write_index(lake: Lake, job: Job, monitored: Monitored | None) -> None:
    with alone(lake, layout.index_lock(job.job)):
        lake.write_bytes(layout.index_page(job.job), _index_html(lake, job, monitored).encode())
    # Not below: there are the statistics of every window.
    lake.sweep(layout.reports(job.job), idle_seconds=ABANDONED_SECONDS, below=False)


def _monitored(lake: Lake, job: str) -> Monitored | None:
    """What the newest look has found."""
    return _or_none(lambda: keeping.newest_monitored(lake, job), f"The page of {job}", "what was found by `monitor`")


def _audit(lake: Lake, job: str) -> Standing | None:
    """What the last audit has found."""
    return _or_none(lambda: audits.standing(lake, job), f"The page of {job}", "its audit")


def _or_none(read: Callable[[], T | None], page: str, what: str) -> T | None:
    """A record; one that is damaged takes no page away, and nothing else off it."""
    try:
        return read()
    except LakeCorrupt as error:
        log.warning("%s is drawn without %s: %s", page, what, error)
        return None


def try_to_report(job: str, as_of: str, *, dry_run: bool = False) -> None:
    """Writes the window's report; one that cannot be written is a line in the log."""
    with _warned(f"{job} {as_of}"):
        report(job, as_of, dry_run=dry_run)


def _is_told(lake: Lake, job: str, as_of: str) -> bool:
    """Whether the page is of the window's last run, as it ended: a kill may have come before it was written."""
    with contextlib.suppress(LakeError):
        page, last = layout.window_page(job, as_of), latest_manifest(lake, job, as_of)
        if last is None or not lake.exists(page):
            return last is None
        # A lock that is there is held by whoever writes them now, or was by one that was killed.
        if any(lake.exists(lock) for lock in (layout.index_lock(job), layout.HOME_LOCK)):
            return False
        text = lake.read_bytes(page).decode(errors="replace")
        return last.run_id in text and f"<h1>{headline(last).words}</h1>" in text
    return False


def _page(job: str, as_of: str, *, dry_run: bool) -> str:
    return layout.dry_run_page(job, as_of) if dry_run else layout.window_page(job, as_of)


def _window_html(lake: Lake, job: Job, manifest: Manifest, monitored: Monitored | None) -> str:
    labels = as_of_labels(lake, job.job)
    # A dry run is in no list: its window may be one that was never run.
    here, after = bisect_left(labels, manifest.as_of), bisect_right(labels, manifest.as_of)
    visible = published_manifest(lake, job.job, manifest.as_of)
    docs = layout.docs_page(job.job, manifest.as_of, dry_run=manifest.is_dry_run)
    page = pages.WindowPage(
        manifest=manifest,
        figures=_figures(lake, manifest),
        columns=_columns(job),
        table=_address(lake, table_of(layout.PREDICTIONS, shadow=manifest.shadow), job),
        is_delta=_is_delta(lake, job, shadow=manifest.shadow),
        quarantine_table=_address(lake, layout.QUARANTINE, job),
        others=_others(lake, job),
        quarantine_examples=[
            pages.QuarantineExample(reason=label, message=message, column=column, row=row)
            for label, message, column, row in quarantine.example_rows(lake, job, manifest)
        ],
        quarantine_limit=job.limits.quarantine_share,
        standing=visible if visible and (manifest.is_dry_run or visible.run_id != manifest.run_id) else None,
        waits=_waits(lake, manifest, visible),
        delivery="" if manifest.is_dry_run else delivery.sentence(lake, job, manifest.as_of),
        reference_name=f"the training data of {manifest.model.name}/{manifest.model.version:04d}",
        owner=job.owner,
        challenger=challenger.of_run(lake, manifest),
        challengers_table=_address(lake, layout.CHALLENGERS, job),
        monitoring=_monitoring(lake, job, manifest, monitored),
        index_href="index.html",
        docs_href=_name(docs) if manifest.suite and lake.exists(docs) else None,
        previous=_link(lake, job, labels[here - 1]) if here else None,
        next=_link(lake, job, labels[after]) if after < len(labels) else None,
    )
    return pages.render_window(page)


def _monitoring(lake: Lake, job: Job, manifest: Manifest, monitored: Monitored | None) -> pages.WindowMonitoring | None:
    """What is known of the window since it was published; nothing of a job that was never looked at."""
    if monitored is None:
        return None
    try:
        performances = tables.as_labels_arrived(lake, job, manifest.as_of)
    except LakeCorrupt as error:
        log.warning("The page of %s %s shows no performance: %s", job.job, manifest.as_of, error)
        performances = []
    return pages.WindowMonitoring(
        unit=unit_of(job.window, manifest.as_of),
        monitored=monitored,
        performances=performances,
        has_labels=job.labels is not None,
    )


def _index_html(lake: Lake, job: Job, monitored: Monitored | None) -> str:
    return pages.render_index(
        pages.IndexPage(
            job=job.job,
            points=_points(lake, job, _WINDOWS_IN_INDEX),
            columns=_columns(job),
            table=_address(lake, table_of(layout.PREDICTIONS, shadow=job.output.shadow), job),
            is_delta=_is_delta(lake, job, shadow=job.output.shadow),
            quarantine_table=_address(lake, layout.QUARANTINE, job),
            others=_others(lake, job),
            description=job.description,
            owner=job.owner,
            timezone=job.window.timezone,
            quarantine_limit=job.limits.quarantine_share,
            windows_count=len(as_of_labels(lake, job.job)),
            prediction_name=next(iter(job.output.columns)),
            challenger=_challenger_of_last(lake, job),
            home_href="../index.html",
            shadow=job.output.shadow,
            monitored=monitored,
            has_labels=job.labels is not None,
            main_metric=job.promotion.metric or "",
            audit=_audit(lake, job.job),
        )
    )


def _challenger_of_last(lake: Lake, job: Job) -> str:
    """What the challenger made of the last window that is published."""
    labels = reversed(as_of_labels(lake, job.job))
    last = next((found for as_of in labels if (found := published_manifest(lake, job.job, as_of))), None)
    said = pages.challenger_sentence(challenger.of_run(lake, last)) if last else ""
    return f"{last.as_of}: {said}" if last and said else ""


def _waits(lake: Lake, manifest: Manifest, visible: Manifest | None) -> str:
    """Why the window is queued to be scored again; nothing once somebody has."""
    try:
        entry = queue.read(lake, manifest.job, manifest.as_of)
    except LakeCorrupt as error:
        return error.failed
    if entry is None or queue.is_settled(lake, entry, visible):
        return ""
    return f"It is queued to be scored again: {entry.reason}"


def _points(lake: Lake, job: Job, newest: int) -> list[pages.WindowPoint]:
    labels = as_of_labels(lake, job.job)[-newest:]
    found = [_or_none(partial(newest_to_show, lake, job.job, one), f"The page of {job.job}", one) for one in labels]
    points = [replace(point(one), unit=unit_of(job.window, one.as_of)) for one in found if one is not None]
    if job.retention.reports == FOR_EVER:
        return points
    kept = set(lake.names(layout.reports(job.job)))
    # The page of the newest is about to be written where it is not there.
    return [one if one.href in kept else replace(one, href=None) for one in points[:-1]] + points[-1:]


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _figures(lake: Lake, manifest: Manifest) -> Figures:
    key = f"{manifest.workspace}/{layout.FIGURES}"
    # What cannot be read is not drawn.
    with contextlib.suppress(LakeError):
        return read_beside(lake, key, Figures, wrong="are not the figures of a run") or Figures()
    return Figures()


def _columns(job: Job) -> list[pages.PublishedColumn]:
    return [pages.PublishedColumn(*each) for each in contract.column_meanings(job)]


def _address(lake: Lake, table: str, job: Job) -> str:
    return lake.address(layout.table(table, job.job))


def _is_delta(lake: Lake, job: Job, *, shadow: bool) -> bool:
    return partitions.is_delta(lake, layout.table(table_of(layout.PREDICTIONS, shadow=shadow), job.job))


def _others(lake: Lake, job: Job) -> pages.OtherTables:
    folder, sql = layout.latest(job.job), job.output.sql
    return pages.OtherTables(
        latest=lake.address(folder) if lake.exists(folder) else "",
        latest_note=latest.note(lake, job),
        runs=_address(lake, "runs", job),
        sql=sql.table if sql and not job.output.shadow else "",
    )


def _link(lake: Lake, job: Job, as_of: str) -> pages.Link | None:
    """The page of a window, unless retention may have taken it."""
    page = layout.window_page(job.job, as_of)
    is_there = job.retention.reports == FOR_EVER or lake.exists(page)
    return pages.Link(as_of, _name(page)) if is_there else None


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _write_artifacts(lake: Lake, page: str, manifest: Manifest) -> None:
    with contextlib.suppress(MissingContextError):
        show_window(lake, page, manifest, challenger.of_run(lake, manifest))


report = Stage("Write the report", write_report)
report_again = Stage("Write the reports of the windows", write_reports)
report_pruned = Stage("Write the lists of windows", write_lists)
report_look = Stage("Write the pages", write_look)
report_audit = Stage("Write the pages", write_audit)
