"""Report: the pages that people read, and the same numbers as artifacts in the Prefect UI."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

from tasks.core import layout, pages
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Project
from tasks.core.errors import LakeCorrupt, LamplighterError, WindowBusy, WindowFinished
from tasks.core.models.model_events import reigns
from tasks.core.models.registry import Registry
from tasks.core.profiles.figures import Figures
from tasks.core.rows import contract, quarantine
from tasks.core.runs import challenger
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.recalling import queue
from tasks.core.runs.run import as_of_labels, latest_manifest, published_manifest
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.stage import Stage

# The index shows the newest windows only; reading more manifests would make every run slower than the one before.
_WINDOWS_IN_INDEX = 400
# Other windows' runs write beside this one; none of them takes an hour for a page.
_HALF_WRITTEN_SECONDS = 3600.0


@contextlib.contextmanager
def reported(job: str, as_of: str) -> Iterator[None]:
    """Writes the window's report when the block ends, however it ends. A report that fails undoes nothing."""
    try:
        yield
    except WindowFinished:
        if not Lake(Settings().lake).exists(layout.window_page(job, as_of)):
            try_to_report(job, as_of)
        raise
    except WindowBusy:
        # The page is the other run's: what is seen of it now would stand over what it writes at its end.
        raise
    except BaseException:
        try_to_report(job, as_of)
        raise
    try_to_report(job, as_of)


def write_report(job: str, as_of: str) -> str | None:
    """The page of the window's last run, the job's index and the list of jobs; the page's path, if there is a run."""
    settings = Settings()
    lake, project = Lake(settings.lake), Project(Folder(settings.project))
    definition = project.load(job).job
    manifest = latest_manifest(lake, job, as_of)
    if manifest is None:
        return None
    lake.write_bytes(layout.index_page(job), _index_html(lake, definition).encode())
    lake.write_bytes(layout.HOME_PAGE, _home_html(lake, project).encode())
    lake.sweep("reports", idle_seconds=_HALF_WRITTEN_SECONDS)
    # Last: where it stands, all of them were written.
    lake.write_bytes(layout.window_page(job, as_of), _window_html(lake, definition, manifest).encode())
    path = str(lake.path(layout.window_page(job, as_of)))
    _write_artifacts(manifest, f"file://{path}", challenger.of_run(lake, manifest))
    return path


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
        lake.write_bytes(layout.HOME_PAGE, _home_html(lake, project).encode())


