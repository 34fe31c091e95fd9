"""How estimates have done against the labels that came later; one that was wrong too often is muted."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.core.estimation.conformal import NOMINAL
from tasks.core.monitoring.records import EstimateRecord, WindowPerformance
from tasks.core.runs.manifest import Interval

_MOST_COMPARED, _FEWEST_JUDGED = 56, 8
_MUTED_BELOW = 0.01
# Metrics of a part of the labels are not yet what the estimate was of.
_MOST_AWAITED = 0.1


def records_of(windows: Sequence[WindowPerformance]) -> tuple[EstimateRecord, ...]:
    """The record of each metric and model version, over the newest windows that can be compared, at most 56.

    Of a window one entry, the newest. The test takes windows as independent; where days of one week go together it mutes
    a little early, which costs less than to believe too long.
    """
    pairs = {(one.model, metric) for one in windows for metric in one.estimates}
    found = [_record(model, metric, [one for one in windows if one.model == model]) for model, metric in sorted(pairs)]
    return tuple(one for one in found if one.compared)


def _record(model: str, metric: str, windows: Sequence[WindowPerformance]) -> EstimateRecord:
    newest_last = sorted((one for one in windows if _is_known(one)), key=lambda one: (one.as_of, one.labels_as_of))
    compared = [pair for one in newest_last if (pair := _pair(one, metric))][-_MOST_COMPARED:]
    inside = sum(low <= truth <= high for low, high, _, truth in compared)
    p_value = _p_value(inside, len(compared))
    return EstimateRecord(
        metric=metric,
        model=model,
        compared=len(compared),
        inside=inside,
        nominal=NOMINAL,
        p_value=p_value,
        mean_error=sum(estimate - truth for _, _, estimate, truth in compared) / len(compared) if compared else None,
        muted=p_value is not None and len(compared) >= _FEWEST_JUDGED and p_value < _MUTED_BELOW,
    )


def _is_known(window: WindowPerformance) -> bool:
    return window.labelled > 0 and (window.is_final or window.awaited <= _MOST_AWAITED * window.rows)


def _pair(window: WindowPerformance, metric: str) -> tuple[float, float, float, float] | None:
    """The interval, the estimate and the truth of a window; None where one of them is not known."""
    estimate, truth = window.estimates.get(metric), window.metrics.get(metric, Interval(value=None)).value
    if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None or truth is None:
        return None
    return estimate.low, estimate.high, estimate.value, truth


def _p_value(inside: int, compared: int) -> float | None:
    """Of so few inside or fewer, were each inside with the nominal probability: the exact binomial test, one-sided."""
    if not compared:
        return None
    from scipy.stats import binomtest  # noqa: PLC0415 - heavy

    return float(binomtest(inside, compared, NOMINAL, alternative="less").pvalue)
