"""Deadlines: the windows of all jobs that are not there in time, seen from outside their runs; each is told once."""

from __future__ import annotations

import datetime as dt

from tasks.announce import payload_of
from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Project
from tasks.core.errors import Incomplete, LamplighterError, NothingToDo, WindowBusy
from tasks.core.runs import late
from tasks.core.runs.late import Late, Looked
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.orchestration import events
from tasks.stage import Stage


def look_at_deadlines(now: dt.datetime | None = None) -> Looked:
    """Raises the alarm of each window that is late or missed and was not told of. Starts nothing.

    Incomplete where a job cannot be read, or the server did not take an alarm, which is raised again the next time;
    all others were looked at. NothingToDo where another look is under way.
    """
    settings = Settings()
    lake, project = Lake(settings.lake), Project(Folder(settings.project))
    now = now or dt.datetime.now(dt.UTC)
    try:
        # Two looks at once would both find a window untold.
        with lake.lock(layout.DEADLINES_LOCK, holder=f"a look at the deadlines, at {now:%H:%M:%S} UTC"):
            looked, problems = _look(lake, project, now)
    except WindowBusy as busy:
        raise NothingToDo(busy.failed, state="that look sees what this one would") from busy
    if problems:
        raise Incomplete(
            f"{'; '.join(problems)}. {looked}",
            state="the deadlines of all other jobs were looked at",
            next_step="lamplighter check; an alarm that was not taken is raised again the next time",
        )
    return looked


def _look(lake: Lake, project: Project, now: dt.datetime) -> tuple[Looked, list[str]]:
    found: list[Late] = []
    told: list[Late] = []
    problems: list[str] = []
    names = project.job_names()
    for name in names:
        try:
            job = project.load(name, suites=False).job
            windows = _late(lake, job, now)
            untold = [one for one in windows if not late.is_told(lake, one)]
            raised = [one for one in untold if _raise_alarm(lake, job, one)]
        except LamplighterError as error:
            problems.append(error.failed)
            continue
        found += windows
        told += raised
        problems += [f"the alarm of {one.job} {one.as_of} was not taken" for one in untold if one not in raised]
    return Looked(late=tuple(found), told=tuple(told), jobs=len(names)), problems


def _late(lake: Lake, job: Job, now: dt.datetime) -> list[Late]:
    if job.schedule is None or not job.schedule.active:
        late.end_watch(lake, job.job)
        return []
    late.begin_watch(lake, job.job, now)
    return late.late_windows(lake, job, now=now)


def _raise_alarm(lake: Lake, job: Job, one: Late) -> bool:
    """Whether the server has taken the alarm. Noted only then: an alarm that nobody heard is raised again."""
    payload = payload_of(
        lake,
        one.job,
        one.as_of,
        verdict="missed" if one.is_missed else "late",
        reason=_reason(job, one),
        next_step=_next_step(one),
        owner=job.owner,
        scheduled_at=one.tick.isoformat(),
        due_at=one.due_at.isoformat(),
    )
    taken = events.tell(
        one.event, one.job, one.as_of, owner=job.owner, payload=payload, event_id=late.event_id(lake, one)
    )
    if taken:
        late.remember_told(lake, one)
    return taken


def _reason(job: Job, one: Late) -> str:
    due = f"{one.due_at:%Y-%m-%d %H:%M} UTC"
    if not one.is_missed:
        return f"Not published by {due}, its deadline: {one.why}"
    by = f"its deadline, {due}" if job.deadline else due
    return f"No run of it had begun by {by}; it was to begin at {one.tick:%Y-%m-%d %H:%M} UTC"


def _next_step(one: Late) -> str:
    if one.is_missed:
        return f"see that the Prefect server has a worker and no schedule is paused, then: lamplighter status {one.job}"
    return f"lamplighter status {one.job}"


look = Stage("Look at the deadlines", look_at_deadlines)
