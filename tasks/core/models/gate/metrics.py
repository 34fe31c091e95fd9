"""The field's metrics as functions of drawn blocks: prepared once for some rows, and then known of thousands of draws.

A draw is one weight a block, how often the block was drawn; a metric of it is what scikit-learn's own gives for the
rows so repeated, and NaN where that says nothing (no ROC where all labels are the same).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# Of draws x blocks; one value a draw.
Statistic = Callable[[Floats], Floats]

# Guo et al. 2017 use 15.
_CALIBRATION_BINS = 15
# Rows x draws that are weighed at once, and at all: more rows get fewer draws.
_AT_ONCE, _AT_MOST, _FEWEST_DRAWS = 4_000_000, 400_000_000, 200


@dataclass(frozen=True)
class Rows:
    """What came true and what was predicted, with the number of each row's block, from 0 to `count` - 1."""

    truth: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    blocks: npt.NDArray[np.intp]
    count: int

    def where(self, chosen: npt.NDArray[np.bool_]) -> Rows:
        return Rows(self.truth[chosen], self.predicted[chosen], self.blocks[chosen], self.count)

    def sums(self, values: npt.NDArray[Any]) -> Floats:
        """The sum of the values in each block."""
        return np.bincount(self.blocks, values, self.count).astype(np.float64)

    @property
    def sizes(self) -> Floats:
        return self.sums(np.ones(len(self.blocks)))


@dataclass(frozen=True)
class MetricKind:
    """How a metric is worked out, and which way is better."""

    prepare: Callable[[Rows], Statistic]
    higher_is_better: bool


def mean(rows: Rows, values: npt.NDArray[Any]) -> Statistic:
    sums, sizes = rows.sums(values), rows.sizes
    return lambda draws: _ratio(draws @ sums, draws @ sizes)


def _brier(rows: Rows) -> Statistic:
    return mean(rows, (rows.truth - rows.predicted) ** 2)


def _log_loss(rows: Rows) -> Statistic:
    tiny = np.finfo(np.float64).eps
    right = np.where(rows.truth == 1, rows.predicted, 1 - rows.predicted)
    return mean(rows, -np.log(np.clip(right, tiny, 1 - tiny)))


def _roc_auc(rows: Rows) -> Statistic:
    """As a quadratic form: of the draw w it is w'Uw / (w'p)(w'n), where U[k, l] counts the pairs of a positive row of
    block k and a negative one of block l in the right order, ties as a half (Mann-Whitney).
    """
    positive = rows.truth == 1
    wins = np.zeros((rows.count, rows.count))
    order = np.argsort(rows.predicted[positive], kind="stable")
    scores, winners = rows.predicted[positive][order], rows.blocks[positive][order]
    for block, others in _by_block(rows.where(~positive)):
        higher = np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")
        wins[:, block] = np.bincount(winners, higher / 2, rows.count)
    positives, negatives = rows.sums(positive), rows.sums(~positive)
    return lambda draws: _ratio(((draws @ wins) * draws).sum(axis=1), (draws @ positives) * (draws @ negatives))


def _by_block(rows: Rows) -> list[tuple[int, Floats]]:
    """The predictions of each block that has a row, in ascending order."""
    if not len(rows.blocks):
        return []
    order = np.lexsort((rows.predicted, rows.blocks))
    found, starts = np.unique(rows.blocks[order], return_index=True)
    return list(zip(found.tolist(), np.split(rows.predicted[order], starts[1:]), strict=True))


