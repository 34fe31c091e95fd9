"""The figures of a window's published rows against their labels, of all rows and of each slice.

Intervals are of the rows of this one window, by the bootstrap of the benchmark: how far the figure might lie had the
window had other rows. They do not say how much days differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.core.models.gate import metrics
from tasks.core.models.gate.comparison import FEWEST_ROWS, MOST_SLICES
from tasks.core.models.gate.evaluation import Blocks, blocks_of, estimate, figure
from tasks.core.models.gate.metrics import Rows, Statistic
from tasks.core.performance.joining import Joined, Sliced
from tasks.core.performance.target import Held
from tasks.core.runs.manifest import Interval

Mask = npt.NDArray[np.bool_]
Prepare = Callable[[Rows], Statistic]

# Draws of more rows take minutes, and say no more.
_MOST_DRAWN = 10_000


@dataclass(frozen=True)
class Figure:
    """One figure: of all rows where `slice` is ''. `labelled` is how many rows with a label it is of."""

    metric: str
    found: Interval
    labelled: int
    slice: str = ""
    value: str = ""
    benchmark: Interval | None = None


@dataclass(frozen=True)
class Scored:
    """The labelled rows, in blocks of neighbours that are drawn together."""

    held: Held
    rows: Rows
    blocks: Blocks

    @classmethod
    def of(cls, held: Held) -> Scored:
        # Of one window: its rows are drawn, not windows.
        blocks = blocks_of(np.zeros(len(held.truth), np.int8))
        return cls(held, Rows(held.truth, held.predicted, blocks.of, blocks.count), blocks)

    def where(self, chosen: Mask) -> Scored:
        return Scored(self.held, self.rows.where(chosen), self.blocks)


def figures_of(joined: Joined, held: Held, benchmark: Mapping[str, Interval]) -> Iterator[Figure]:
    """Every figure, those of all rows first. Of a column with very many values only the largest slices have any."""
    scored = Scored.of(held) if not held.why else None
    yield from _figures(joined, np.ones(joined.rows, dtype=bool), scored, benchmark=benchmark)
    for name, sliced in joined.slices.items():
        for code in largest(sliced):
            chosen = sliced.codes == code
            part = scored.where(chosen[joined.is_labelled]) if scored else None
            for one in _figures(joined, chosen, part, benchmark={}):
                yield Figure(one.metric, one.found, one.labelled, name, sliced.names[code])


def largest(sliced: Sliced) -> list[int]:
    """The numbers of a column's values, the one with most rows first."""
    sizes = np.bincount(sliced.codes, minlength=len(sliced.names))
    found: list[int] = np.argsort(-sizes, kind="stable")[:MOST_SLICES].tolist()
    return found


def _figures(
    joined: Joined, chosen: Mask, scored: Scored | None, *, benchmark: Mapping[str, Interval]
) -> Iterator[Figure]:
    labelled, without = (int((chosen & one).sum()) for one in (joined.is_labelled, joined.without))
    rows = int(chosen.sum())
    counts = {"rows": rows, "labelled": labelled, "without_label": without, "awaited": rows - labelled - without}
    for name, count in counts.items():
        yield Figure(name, Interval(value=float(count)), labelled)
    if scored is not None and labelled:
        for name, found in _of_labelled(scored).items():
            if found.value is not None:
                yield Figure(name, found, labelled, benchmark=benchmark.get(name))


def _of_labelled(scored: Scored) -> dict[str, Interval]:
    """The metrics that suit the output; of numbers and probabilities also the means, and their difference."""
    held, found = scored.held, {}
    with_interval = len(scored.rows.truth) >= FEWEST_ROWS
    for name, kind in held.kinds.items():
        found[name] = _interval(scored, kind.prepare) if with_interval else _value(scored, kind.prepare)
    if held.is_probability:
        # Without an interval: of rows drawn again it is always larger, so theirs need not even hold it.
        found["calibration_error"] = _value(scored, metrics.calibration_error)
    if held.in_one_unit:
        found["mean_truth"] = _value(scored, lambda rows: metrics.mean(rows, rows.truth))
        found["mean_prediction"] = _value(scored, lambda rows: metrics.mean(rows, rows.predicted))
        found["bias"] = _interval(scored, _bias) if with_interval else _value(scored, _bias)
    return found


def _bias(rows: Rows) -> Statistic:
    return metrics.mean(rows, rows.truth - rows.predicted)


def _value(scored: Scored, prepare: Prepare) -> Interval:
    rows = scored.rows
    # Of all rows at once: no draw tells their blocks apart.
    whole = Rows(rows.truth, rows.predicted, np.zeros(len(rows.truth), np.intp), 1)
    return Interval(value=figure(prepare(whole), 1))


def _interval(scored: Scored, prepare: Prepare) -> Interval:
    """The figure of all rows with its 95 % interval; of very many rows that of some, drawn by a fixed seed.

    It narrows with the root of the rows: what lies about the figure of m rows lies about that of n by sqrt(m / n)
    (Politis and Romano 1994, subsampling).
    """
    count = len(scored.rows.truth)
    if count <= _MOST_DRAWN:
        found = estimate(prepare(scored.rows), scored.blocks.count)
        return Interval(value=found.value, low=found.low, high=found.high)
    value = _value(scored, prepare).value
    some = np.sort(np.random.default_rng(0).choice(count, _MOST_DRAWN, replace=False))
    blocks = blocks_of(np.zeros(len(some), np.int8))
    rows = Rows(scored.rows.truth[some], scored.rows.predicted[some], blocks.of, blocks.count)
    found = estimate(prepare(rows), blocks.count)
    if value is None or found.value is None or found.low is None or found.high is None:
        return Interval(value=value)
    narrower = np.sqrt(len(some) / count)
    low, high = (value + float(narrower * (bound - found.value)) for bound in (found.low, found.high))
    return Interval(value=value, low=low, high=high)
