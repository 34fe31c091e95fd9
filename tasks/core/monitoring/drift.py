"""Drift with a stated rate of false alarms: one statistic for the job, calibrated on whole blocks of its own past.

Each figure of each column is put on the scale of its own tail in the past, the columns of a group are joined (a mean
of fourth powers: one column far out counts for more than many a little), each group is put on its own scale, and the
statistic is the highest of the groups, lasting for some units. The null distribution is that of every block of the past
against the rest of it, its neighbours left out, which are more alike than what is to come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy import stats

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
from tasks.core.monitoring.drift_figures import FLOORS, Figure, beside_own, figures_of, reference_of, summed
from tasks.core.monitoring.observed import Observed
from tasks.core.monitoring.records import (
    ColumnDrift,
    ColumnTotals,
    Component,
    DriftCalibration,
    DriftPoint,
    Scale,
)
from tasks.core.monitoring.rhythm import Rhythm
from tasks.core.profiles.profile import BatchProfile

GROUPS: tuple[Component, ...] = ("volume", "missing", "new_categories", "scores", "features")

_POWER = 4
_GROUP_FLOOR = 0.25
# No line is nearer than one spread of a group above its middle: where nothing has ever moved, one row is no news.
_LEAST_LINE = 1.0
# Four weeks on both sides, of half a year; fewer where the past is shorter, so that there is a rest.
_GAP_BLOCKS, _SHARE_OF_GAP = 4, 6
_FALSE_DISCOVERIES = 0.1


def drift_lacks(observed: Observed, rhythm: Rhythm) -> str:
    """Why the drift cannot be calibrated on this past, as a sentence; '' where it can."""
    known = _whole_blocks(observed, rhythm)
    if known >= FEWEST_BLOCKS:
        return ""
    return (
        f"The drift's alarms are not calibrated: the past holds {known} whole {rhythm.blocks}, and what is usual is told "
        f"from {FEWEST_BLOCKS} at least."
    )


def calibrate_drift(
    observed: Observed, rhythm: Rhythm, *, own_scores: BatchProfile | None = None
) -> DriftCalibration | None:
    """What is usual of the data of this past; None where it is too short (see drift_lacks).

    `own_scores` is what the version itself makes of its past: its later scores are held against that, as each block's of
    the past are held against what their own model made of the rest.
    """
    if drift_lacks(observed, rhythm):
        return None
    blocks, persistence = blocks_of(rhythm, observed.units), 2 if rhythm.units_a_block > 1 else 1
    is_judged = blocks.is_judged
    volumes = _volumes(observed, blocks)
    block_rows = float(np.median(volumes[is_judged]))
    gap = _gap(blocks)
    rests = beside_own(summed(observed, lambda values: blocks.sums_of_rest(values, gap)), observed, blocks.sums)
    rows = blocks.sums(observed.rows).astype(np.float64)
    figures = figures_of(rows, summed(observed, blocks.sums), rests, (volumes, block_rows))
    scales = {one.name: _scale(one.values, is_judged, blocks, FLOORS[one.component]) for one in figures}
    joined = _joined(figures, scales)
    groups = {group: _scale(values, is_judged, blocks, _GROUP_FLOOR) for group, values in joined.items()}
    statistic = np.where(is_judged, _highest_group(joined, groups), np.nan)
    lasts = lasting(statistic, blocks.numbers, rhythm, persistence)
    maxima = highest(lasts, blocks.numbers, rhythm)
    tail = tails.fit(maxima.tolist(), rhythm.blocks_a_year, blocks=count_blocks(lasts, rhythm))
    return DriftCalibration(
        persistence=persistence,
        block_rows=block_rows,
        columns=tuple(_totals(observed, own_scores)),
        figures=scales,
        groups=groups,
        tail=tail.model_copy(update={"highest": max(tail.highest, _LEAST_LINE)}),
    )


def drift_points(
    calibration: DriftCalibration, rhythm: Rhythm, observed: Observed, *, per_year: float, model: str
) -> list[DriftPoint]:
    """The block that ends with each unit against the whole past, at a line of so many false alarms a year.

    Give units that are over, and whole: of a day that is not, the volume is no more than a part.
    """
    blocks = blocks_of(rhythm, observed.units)
    rows = blocks.sums(observed.rows)
    volume = (_volumes(observed, blocks), calibration.block_rows)
    reference = beside_own(reference_of(calibration.columns), observed, blocks.sums)
    found = figures_of(rows.astype(np.float64), summed(observed, blocks.sums), reference, volume)
    figures = [one for one in found if one.name in calibration.figures]
    joined = _joined(figures, calibration.figures)
    levels = {group: _on(values, calibration.groups[group]) for group, values in joined.items()}
    statistic = np.where(blocks.is_judged, _highest_group(joined, calibration.groups), np.nan)
    lasts = lasting(statistic, blocks.numbers, rhythm, calibration.persistence)
    line, windows = tails.line_of(calibration.tail, per_year), blocks.sums(observed.windows)
    return [
        DriftPoint(
            unit=unit,
            model=model,
            windows=int(windows[place]),
            rows=int(rows[place]),
            statistic=None if np.isnan(lasts[place]) else float(lasts[place]),
            line=line if blocks.is_judged[place] else None,
            groups={group: float(values[place]) for group, values in levels.items()} if blocks.is_judged[place] else {},
            columns=tuple(_columns(figures, calibration.figures, place)) if blocks.is_judged[place] else (),
        )
        for place, unit in enumerate(observed.units)
    ]


def _whole_blocks(observed: Observed, rhythm: Rhythm) -> int:
    blocks = blocks_of(rhythm, observed.units)
    return count_blocks(np.where(blocks.is_judged, 0.0, np.nan), rhythm)


def _gap(blocks: Blocks) -> int:
    """How many calendar units on both sides of a block are not held against it."""
    span = int(blocks.numbers[-1] - blocks.numbers[0]) + 1
    size = blocks.rhythm.units_a_block
    return size * min(_GAP_BLOCKS, span // size // _SHARE_OF_GAP)


def _volumes(observed: Observed, blocks: Blocks) -> Floats:
    """The rows of each block as if all its units were known: that a run is missed is no change of the data."""
    whole: Floats = blocks.sums(observed.rows) * (blocks.rhythm.units_a_block / blocks.held)
    return whole


def _scale(values: Floats, is_judged: np.typing.NDArray[np.bool_], blocks: Blocks, floor: float) -> Scale:
    return scale_of(highest(np.where(is_judged, values, np.nan), blocks.numbers, blocks.rhythm), floor)


def _on(values: Floats, scale: Scale) -> Floats:
    return (values - scale.middle) / scale.spread


def _joined(figures: list[Figure], scales: Mapping[str, Scale]) -> dict[Component, Floats]:
    """Each group's figures as one: of several, the fourth root of the mean fourth power of what is above the middle."""
    found = {}
    for group in GROUPS:
        each = [_on(one.values, scales[one.name]) for one in figures if one.component == group]
        if len(each) == 1:
            found[group] = each[0]
        elif each:
            found[group] = np.mean(np.maximum(each, 0.0) ** _POWER, axis=0) ** (1 / _POWER)
    return found


