"""Blocks that slide along the units: which units each holds, the highest value of each, and what lasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tasks.core.monitoring.records import Scale
from tasks.core.monitoring.rhythm import Rhythm

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
_Number = TypeVar("_Number", np.int64, np.float64)

# Fewer say nothing of a year.
FEWEST_BLOCKS = 8


@dataclass(frozen=True)
class Blocks:
    """The block that ends with each of some units. `members`: units x units a block, their places, -1 for none.

    Where a unit is not known, a run that was missed, the one a block earlier stands in: a week that lacks its Sunday
    would differ from all others for that alone.
    """

    rhythm: Rhythm
    numbers: Places
    members: Places
    is_judged: npt.NDArray[np.bool_]

    @property
    def held(self) -> Places:
        """How many units each block holds."""
        held: Places = np.count_nonzero(self.members >= 0, axis=1)
        return held

    def sums(self, values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
        """The sum of units x anything over each block."""
        nothing = np.zeros_like(values, shape=(1, *values.shape[1:]))
        sums: npt.NDArray[_Number] = np.concatenate([values, nothing])[self.members].sum(axis=1)
        return sums

    def sums_of_rest(self, values: npt.NDArray[np.int64], gap: int) -> npt.NDArray[np.int64]:
        """The sum over all units but each block's own and so many calendar units on both sides of it."""
        first = np.searchsorted(self.numbers, self.numbers - self.rhythm.units_a_block + 1 - gap, "left")
        behind = np.searchsorted(self.numbers, self.numbers + gap, "right")
        sums = np.concatenate([np.zeros_like(values, shape=(1, *values.shape[1:])), np.cumsum(values, axis=0)])
        rest: npt.NDArray[np.int64] = sums[-1] - (sums[behind] - sums[first])
        return rest


def blocks_of(rhythm: Rhythm, units: Sequence[str]) -> Blocks:
    """The block that ends with each unit; the units in the order of time, each once.

    One is judged when it is whole, or when what it lacks was lacking a block earlier too: then it is not run on Sundays.
    """
    numbers = np.array([rhythm.number(unit) for unit in units], np.intp)
    wanted = numbers[:, None] - np.arange(rhythm.units_a_block, dtype=np.intp)
    own, earlier = _places(numbers, wanted), _places(numbers, wanted - rhythm.units_a_block)
    members = np.where(own >= 0, own, earlier)
    enough = [np.count_nonzero(places >= 0, axis=1) >= rhythm.fewest_units for places in (own, earlier)]
    return Blocks(rhythm, numbers, members, (members >= 0).all(axis=1) | (enough[0] & enough[1]))


def _places(numbers: Places, wanted: Places) -> Places:
    """Where each wanted number stands, -1 where it is not there."""
    if not len(numbers):
        return np.full(wanted.shape, -1, np.intp)
    at = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
    return np.where(numbers[at] == wanted, at, -1)


def highest(values: Floats, numbers: Places, rhythm: Rhythm) -> Floats:
    """The highest of each block of values in a row, one that ends with each; NaN is not known.

    Blocks that slide tell more of the highest values than those that follow each other, and do not hang on where the
    first begins (A. Bücher and J. Segers, Electron. J. Statist. 12, 2018).
    """
    return np.array([values[run].max() for run in _runs(values, numbers, rhythm, rhythm.units_a_block)], np.float64)


def count_blocks(values: Floats, rhythm: Rhythm) -> int:
    """How many whole blocks as many values make that do not overlap."""
    return int(np.count_nonzero(~np.isnan(values))) // rhythm.units_a_block


def lasting(values: Floats, numbers: Places, rhythm: Rhythm, persistence: int) -> Floats:
    """The lowest of so many values in a row, up to each; NaN where there are not so many within another block."""
    found = np.full(len(values), np.nan)
    for run in _runs(values, numbers, rhythm, persistence):
        found[run[-1]] = values[run].min()
    return found


def _runs(values: Floats, numbers: Places, rhythm: Rhythm, count: int) -> Iterator[Places]:
    """The places of so many known values in a row, with less than a block of calendar units missing among them."""
    known = np.flatnonzero(~np.isnan(values))
    for last in range(count - 1, len(known)):
        run = known[last - count + 1 : last + 1]
        if numbers[run[-1]] - numbers[run[0]] < count + rhythm.units_a_block - 1:
            yield run


def scale_of(values: Floats, floor: float) -> Scale:
    """Where the tail of blocks' highest values begins, and the mean excess of its upper half: never below a floor.

    What has hardly ever moved would else be told in units of next to nothing.
    """
    middle = float(np.median(values))
    above = values[values > middle] - middle
    return Scale(middle=middle, spread=max(float(above.mean()) if len(above) else 0.0, floor))
