"""How jobs stand, from the lake and the project alone: what is late, blocked, failed or killed, and what readers see.

Listings tell most of it. Manifests are read only of windows whose last run is not the one that readers see, and of a
job's newest windows only: what is older, `lamplighter runs` lists.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from tasks.core import layout
from tasks.core.auditing import keeping as audits
from tasks.core.auditing.records import Finding
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Project
from tasks.core.definitions.schedule import Schedule
from tasks.core.delivery import state as delivery
from tasks.core.errors import DefinitionError, LakeError, LamplighterError
from tasks.core.models.registry import Registry
from tasks.core.monitoring.records import Alarm
from tasks.core.monitoring.standing import standing
from tasks.core.records import Record
from tasks.core.runs.expected import Missing, missing, published_labels
from tasks.core.runs.publication import visible_run
from tasks.core.runs.recalling import queue
from tasks.core.runs.run import as_of_labels
from tasks.core.runs.seen import Glance, glance, latest, sentence
from tasks.core.storage import Lake

NEWEST = 400  # Windows of a job that are looked at.
_MOST_FINDINGS = 20  # Of the last audit.
# A window of a job without a deadline is missed when its run has not begun so long after its tick.
GRACE = dt.timedelta(hours=1)

Kind = Literal["unreadable", "failed", "killed", "undelivered", "blocked", "late", "missed", "queued"]
# From the worst to the best; the first four are failures, the others wait for a person or for time.
KINDS: tuple[Kind, ...] = ("unreadable", "failed", "killed", "undelivered", "blocked", "late", "missed", "queued")
_NEVER_RUN: tuple[str, Kind] = ("no run of it has begun", "missed")
_WITHDRAWN: tuple[str, Kind] = ("what it had was withdrawn", "late")
_FAILURES: tuple[Kind, ...] = ("unreadable", "failed", "killed", "undelivered")


class WindowStatus(Record):
    """A window that is not well."""

    as_of: str
    kind: Kind
    is_late: bool = False
    due_at: dt.datetime | None = None
    why: str
    next_step: str = ""
    run_id: str | None = None
    readers_see: Annotated[str, Field(description="The run whose rows readers get, in words; '' where they get none.")]


class Newest(Record):
    """The newest window that readers see."""

    as_of: str
    run_id: str
    at: dt.datetime | None = None
    model: str = ""
    rows: int = 0
    shadow: bool = False


class JobStatus(Record):
    """A job, and its windows that are not well, in the order of time. `problem`: why the job cannot be read."""

    job: str
    owner: str = ""
    newest: Newest | None = None
    running: tuple[str, ...] = ()
    windows: tuple[WindowStatus, ...] = ()
    alarms: Annotated[tuple[Alarm, ...], Field(description="Of the monitor's, those which stand.")] = ()
    looked_at: Annotated[str, Field(description="The day of the monitor's last look; '' where there is none.")] = ""
    look_missed: Annotated[
        dt.datetime | None,
        Field(description="When the flow `monitor` should have looked since, and did not."),
    ] = None
    audited_on: Annotated[str, Field(description="The day of the last audit; '' where there is none.")] = ""
    audit_findings: Annotated[
        tuple[Finding, ...],
        Field(description="What the last audit found that is not as its records say: the first of it."),
    ] = ()
    audit_findings_count: int = 0
    audit_missed: Annotated[
        dt.datetime | None, Field(description="When the flow `audit` should have run since, and did not.")
    ] = None
    problem: str = ""
    next_steps: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: well. 3: something is blocked or late, or not as its records say. 1: a run failed or was killed, or the job cannot be read.

        An alarm that stands changes none of it: it may for months, and rows are published all the same.
        """
        if self.problem or any(one.kind in _FAILURES for one in self.windows):
            return 1
        return 3 if self.windows or self.audit_findings_count else 0


def status_of(lake: Lake, project: Project, name: str, *, now: dt.datetime) -> JobStatus:
    """How a job stands. What is wrong with its YAML or in the lake is said of this job alone."""
    try:
        job = project.load(name, suites=False).job
    except LamplighterError as error:
        return JobStatus(job=name, problem=str(error), next_steps=("lamplighter check",))
    try:
        return _Looking(lake, job, now).status()
    except LakeError as error:
        return JobStatus(job=name, owner=job.owner, problem=str(error))


def exit_code(found: Iterable[JobStatus]) -> int:
    """Of several jobs the worst: a failure before what is blocked or late."""
    codes = {one.exit_code for one in found}
    return 1 if 1 in codes else max(codes, default=0)


