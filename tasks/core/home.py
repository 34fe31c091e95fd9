"""The page of all jobs: derived from the project and the lake each time, so that no run can take another's entry away."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator

from tasks.core import layout, pages
from tasks.core.auditing import keeping as audits
from tasks.core.auditing.records import Standing
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Project
from tasks.core.definitions.schedule import Length, Schedule, length
from tasks.core.definitions.terms import Definition
from tasks.core.definitions.window import Window, WindowSpec
from tasks.core.errors import LamplighterError, WindowBusy
from tasks.core.models.model_events import reigns
from tasks.core.models.registry import Registry
from tasks.core.monitoring.records import Alarm
from tasks.core.monitoring.standing import standing
from tasks.core.runs.expected import Expected, expected_windows, published_labels
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.run import as_of_labels, latest_manifest, published_manifest
from tasks.core.storage import ABANDONED_SECONDS, Lake

# What was late longer ago is told by `lamplighter status`, which takes its time.
_LOOKED_BACK, _LOOKED_BACK_SHORT, _WINDOWS_BACK = dt.timedelta(days=7), dt.timedelta(days=1), 3
_LOOKED_AHEAD = dt.timedelta(days=40)
# Forty runs that end at once wait for one another; who waits longer writes all the same.
_PATIENCE_SECONDS = 60.0


def write_home(lake: Lake, project: Project, *, now: dt.datetime) -> None:
    """Writes the page. Who writes last has seen what all others had done: one at a time, from reading to writing."""
    with alone(lake, layout.HOME_LOCK):
        page = pages.render_home(job_lines(lake, project, now=now), _model_lines(lake), written_at=now)
        lake.write_bytes(layout.HOME_PAGE, page.encode())
    lake.sweep(layout.REPORTS, idle_seconds=ABANDONED_SECONDS, below=False)


@contextlib.contextmanager
def alone(lake: Lake, key: str) -> Iterator[None]:
    """One writer of a page at a time, if it can be had within a minute: a page is not worth a run."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(WindowBusy):
            held.enter_context(lake.lock(key, holder="a run that writes a page", wait_seconds=_PATIENCE_SECONDS))
        yield


def job_lines(lake: Lake, project: Project, *, now: dt.datetime) -> list[pages.JobLine]:
    """Every job of the project, whether it has run or is wrong, and every other one of which the lake holds runs."""
    ours = project.job_names()
    others = [name for name in lake.names("runs") if name not in ours]
    return [
        *(_of_project(lake, project, name, now) for name in ours),
        *(_line(lake, name, _kept(lake, name), due="another project's") for name in others),
    ]


def newest_to_show(lake: Lake, job: str, as_of: str) -> Manifest | None:
    """The window's last run; where that was withdrawn, what readers see in its place."""
    last = latest_manifest(lake, job, as_of)
    if last is not None and last.state == "withdrawn":
        return published_manifest(lake, job, as_of) or last
    return last


def point(manifest: Manifest, *, within: str = "") -> pages.WindowPoint:
    """A run as a point of the lists and charts, whose page is named as seen from the job's folder, or `within` another."""
    mean = next((one.mean for one in manifest.predictions.values()), None)
    href = layout.window_page(manifest.job, manifest.as_of).rpartition("/")[2]
    return pages.WindowPoint.of(manifest, href=f"{within}{href}", mean_prediction=mean)


class _Known(Definition):
    """What the list says of a job's definition, kept in the lake: reading forty jobs' YAML at each run takes seconds.

    It is also what another project's runs say of this job, where several teams share a lake.
    """

    of: str
    job: str
    owner: str = ""
    description: str = ""
    window: WindowSpec
    schedule: Schedule | None = None
    deadline: Length | None = None


def _of_project(lake: Lake, project: Project, name: str, now: dt.datetime) -> pages.JobLine:
    known = _kept(lake, name)
    try:
        digest = project.digest(name)
        said = known if known and known.of == digest else _said(project.load(name, suites=False).job, digest)
    except LamplighterError as error:
        # One job's broken YAML must not take the list of all jobs away, nor that job out of it.
        return _line(lake, name, known, problem=error.failed)
    if said is not known:
        # A disk that is full is not the job's problem: the list is not written, and the next run comes back to it.
        lake.write_bytes(_known_key(name), said.model_dump_json().encode())
    try:
        return _line(lake, name, said, *_schedule_of(lake, said, now))
    except LamplighterError as error:
        return _line(lake, name, said, problem=error.failed)


