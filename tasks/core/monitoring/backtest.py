"""What the alarms promise, held against the past: how often they are raised when nothing changed, how soon when it did.

The past that the lines are made of raises none by construction. So each part of it is also held against a calibration
of the other parts alone, and the alarms are counted there (block cross-validation). A count has the exact interval of a
Poisson mean (F. Garwood, Biometrika 28, 1936).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from scipy import stats

from tasks.core.monitoring.drift import calibrate_drift, drift_points
from tasks.core.monitoring.episodes import drift_alarms, performance_alarms
from tasks.core.monitoring.observed import Counts, Observed, ObservedColumn
from tasks.core.monitoring.performance_series import WindowFigures, calibrate_performance, performance_points
from tasks.core.monitoring.records import (
    Alarm,
    Calibration,
    DriftCalibration,
    DriftPoint,
    PerformancePoint,
    Rate,
)
from tasks.core.monitoring.rhythm import Rhythm
from tasks.core.records import Record

PARTS = 6
_OUTSIDE = 0.05

Of = Literal["data", "performance"]


class Counted(Record):
    """Alarms that were raised in some stretch of time, and what that is a year, with its 95 % interval."""

    of: Of
    where: Annotated[Literal["past", "published"], Field(description="past: each part against the others.")]
    first: str
    last: str
    years: Annotated[float, Field(description="Of the units that could be judged.")]
    alarms: tuple[Alarm, ...]
    rate: Rate
    allowed: Annotated[float, Field(description="Alarms a year that the job allows.")]

    @property
    def holds(self) -> bool:
        """Whether the count is no evidence against what is allowed."""
        return self.rate.low <= self.allowed


class Injected(Record):
    """A shift that was put into past rows: after how many units the alarm was raised, None where it was not."""

    kind: str
    column: str
    size: str
    delay: Annotated[int | None, Field(description="Units from the first that is shifted to the alarm, both included.")]
    by: Annotated[str, Field(description="What stood out most, as 'missing plane_year'.")] = ""


class Backtested(Record):
    """What a backtest has found."""

    job: str
    model: str
    false_alarms_per_year: float
    calibration: Calibration
    promised: dict[Of, Rate]
    counted: tuple[Counted, ...] = ()
    injected: tuple[Injected, ...] = ()
    injected_into: str = ""
    horizon: Annotated[int, Field(description="So many units were shifted at the most.")] = 0
    notes: tuple[str, ...] = ()


def rate_of_count(alarms: int, years: float) -> Rate:
    """Alarms a year with the exact 95 % interval of a Poisson mean; years above 0."""
    low = stats.chi2.ppf(_OUTSIDE / 2, 2 * alarms) / 2 if alarms else 0.0
    high = stats.chi2.ppf(1 - _OUTSIDE / 2, 2 * alarms + 2) / 2
    return Rate(per_year=alarms / years, low=float(low) / years, high=float(high) / years)


def count(
    of: Of,
    where: Literal["past", "published"],
    points: Sequence[DriftPoint] | Sequence[PerformancePoint],
    alarms: Sequence[Alarm],
    rhythm: Rhythm,
    allowed: float,
) -> Counted | None:
    """The alarms a year among these points; None where no unit of them could be judged."""
    judged = [one.unit for one in points if one.statistic is not None]
    if not judged:
        return None
    years = len(judged) / (rhythm.blocks_a_year * rhythm.units_a_block)
    return Counted(
        of=of,
        where=where,
        first=min(judged),
        last=max(judged),
        years=years,
        alarms=tuple(alarms),
        rate=rate_of_count(len(alarms), years),
        allowed=allowed,
    )


def drift_of_parts(observed: Observed, rhythm: Rhythm, *, per_year: float, model: str) -> list[DriftPoint]:
    """Each part of the past against a calibration of the others; nothing of a part whose others are too short."""
    points: list[DriftPoint] = []
    for part in _parts(observed.units):
        others = calibrate_drift(observed.of_units(set(observed.units) - set(part)), rhythm)
        if others:
            points += drift_points(others, rhythm, observed.of_units(part), per_year=per_year, model=model)
    return points


def performance_of_parts(
    windows: Sequence[WindowFigures], rhythm: Rhythm, *, together: int, per_year: float, model: str
) -> list[PerformancePoint]:
    """As drift_of_parts, of the performance out of sample."""
    points: list[PerformancePoint] = []
    for part in _parts(sorted({one.unit for one in windows})):
        others = [one for one in windows if one.unit not in set(part)]
        calibration = calibrate_performance(others, rhythm, together=together)
        if calibration:
            points += performance_points(
                calibration,
                rhythm,
                [one for one in windows if one.unit in set(part)],
                per_year=per_year,
                model=model,
                benchmark={},
                degraded_after=together,
            )
    return points


def alarms_of_parts(
    points: Sequence[DriftPoint] | Sequence[PerformancePoint], units: Sequence[str], rhythm: Rhythm
) -> tuple[Alarm, ...]:
    """The episodes of each part by itself: where one ends and the next begins nothing lasts."""
    found: list[Alarm] = []
    for part in map(set, _parts(units)):
        found += drift_alarms([one for one in points if isinstance(one, DriftPoint) and one.unit in part], rhythm)
        found += performance_alarms(
            [one for one in points if isinstance(one, PerformancePoint) and one.unit in part], rhythm
        )
    return tuple(found)


def delay_of(
    calibration: DriftCalibration, rhythm: Rhythm, before: Observed, after: Observed, *, per_year: float
) -> tuple[int | None, str]:
    """After how many units of `after`, which is shifted, the alarm is raised; and what stands out most in that block."""
    points = drift_points(calibration, rhythm, joined(before, after), per_year=per_year, model="")
    begins = rhythm.number(after.units[0])
    for point in points:
        if rhythm.number(point.unit) < begins or point.statistic is None or point.line is None:
            continue
        if point.statistic > point.line:
            most = max(point.columns, key=lambda one: one.z)
            return rhythm.number(point.unit) - begins + 1, f"{most.component} {most.column}".strip()
    return None, ""


def joined(before: Observed, after: Observed) -> Observed:
    """Two stretches of time as one; the columns of both in the same bins."""

    def both(one: Counts, other: Counts) -> Counts:
        return np.concatenate([one, other])

    later = {(one.role, one.column): one for one in after.columns}
    pairs = [(one, later[one.role, one.column]) for one in before.columns]
    return Observed(
        before.units + after.units,
        both(before.windows, after.windows),
        both(before.rows, after.rows),
        tuple(
            ObservedColumn(
                one.role, one.column, both(one.counts, other.counts), both(one.missing, other.missing), one.has_new
            )
            for one, other in pairs
        ),
    )


def summary(injected: Iterable[Injected]) -> dict[str, tuple[int, int, float | None]]:
    """By kind: how many were found, of how many, and the median delay of those found."""
    kinds: dict[str, list[int | None]] = {}
    for one in injected:
        kinds.setdefault(one.kind, []).append(one.delay)
    return {kind: (len(_known(each)), len(each), _median(_known(each))) for kind, each in kinds.items()}


def _known(delays: Sequence[int | None]) -> list[int]:
    return [delay for delay in delays if delay is not None]


def _median(delays: Sequence[int]) -> float | None:
    return float(np.median(delays)) if delays else None


def _parts(units: Sequence[str]) -> list[list[str]]:
    """The units cut into whole stretches of time, as equal as can be."""
    ordered = sorted(units)
    return [list(part) for part in np.array_split(np.array(ordered, dtype=object), min(PARTS, max(len(ordered), 1)))]
