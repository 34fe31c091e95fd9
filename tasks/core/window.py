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
                f"'{as_of}' is not a window of this job, whose windows last {self.every}",
                next_step=f"give as_of in the form {shape}",
            )
        try:
            instant = self._instant_of(as_of)
        except ValueError as error:
            raise DefinitionError(
                f"'{as_of}' is not a window: {error}", next_step="give a day of the calendar"
            ) from error
        window = self.containing(instant)
        if window.as_of != as_of:
            raise DefinitionError(
                f"'{as_of}' is not the start of a window of {self.every}; the one that contains it starts at {window.as_of}",
                next_step=f"use --as-of {window.as_of}",
            )
        return window

    def containing(self, instant: dt.datetime) -> Window:
        """The window that contains an instant, which must bear a time zone."""
        start = self._floor(instant)
        return self._window(start)

    def after(self, window: Window) -> Window:
        """The next window."""
        return self._window(self._step(window.start, 1))

    def before(self, window: Window) -> Window:
        """The window before."""
        return self._window(self._step(window.start, -1))

    def between(self, first: str, last: str) -> Iterator[Window]:
        """Every window from the label `first` to the label `last`, both included."""
        window, end = self.parse(first), self.parse(last)
        while window.start <= end.start:
            yield window
            window = self.after(window)

    def _window(self, start: dt.datetime) -> Window:
        end = self._step(start, 1) if self.kind == "interval" else start
        return Window(self._label(start), start, end)

    def _label(self, start: dt.datetime) -> str:
        if self.is_shorter_than_a_day:
            return start.astimezone(dt.UTC).strftime("%Y-%m-%dT%H%MZ")
        return start.astimezone(ZoneInfo(self.timezone)).strftime("%Y-%m-%d")

    def _instant_of(self, as_of: str) -> dt.datetime:
        if self.is_shorter_than_a_day:
            return dt.datetime.strptime(as_of, "%Y-%m-%dT%H%MZ").replace(tzinfo=dt.UTC)
        return self._midnight(dt.date.fromisoformat(as_of))

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
        day = instant.astimezone(ZoneInfo(self.timezone)).date()
        if self.every == "1w":
            day -= dt.timedelta(days=day.weekday())
        if self.every == "1mo":
            day = day.replace(day=1)
        return self._midnight(day)

    def _step(self, start: dt.datetime, count: int) -> dt.datetime:
        if self.is_shorter_than_a_day:
            return start + count * dt.timedelta(minutes=self._minutes())
        day = start.astimezone(ZoneInfo(self.timezone)).date()
        if self.every == "1mo":
            month = day.year * 12 + day.month - 1 + count
            return self._midnight(dt.date(month // 12, month % 12 + 1, 1))
        return self._midnight(day + dt.timedelta(days=count * (7 if self.every == "1w" else 1)))
