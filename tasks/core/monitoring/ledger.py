"""Which alarms were told: each episode once, also where late labels move its first day, and where a look was killed."""

from __future__ import annotations

import contextlib
import datetime as dt
from uuid import NAMESPACE_URL, UUID, uuid5

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.errors import LakeError
from tasks.core.events import EPISODES
from tasks.core.monitoring.records import Alarm, Monitored
from tasks.core.records import Record, read_record
from tasks.core.storage import Lake


class Told(Record):
    """An episode that was told: as it was then, and the last unit until which it has been seen to last."""

    alarm: Alarm
    seen_until: str
    told_at: dt.datetime


def untold(lake: Lake, job: Job, found: Monitored) -> list[Alarm]:
    """The episodes that are news: open, or ended within the last block, and not told. What has gone on is noted.

    What was over before is none: a first look at a year of windows does not ring for all of it.
    """
    told = all_told(lake, job.job)
    block, today = block_of(job), dt.date.fromisoformat(found.as_of)
    seen: dict[int, str] = {}
    news = []
    for alarm in found.alarms:
        last = alarm.until or found.as_of
        same = next((place for place, one in enumerate(told) if _is_same(one, alarm, last, block)), None)
        if same is not None:
            seen[same] = max(seen.get(same, last), last)
        elif today - dt.date.fromisoformat(last) <= block:
            news.append(alarm)
    for place, last in seen.items():
        # Also earlier than it was: while an episode lasts nobody knows its last day, and of late labels that is long ago.
        if last != told[place].seen_until:
            _write(lake, job.job, told[place].model_copy(update={"seen_until": last}))
    return news


def remember_told(lake: Lake, found: Monitored, alarm: Alarm) -> None:
    """Notes that the server has taken it: nobody tells of this episode again."""
    _write(lake, found.job, Told(alarm=alarm, seen_until=alarm.until or found.as_of, told_at=found.at))


def event_id(lake: Lake, job: str, alarm: Alarm) -> UUID:
    """The alarm's own name: sent a second time, after a kill between sending and noting it, it is the same alarm."""
    return uuid5(NAMESPACE_URL, f"{lake.address()}/{key_of(job, alarm)}#{EPISODES[alarm.kind]}")


def block_of(job: Job) -> dt.timedelta:
    """How long a block lasts: a week, or a month of windows of a month."""
    return dt.timedelta(days=31 if job.window.every == "1mo" else 7)


def _is_same(told: Told, alarm: Alarm, last: str, block: dt.timedelta) -> bool:
    """Whether it is the episode that was told: of the same kind and version, and no more than a block between the two.

    Labels that come late or are corrected may move the days of an episode, or cut it in two.
    """
    if told.alarm.kind != alarm.kind or (told.alarm.model != alarm.model and told.alarm.onset != alarm.onset):
        return False
    gap = max(_days(alarm.onset, told.seen_until), _days(told.alarm.onset, last))
    return gap <= block


def _days(later: str, earlier: str) -> dt.timedelta:
    return dt.date.fromisoformat(later) - dt.date.fromisoformat(earlier)


def all_told(lake: Lake, job: str) -> list[Told]:
    """The episodes that were told, so far as they can be read."""
    folder = layout.alarms(job)
    found = []
    for name in lake.names(folder):
        # What cannot be read is told again, as the same event.
        with contextlib.suppress(LakeError):
            if name.startswith(tuple(f"{kind}-" for kind in EPISODES)):
                found.append(read_record(lake, f"{folder}/{name}", Told, wrong="is not what was told"))
    return found


def _write(lake: Lake, job: str, told: Told) -> None:
    lake.write_bytes(key_of(job, told.alarm), told.model_dump_json(indent=2).encode() + b"\n")


def key_of(job: str, alarm: Alarm) -> str:
    """Where it is noted that an episode was told."""
    return layout.told_alarm(job, alarm.kind, alarm.onset)