def _average_precision(rows: Rows) -> Statistic:
    """The mean of the precision at each positive row, where equal predictions count as one step (no interpolation).

    It is no function of sums: every draw weighs every row, so of many rows fewer draws are made.
    """
    order = np.argsort(-rows.predicted, kind="stable")
    predicted, blocks, positive = rows.predicted[order], rows.blocks[order], rows.truth[order] == 1
    ends = np.append(np.flatnonzero(np.diff(predicted)), len(predicted) - 1)

    def of_some(draws: Floats) -> Floats:
        weights = draws[:, blocks]
        found = np.cumsum(weights * positive, axis=1)[:, ends]
        precision = np.nan_to_num(_ratio(found, np.cumsum(weights, axis=1)[:, ends]))
        return _ratio((np.diff(found, axis=1, prepend=0) * precision).sum(axis=1), found[:, -1])

    def value(draws: Floats) -> Floats:
        length = max(len(predicted), 1)
        affordable = draws[: max(_AT_MOST // length, _FEWEST_DRAWS)]
        parts = np.array_split(affordable, -(-len(affordable) * length // _AT_ONCE))
        return np.concatenate([of_some(part) for part in parts])

    return value


def calibration_error(rows: Rows) -> Statistic:
    """The expected calibration error of a probability, in bins of equal counts (Nixon et al. 2019, Measuring
    Calibration in Deep Learning; Roelofs et al. 2022): the mean over the rows of |share of ones - mean probability| of
    the row's bin. Equal probabilities share a bin. The bins are those of all rows, in every draw.
    """
    ranks = np.searchsorted(np.sort(rows.predicted), rows.predicted, "left")
    _, bins = np.unique(ranks * _CALIBRATION_BINS // max(len(ranks), 1), return_inverse=True)
    gaps = np.zeros((rows.count, int(bins.max(initial=0)) + 1))
    np.add.at(gaps, (rows.blocks, bins), rows.truth - rows.predicted)
    sizes = rows.sizes
    return lambda draws: _ratio(np.abs(draws @ gaps).sum(axis=1), draws @ sizes)


def _mse(rows: Rows) -> Statistic:
    return mean(rows, (rows.truth - rows.predicted) ** 2)


def _rmse(rows: Rows) -> Statistic:
    squared = _mse(rows)
    return lambda draws: np.sqrt(squared(draws))


def _mae(rows: Rows) -> Statistic:
    return mean(rows, np.abs(rows.truth - rows.predicted))


def _r2(rows: Rows) -> Statistic:
    # About the mean of all rows, so that large values do not cancel.
    centred = rows.truth - rows.truth.mean()
    errors, squares, sums, sizes = (
        rows.sums(values) for values in ((rows.truth - rows.predicted) ** 2, centred**2, centred, np.ones(len(centred)))
    )

    def statistic(draws: Floats) -> Floats:
        about_all = draws @ squares
        variation = about_all - _ratio((draws @ sums) ** 2, draws @ sizes)
        # What rounding leaves of equal values is no variation.
        return 1 - _ratio(draws @ errors, np.where(variation > 1e-12 * about_all, variation, 0.0))

    return statistic


def _accuracy(rows: Rows) -> Statistic:
    return mean(rows, rows.truth == rows.predicted)


def _f1_macro(rows: Rows) -> Statistic:
    """The mean over the classes that a draw holds, true or predicted, of 2 hits / (true + predicted)."""
    classes = np.unique(np.concatenate([rows.truth, rows.predicted]))
    is_true, is_predicted = (values[:, None] == classes for values in (rows.truth, rows.predicted))
    hits, both = np.zeros((2, rows.count, len(classes)))
    np.add.at(hits, rows.blocks, is_true & is_predicted)
    np.add.at(both, rows.blocks, is_true.astype(float) + is_predicted)

    def value(draws: Floats) -> Floats:
        drawn = draws @ both
        return _ratio(np.nan_to_num(_ratio(2 * (draws @ hits), drawn)).sum(axis=1), (drawn > 0).sum(axis=1))

    return value


def _ratio(above: Floats, below: Any) -> Floats:
    """NaN where nothing stands below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(below) > 0, above / below, np.nan)


OF_SCORES = {
    "roc_auc": MetricKind(_roc_auc, higher_is_better=True),
    "average_precision": MetricKind(_average_precision, higher_is_better=True),
}
OF_PROBABILITIES = OF_SCORES | {
    "log_loss": MetricKind(_log_loss, higher_is_better=False),
    "brier": MetricKind(_brier, higher_is_better=False),
}
OF_NUMBERS = {
    "rmse": MetricKind(_rmse, higher_is_better=False),
    "mae": MetricKind(_mae, higher_is_better=False),
    "r2": MetricKind(_r2, higher_is_better=True),
}
OF_CLASSES = {
    "accuracy": MetricKind(_accuracy, higher_is_better=True),
    "f1_macro": MetricKind(_f1_macro, higher_is_better=True),
}
