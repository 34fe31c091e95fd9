"""Performance over time with a stated rate of false alarms: the figures of windows, in blocks, on the scale of the past.

As for the data (see drift): each figure on the scale of its own tail, out of sample, and the highest of them as the one
statistic. A figure is the mean over some units together, two weeks of days: a bad day is soon forgotten, and a month of
them is not. The bias, mean truth less mean prediction, is a figure of its own, to both sides: where far fewer come true
than the scores say, a ranking may be as good as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.core.models.gate import metrics
from tasks.core.monitoring import tails
from tasks.core.monitoring.blocks import (
    FEWEST_BLOCKS,
    Blocks,
    Floats,
    blocks_of,
    count_blocks,
    highest,
    lasting,
    scale_of,
)
from tasks.core.monitoring.records import PerformanceCalibration, PerformancePoint, Scale
from tasks.core.monitoring.rhythm import Rhythm
from tasks.core.runs.manifest import Interval

BIAS, BIAS_LOW, BIAS_HIGH = "bias", "bias_low", "bias_high"

_METRICS = metrics.OF_PROBABILITIES | metrics.OF_NUMBERS | metrics.OF_CLASSES
# One of each kind, as more of them tell the same: ranking, right or wrong, closeness. What moves with the share or the
# spread of the truth alone is not among them: average precision, Brier score, log loss and R2; the bias tells that.
_WATCHED = ("roc_auc", "accuracy", "rmse", "mae")
# No figure's spread is taken for less than this share of its usual size.
_FLOOR, _LEAST = 0.01, 1e-12


@dataclass(frozen=True)
class WindowFigures:
    """One window, or one slice of a unit: its rows with a label, and its figures.

    `figures` are 'bias' (mean truth less mean prediction) and metrics by the names of models.gate.metrics; what is not
    defined of it (no ROC where all labels are the same) is not there. Windows of which few labels have come are for
    the caller to leave out: the first to come may not be like the rest.
    """

    unit: str
    labelled: int
    figures: Mapping[str, float]


@dataclass(frozen=True)
class _Series:
    """Means over the block that ends with each unit, weighted by rows; NaN where too little of the block has it."""

    units: tuple[str, ...]
    blocks: Blocks
    labelled: Floats
    means: dict[str, Floats]


def performance_lacks(windows: Sequence[WindowFigures], rhythm: Rhythm, *, together: int) -> str:
    """Why the performance cannot be calibrated on this past, as a sentence; '' where it can."""
    series = _series(windows, rhythm)
    if not any(_is_watched(name) for name in series.means):
        return "The alarms of the performance are not calibrated: no metric is known of what this job publishes."
    known = count_blocks(np.where(series.blocks.is_judged, 0.0, np.nan), rhythm)
    told = max(count_blocks(values, rhythm) for values in _worse(_series(windows, rhythm.of(together))).values())
    if told >= FEWEST_BLOCKS:
        return ""
    what = f"labels of {known} whole {rhythm.blocks}"
    if known >= FEWEST_BLOCKS:
        what += f", {told} without those before {together} {rhythm.unit}s together (monitor.degraded_after)"
    return (
        f"The alarms of the performance are not calibrated: the past holds {what}, and what is usual is told from "
        f"{FEWEST_BLOCKS} at least."
    )


def calibrate_performance(
    windows: Sequence[WindowFigures], rhythm: Rhythm, *, together: int, usual_bias: float = 0.0
) -> PerformanceCalibration | None:
    """What is usual of the performance of so many units together, out of sample; None where the past is too short (see
    performance_lacks).

    `usual_bias` is the version's own over its whole past: one that is put right on a month of few delays scores too low
    ever after, and is no worse in the next such month. The windows' bias is then that of their model less its usual one.
    """
    if performance_lacks(windows, rhythm, together=together):
        return None
    series = _series(windows, rhythm.of(together))
    worse, scales = _worse(series), {}
    for name, values in worse.items():
        if count_blocks(values, rhythm) >= FEWEST_BLOCKS:
            floor = max(_FLOOR * float(np.nanmean(np.abs(values))), _LEAST)
            scales[name] = scale_of(highest(values, series.blocks.numbers, rhythm), floor)
    statistic = _highest_level(_levels(worse, scales), len(series.units))
    maxima = highest(statistic, series.blocks.numbers, rhythm)
    if not len(maxima):
        return None
    return PerformanceCalibration(
        figures=scales,
        together=together,
        usual_bias=usual_bias,
        tail=tails.fit(maxima.tolist(), rhythm.blocks_a_year, blocks=count_blocks(statistic, rhythm)),
    )


def performance_points(
    calibration: PerformanceCalibration | None,
    rhythm: Rhythm,
    windows: Sequence[WindowFigures],
    *,
    per_year: float,
    model: str,
    benchmark: Mapping[str, Interval],
    degraded_after: int,
) -> list[PerformancePoint]:
    """What ends with each unit: its block, to be shown, and as many units as the calibration takes together, against what
    is usual, at a line of so many false alarms a year.

    Without calibration against the benchmark: whether a metric's mean was worse than its interval, so many units in a
    row. That has no stated rate of false alarms.
    """
    series = _series(windows, rhythm)
    levels, line, whole, wide = dict[str, Floats](), None, dict[str, Floats](), rhythm
    if calibration:
        wide = rhythm.of(calibration.together)
        of_whole = _series(windows, wide)
        levels, whole = _levels(_worse(of_whole, calibration.usual_bias), calibration.figures), of_whole.means
        line = tails.line_of(calibration.tail, per_year)
    statistic = _highest_level(levels, len(series.units))
    long_worse = _long_worse(series, benchmark, degraded_after) if calibration is None else {}
    return [
        PerformancePoint(
            unit=unit,
            model=model,
            labelled=int(series.labelled[place]),
            statistic=_known(statistic[place]),
            line=line,
            first=wide.first_of_block(unit),
            together=_at(whole, place),
            figures=_at(series.means, place),
            z=_at(levels, place),
            usual_bias=(calibration.usual_bias or None) if calibration else None,
            worse_than_benchmark=tuple(name for name, each in long_worse.items() if each[place]),
        )
        for place, unit in enumerate(series.units)
    ]


def _series(windows: Sequence[WindowFigures], rhythm: Rhythm) -> _Series:
    """By unit first, weighted by rows, and then by block: in how many windows a unit came makes no difference."""
    kept = [one for one in windows if one.labelled > 0]
    units = tuple(sorted({one.unit for one in kept}))
    place, names = (
        {unit: number for number, unit in enumerate(units)},
        sorted({name for one in kept for name in one.figures}),
    )
    blocks = blocks_of(rhythm, units)
    labelled = np.zeros(len(units))
    sums = {name: np.zeros((len(units), 2)) for name in names}
    # In one order whatever the order of the windows: sums of floats hang on it.
    for one in sorted(kept, key=lambda each: (each.unit, each.labelled, sorted(each.figures.items()))):
        labelled[place[one.unit]] += one.labelled
        for name, value in one.figures.items():
            sums[name][place[one.unit]] += (one.labelled * value, one.labelled)
    means = {name: _means(blocks, both) for name, both in sums.items()}
    return _Series(units, blocks, blocks.sums(labelled), means)


def _means(blocks: Blocks, sums: Floats) -> Floats:
    of_blocks = blocks.sums(sums)
    held = blocks.sums((sums[:, 1] > 0).astype(np.int64))
    is_known = blocks.is_judged & (held >= blocks.rhythm.fewest_units)
    return np.where(is_known, of_blocks[:, 0] / np.maximum(of_blocks[:, 1], 1.0), np.nan)


def _is_watched(name: str) -> bool:
    return name == BIAS or name in _WATCHED


def _worse(series: _Series, usual_bias: float = 0.0) -> dict[str, Floats]:
    """The figures that are watched, each so that higher is worse."""
    found = {name: _turned(name, values) for name, values in series.means.items() if name in _WATCHED}
    if BIAS in series.means:
        bias = series.means[BIAS] - usual_bias
        found |= {BIAS_LOW: -bias, BIAS_HIGH: bias}
    return found


def _turned(metric: str, values: Floats) -> Floats:
    return -values if _METRICS[metric].higher_is_better else values


def _levels(worse: Mapping[str, Floats], scales: Mapping[str, Scale]) -> dict[str, Floats]:
    return {name: (worse[name] - one.middle) / one.spread for name, one in scales.items() if name in worse}


def _highest_level(levels: Mapping[str, Floats], units: int) -> Floats:
    """The highest of those that are known; NaN where none is."""
    each = [np.where(np.isnan(values), -np.inf, values) for values in levels.values()]
    found = np.max([np.full(units, -np.inf), *each], axis=0)
    return np.where(np.isneginf(found), np.nan, found)


def _long_worse(
    series: _Series, benchmark: Mapping[str, Interval], degraded_after: int
) -> dict[str, npt.NDArray[np.bool_]]:
    """By metric, whether its mean has been worse than the worse end of the benchmark's interval for so many units."""
    found = {}
    for name, values in series.means.items():
        over = _over(name, values, benchmark.get(name))
        if over is not None:
            found[name] = lasting(over, series.blocks.numbers, series.blocks.rhythm, degraded_after) > 0
    return found


def _over(metric: str, values: Floats, accepted: Interval | None) -> Floats | None:
    """How much worse the values are than the worse end of what was accepted; None where there is no such end."""
    if accepted is None or metric not in _WATCHED:
        return None
    end = accepted.low if _METRICS[metric].higher_is_better else accepted.high
    return None if end is None else _turned(metric, values) - _turned(metric, np.full(len(values), end))


def _at(values: Mapping[str, Floats], place: int) -> dict[str, float]:
    return {name: float(each[place]) for name, each in values.items() if not np.isnan(each[place])}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
