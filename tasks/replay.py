"""Replay, of the demo alone: which day of 2013 comes next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.core.errors import NothingToDo, WindowBusy
from tasks.core.runs.run import latest_manifest, published_manifest
from tasks.core.settings import Settings
from tasks.core.storage import Lake
from tasks.demo import BROKEN_DAY, JOB

_LAST_DAY = dt.date(2013, 12, 31)


def next_day() -> str:
    """The first day after the demo's that is neither published nor blocked; NothingToDo when the year is over."""
    lake, day = Lake(Settings().lake), dt.date.fromisoformat(BROKEN_DAY)
    while (day := day + dt.timedelta(days=1)) <= _LAST_DAY:
        if not _is_settled(lake, day.isoformat()):
            return day.isoformat()
    raise NothingToDo(
        "2013 is over: every day after the demo's is published or blocked",
        next_step="lamplighter runs flight_delays; or remove the lake, and replay it again",
    )


@contextmanager
def one_at_a_time() -> Iterator[str]:
    """The next day, for one run alone: NothingToDo while another has it, so that on a slow machine nothing piles up.

    A lock in the lake, and not a limit of Prefect's: it is free as soon as its owner is dead, whatever the server knows.
    """
    try:
        with Lake(Settings().lake).lock("locks/replay", holder="another replay"):
            yield next_day()
    except WindowBusy as busy:
        raise NothingToDo("the day before is still being scored, and this tick is passed over") from busy


def named() -> str:
    """The run's name in the Prefect UI."""
    try:
        return f"{JOB} {next_day()}, replayed"
    except NothingToDo:
        return f"{JOB}, 2013 is over"


def _is_settled(lake: Lake, as_of: str) -> bool:
    """A blocked day stands for ever as it arrived: the next one comes all the same."""
    if published_manifest(lake, JOB, as_of):
        return True
    latest = latest_manifest(lake, JOB, as_of)
    return latest is not None and latest.verdict == "blocked"
