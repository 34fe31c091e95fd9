"""The figures of a block: its volume, what is missing, what is new, and how far each column's shape lies from the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon

from tasks.core.monitoring.blocks import Floats
from tasks.core.monitoring.observed import Observed, Role
from tasks.core.monitoring.records import ColumnTotals, Component

Counts = npt.NDArray[np.int64]

# A move as small as this is nobody's trouble, however still the figure has been.
FLOORS: dict[Component, float] = {
    "volume": 0.05,
    "missing": 0.01,
    "new_categories": 0.005,
    "scores": 0.03,
    "features": 0.03,
}


@dataclass(frozen=True)
class Figure:
    """One figure of one column in each block; `observed` and `reference` are shares, or of the volume rows."""

    component: Component
    column: str
    values: Floats
    reference: Floats | None = None
    observed: Floats | None = None

    @property
    def name(self) -> str:
        return f"{self.component} {self.column}".strip()


@dataclass(frozen=True)
class SummedColumn:
    """One column in each of some blocks: counts, blocks x bins; missing, blocks."""

    role: Role
    column: str
    has_new: bool
    counts: Counts
    missing: Counts

    @property
    def shape(self) -> Counts:
        """What the shape of the column is told by: of scores, that they are missing is a part of it."""
        if self.role == "feature":
            return self.counts
        return np.concatenate([self.counts, self.missing[:, None]], axis=1)


def summed(observed: Observed, total: Callable[[Counts], Counts]) -> list[SummedColumn]:
    """Every column by blocks, as `total` sums units x anything."""
    return [
        SummedColumn(one.role, one.column, one.has_new, total(one.counts), total(one.missing))
        for one in observed.columns
    ]


def beside_own(rests: list[SummedColumn], observed: Observed, total: Callable[[Counts], Counts]) -> list[SummedColumn]:
    """The rests with that of each unit's own model where it has one: the units' rests are samples of like size."""
    own = {one.column: total(one.rest) for one in observed.columns if one.role == "prediction" and one.rest is not None}
    return [
        SummedColumn(one.role, one.column, one.has_new, own[one.column][:, :-1], own[one.column][:, -1])
        if one.role == "prediction" and one.column in own
        else one
        for one in rests
    ]


def reference_of(totals: Iterable[ColumnTotals]) -> list[SummedColumn]:
    """The whole of the past as one block."""
    return [
        SummedColumn(one.role, one.column, one.has_new, np.array([one.counts]), np.array([one.missing]))
        for one in totals
    ]


def figures_of(
    rows: Floats, blocks: list[SummedColumn], rests: list[SummedColumn], volume: tuple[Floats, float]
) -> list[Figure]:
    """Every figure of every block against the rest, which is one for all or one a block; by component, then column.

    `volume` is the rows to hold against the usual ones: those of a block of which all units are known.
    """
    rest = {(one.role, one.column): one for one in rests}
    pairs = [(one, rest[one.role, one.column]) for one in blocks if (one.role, one.column) in rest]
    now, usual = volume[0], np.full(len(volume[0]), volume[1])
    of_volume = Figure("volume", "", np.abs(np.log(np.maximum(now, 1) / np.maximum(usual, 1))), usual, now)
    return [of_volume, *sorted(_of_columns(rows, pairs), key=lambda one: (one.component, one.column))]


def _of_columns(rows: Floats, pairs: list[tuple[SummedColumn, SummedColumn]]) -> Iterator[Figure]:
    for block, rest in pairs:
        yield Figure(
            "features" if block.role == "feature" else "scores", block.column, _distances(block.shape, rest.shape)
        )
        if block.role == "feature":
            yield _missing(block, rest, rows)
        if block.role == "feature" and block.has_new:
            yield _new(block, rest, rows)


def _missing(block: SummedColumn, rest: SummedColumn, rows: Floats) -> Figure:
    before = _shares(rest.missing, rest.missing + rest.counts.sum(axis=1))
    now = _shares(block.missing, rows)
    before = np.broadcast_to(before, now.shape)
    # Of no rows it cannot be said; that there are none is a matter of the volume.
    return Figure("missing", block.column, np.where(rows > 0, np.abs(now - before), 0.0), before, now)


def _new(block: SummedColumn, rest: SummedColumn, rows: Floats) -> Figure:
    """The share of categories of which the rest has none: of the past's own blocks too, so that what comes is usual."""
    is_new = np.broadcast_to(rest.counts == 0, block.counts.shape)
    now = _shares(np.where(is_new, block.counts, 0).sum(axis=1), rows)
    return Figure("new_categories", block.column, now, np.zeros_like(now), now)


def _distances(block: Counts, rest: Counts) -> Floats:
    """Jensen-Shannon distances to base 2 of shares (see profiles.comparison), a row each; 0 where one side has none."""
    both = np.broadcast_to(rest, block.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.asarray(jensenshannon(block, both, axis=1, base=2), np.float64)
    return np.nan_to_num(found, nan=0.0)


def _shares(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> Floats:
    return np.asarray(part, np.float64) / np.maximum(np.asarray(whole, np.float64), 1.0)
