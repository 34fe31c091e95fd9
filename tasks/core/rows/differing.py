"""What differs between a column and the one that means the same elsewhere, of rows that are aligned: how many, by how much, where."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.definitions.column_types import type_name
from tasks.core.rows.meeting import Brought, Held, Mask, as_floats, has_distance, hold, meet, unit

Value = bool | int | float | str | None
Values = tuple[Value, ...]

_LONGEST_TEXT = 80
_LEAST_OF_FACTOR = 3  # So many rows, before a common factor is no accident.
_SAME_FACTOR = 1e-6


@dataclass(frozen=True)
class Difference:
    """One row in which a column differs: its key, both values, and by how much; of the larger one as `share`."""

    key: Values
    ours: Value
    theirs: Value
    by: float | None
    share: float | None


@dataclass(frozen=True)
class ColumnTally:
    """A column over all pairs of rows. `compared_as` is None where the two types can never be compared.

    `near` counts the values that are not equal, and do not differ by more than the tolerance.
    """

    ours: str
    theirs: str
    type_ours: str
    type_theirs: str
    compared_as: str | None
    unit: str = ""
    differing: int = 0
    missing_ours: int = 0
    missing_theirs: int = 0
    largest: float | None = None
    largest_share: float | None = None
    factors: tuple[float, float] | None = None
    examples: tuple[Difference, ...] = ()
    near: int = 0

    @property
    def factor(self) -> float | None:
        """How many times ours theirs is, where that is one number for every row that differs."""
        least = self.differing - self.missing_ours - self.missing_theirs
        if self.factors is None or least < _LEAST_OF_FACTOR:
            return None
        low, high = self.factors
        is_one = low * high > 0 and abs(high - low) <= _SAME_FACTOR * abs(high)
        return low if is_one and abs(low - 1) > _SAME_FACTOR else None

    def plus(self, other: ColumnTally, most: int) -> ColumnTally:
        return ColumnTally(
            self.ours,
            self.theirs,
            self.type_ours,
            self.type_theirs,
            self.compared_as,
            self.unit,
            self.differing + other.differing,
            self.missing_ours + other.missing_ours,
            self.missing_theirs + other.missing_theirs,
            _most(self.largest, other.largest),
            _most(self.largest_share, other.largest_share),
            _both_factors(self.factors, other.factors),
            _largest_first((*self.examples, *other.examples))[:most],
            self.near + other.near,
        )


def column_tally(
    names: tuple[str, str], here: pa.Table, there: pa.Table, keys: pa.Table, *, tolerance: float, examples: int
) -> tuple[ColumnTally, Mask]:
    """The tally of one column over rows that stand beside each other, and which of them differ."""
    ours, theirs = _one_chunk(here[names[0]]), _one_chunk(there[names[1]])
    types = (type_name(ours.type), type_name(theirs.type))
    brought = meet(ours, theirs)
    if brought is None:
        return ColumnTally(*names, *types, None), np.zeros(len(here), dtype=bool)
    target = brought[0].column.type
    held = hold(*brought, tolerance)
    share = _share(brought, held)
    rows = _examples(held, examples)
    tally = ColumnTally(
        *names,
        *types,
        compared_as=type_name(target),
        unit=unit(target),
        differing=int(held.differs.sum()),
        missing_ours=_missing(held, ours, theirs),
        missing_theirs=_missing(held, theirs, ours),
        largest=_largest(held.distance[held.differs]),
        largest_share=_largest(share[held.differs]),
        factors=_factors(brought, held),
        examples=tuple(
            Difference(
                shown_row(keys, row),
                _shown(ours[row]),
                _shown(theirs[row]),
                _number(held.distance[row]),
                _number(share[row]),
            )
            for row in rows
        ),
        near=int(held.near.sum()),
    )
    return tally, held.differs


def shown_row(table: pa.Table, row: int) -> Values:
    """The values of a row as they are shown."""
    return tuple(_shown(column[row]) for column in table.columns)


def _shown(value: Any) -> Value:
    """A value for people and for JSON: numbers, truths and short text as they are, all else as text."""
    try:
        found = value.as_py()
    except (ValueError, OverflowError):
        # Text that is no UTF-8, and instants outside of Python's calendar.
        return f"{value.type} that cannot be shown"
    if found is None or isinstance(found, bool | int):
        return found
    if isinstance(found, float):
        return found if math.isfinite(found) else str(found)
    text = str(found)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


def _examples(held: Held, most: int) -> list[int]:
    """The rows with the largest differences, and among them one that has no distance (a missing value), if there is any."""
    rows = np.flatnonzero(held.differs)
    distance = held.distance[rows]
    known, unknown = rows[~np.isnan(distance)], rows[np.isnan(distance)]
    largest = known[np.argsort(-held.distance[known], kind="stable")]
    if len(known) and len(unknown):
        largest = largest[: most - 1]
    return [int(row) for row in [*largest, *unknown[: most - min(len(largest), most)]][:most]]


def _share(brought: tuple[Brought, Brought], held: Held) -> npt.NDArray[np.float64]:
    """The distance as a part of the larger of the two numbers; NaN for all that are no numbers."""
    kind = brought[0].column.type
    if not has_distance(kind) or unit(kind):
        return np.full(len(held.distance), np.nan)
    sizes = [np.abs(as_floats(one.column)) for one in brought]
    with np.errstate(invalid="ignore", divide="ignore"):
        share: npt.NDArray[np.float64] = held.distance / np.maximum(*sizes)
    return share


def _factors(brought: tuple[Brought, Brought], held: Held) -> tuple[float, float] | None:
    """The least and the largest of theirs / ours among the rows that differ by a number."""
    kind = brought[0].column.type
    if not has_distance(kind) or unit(kind):
        return None
    ours, theirs = (as_floats(one.column)[held.differs & np.isfinite(held.distance)] for one in brought)
    if not len(ours) or not (ours != 0).all():
        return None
    ratios = theirs / ours
    return float(ratios.min()), float(ratios.max())


def _missing(held: Held, here: Any, there: Any) -> int:
    """How many values are missing here and not there."""
    return int(
        (
            held.differs
            & here.is_null().to_numpy(zero_copy_only=False)
            & there.is_valid().to_numpy(zero_copy_only=False)
        ).sum()
    )


def _largest(values: npt.NDArray[np.float64]) -> float | None:
    known = values[~np.isnan(values)]
    return _number(known.max()) if len(known) else None


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _most(one: float | None, other: float | None) -> float | None:
    return max((each for each in (one, other) if each is not None), default=None)


def _both_factors(one: tuple[float, float] | None, other: tuple[float, float] | None) -> tuple[float, float] | None:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def _largest_first(examples: Sequence[Difference]) -> tuple[Difference, ...]:
    return tuple(sorted(examples, key=lambda one: -1.0 if one.by is None else one.by, reverse=True))


def _one_chunk(column: Any) -> Any:
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        return whole.chunk(0) if whole.num_chunks else pa.array([], whole.type)
    return whole