def _said(job: Job, digest: str) -> _Known:
    return _Known(of=digest, **{name: getattr(job, name) for name in _Known.model_fields if name != "of"})


def _kept(lake: Lake, name: str) -> _Known | None:
    try:
        return _Known.model_validate_json(lake.read_bytes(_known_key(name)))
    except (LamplighterError, ValueError):
        # Not there yet, or of another version of this code.
        return None


def _line(
    lake: Lake, name: str, known: _Known | None, late: tuple[str, ...] = (), due: str = "", *, problem: str = ""
) -> pages.JobLine:
    labels = as_of_labels(lake, name)
    last = None
    with contextlib.suppress(LamplighterError):
        last = newest_to_show(lake, name, labels[-1]) if labels else None
    return pages.JobLine(
        job=name,
        href=f"{name}/index.html" if lake.exists(layout.index_page(name)) else "",
        owner=known.owner if known else "",
        description=known.description if known else "",
        last=point(last, within=f"{name}/") if last else None,
        windows=len(labels),
        late=late,
        due=due,
        problem=problem,
        alarms=_alarms(lake, name),
        audit=_audit(lake, name),
    )


def _alarms(lake: Lake, name: str) -> tuple[Alarm, ...]:
    """The alarms of the last look that stand; none where it cannot be read, of which the job's own page tells."""
    with contextlib.suppress(LamplighterError):
        found = standing(lake, name)
        return found.open_alarms if found else ()
    return ()


def _audit(lake: Lake, name: str) -> Standing | None:
    """What the last audit says; nothing where it cannot be read."""
    with contextlib.suppress(LamplighterError):
        return audits.standing(lake, name)
    return None


def _schedule_of(lake: Lake, job: _Known, now: dt.datetime) -> tuple[tuple[str, ...], str]:
    """The windows of late whose deadline has passed, and in words which one is due next."""
    if job.schedule is None:
        return (), ""
    if not job.schedule.active:
        return (), "paused"
    seen, known = set(published_labels(lake, job.job)), as_of_labels(lake, job.job)
    # A job that has never run is late for nothing: nobody knows since when it should have.
    asked = [one for one in expected_windows(job, _looked_back_to(job, now), now) if one.window.as_of not in seen]
    asked = [one for one in asked if known and one.window.as_of >= known[0]]
    late = tuple(one.window.as_of for one in asked if _due_at(job, one) < now) if job.deadline else ()
    waiting = next((one for one in asked if one.window.as_of not in late), None) or _next_of(job, now)
    return late, _in_words(job, waiting) if waiting else ""


def _looked_back_to(job: _Known, now: dt.datetime) -> Window:
    spec = job.window
    if spec.is_shorter_than_a_day:
        return spec.containing(now - _LOOKED_BACK_SHORT)
    window = spec.shifted(spec.containing(now), -_WINDOWS_BACK)
    return min(window, spec.containing(now - _LOOKED_BACK), key=lambda one: one.start)


def _next_of(job: _Known, now: dt.datetime) -> Expected | None:
    assert job.schedule is not None  # noqa: S101 - narrowing
    tick = next(iter(job.schedule.due(now, now + _LOOKED_AHEAD, job.window)), None)
    return Expected(job.schedule.window_of(tick, job.window), tick) if tick else None


def _due_at(job: _Known, expected: Expected) -> dt.datetime:
    return expected.tick + length(job.deadline or "0min")


def _in_words(job: _Known, expected: Expected) -> str:
    word = "by" if job.deadline else "from"
    return f"{expected.window.as_of} {word} {_due_at(job, expected):%Y-%m-%d %H:%M}"


def _model_lines(lake: Lake) -> list[pages.ModelLine]:
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
                    href=page.removeprefix(f"{layout.REPORTS}/"),
                    production=now[0].version if now else None,
                    since=now[0].since if now else None,
                    versions=len(registry.numbers(name)),
                )
            )
    return lines


def _known_key(job: str) -> str:
    return f"{layout.reports(job)}/job.json"