def _highest_group(joined: Mapping[Component, Floats], groups: Mapping[Component, Scale]) -> Floats:
    highest_of: Floats = np.max([_on(values, groups[group]) for group, values in joined.items()], axis=0)
    return highest_of


def _totals(observed: Observed, own_scores: BatchProfile | None) -> Iterable[ColumnTotals]:
    for one in observed.columns:
        counts, missing = tuple(one.counts.sum(axis=0).tolist()), int(one.missing.sum())
        if one.role == "prediction" and own_scores and own_scores.rows:
            counts, missing = own_scores.columns[one.column].counts, own_scores.columns[one.column].missing
        yield ColumnTotals(role=one.role, column=one.column, counts=counts, missing=missing, has_new=one.has_new)


def _columns(figures: list[Figure], scales: Mapping[str, Scale], place: int) -> Iterable[ColumnDrift]:
    """Each figure in one block, and whether it stands out of all of them together.

    Y. Benjamini and Y. Hochberg, J. R. Statist. Soc. B 57, 1995. Half of the blocks are beyond a figure's middle, and
    of these exp(-z) beyond z; what is not is of no account.
    """
    levels = np.array([_on(one.values, scales[one.name])[place] for one in figures])
    chances = np.where(levels > 0, np.exp(-np.maximum(levels, 0.0)) / 2, 1.0)
    explains = stats.false_discovery_control(chances) <= _FALSE_DISCOVERIES
    for one, level, stands_out in zip(figures, levels, explains, strict=True):
        yield ColumnDrift(
            column=one.column,
            component=one.component,
            value=float(one.values[place]),
            z=float(level),
            reference=None if one.reference is None else float(one.reference[place]),
            observed=None if one.observed is None else float(one.observed[place]),
            explains=bool(stands_out),
        )
