"""Windows that are not there in time, and who was told: once for each window and deadline.

Missed: no run of it has ever begun. At its deadline; of a job without one, an hour after its tick. Late: a run has begun,
and at the deadline it is not published.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import ClassVar
from uuid import NAMESPACE_URL, UUID, uuid5

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.events import LATE, MISSED
from tasks.core.records import Record
from tasks.core.runs.expected import Missing
from tasks.core.runs.status import GRACE, asked_for, watched_since
from tasks.core.storage import Lake

# What was late before was told when its deadline passed, or nobody looked for a month.
_LOOK_BACK = dt.timedelta(days=31)
_MOST_NAMED = 20


class Late(Record):
    """A window that is not there in time, in words."""

    job: str
    as_of: str
    tick: dt.datetime
    due_at: dt.datetime
    why: str
    is_missed: bool = False

    @property
    def event(self) -> str:
        return MISSED if self.is_missed else LATE

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
            return f"No window of {self.jobs} job{'s' if self.jobs != 1 else ''} is late or missed."
        parts = [
            _in_words([one for one in self.late if one.is_missed is missed], word)
            for missed, word in ((True, "missed"), (False, "late"))
        ]
        return f"{'; '.join(filter(None, parts))}. Told of just now: {len(self.told)}. Next: lamplighter status"


def _in_words(found: Sequence[Late], word: str) -> str:
    if not found:
        return ""
    named = "; ".join(map(str, found[:_MOST_NAMED]))
    more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return f"{len(found)} window{'s are' if len(found) != 1 else ' is'} {word}: {named}{more}"


def begin_watch(lake: Lake, job: str, now: dt.datetime) -> None:
    """From now on somebody looks after this job's windows, also if it never runs; done already is done."""
    if not lake.exists(layout.watched(job)):
        lake.create(layout.watched(job), now.isoformat().encode())


def end_watch(lake: Lake, job: str) -> None:
    """A schedule that stands still asks for nothing: started again, it does not ring for the time between."""
    if lake.exists(layout.watched(job)):
        lake.remove(layout.watched(job))


def late_windows(lake: Lake, job: Job, *, now: dt.datetime) -> list[Late]:
    """The windows of a job that were due since somebody looks after it, and are not there, in order."""
    watched = watched_since(lake, job.job) or now
    asked = asked_for(lake, job, now=now, since=now - _LOOK_BACK)
    found = [(one, _due_at(one)) for one in asked]
    made = [_late(lake, job, one, due_at) for one, due_at in found if due_at and watched <= due_at < now]
    return [one for one in made if one is not None]


def _due_at(one: Missing) -> dt.datetime | None:
    """Without a deadline a run may take its time; one that has not begun has an hour to do so."""
    return one.due_at or (one.tick + GRACE if one.state == "never run" else None)


def _late(lake: Lake, job: Job, one: Missing, due_at: dt.datetime) -> Late | None:
    state = one.state
    # It has the window's lock, and is about to write its record.
    if state == "never run" and lake.is_locked(layout.lock(job.job, one.as_of)):
        state = "running"
    is_missed = state == "never run"
    if one.due_at is None and not is_missed:
        return None
    why = "no run of it has begun" if is_missed else state
    return Late(job=job.job, as_of=one.as_of, tick=one.tick, due_at=due_at, why=why, is_missed=is_missed)


def is_told(lake: Lake, late: Late) -> bool:
    return lake.exists(_key(late))


def remember_told(lake: Lake, late: Late) -> None:
    """Notes that the alarm of this window and deadline was raised: nobody raises it again, missed or late."""
    lake.create(_key(late), late.model_dump_json(indent=2).encode() + b"\n")


def event_id(lake: Lake, late: Late) -> UUID:
    """The alarm's own name: sent a second time, after a kill between sending and noting it, it is the same alarm."""
    return uuid5(NAMESPACE_URL, f"{lake.address()}/{_key(late)}#{late.event}")


def _key(late: Late) -> str:
    return layout.told_late(late.job, late.as_of, f"{late.due_at:%Y-%m-%dT%H%M%SZ}")
