"""Windows: what one run scores. Time is an argument here; nothing asks for the present.

`as_of` is the label of a window and the table's partition value: a date for windows of a day and longer
(`2013-07-01`), an instant in UTC for shorter ones (`2013-07-01T0500Z`). Labels sort as their windows do.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tasks.core.errors import DefinitionError

_EVERY = re.compile(r"(\d{1,4})(min|h|d|w|mo)")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{4}Z")
_MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True)
class Window:
    """One window: its label, and its bounds in UTC, `[start, end)`. Of a snapshot both are the scheduled instant."""

    as_of: str
    start: dt.datetime
    end: dt.datetime


class WindowSpec(BaseModel):
    """The kind and length of a job's windows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[
        Literal["interval", "snapshot"],
        Field(
            description="interval: event time in [start, end). snapshot: everything as it is at the scheduled instant."
        ),
    ]
    every: Annotated[
        str,
        Field(description="1d, 1w (Monday to Sunday), 1mo, or N h or N min that divide a day.", examples=["1d", "1h"]),
    ] = "1d"
    timezone: Annotated[str, Field(description="IANA name; the zone of days, weeks and months.")] = "UTC"

    @field_validator("every")
    @classmethod
    def _check_every(cls, every: str) -> str:
        match = _EVERY.fullmatch(every)
        if not match:
            raise ValueError(f"'{every}' is not a length; allowed: 1d, 1w, 1mo, or N h or N min that divide a day")
        count, unit = int(match[1]), match[2]
        minutes = count * {"min": 1, "h": 60}.get(unit, 0)
        if unit in ("d", "w", "mo") and count != 1:
            raise ValueError(f"'{every}': only 1{unit} is supported")
        if unit in ("min", "h") and (minutes == 0 or minutes >= _MINUTES_A_DAY or _MINUTES_A_DAY % minutes):
            raise ValueError(f"'{every}' does not divide a day; use 1d for a day")
        return every

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"'{name}' is not an IANA time zone, such as America/New_York") from error
        return name

    @property
    def is_shorter_than_a_day(self) -> bool:
        return self.every.endswith(("min", "h"))

    def parse(self, as_of: str) -> Window:
        """The window with this label; DefinitionError names the nearest right one."""
        pattern, shape = (_INSTANT, "2013-07-01T0500Z") if self.is_shorter_than_a_day else (_DATE, "2013-07-01")
        if not pattern.fullmatch(as_of):
            raise DefinitionError(
                f"'{as_of[:100]}' is not a window of this job, whose windows last {self.every}",
                next_step=f"give as_of in the form {shape}",
            )
        try:
            window = self.containing(self._instant_of(as_of))
        except (ValueError, OverflowError) as error:
            raise DefinitionError(
                f"'{as_of}' is not a window: {error}", next_step="give a day of the calendar"
            ) from error
        if window.as_of != as_of:
            raise DefinitionError(
                f"'{as_of}' is not the start of a window of {self.every}; the one that contains it starts at {window.as_of}",
                next_step=f"use --as-of {window.as_of}",
            )
        return window

    def containing(self, instant: dt.datetime) -> Window:
        """The window that contains an instant, which must bear a time zone."""
        if instant.tzinfo is None:
            raise ValueError(f"{instant} bears no time zone, and could be any of many instants")
        return self._window(self._floor(instant))

    def after(self, window: Window) -> Window:
        """The next window."""
        return self._window(self._next_start(window.start))

    def before(self, window: Window) -> Window:
        """The window before."""
        # Not a day less: a zone that crossed the date line has days that never were.
        return self.containing(window.start - dt.timedelta.resolution)

    def last_ended(self, instant: dt.datetime) -> Window:
        """The newest window that has ended at an instant."""
        window = self.containing(instant)
        # Of a snapshot both bounds are one instant, and it has ended when it has begun.
        return self.before(window) if self.kind == "interval" else window

    def between(self, first: str, last: str) -> Iterator[Window]:
        """Every window from the label `first` to the label `last`, both included."""
        window, end = self.parse(first), self.parse(last)
        while window.start <= end.start:
            yield window
            window = self.after(window)

    def shifted(self, window: Window, by: int) -> Window:
        """The window that is so many windows later; earlier where negative."""
        if self.is_shorter_than_a_day:
            return self._window(window.start + by * dt.timedelta(minutes=self._minutes()))
        for _ in range(abs(by)):
            window = self.after(window) if by > 0 else self.before(window)
        return window

    def steps(self, first: Window, last: Window) -> int:
        """How many windows later `last` is than `first`; negative where it is earlier."""
        if self.is_shorter_than_a_day:
            return (last.start - first.start) // dt.timedelta(minutes=self._minutes())
        if last.start < first.start:
            return -self.steps(last, first)
        return sum(1 for _ in self.between(first.as_of, last.as_of)) - 1

    def _window(self, start: dt.datetime) -> Window:
        end = self._next_start(start) if self.kind == "interval" else start
        return Window(self._label(start), start, end)

    def _label(self, start: dt.datetime) -> str:
        # Not strftime's %Y, which writes the year 999 with three digits.
        if self.is_shorter_than_a_day:
            return f"{start.date().isoformat()}T{start:%H%M}Z"
        return self._day(start).isoformat()

    def _instant_of(self, as_of: str) -> dt.datetime:
        if self.is_shorter_than_a_day:
            return dt.datetime.strptime(as_of, "%Y-%m-%dT%H%MZ").replace(tzinfo=dt.UTC)
        return self._midnight(dt.date.fromisoformat(as_of))

    def _day(self, instant: dt.datetime) -> dt.date:
        return instant.astimezone(ZoneInfo(self.timezone)).date()

    def _midnight(self, day: dt.date) -> dt.datetime:
        # fold=0: where clocks go back over midnight, a day begins at the first of its two midnights.
        return dt.datetime.combine(day, dt.time(), ZoneInfo(self.timezone)).astimezone(dt.UTC)

    def _minutes(self) -> int:
        count, unit = _EVERY.fullmatch(self.every).groups()  # type: ignore[union-attr]
        return int(count) * {"min": 1, "h": 60}[unit]

    def _floor(self, instant: dt.datetime) -> dt.datetime:
        if self.is_shorter_than_a_day:
            utc = instant.astimezone(dt.UTC)
            midnight = utc.replace(hour=0, minute=0, second=0, microsecond=0)
            since = int((utc - midnight).total_seconds()) // 60
            return midnight + dt.timedelta(minutes=since - since % self._minutes())
        day = self._first_day(self._day(instant))
        start, after = self._midnight(day), self._midnight(self._next_first_day(day))
        # Where clocks change near midnight, a local date may lie on the other side of that midnight: after it where an
        # hour comes twice (St. John's, until 2010), before it where it was skipped (Montreal in 1919).
        if instant < start:
            return self._midnight(self._first_day(day - dt.timedelta(days=1)))
        return after if instant >= after else start

    def _next_start(self, start: dt.datetime) -> dt.datetime:
        if self.is_shorter_than_a_day:
            return start + dt.timedelta(minutes=self._minutes())
        return self._midnight(self._next_first_day(self._day(start)))

    def _first_day(self, day: dt.date) -> dt.date:
        """The first day of the day, week or month in which a day lies."""
        if self.every == "1w":
            return day - dt.timedelta(days=day.weekday())
        return day.replace(day=1) if self.every == "1mo" else day

    def _next_first_day(self, day: dt.date) -> dt.date:
        if self.every == "1mo":
            return dt.date(day.year + day.month // 12, day.month % 12 + 1, 1)
        return day + dt.timedelta(days=7 if self.every == "1w" else 1)