@contextlib.contextmanager
def _warned(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - what was done stands, whatever a page cannot draw
        get_run_logger().warning("The report of %s was not written: %s", what, error)


def _write_job_pages(lake: Lake, job: Job, labels: Sequence[str]) -> None:
    for as_of in labels:
        if manifest := latest_manifest(lake, job.job, as_of):
            lake.write_bytes(layout.window_page(job.job, as_of), _window_html(lake, job, manifest).encode())
    lake.write_bytes(layout.index_page(job.job), _index_html(lake, job).encode())


def try_to_report(job: str, as_of: str) -> None:
    """Writes the window's report; one that cannot be written is a line in the log."""
    with _warned(f"{job} {as_of}"):
        report(job, as_of)


def _window_html(lake: Lake, job: Job, manifest: Manifest) -> str:
    labels = as_of_labels(lake, job.job)
    here = labels.index(manifest.as_of)
    visible = published_manifest(lake, job.job, manifest.as_of)
    docs = layout.docs_page(job.job, manifest.as_of)
    page = pages.WindowPage(
        manifest=manifest,
        figures=_figures(lake, manifest),
        columns=_columns(job),
        table=_address(lake, layout.PREDICTIONS, job),
        quarantine_table=_address(lake, layout.QUARANTINE, job),
        quarantine_examples=[
            pages.QuarantineExample(reason=label, message=message, column=column, row=row)
            for label, message, column, row in quarantine.example_rows(lake, job, manifest)
        ],
        quarantine_limit=job.limits.quarantine_share,
        standing=visible if visible and visible.run_id != manifest.run_id else None,
        waits=_waits(lake, manifest, visible),
        reference_name=f"the training data of {manifest.model.name}/{manifest.model.version:04d}",
        owner=job.owner,
        challenger=challenger.of_run(lake, manifest),
        challengers_table=_address(lake, layout.CHALLENGERS, job),
        index_href="index.html",
        docs_href=_name(docs) if manifest.suite and lake.exists(docs) else None,
        previous=_link(job, labels[here - 1]) if here else None,
        next=_link(job, labels[here + 1]) if here + 1 < len(labels) else None,
    )
    return pages.render_window(page)


def _index_html(lake: Lake, job: Job) -> str:
    return pages.render_index(
        pages.IndexPage(
            job=job.job,
            points=_points(lake, job, _WINDOWS_IN_INDEX),
            columns=_columns(job),
            table=_address(lake, layout.PREDICTIONS, job),
            quarantine_table=_address(lake, layout.QUARANTINE, job),
            description=job.description,
            owner=job.owner,
            timezone=job.window.timezone,
            quarantine_limit=job.limits.quarantine_share,
            windows_count=len(as_of_labels(lake, job.job)),
            prediction_name=next(iter(job.output.columns)),
            challenger=_challenger_of_last(lake, job),
            home_href="../index.html",
        )
    )


def _challenger_of_last(lake: Lake, job: Job) -> str:
    """What the challenger made of the last window that is published."""
    labels = reversed(as_of_labels(lake, job.job))
    last = next((found for as_of in labels if (found := published_manifest(lake, job.job, as_of))), None)
    said = pages.challenger_sentence(challenger.of_run(lake, last)) if last else ""
    return f"{last.as_of}: {said}" if last and said else ""


def _home_html(lake: Lake, project: Project) -> str:
    lines = []
    for name in project.job_names():
        # One job's broken YAML must not take the list of all jobs away.
        with contextlib.suppress(LamplighterError):
            job = project.load(name).job
            last = _points(lake, job, 1)
            lines.append(
                pages.JobLine(
                    job=name,
                    href=f"{name}/index.html",
                    owner=job.owner,
                    description=job.description,
                    last=last[0] if last else None,
                    windows=len(as_of_labels(lake, name)),
                )
            )
    return pages.render_home(lines, _models(lake))


def _models(lake: Lake) -> list[pages.ModelLine]:
    """The models that have a page: it is written at their first change."""
    registry = Registry(lake)
    lines = []
    for name in registry.names():
        page = layout.model_page(name)
        if lake.exists(page):
            now = [one for one in reigns(registry.history(name)) if one.alias == "production" and one.ended is None]
            lines.append(
                pages.ModelLine(
                    model=name,
                    href=page.removeprefix("reports/"),
                    production=now[0].version if now else None,
                    since=now[0].since if now else None,
                    versions=len(registry.numbers(name)),
                )
            )
    return lines


def _waits(lake: Lake, manifest: Manifest, visible: Manifest | None) -> str:
    """Why the window is queued to be scored again; nothing once somebody has."""
    try:
        entry = queue.read(lake, manifest.job, manifest.as_of)
    except LakeCorrupt as error:
        return error.failed
    if entry is None or queue.is_settled(lake, entry, visible):
        return ""
    return f"It is queued to be scored again: {entry.reason}"


def _to_show(lake: Lake, job: str, as_of: str) -> Manifest | None:
    """The window's last run; where that was withdrawn, what readers see in its place."""
    last = latest_manifest(lake, job, as_of)
    if last is not None and last.state == "withdrawn":
        return published_manifest(lake, job, as_of) or last
    return last


def _points(lake: Lake, job: Job, newest: int) -> list[pages.WindowPoint]:
    found = [_to_show(lake, job.job, as_of) for as_of in as_of_labels(lake, job.job)[-newest:]]
    return [
        pages.WindowPoint.of(one, href=_name(layout.window_page(job.job, one.as_of)), mean_prediction=_mean(one))
        for one in found
        if one is not None
    ]


def _mean(manifest: Manifest) -> float | None:
    return next((one.mean for one in manifest.predictions.values()), None)


def _figures(lake: Lake, manifest: Manifest) -> Figures:
    key = f"{layout.workspace(manifest.job, manifest.as_of, manifest.run_id)}/{layout.FIGURES}"
    return Figures.model_validate_json(lake.read_bytes(key)) if lake.exists(key) else Figures()


def _columns(job: Job) -> list[pages.PublishedColumn]:
    return [pages.PublishedColumn(*each) for each in contract.column_meanings(job)]


def _address(lake: Lake, table: str, job: Job) -> str:
    return str(lake.path(layout.table(table, job.job)))


def _link(job: Job, as_of: str) -> pages.Link:
    return pages.Link(as_of, _name(layout.window_page(job.job, as_of)))


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _write_artifacts(manifest: Manifest, href: str, beside: challenger.Beside) -> None:
    key = f"{manifest.job}-{manifest.as_of}".lower().replace("_", "-")
    with contextlib.suppress(MissingContextError):
        create_markdown_artifact(pages.render_markdown(manifest, href, beside), key=f"{key}-report")
        create_table_artifact(pages.summary_rows(manifest, beside), key=f"{key}-rows")


report = Stage("Write the report", write_report)
report_again = Stage("Write the reports of the windows", write_reports)
