"""How good a model is on labelled rows: the field's metrics, with intervals in which whole windows are the unit.

This is the only bootstrap: a benchmark's intervals come from it, and those of the differences between two versions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from tasks.core.definitions.modelling import Prediction
from tasks.core.models.gate import metrics
from tasks.core.models.gate.metrics import Floats, MetricKind, Rows, Statistic

_RESAMPLES, _OUTSIDE = 2000, 0.05
# Below so many windows the draws of them say nothing; above, neighbours are drawn together, which costs no precision.
FEWEST_BLOCKS, _MOST_BLOCKS = 8, 200


class Metric(BaseModel):
    """One metric with its 95 % interval, from a bootstrap over whole windows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float
    low: float
    high: float


class Benchmark(BaseModel):
    """What a version was worth when it was registered: what production is held against."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: tuple[Metric, ...]
    first: str
    last: str
    rows: int
    rows_without_label: int
    note: str = ""


@dataclass(frozen=True)
class Target:
    """What an output column is held against: the truth in its terms, and the metrics that suit the two, the usual first."""

    truth: npt.NDArray[Any]
    metrics: Mapping[str, MetricKind]
    is_probability: bool = False


@dataclass(frozen=True)
class Blocks:
    """What is drawn: windows, or rows where there are too few windows. `of` is each row's block."""

    of: npt.NDArray[np.intp]
    count: int
    unit: Literal["window", "row"]


@dataclass(frozen=True)
class Estimate:
    """A figure of all rows with its 95 % interval; None where it cannot be known."""

    value: float | None
    low: float | None = None
    high: float | None = None


def target_of(output: Prediction, truth: npt.NDArray[Any], *, is_classifier: bool) -> Target:
    """Of predict_proba a probability of the class, of decision_function a score, of predict a class or a number.

    Of what else a model may return no metric is known here, and the target has none.
    """
    if output.method == "predict_proba":
        return Target((truth == output.class_).astype(np.int8), metrics.OF_PROBABILITIES, is_probability=True)
    if output.method == "decision_function" and (output.class_ is not None or truth.dtype == np.bool_):
        wanted = True if output.class_ is None else output.class_
        return Target((truth == wanted).astype(np.int8), metrics.OF_SCORES)
    if output.method != "predict":
        return Target(truth, {})
    return Target(truth, metrics.OF_CLASSES) if is_classifier else Target(truth.astype(np.float64), metrics.OF_NUMBERS)


def blocks_of(windows: npt.NDArray[Any]) -> Blocks:
    """The blocks of rows with these windows. Rows of one window (a day, say) are drawn together: errors within a day go
    together, and an interval from single rows would be too narrow (Künsch 1989, the block bootstrap).
    """
    found, of = np.unique(windows, return_inverse=True)
    if len(found) >= FEWEST_BLOCKS:
        return _merged(of, len(found), "window")
    return _merged(np.arange(len(windows)), len(windows), "row")


def _merged(of: npt.NDArray[np.intp], count: int, unit: Literal["window", "row"]) -> Blocks:
    """Neighbours are one block where there would be too many."""
    kept = min(count, _MOST_BLOCKS)
    return Blocks(of * kept // max(count, 1), kept, unit)


def measure(
    kinds: Mapping[str, MetricKind], truth: npt.NDArray[Any], predicted: npt.NDArray[Any], windows: npt.NDArray[Any]
) -> tuple[Metric, ...]:
    """Each metric with its 95 % percentile interval; NaN where it is not defined."""
    blocks = blocks_of(windows)
    rows = Rows(truth, predicted, blocks.of, blocks.count)
    found = {name: estimate(kind.prepare(rows), blocks.count) for name, kind in kinds.items()}
    return tuple(
        Metric(name=name, value=_known(one.value), low=_known(one.low), high=_known(one.high))
        for name, one in found.items()
    )


def estimate(statistic: Statistic, count: int) -> Estimate:
    """The statistic of all rows with its 95 % interval, the expanded percentile interval: percentiles of the draws so far
    out that few blocks are made up for (Hesterberg 2015, What Teachers Should Know About the Bootstrap). The draws are
    the same ones every time, so the difference of two statistics is paired.
    """
    value = figure(statistic, count)
    if value is None:
        return Estimate(None)
    # A draw without a row of some class has no ROC; it says nothing about the spread.
    drawn = statistic(_draws(count))
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Estimate(value)
    outside = 100 * _share_outside(count)
    low, high = np.percentile(drawn, (outside, 100 - outside))
    return Estimate(value, float(low), float(high))


def _share_outside(count: int) -> float:
    """At either end: 0.025 for very many blocks, 0.019 for 30, 0.006 for 8."""
    from scipy.special import ndtr, stdtrit  # noqa: PLC0415 - heavy

    degrees = max(count - 1, 1)
    return float(ndtr(np.sqrt(count / degrees) * stdtrit(degrees, _OUTSIDE / 2)))


def figure(statistic: Statistic, count: int) -> float | None:
    """The statistic of all rows; None where it is not defined."""
    value = float(statistic(np.ones((1, count)))[0])
    return value if np.isfinite(value) else None


def gain(
    prepare: Callable[[Rows], Statistic], candidate: Rows, production: Rows, *, higher_is_better: bool
) -> Statistic:
    """What the candidate gains over production: above 0 is better, whichever way the metric goes."""
    theirs, ours = prepare(production), prepare(candidate)
    sign = 1 if higher_is_better else -1
    # Of two that are the same, 0 and not -0.
    return lambda draws: sign * (ours(draws) - theirs(draws)) + 0.0


@lru_cache(maxsize=8)
def _draws(count: int) -> Floats:
    """How often each block is drawn, in each of the resamples. They take longer than most statistics of them."""
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), _RESAMPLES).astype(np.float64)
    drawn.flags.writeable = False
    return drawn


def _known(value: float | None) -> float:
    return np.nan if value is None else value
