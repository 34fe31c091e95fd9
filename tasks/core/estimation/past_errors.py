"""How far the estimates of past windows would have been off, each by what was learnt of other windows alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.core.estimation.ways import Rows, Way

# More windows make no width more certain, and more rows no map.
_MOST_WINDOWS, MOST_ROWS = 400, 200_000
_FEWEST_FOLDS, _FOLDS = 2, 5


def errors_of(
    way: Way, rows: Rows, windows: npt.NDArray[Any], folds: npt.NDArray[np.intp]
) -> dict[str, tuple[float, ...]]:
    """By metric, the estimate less the truth of each window, where both are known.

    As in production: learnt of the one part before (before the first comes the last), as there of the benchmark's few
    windows; the estimate is of all the window's rows, and the truth of those with a label. What was learnt of all other
    parts together would be surer than what production has, and the interval too narrow.
    """
    found: dict[str, list[float]] = defaultdict(list)
    spread = _spread(windows)
    parts = folds if len(np.unique(folds)) >= _FEWEST_FOLDS else _parted(windows)
    numbers = np.unique(parts)
    for before, part in zip(np.roll(numbers, 1), numbers, strict=True):
        others = sampled(rows.take(np.flatnonzero((parts == before) & ~np.isnan(rows.truth))))
        if before == part or not len(others):
            continue
        learned = way.learn(others)
        for places in _each_window(windows, spread, parts == part):
            window = rows.take(places)
            truth, estimate = way.realised(window.labelled), learned.expected(window)
            for name in truth.keys() & estimate.keys():
                found[name].append(estimate[name] - truth[name])
    return {name: tuple(found[name]) for name in way.metrics if name in found}


def sampled(rows: Rows) -> Rows:
    """At most 200,000 of the rows: evenly from the first to the last, the same ones every time."""
    return rows if len(rows) <= MOST_ROWS else rows.take(evenly(len(rows), MOST_ROWS))


def evenly(count: int, wanted: int) -> npt.NDArray[np.intp]:
    """So many places among `count`, each as far from the next as can be; all where they are no more."""
    return np.arange(count) if count <= wanted else np.arange(wanted, dtype=np.intp) * count // wanted


def _spread(windows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    labels = np.unique(windows)
    chosen: npt.NDArray[Any] = labels[evenly(len(labels), _MOST_WINDOWS)]
    return chosen


def _parted(windows: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Parts in the order of the windows, where the past was not cut into any."""
    labels, places = np.unique(windows, return_inverse=True)
    return places * _FOLDS // max(len(labels), 1)


def _each_window(
    windows: npt.NDArray[Any], wanted: npt.NDArray[Any], chosen: npt.NDArray[np.bool_]
) -> Iterator[npt.NDArray[np.intp]]:
    places = np.flatnonzero(chosen & np.isin(windows, wanted))
    order = places[np.argsort(windows[places], kind="stable")]
    _, starts = np.unique(windows[order], return_index=True)
    yield from np.split(order, starts[1:]) if len(order) else []
