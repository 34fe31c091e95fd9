"""Which rows hold values that another row holds too, within a bound of memory and however many rows there are.

Rows are compared by 128-bit hashes of their typed values. As many hashes as fit are held at once: a table of more rows
is read several times, each time for the rows whose hash falls into one part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from pyarrow import types

from tasks.core.rows.digest import Column, hash_rows
from tasks.shards.validating.frames import Ordinals, View

# At about 60 bytes a row, while a part is looked at.
ROWS_AT_ONCE = 2_000_000

_Part = tuple[npt.NDArray[np.uint64], Ordinals]
_compute: Any = pyarrow.compute


@dataclass(frozen=True)
class Recurring:
    """How many rows were compared; the ordinals of those not alone with their values; how many are not the first."""

    considered: int
    ordinals: Ordinals
    repeated: int


def find(views: Callable[[], Iterator[View]], columns: tuple[str, ...], ignored: str | None) -> Recurring:
    """The rows that hold the same as another; `ignored` is GX's word for the rows that are left out."""
    rows = sum(len(view) for view in views())
    parts = max(1, -(-rows // ROWS_AT_ONCE))
    found = [_find_part(_hashes(views(), columns, ignored, part, parts)) for part in range(parts)]
    return Recurring(
        considered=sum(one.considered for one in found),
        ordinals=np.sort(np.concatenate([one.ordinals for one in found])),
        repeated=sum(one.repeated for one in found),
    )


def _hashes(views: Iterator[View], columns: tuple[str, ...], ignored: str | None, part: int, parts: int) -> _Part:
    hashes, ordinals = [np.empty((0, 2), np.uint64)], [np.empty(0, np.int64)]
    for view in views:
        table = pa.table({name: _nan_as_null(view.array(name)) for name in columns})
        found = hash_rows(table)
        mine = _is_compared(view, columns, ignored)
        if parts > 1:
            mine &= found[:, 1] % np.uint64(parts) == part
        hashes.append(found[mine])
        ordinals.append(view.rows[mine])
    return np.concatenate(hashes), np.concatenate(ordinals)


def _is_compared(view: View, columns: tuple[str, ...], ignored: str | None) -> npt.NDArray[np.bool_]:
    """Whether a row counts: GX leaves out rows with missing values, all or any, unless told `never`."""
    missing = np.zeros((len(columns), len(view)), dtype=bool)
    for place, name in enumerate(columns):
        if (mask := view.missing(name)) is not None:
            missing[place] = mask
    left_out = np.zeros(len(view), dtype=bool)
    if ignored == "any_value_is_missing":
        np.any(missing, axis=0, out=left_out)
    elif ignored == "all_values_are_missing":
        np.all(missing, axis=0, out=left_out)
    return ~left_out


def _nan_as_null(array: Column) -> Column:
    # To pandas both are missing values, and equal.
    if not types.is_floating(array.type):
        return array
    plain: Column = _compute.if_else(_compute.is_nan(array), None, array)
    return plain


def _find_part(part: _Part) -> Recurring:
    hashes, ordinals = part
    # Half a hash first: few rows are left to be compared by both.
    suspects = np.flatnonzero(pd.Series(hashes[:, 0], copy=False).duplicated(keep=False).to_numpy())
    pairs = pd.DataFrame(hashes[suspects], copy=False)
    recurring = pairs.duplicated(keep=False).to_numpy()
    repeated = int(pairs.duplicated(keep="first").sum())
    return Recurring(len(ordinals), ordinals[suspects[recurring]], repeated)
