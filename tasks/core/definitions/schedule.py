"""When a job runs, and which window a tick of its schedule scores. It is the scheduled time that counts, not the clock's."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, field_validator

from tasks.core.definitions.terms import Definition
from tasks.core.definitions.window import Window, WindowSpec

_LENGTH = re.compile(r"(\d{1,4})(min|h|d)")
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


class Schedule(Definition):
    """A cron expression on the clock of the job's windows, and the window that a tick scores."""

    cron: Annotated[str, Field(description="Five fields, on the clock of window.timezone.", examples=["30 2 * * *"])]
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

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, cron: str) -> str:
        try:
            CronSim(cron, dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        except CronSimError as error:
            raise ValueError(f"'{cron}' is not a cron expression of five fields: {error}") from error
        return cron

    def window_of(self, tick: dt.datetime, windows: WindowSpec) -> Window:
        """The window that a tick scores; `tick` is the scheduled instant, however late the run began."""
        bound = tick - length(self.delay)
        containing = windows.containing(bound)
        if self.scores == "opened":
            window = containing if containing.start == bound else windows.after(containing)
        else:
            # Of a snapshot both bounds are one instant, and it has ended when it has begun.
            window = windows.before(containing) if windows.kind == "interval" else containing
        for _ in range(abs(self.offset)):
            window = windows.after(window) if self.offset > 0 else windows.before(window)
        return window

    def ticks(self, first: dt.datetime, last: dt.datetime, windows: WindowSpec) -> list[dt.datetime]:
        """The scheduled instants from `first` to `last`, both included, in UTC."""
        zone = ZoneInfo(windows.timezone)
        found = []
        for tick in CronSim(self.cron, first.astimezone(zone) - dt.timedelta(minutes=1)):
            at = tick.astimezone(dt.UTC)
            if at > last:
                break
            if at >= first:
                found.append(at)
        return found
