"""The units that the panels of monitoring share: from the first to the last that anything is known of, without a gap."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence

from tasks.core.monitoring.records import Alarm, Monitored
from tasks.core.pages.broad import Axis, Spell
from tasks.core.pages.inputs import WindowPoint

MOST_UNITS = 400
_DAY = dt.timedelta(days=1)
_DATE = 10  # Characters of a day as ISO 8601 writes it.


def axis_of(monitored: Monitored | None, points: Sequence[WindowPoint]) -> Axis:
    """The axis of a job's index: the newest units, with the pages of their windows."""
    pages = {one.unit or one.as_of: one.href for one in points}
    models = _models(monitored)
    units = _without_gaps(sorted({*pages, *models}))[-MOST_UNITS:]
    return Axis(tuple(units), tuple(pages.get(unit) for unit in units), _changes(units, models))


def spells(axis: Axis, alarms: Iterable[Alarm], kind: str) -> list[Spell]:
    """The stretches of the axis during which alarms of a kind lasted; one that lasts reaches to the end."""
    return [_spell(axis, one) for one in alarms if one.kind == kind and _is_on(axis, one)]


def position(axis: Axis, unit: str) -> int | None:
    """The number of a unit on the axis."""
    return axis.units.index(unit) if unit in axis.units else None


def version_word(model: str) -> str:
    """`flight_delays/0003` is version 3."""
    number = model.rpartition("/")[2]
    return f"version {int(number)}" if number.isdecimal() and len(number) <= _DATE else model


def _is_on(axis: Axis, alarm: Alarm) -> bool:
    if not axis.units:
        return False
    return alarm.onset <= axis.units[-1] and (alarm.until is None or alarm.until >= axis.units[0])


def _spell(axis: Axis, alarm: Alarm) -> Spell:
    first = next((i for i, unit in enumerate(axis.units) if unit >= alarm.onset), 0)
    until = alarm.until or axis.units[-1]
    last = max((i for i, unit in enumerate(axis.units) if unit <= until), default=first)
    return Spell(first, max(first, last), f"Alarm from {alarm.onset} {f'to {alarm.until}' if alarm.until else 'on'}")


def _models(monitored: Monitored | None) -> dict[str, str]:
    """The version of each unit; where the windows of one unit have several, the later in the list."""
    if monitored is None:
        return {}
    of_drift = {one.unit: one.model for one in monitored.drift}
    of_performance = {one.unit: one.model for one in monitored.performance}
    return of_drift | of_performance | {one.unit: one.model for one in monitored.windows}


def _changes(units: Sequence[str], models: dict[str, str]) -> tuple[tuple[int, str], ...]:
    """Where a unit has another version than the last before it that has any."""
    known = [(i, models[unit]) for i, unit in enumerate(units) if models.get(unit)]
    return tuple((i, version_word(model)) for (_, before), (i, model) in itertools.pairwise(known) if model != before)


def _without_gaps(units: list[str]) -> list[str]:
    """Days in a row, also those without a window: one that was missed is to be seen."""
    days = [_day(unit) for unit in units]
    if None in days or not any(b - a == _DAY for a, b in itertools.pairwise(days) if a and b):
        return units
    last = days[-1]
    first = max(days[0], last - MOST_UNITS * _DAY) if days[0] and last else None
    if first is None or last is None:
        return units
    return [(first + i * _DAY).isoformat() for i in range((last - first).days + 1)]


def _day(unit: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(unit) if len(unit) == _DATE else None
    except ValueError:
        return None
