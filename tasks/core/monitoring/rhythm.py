"""The rhythm of a job: the units in which its figures are told, and the blocks in which these are judged.

A block of a week makes the rhythm of its days normal, so that no Sunday is ever strange.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from tasks.core.definitions.window import WindowSpec
from tasks.core.monitoring.records import Unit

_MONTHS = 12
_DAYS = 7


@dataclass(frozen=True)
class Rhythm:
    """Units are named by their first day, as 2013-07-01. A block is so many units in a row, and ends with each of them."""

    unit: Unit
    units_a_block: int
    blocks_a_year: float

    @property
    def fewest_units(self) -> int:
        """What a block must hold to be judged: two thirds of its units."""
        return -(-2 * self.units_a_block // 3)

    def degraded_after(self, asked: int | None) -> int:
        """How many units together must be worse: as asked, else so many that chance evens out, and no more."""
        return asked or {"day": 14, "week": 3, "month": 2}[self.unit]

    def of(self, units: int) -> Rhythm:
        """The same in blocks of so many units."""
        return replace(self, units_a_block=units, blocks_a_year=self.blocks_a_year * self.units_a_block / units)

    @property
    def blocks(self) -> str:
        """What a block is called, of several."""
        return {"day": "weeks", "week": "weeks", "month": "months"}[self.unit]

    def number(self, unit: str) -> int:
        """The unit's place on the calendar: that of the next one is one more, whether or not a window is known of it."""
        day = dt.date.fromisoformat(unit)
        if self.unit == "month":
            return day.year * _MONTHS + day.month - 1
        # The first of January of the year 1 was a Monday.
        return day.toordinal() if self.unit == "day" else (day.toordinal() - 1) // _DAYS

    def at(self, number: int) -> str:
        """The unit at a place on the calendar."""
        if self.unit == "month":
            return dt.date(number // _MONTHS, number % _MONTHS + 1, 1).isoformat()
        return dt.date.fromordinal(number if self.unit == "day" else number * _DAYS + 1).isoformat()

    def first_of_block(self, unit: str) -> str:
        """The first unit of the block that ends with this one."""
        return self.at(self.number(unit) - self.units_a_block + 1)


def rhythm_of(spec: WindowSpec) -> Rhythm:
    """Days in blocks of a week for windows of a day or shorter; longer windows are units and blocks at once."""
    if spec.every == "1mo":
        return Rhythm("month", 1, 12)
    return Rhythm("week", 1, 365.25 / _DAYS) if spec.every == "1w" else Rhythm("day", _DAYS, 365.25 / _DAYS)


def unit_of(spec: WindowSpec, as_of: str) -> str:
    """The unit of a window: its label, or of windows shorter than a day the local day in which it starts."""
    if not spec.is_shorter_than_a_day:
        return as_of
    return spec.parse(as_of).start.astimezone(ZoneInfo(spec.timezone)).date().isoformat()
