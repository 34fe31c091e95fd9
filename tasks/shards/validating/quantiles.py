"""Exact quantiles of a column of any length: the values at given ranks, found by narrowing down, within a memory bound.

Values are compared as unsigned integers of the same order. A pass counts them in 65,536 equal ranges; of the ranges in
which ranks fall, the next pass counts again, until what is left fits into memory and is sorted. Three or four passes
are usual, one where all fits at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyarrow import types

from tasks.shards.validating.frames import As, View, converted

IN_MEMORY_VALUES = 2_000_000
_BITS = 16

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class _Range:
    """Keys from low to high, both included, with the number of keys below and inside."""

    low: int
    high: int
    below: int
    count: int


def quantiles_of(
    views: Callable[[], Iterator[View]], name: str, kind: pa.DataType, shares: Sequence[float], interpolation: str
) -> list[Any]:
    """As `Series.quantile(shares, interpolation)` gives them; NaN where there is no value."""
    column = _Column(views, name, kind)
    places = [_place(share, column.count) for share in shares]
    ranks = {rank for place in places for rank in (math.floor(place), math.ceil(place))}
    values = column.at_ranks(ranks) if column.count else {}
    return [_between(values, place, interpolation) if values else math.nan for place in places]


def median_of(views: Callable[[], Iterator[View]], name: str, kind: pa.DataType) -> Any:
    """As `Series.median()` gives it."""
    column = _Column(views, name, kind)
    if not column.count:
        return math.nan
    low, high = (column.count - 1) // 2, column.count // 2
    values = column.at_ranks({low, high})
    middle = float(np.mean(np.array([values[low], values[high]], dtype=np.float64)))
    return column.as_value(middle)


def _place(share: float, count: int) -> float:
    return float((count - 1) * share) if count else 0.0


def _between(values: dict[int, Any], place: float, interpolation: str) -> Any:
    low, high = values[math.floor(place)], values[math.ceil(place)]
    if interpolation == "nearest":
        return values[int(np.around(place))]
    if interpolation in ("lower", "higher"):
        return low if interpolation == "lower" else high
    part = 0.5 if interpolation == "midpoint" and low is not high else place - math.floor(place)
    if low == high:
        return low
    # As numpy does, from the nearer end.
    return high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part  # noqa: PLR2004 - the middle


class _Column:
    """The values of a column, read as often as asked, as keys."""

    def __init__(self, views: Callable[[], Iterator[View]], name: str, kind: pa.DataType) -> None:
        self._views = views
        self._name = name
        self._kind = kind
        counts, lows, highs = [0], [], []
        for keys in self._keys():
            if len(keys):
                counts.append(len(keys))
                lows.append(int(keys.min()))
                highs.append(int(keys.max()))
        self.count = sum(counts)
        self._whole = _Range(min(lows, default=0), max(highs, default=0), 0, self.count)

    def as_value(self, number: float) -> Any:
        """A number between values, as a value: of a time, the instant."""
        if not types.is_timestamp(self._kind):
            return number
        unit = "ns" if self._kind.unit == "ns" else "us"
        return pd.Timestamp(int(number), unit=unit, tz=self._kind.tz)

    def at_ranks(self, ranks: set[int]) -> dict[int, Any]:
        """The values at these ranks, counted from 0."""
        ranges = dict.fromkeys(ranks, self._whole)
        while _size(ranges) > IN_MEMORY_VALUES and any(one.low < one.high for one in ranges.values()):
            ranges = self._narrowed(ranges)
        held = {one: self._sorted(one) for one in set(ranges.values())}
        return {rank: held[one](rank - one.below) for rank, one in ranges.items()}

    def _narrowed(self, ranges: dict[int, _Range]) -> dict[int, _Range]:
        distinct = [one for one in set(ranges.values()) if one.low < one.high]
        counts = {one: np.zeros(1 << _BITS, dtype=np.int64) for one in distinct}
        for keys in self._keys():
            for one in distinct:
                inside = keys[(keys >= one.low) & (keys <= one.high)] - np.uint64(one.low)
                buckets = (inside >> np.uint64(_shift(one))).astype(np.int64)
                counts[one] += np.bincount(buckets, minlength=1 << _BITS)
        return {rank: _bucket(one, counts[one], rank) if one in counts else one for rank, one in ranges.items()}

    def _sorted(self, one: _Range) -> Callable[[int], Any]:
        if one.low == one.high:
            only = self._from_keys(np.array([one.low], dtype=np.uint64))[0]
            return lambda _: only
        parts = [keys[(keys >= one.low) & (keys <= one.high)] for keys in self._keys()]
        ordered = self._from_keys(np.sort(np.concatenate(parts)))
        return lambda rank: ordered[rank]

    def _keys(self) -> Iterator[Keys]:
        shape = As.TICKS if types.is_timestamp(self._kind) else As.FLOATS
        for view in self._views():
            yield _to_keys(converted(view.array(self._name), shape))

    def _from_keys(self, keys: Keys) -> list[Any]:
        as_float = types.is_floating(self._kind) or types.is_decimal(self._kind)
        return _to_floats(keys) if as_float else (keys ^ np.uint64(1 << 63)).view(np.int64).tolist()


def _to_keys(values: npt.NDArray[Any]) -> Keys:
    """Unsigned integers in the order of the values."""
    sign = np.uint64(1 << 63)
    if values.dtype != np.float64:
        return values.astype(np.int64).view(np.uint64) ^ sign
    bits = (values + 0.0).view(np.uint64)  # -0.0 is 0.0.
    return np.where(bits & sign, ~bits, bits | sign)


def _to_floats(keys: Keys) -> list[float]:
    sign = np.uint64(1 << 63)
    floats: list[float] = np.where(keys & sign, keys & ~sign, ~keys).view(np.float64).tolist()
    return floats


def _size(ranges: dict[int, _Range]) -> int:
    return sum(one.count for one in set(ranges.values()) if one.low < one.high)


def _shift(one: _Range) -> int:
    return max(0, (one.high - one.low).bit_length() - _BITS)


def _bucket(one: _Range, counts: npt.NDArray[np.int64], rank: int) -> _Range:
    """The part of a range that holds a rank."""
    upto = np.cumsum(counts)
    place = int(np.searchsorted(upto, rank - one.below, side="right"))
    low = one.low + (place << _shift(one))
    high = min(one.high, low + (1 << _shift(one)) - 1)
    return _Range(low, high, one.below + int(upto[place] - counts[place]), int(counts[place]))
