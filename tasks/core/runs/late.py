"""Windows that are not published by their deadline, and who was told: once for each window and deadline."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar
from uuid import NAMESPACE_URL, UUID, uuid5

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.events import LATE
from tasks.core.runs.expected import Missing
from tasks.core.runs.manifest import Record
from tasks.core.runs.status import asked_for, watched_since
from tasks.core.storage import Lake

# What was late before was told when its deadline passed, or nobody looked for a month.
_LOOK_BACK = dt.timedelta(days=31)
_MOST_NAMED = 20


class Late(Record):
    """A window that is past its deadline, in words."""

    job: str
    as_of: str
    due_at: dt.datetime
    why: str

    def __str__(self) -> str:
        return f"{self.job} {self.as_of} (due {self.due_at:%Y-%m-%d %H:%M} UTC, {self.why})"


class Looked(Record):
    """What one look at the deadlines of all jobs has found: the windows that are late, and those told of just now."""

    late: tuple[Late, ...] = ()
    told: tuple[Late, ...] = ()
    jobs: int = 0

    # Looking went well, so the run did: a failed run every five minutes would bury one that matters.
    on_time: ClassVar[str] = "OnTime"

    @property
    def state_name(self) -> str:
        return "WindowsLate" if self.late else self.on_time

    def __str__(self) -> str:
        if not self.late:
            return f"No window of {self.jobs} job{'s' if self.jobs != 1 else ''} is past its deadline."
        named = "; ".join(map(str, self.late[:_MOST_NAMED]))
        more = f"; and {len(self.late) - _MOST_NAMED} more" if len(self.late) > _MOST_NAMED else ""
        count = f"{len(self.late)} window{'s are' if len(self.late) != 1 else ' is'} late"
        return f"{count}: {named}{more}. Told of just now: {len(self.told)}. Next: lamplighter status"


def begin_watch(lake: Lake, job: str, now: dt.datetime) -> None:
    """From now on somebody looks after this job's deadlines, also if it never runs; done already is done."""
    if not lake.exists(layout.watched(job)):
        lake.create(layout.watched(job), now.isoformat().encode())


def late_windows(lake: Lake, job: Job, *, now: dt.datetime) -> list[Late]:
    """The windows of a job that are past a deadline which has passed since somebody looks after it, in order."""
    watched = watched_since(lake, job.job) or now
    return [
        Late(job=job.job, as_of=one.as_of, due_at=one.due_at, why=_why(one))
        for one in asked_for(lake, job, now=now, since=now - _LOOK_BACK)
        if one.due_at is not None and one.is_late(now) and one.due_at >= watched
    ]


def is_told(lake: Lake, late: Late) -> bool:
    return lake.exists(_key(late))


def remember_told(lake: Lake, late: Late) -> None:
    """Notes that the alarm of this window and deadline was raised: nobody raises it again."""
    lake.create(_key(late), late.model_dump_json(indent=2).encode() + b"\n")


def event_id(lake: Lake, late: Late) -> UUID:
    """The alarm's own name: sent a second time, after a kill between sending and noting it, it is the same alarm."""
    return uuid5(NAMESPACE_URL, f"{lake.root}/{_key(late)}#{LATE}")


def _key(late: Late) -> str:
    return layout.told_late(late.job, late.as_of, f"{late.due_at:%Y-%m-%dT%H%M%SZ}")


def _why(one: Missing) -> str:
    return "not run" if one.state == "never run" else one.state
