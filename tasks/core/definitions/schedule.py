"""When a job runs, and which window a tick of its schedule scores. It is the scheduled time that counts, not the clock's."""

from __future__ import annotations

import datetime as dt
import heapq
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from tasks.core.definitions.terms import Definition
from tasks.core.definitions.window import Window, WindowSpec

if TYPE_CHECKING:
    from cronsim import CronSim

_LENGTH = re.compile(r"(\d{1,4})(min|h|d)")
_TWO_DAYS = dt.timedelta(days=2)  # More than any change of clocks: a zone that crossed the date line lost one.
_LONGEST_BETWEEN_TICKS = dt.timedelta(days=40)
_FIELDS, _ALL_DAYS, _ALL_WEEKDAYS = 5, frozenset(range(1, 32)), frozenset(range(7))
_SKIPPED_IS_AFTER = (3, 13)  # Of Python: from there on Prefect has times from another library.
_UNITS = {"min": "minutes", "h": "hours", "d": "days"}


def length(text: str) -> dt.timedelta:
    """'90min', '6h' or '2d' as a length of time; ValueError for anything else."""
    match = _LENGTH.fullmatch(text)
    if not match:
        raise ValueError(f"'{text}' is not a length of time; write 90min, 6h or 2d")
    return dt.timedelta(**{_UNITS[match[2]]: int(match[1])})


def _check_length(text: str) -> str:
    length(text)
    return text


Length = Annotated[
    str, AfterValidator(_check_length), Field(description="A length of time: 90min, 6h, 2d.", examples=["90min"])
]


def _check_cron(cron: str) -> str:
    _clock_times(cron, dt.datetime(2000, 1, 1))  # noqa: DTZ001 - of a clock
    return cron


Cron = Annotated[str, AfterValidator(_check_cron)]


class Schedule(Definition):
    """A cron expression on the clock of the job's windows, and the window that a tick scores."""

    cron: Annotated[Cron, Field(description="Five fields, on the clock of window.timezone.", examples=["30 2 * * *"])]
    scores: Annotated[
        Literal["closed", "opened"],
        Field(
            description="closed: the last window that has ended at the tick. opened: the next one to begin, such as "
            "tomorrow's flights, tonight."
        ),
    ] = "closed"
    offset: Annotated[int, Field(ge=-1000, le=1000, description="So many windows later; earlier where negative.")] = 0
    delay: Annotated[Length, Field(description="How long after a window's bound the tick comes: 90min, 6h, 2d.")] = (
        "0min"
    )
    active: Annotated[bool, Field(description="false: it is deployed, and stands still until somebody resumes it.")] = (
        True
    )

    def window_of(self, tick: dt.datetime, windows: WindowSpec) -> Window:
        """The window that a tick scores; `tick` is the scheduled instant, however late the run began."""
        bound = tick - length(self.delay)
        if self.scores == "opened":
            containing = windows.containing(bound)
            window = containing if containing.start == bound else windows.after(containing)
        else:
            window = windows.last_ended(bound)
        return windows.shifted(window, self.offset)

    def first_tick_of(self, window: Window, windows: WindowSpec) -> dt.datetime:
        """The earliest instant at which a tick would score this window; later ones come with later ticks."""
        window = windows.shifted(window, -self.offset)
        if self.scores == "opened":
            # At the bound itself the window that begins there is still to begin.
            return windows.before(window).start + dt.timedelta.resolution + length(self.delay)
        return (window.end if windows.kind == "interval" else window.start) + length(self.delay)

    def tick_of(self, window: Window, windows: WindowSpec) -> dt.datetime:
        """The first scheduled instant that scores this window; of one that no tick scores, when one could first have."""
        first = self.first_tick_of(window, windows)
        at = next(self.due(first, first + _LONGEST_BETWEEN_TICKS, windows), first)
        return at if self.window_of(at, windows) == window else first

    def ticks(self, first: dt.datetime, last: dt.datetime, windows: WindowSpec) -> list[dt.datetime]:
        """The scheduled instants from `first` to `last`, both included, in UTC: those at which Prefect starts a run."""
        return list(self._ticks(first, last, windows, twice=False))

    def due(self, first: dt.datetime, last: dt.datetime, windows: WindowSpec) -> Iterator[dt.datetime]:
        """As ticks, and of windows shorter than a day also those of the hour that comes twice.

        Prefect starts nothing when that hour comes again; the windows that its ticks stand for are there all the same.
        """
        return self._ticks(first, last, windows, twice=windows.is_shorter_than_a_day)

    def _ticks(
        self, first: dt.datetime, last: dt.datetime, windows: WindowSpec, *, twice: bool
    ) -> Iterator[dt.datetime]:
        zone = ZoneInfo(windows.timezone)
        waiting: list[dt.datetime] = []
        begin = first.astimezone(zone).replace(tzinfo=None) - _shift(first, zone)
        for local in _clock_times(self.cron, begin - dt.timedelta(seconds=1)):
            at = _instant(local, zone)
            shift = _shift(at, zone)
            # Where clocks change, a later time of the clock may be an earlier instant, or the same one.
            while waiting and waiting[0] < at - shift:
                yield heapq.heappop(waiting)
            if at - shift > last:
                break
            for one in {at, _again(local, zone) if twice else at}.difference(waiting):
                if first <= one <= last:
                    heapq.heappush(waiting, one)
        yield from sorted(waiting)


def _shift(at: dt.datetime, zone: ZoneInfo) -> dt.timedelta:
    """By how much clocks are changed about an instant; nothing on nearly every day."""
    before, after = ((at + days).astimezone(zone).utcoffset() for days in (-_TWO_DAYS, _TWO_DAYS))
    return abs(after - before) if after is not None and before is not None else dt.timedelta()


def _clock_times(cron: str, after: dt.datetime) -> CronSim:
    """The times of the clock that match, in order, after one; ValueError unless Prefect reads the expression as this does."""
    # Only here: a model's own environment reads definitions too, and need not have it.
    from cronsim import CronSim, CronSimError  # noqa: PLC0415

    days, weekdays = cron.split()[2::2] if len(cron.split()) == _FIELDS else ("L", "L")
    try:
        times = CronSim(cron, after)
    except CronSimError as error:
        raise ValueError(f"'{cron}' is not a cron expression of five fields: {error}") from error
    numbered = "#" in weekdays and (days != "*" or "," in weekdays)
    if "W" in days.upper() or "L" in weekdays.upper() or numbered:
        raise ValueError(f"'{cron}' is not a cron expression of five fields")
    # Where both are given either will do: to Prefect also where one begins with a star, unlike to Debian's cron.
    times.day_and = "*" in (days, weekdays) or (
        ("*" in weekdays and times.days >= _ALL_DAYS) or ("*" in days and times.weekdays >= _ALL_WEEKDAYS)
    )
    return times


def _instant(local: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """When a clock shows this: the first time where it does so twice.

    Where it never does, Prefect takes the time as long after the change, and before Python 3.13 as long before it.
    """
    at = local.replace(tzinfo=zone).astimezone(dt.UTC)
    is_shown = at.astimezone(zone).replace(tzinfo=None) == local
    return at if is_shown or sys.version_info >= _SKIPPED_IS_AFTER else _again(local, zone)


def _again(local: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """When a clock shows this for the last time."""
    return local.replace(tzinfo=zone, fold=1).astimezone(dt.UTC)
