"""Rows that readers see beside the same rows scored again: value by value, to the last bit of a float."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.rows.digest import hash_rows

TOLERANCE = 1e-12  # Absolute below 1, relative above: what other batch boundaries or other code may change of a float.
Mask = npt.NDArray[np.bool_]
_LONGEST = 200


@dataclass(frozen=True)
class Example:
    """A value that differs."""

    key: dict[str, str]
    column: str
    published: str
    again: str


@dataclass(frozen=True)
class Compared:
    """How many rows differ, of which columns, and a few of them."""

    rows: int
    differing: int
    by_column: dict[str, int]
    examples: tuple[Example, ...]


def compare(
    published: pa.Table, again: pa.Table, keys: Collection[str], *, near: Collection[str] = (), most: int
) -> Compared:
    """Both tables hold the same rows in the same order. Floats of the columns in `near` may differ by TOLERANCE."""
    any_differs = np.zeros(len(published), dtype=bool)
    by_column: Counter[str] = Counter()
    examples: list[Example] = []
    for name in published.column_names:
        ours, theirs = _whole(published, name), _whole(again, name)
        differs = differing(ours, theirs, tolerance=TOLERANCE if name in near else 0.0)
        any_differs |= differs
        by_column[name] += int(differs.sum())
        examples += [
            Example(key_of(published, keys, row), name, shown(ours[row]), shown(theirs[row]))
            for row in np.flatnonzero(differs)[: most - len(examples)].tolist()
        ]
    return Compared(len(published), int(any_differs.sum()), dict(+by_column), tuple(examples))


def differing(ours: Any, theirs: Any, *, tolerance: float = 0.0) -> Mask:
    """Which values differ. NaN is itself, whatever its bits; null is null; 0.0 and -0.0 are two."""
    if ours.type != theirs.type:
        return np.ones(len(ours), dtype=bool)
    absent, absent_there = _mask(ours.is_null()), _mask(theirs.is_null())
    if pa.types.is_floating(ours.type):
        unequal = _floats_differ(ours, theirs, tolerance)
    elif pa.types.is_nested(ours.type):
        unequal = (hash_rows(pa.table({"v": ours})) != hash_rows(pa.table({"v": theirs}))).any(axis=1)
    else:
        unequal = _mask(pc.fill_null(pc.not_equal(ours, theirs), False))
    differs: Mask = (absent != absent_there) | (~absent & ~absent_there & unequal)
    return differs


def key_of(table: pa.Table, keys: Collection[str], row: int) -> dict[str, str]:
    return {name: shown(table[name][row]) for name in keys}


def shown(value: Any) -> str:
    """A value as people read it; of a float all its digits."""
    plain = value.as_py()
    text = "null" if plain is None else repr(plain) if isinstance(plain, float) else str(plain)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _floats_differ(ours: Any, theirs: Any, tolerance: float) -> Mask:
    one, other = (pc.fill_null(each, 0.0).to_numpy(zero_copy_only=False) for each in (ours, theirs))
    bits = np.dtype(f"u{one.dtype.itemsize}")
    unequal = (one.view(bits) != other.view(bits)) & ~(np.isnan(one) & np.isnan(other))
    if tolerance:
        with np.errstate(invalid="ignore", over="ignore"):
            far = np.abs(one - other) > tolerance * np.maximum(1.0, np.maximum(np.abs(one), np.abs(other)))
            # Of what is infinite or no number on one side there is no distance.
            unequal &= far | ~np.isfinite(one) | ~np.isfinite(other)
    return np.asarray(unequal, dtype=bool)


def _whole(table: pa.Table, name: str) -> Any:
    column = table[name]
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _mask(values: Any) -> Mask:
    found: Mask = values.to_numpy(zero_copy_only=False).astype(bool)
    return found
