"""Alarms: each an episode beyond the line, with the figures that say why. Nothing is told from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from tasks.core.monitoring.performance_series import BIAS, BIAS_HIGH, BIAS_LOW
from tasks.core.monitoring.records import Alarm, ColumnDrift, DriftPoint, PerformancePoint, WindowPerformance
from tasks.core.monitoring.rhythm import Rhythm

_Point = TypeVar("_Point", DriftPoint, PerformancePoint)
# So many columns are named, and none that is half as far out as the first.
_NAMED, _WORTH_NAMING = 3, 0.5

_DRIFT_STEP = (
    "look at these columns on the page of the last window, and at what feeds them; where the change is here to stay, "
    "train on newer windows"
)
_PERFORMANCE_STEP = (
    "look at the performance on the index page, by slice too; where the world has changed, train on newer windows"
)
_LABELS_STEP = "look at what feeds the query of the labels; they are pulled again when they are revisited"


@dataclass(frozen=True)
class _Unit:
    """A unit that could be judged."""

    unit: str
    is_beyond: bool


@dataclass(frozen=True)
class _Episode:
    onset: str
    last: str
    is_open: bool


def episodes_of(
    drift: Sequence[DriftPoint],
    performance: Sequence[PerformancePoint],
    windows: Sequence[WindowPerformance],
    *,
    rhythm: Rhythm,
    expected_share: float,
    model: str = "",
) -> tuple[Alarm, ...]:
    """Every episode of these, by onset, the newest last. `model` is the version that scores now, where that is known."""
    alarms = [
        *drift_alarms(drift, rhythm, model=model),
        *performance_alarms(performance, rhythm),
        *label_alarms(windows, rhythm, expected_share),
    ]
    return tuple(sorted(alarms, key=lambda one: (one.onset, one.kind)))


def drift_alarms(points: Sequence[DriftPoint], rhythm: Rhythm, *, model: str = "") -> list[Alarm]:
    """The episodes in which the data were beyond the line, each of one model version.

    `model` is the version that scores now: one without a calibration has no points that would end those of another.
    """
    found = []
    for point, episode in _of_points(points, rhythm, _is_beyond, model):
        first = rhythm.first_of_block(point.unit)
        reason = (
            f"The data of {_span(first, point.unit)} differ from what is usual: the statistic is "
            f"{_figure(point.statistic)}, beyond {_figure(point.line)}, chiefly for {_what_drifted(point)}."
        )
        found.append(_alarm("drifted", point, episode, reason, _DRIFT_STEP))
    return found


def performance_alarms(points: Sequence[PerformancePoint], rhythm: Rhythm) -> list[Alarm]:
    """The episodes in which the performance was beyond the line, or, not calibrated, worse than the benchmark."""
    return [
        _alarm("degraded", point, episode, _why_degraded(point, rhythm), _PERFORMANCE_STEP)
        for point, episode in _of_points(points, rhythm, lambda one: _is_beyond(one) or one.is_worse)
    ]


def label_alarms(windows: Sequence[WindowPerformance], rhythm: Rhythm, expected_share: float) -> list[Alarm]:
    """The episodes in which fewer labels had come than are expected when they are due. A null is a label that came."""
    units: dict[str, list[WindowPerformance]] = {}
    for window in windows:
        units.setdefault(window.unit, []).append(window)
    shares = {unit: share for unit in sorted(units) if (share := _share_come(units[unit])) is not None}
    judged = [_Unit(unit, share < expected_share) for unit, share in shares.items()]
    return [
        Alarm(
            kind="labels_late",
            onset=episode.onset,
            until=None if episode.is_open else episode.last,
            model=units[episode.onset][-1].model,
            reason=(
                f"Labels of {episode.onset} are late: of {sum(one.rows for one in units[episode.onset]):,} rows "
                f"{shares[episode.onset]:.1%} have theirs, and {expected_share:.0%} are expected when they are due."
            ),
            next_step=_LABELS_STEP,
        )
        for episode in _episodes(judged, rhythm)
    ]


def _of_points(
    points: Sequence[_Point], rhythm: Rhythm, is_beyond: Callable[[_Point], bool], model: str = ""
) -> Iterator[tuple[_Point, _Episode]]:
    """Each episode with the point of its onset; one of a version that scores no more is over."""
    ordered = sorted(points, key=lambda one: (one.model, one.unit))
    newest = model or max(points, key=lambda one: one.unit).model if points else ""
    for version, each in groupby(ordered, key=lambda one: one.model):
        by_unit = {one.unit: one for one in each}
        judged = [_Unit(unit, is_beyond(one)) for unit, one in by_unit.items() if _is_judged(one)]
        for episode in _episodes(judged, rhythm):
            is_open = episode.is_open and newest == version
            yield by_unit[episode.onset], _Episode(episode.onset, episode.last, is_open)


def _episodes(judged: Iterable[_Unit], rhythm: Rhythm) -> Iterator[_Episode]:
    """From the first unit beyond to the last, until a whole block of judged units on this side follows."""
    onset, last, quiet = "", "", 0
    for one in judged:
        if one.is_beyond:
            onset, last, quiet = onset or one.unit, one.unit, 0
        elif onset:
            quiet += 1
            if quiet >= rhythm.units_a_block:
                yield _Episode(onset, last, is_open=False)
                onset = ""
    if onset:
        yield _Episode(onset, last, is_open=True)


def _is_judged(point: DriftPoint | PerformancePoint) -> bool:
    # Without a line it is the benchmark that judges, and a point that it cannot judge is on this side.
    return point.statistic is not None or (isinstance(point, PerformancePoint) and point.line is None)


def _is_beyond(point: DriftPoint | PerformancePoint) -> bool:
    return point.statistic is not None and point.line is not None and point.statistic > point.line


def _alarm(kind: str, point: DriftPoint | PerformancePoint, episode: _Episode, reason: str, next_step: str) -> Alarm:
    return Alarm.model_validate(
        {
            "kind": kind,
            "onset": episode.onset,
            "until": None if episode.is_open else episode.last,
            "model": point.model,
            "statistic": point.statistic,
            "line": point.line,
            "reason": reason,
            "next_step": next_step,
        }
    )


# --- Words -----------------------------------------------------------------------------------------------------------


def _what_drifted(point: DriftPoint) -> str:
    """The columns that are furthest out, of the group that is."""
    group = max(point.groups, key=lambda name: point.groups[name])
    columns = sorted((one for one in point.columns if one.component == group), key=lambda one: (-one.z, one.column))
    named = [one for one in columns[:_NAMED] if one.z >= columns[0].z * _WORTH_NAMING]
    return _listed([_of_column(one) for one in named])


def _of_column(one: ColumnDrift) -> str:
    if one.component == "volume":
        return f"the number of rows ({_figure(one.observed, 0)}, usually {_figure(one.reference, 0)})"
    if one.component == "missing":
        return f"missing values of {one.column} ({_pct(one.observed)}, usually {_pct(one.reference)})"
    if one.component == "new_categories":
        return f"new categories of {one.column} ({_pct(one.observed)})"
    kind = "the scores" if one.component == "scores" else "the distribution of"
    return f"{kind} {one.column} (Jensen-Shannon distance {one.value:.2f})"


def _why_degraded(point: PerformancePoint, rhythm: Rhythm) -> str:
    if not _is_beyond(point):
        span = _span(rhythm.first_of_block(point.unit), point.unit)
        figures = _listed([f"{name} {_figure(point.figures.get(name), 3)}" for name in point.worse_than_benchmark])
        return (
            f"The performance until {point.unit} has been worse than the benchmark's interval for as long as the job "
            f"allows: {figures} in {span}. How often that comes by chance is not known, for want of a calibration."
        )
    worst = max(point.z, key=lambda name: point.z[name])
    return (
        f"The performance of {_span(point.first, point.unit)} is worse than is usual: the statistic is {_figure(point.statistic)}, beyond "
        f"{_figure(point.line)}, chiefly because {_what_degraded(worst, point)}."
    )


def _what_degraded(worst: str, point: PerformancePoint) -> str:
    if worst not in (BIAS_LOW, BIAS_HIGH):
        return f"{worst} is {_figure(point.together.get(worst), 3)}"
    usual = "" if point.usual_bias is None else f", and usually {_side(point.usual_bias)} it"
    return f"what came true lies {_side(point.together[BIAS])} what was predicted, on average{usual}"


def _side(bias: float) -> str:
    return f"{abs(bias):.3f} {'below' if bias < 0 else 'above'}"


def _share_come(windows: Iterable[WindowPerformance]) -> float | None:
    """Of the rows of these windows, how many have their label or the word that there is none; None without rows."""
    counted = [(one.rows, one.awaited) for one in windows]
    rows = sum(each for each, _ in counted)
    return 1 - sum(awaited for _, awaited in counted) / rows if rows else None


def _span(first: str, last: str) -> str:
    return last if first == last else f"{first} to {last}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _figure(value: float | None, digits: int = 1) -> str:
    return "unknown" if value is None else f"{value:,.{digits}f}"


def _pct(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"