def watched_since(lake: Lake, job: str) -> dt.datetime | None:
    """Since when somebody looks after the deadlines of this job; None where nobody does."""
    key = layout.watched(job)
    if not lake.exists(key):
        return None
    try:
        return dt.datetime.fromisoformat(lake.read_text(key).strip())
    except ValueError:
        return None


def asked_for(lake: Lake, job: Job, *, now: dt.datetime, since: dt.datetime | None = None) -> list[Missing]:
    """The windows that an active schedule has asked for and readers do not see.

    They begin at `since`, or with the job's first window in the lake; of a job that has never run, with the first tick
    after somebody began to look after its deadlines.
    """
    if job.schedule is None or not job.schedule.active:
        return []
    watched = watched_since(lake, job.job)
    if not as_of_labels(lake, job.job):
        if watched is None:
            return []
        since = max(watched, since) if since else watched
        return [one for one in missing(lake, job, now=now, since=since) if one.tick >= watched]
    return missing(lake, job, now=now, since=since)


class _Looking:
    """One look at one job."""

    def __init__(self, lake: Lake, job: Job, now: dt.datetime) -> None:
        self.lake, self.job, self.now = lake, job, now
        self.labels = as_of_labels(lake, job.job)[-NEWEST:]
        self.asked = {one.as_of: one for one in asked_for(lake, job, now=now, since=self._since())}
        self.waiting = set(queue.labels(lake, job.job))
        self.running: list[str] = []

    def status(self) -> JobStatus:
        windows = [
            found for as_of in sorted({*self.labels, *self.asked, *self.waiting}) if (found := self._look(as_of))
        ]
        watched = standing(self.lake, self.job.job)
        audited = audits.standing(self.lake, self.job.job)
        return JobStatus(
            job=self.job.job,
            owner=self.job.owner,
            newest=self._newest(),
            running=tuple(self.running),
            windows=tuple(windows),
            alarms=watched.open_alarms if watched else (),
            looked_at=watched.as_of if watched else "",
            look_missed=self._missed(watched.as_of, self.job.monitor.cron) if watched else None,
            audited_on=audited.day if audited else "",
            audit_findings=audited.standing[:_MOST_FINDINGS] if audited else (),
            audit_findings_count=audited.count if audited else 0,
            audit_missed=self._missed(audited.day, self.job.audit.cron) if audited else None,
            next_steps=tuple(_next_steps(self.job.job, windows)),
        )

    def _missed(self, done_on: str, cron: str) -> dt.datetime | None:
        """The first tick of a flow of the job that nothing has followed since that day; of a job that runs by hand, none."""
        if self.job.schedule is None or not self.job.schedule.active:
            return None
        zone = ZoneInfo(self.job.window.timezone)
        day_after = dt.datetime.fromisoformat(done_on).replace(tzinfo=zone) + dt.timedelta(days=1)
        ticks = Schedule(cron=cron).due(day_after, self.now - GRACE, self.job.window)
        return next(ticks, None)

    def _since(self) -> dt.datetime | None:
        """The start of the oldest window that is looked at; a job's first run may have been of a window of long ago."""
        window = self.job.window.shifted(self.job.window.containing(self.now), -NEWEST)
        for label in self.labels:
            # A label may be of windows of another length.
            with contextlib.suppress(DefinitionError):
                return max(window.start, self.job.window.parse(label).start)
        return None

    def _look(self, as_of: str) -> WindowStatus | None:
        try:
            return self._of_window(as_of)
        except LakeError as error:
            return self._status(as_of, "unreadable", error.failed, next_step=error.next_step)

    def _of_window(self, as_of: str) -> WindowStatus | None:
        visible = visible_run(self.lake, self.job.job, as_of)
        last = self._last_undecided(as_of, visible)
        if last is not None and last.is_open:
            if self._is_at_work(as_of):
                return self._of_time(as_of, visible, why="a run is at work on it")
            last = glance(self.lake, self.job.job, as_of, last.run_id)
        if last is not None and last.is_open:
            why = "its run was killed; the next one goes on where it was"
            return self._status(as_of, "killed", why, visible, last)
        if last is not None and last.state == "concluded" and last.verdict in ("blocked", "failed"):
            why = "; ".join(last.reasons) or "it did not say why"
            return self._status(as_of, last.verdict, why, visible, last, next_step=last.next_step)
        if (why_not := self._undelivered(as_of)) is not None:
            return self._status(as_of, "undelivered", why_not, visible)
        entry = queue.read(self.lake, self.job.job, as_of) if as_of in self.waiting else None
        if entry and not self._is_settled(entry, visible):
            return self._status(as_of, "queued", f"it waits to be scored again: {entry.reason}", visible)
        why, kind = _NEVER_RUN if last is None and visible is None else _WITHDRAWN
        return self._of_time(as_of, visible, why=why, kind=kind)

    def _undelivered(self, as_of: str) -> str | None:
        """Why the job's database has not what readers of the lake see; None while a run is at work on it."""
        why = delivery.shortfall(self.lake, self.job, as_of)
        return None if why is None or self._is_at_work(as_of) else why

    def _last_undecided(self, as_of: str, visible: str | None) -> Glance | None:
        """How the last run ended, where that is not the one that readers see.

        A lock that was left behind is a reason to look at that one too: it may have been killed as it published.
        """
        runs = self.lake.names(layout.runs(self.job.job, as_of))
        if set(runs) <= {visible} and not self.lake.exists(layout.lock(self.job.job, as_of)):
            return None
        last = latest(one for run in runs if (one := glance(self.lake, self.job.job, as_of, run)))
        return last if last and not last.is_published else None

    def _of_time(self, as_of: str, visible: str | None, *, why: str, kind: Kind = "late") -> WindowStatus | None:
        """A window that the schedule has asked for and that is not there; nothing while it still has time."""
        asked = self.asked.get(as_of)
        if asked is None:
            return None
        if asked.is_late(self.now):
            return self._status(as_of, kind, why, visible)
        # Without a deadline nothing is late; a run that is at work is on its way.
        if asked.due_at is None and self.now > asked.tick + GRACE and as_of not in self.running:
            return self._status(as_of, "missed", f"{why} since its tick at {asked.tick:%Y-%m-%d %H:%M} UTC", visible)
        return None

    def _is_at_work(self, as_of: str) -> bool:
        held = self.lake.is_locked(layout.lock(self.job.job, as_of))
        self.running += [as_of] if held else []
        return held

    def _is_settled(self, entry: queue.Entry, visible: str | None) -> bool:
        """Whether somebody has published the window since it was queued, with a version that may be seen."""
        if visible is None or visible == entry.restored:
            return False
        seen = glance(self.lake, entry.job, entry.as_of, visible)
        return seen is not None and seen.model.version not in Registry(self.lake).recalled(seen.model.name)

    def _status(
        self,
        as_of: str,
        kind: Kind,
        why: str,
        visible: str | None = None,
        last: Glance | None = None,
        *,
        next_step: str = "",
    ) -> WindowStatus:
        asked = self.asked.get(as_of)
        return WindowStatus(
            as_of=as_of,
            kind=kind,
            is_late=asked is not None and asked.is_late(self.now),
            due_at=asked.due_at if asked else None,
            why=why,
            next_step=next_step,
            run_id=last.run_id if last else None,
            readers_see=sentence(visible, glance(self.lake, self.job.job, as_of, visible)) if visible else "",
        )

    def _newest(self) -> Newest | None:
        for as_of in reversed(published_labels(self.lake, self.job.job)):
            if run_id := visible_run(self.lake, self.job.job, as_of):
                seen = _try_glance(self.lake, self.job.job, as_of, run_id)
                if seen is None:
                    return Newest(as_of=as_of, run_id=run_id)
                model = f"{seen.model.name}/{seen.model.version:04d}"
                more = {"at": seen.finished_at, "model": model, "rows": seen.rows.scored, "shadow": seen.shadow}
                return Newest.model_validate({"as_of": as_of, "run_id": run_id, **more})
        return None


def _try_glance(lake: Lake, job: str, as_of: str, run_id: str) -> Glance | None:
    try:
        return glance(lake, job, as_of, run_id)
    except LakeError:
        return None


def _next_steps(job: str, windows: Sequence[WindowStatus]) -> Iterable[str]:
    """The next commands, those for the worst first; of windows that follow upon each other one for all."""
    by_kind = sorted(windows, key=lambda one: (KINDS.index(one.kind), one.as_of))
    for kind, group in groupby(by_kind, key=lambda one: one.kind):
        some = list(group)
        yield _next_step(job, kind, some[0].as_of, some[-1].as_of, len(some))


def _next_step(job: str, kind: Kind, first: str, last: str, count: int) -> str:
    if kind == "undelivered":
        return f"lamplighter deliver {job}{f' --as-of {first}' if count == 1 else ''}"
    if kind == "queued":
        return f"lamplighter backfill {job} --queued"
    if kind in ("blocked", "failed", "unreadable"):
        return f"lamplighter show {job} --as-of {last}"
    if count == 1:
        return f"lamplighter score {job} --as-of {first}"
    return f'lamplighter backfill {job} --from {first} --to {last} --reason "{kind}"'
