"""From Arrow to the data frames that Great Expectations is fast and right on.

GX is vectorised for int64, float64 and pandas' own text; on other types it goes row by row. A check of one column
gets the values that are there and no others, so that a column keeps its type whether or not a batch has nulls.
"""

from __future__ import annotations

import datetime as dt
import enum
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from pyarrow import types

from tasks.core.rows.digest import Column

# Positions in a batch, or the ordinals of its rows in the snapshot.
Ordinals = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# The stubs of pyarrow.compute know few of the shapes that its functions take.
_compute: Any = pyarrow.compute
# Above this a float no longer tells neighbouring integers apart.
_EXACT_IN_FLOAT = 2**53
_SAMPLE_ROWS = 2000


class As(enum.Enum):
    """How a column's values are handed over: as they are, as floats, or a time as the integer that stands for it."""

    VALUES = "values"
    FLOATS = "floats"
    TICKS = "ticks"


class View:
    """Some rows of a batch with their ordinals in the snapshot. Frames are indexed by position in the view."""

    def __init__(self, table: pa.Table, rows: Ordinals) -> None:
        self.table = table
        self.rows = np.asarray(rows, dtype=np.int64)
        self._arrays: dict[str, Column] = {}
        self._missing: dict[str, Mask | None] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, positions: Ordinals) -> View:
        """The rows at these positions alone."""
        return View(self.table.take(positions), self.rows[positions])

    def array(self, name: str) -> Column:
        """A column in one piece, dictionaries decoded."""
        if name not in self._arrays:
            column = self.table.column(name).combine_chunks()
            if isinstance(column, pa.ChunkedArray):
                column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
            if types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            self._arrays[name] = column
        return self._arrays[name]

    def missing(self, name: str) -> Mask | None:
        """The mask of rows without a value (null or NaN, as in pandas); None where all have one."""
        if name not in self._missing:
            self._missing[name] = _missing(self.array(name))
        return self._missing[name]

    def each_once(self, names: tuple[str, ...]) -> tuple[View, Ordinals]:
        """One row for each combination of values, and for every row which of them holds its own."""
        codes = np.zeros(len(self), dtype=np.int64)
        for name in names:
            encoded: Any = self.array(name).dictionary_encode(null_encoding="encode")
            codes = codes * len(encoded.dictionary) + encoded.indices.to_numpy()
            if name != names[0]:
                # Dense again after each column, so that no product overflows.
                codes = np.unique(codes, return_inverse=True)[1]
        first = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.int64)
        first[codes[::-1]] = np.arange(len(self))[::-1]
        return self.at(first), codes

    def has_few_values(self, name: str) -> bool:
        """Whether values recur, as a sample shows."""
        sample = self.array(name).slice(0, _SAMPLE_ROWS)
        return len(sample.unique()) * 2 <= len(sample)

    def single(self, name: str, shape: As = As.VALUES) -> pd.DataFrame:
        """The values that are there of one column."""
        array, missing = self.array(name), self.missing(name)
        index = None
        if missing is not None:
            index = np.flatnonzero(~missing)
            array = array.filter(pa.array(~missing))
        # Values, not a Series: pandas would align that with the index.
        return pd.DataFrame({name: pd.Series(converted(array, shape), index=index, copy=False)}, copy=False)

    def several(self, names: tuple[str, ...]) -> pd.DataFrame:
        """Some columns side by side, with their nulls as pandas has them by default."""
        return pd.DataFrame({name: _with_nulls(self.array(name)) for name in names}, copy=False)


def _missing(array: Column) -> Mask | None:
    if types.is_floating(array.type):
        mask = _compute.is_null(array, nan_is_null=True)
        return mask.to_numpy(zero_copy_only=False) if _compute.any(mask).as_py() else None
    if array.null_count == 0:
        return None
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False))


def _tick_type(kind: pa.DataType) -> pa.DataType:
    """The type whose integers stand for a time: days, or microseconds (nanoseconds where they are the unit)."""
    if types.is_timestamp(kind):
        return pa.timestamp("ns" if kind.unit == "ns" else "us", kind.tz)
    return pa.date32()


def _ticks(array: Column) -> npt.NDArray[Any]:
    """The integers that stand for the times: every date fits, 9999-12-31 too, and comparing them is fast."""
    exact = array.cast(_tick_type(array.type))
    return exact.view(pa.int32() if types.is_date32(exact.type) else pa.int64()).cast(pa.int64()).to_numpy()


def tick_of(bound: dt.date | None, kind: pa.DataType) -> int | None:
    """The integer that stands for a bound, beside those of a column of this type."""
    if bound is None:
        return None
    if types.is_timestamp(kind):
        microseconds = int(_ticks(pa.array([bound], pa.timestamp("us", kind.tz)))[0])
        return microseconds * 1000 if kind.unit == "ns" else microseconds
    return int(_ticks(pa.array([bound], pa.date32()))[0])


def _floats(array: Column) -> Any:
    return array.cast(pa.float64()).to_numpy() if types.is_decimal(array.type) else _values(array)


def _values(array: Column) -> Any:
    """The values of an array without nulls."""
    kind = array.type
    if types.is_integer(kind):
        return _integers(array)
    if types.is_floating(kind):
        return array.cast(pa.float64()).to_numpy()
    if types.is_boolean(kind):
        return array.to_numpy(zero_copy_only=False)
    return array.to_pandas().array


_CONVERSIONS = {As.VALUES: _values, As.FLOATS: _floats, As.TICKS: _ticks}


def is_vectorised(kind: pa.DataType) -> bool:
    """Whether GX compares values of this type all at once."""
    as_numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    as_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(as_numbers or as_text or types.is_timestamp(kind) or types.is_date(kind))


def converted(array: Column, shape: As) -> Any:
    """The values of an array without nulls, in a shape."""
    return _CONVERSIONS[shape](array)


def _integers(array: Column) -> npt.NDArray[Any]:
    try:
        return array.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        return array.to_numpy()


def _with_nulls(array: Column) -> Any:
    kind = array.type
    if array.null_count == 0:
        return _values(array)
    if types.is_integer(kind):
        if _fits_float(array):
            return array.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return pd.Series(array.to_pylist(), dtype=object).fillna(np.nan)
    if types.is_floating(kind):
        return array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    if types.is_boolean(kind):
        return pd.Series(array.to_pylist(), dtype=object)
    return array.to_pandas().array


def _fits_float(array: Column) -> bool:
    bounds = _compute.min_max(array)
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    return low is None or (low >= -_EXACT_IN_FLOAT and high <= _EXACT_IN_FLOAT)


def distinct_values(arrays: Iterable[Column], kind: pa.DataType, *, most_common: bool) -> Column:
    """The distinct values of some arrays; or of these the most common alone."""
    plain_kind = kind.value_type if isinstance(kind, pa.DictionaryType) else kind
    found = pa.table({"value": pa.array([], plain_kind), "count": pa.array([], pa.int64())})
    for array in arrays:
        counted = _compute.value_counts(array)
        batch = pa.table({"value": counted.field(0), "count": counted.field(1)})
        grouped: Any = pa.concat_tables([found, batch]).group_by("value").aggregate([("count", "sum")])
        found = grouped.select(["value", "count_sum"]).rename_columns(["value", "count"])
    if most_common and len(found):
        found = found.filter(_compute.equal(found["count"], _compute.max(found["count"])))
    values: Column = found["value"].combine_chunks()
    return values


def texts(array: Column) -> Column:
    """Values as a person reads them."""
    try:
        return array.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())


@functools.cache
def empty_frame(schema: pa.Schema) -> pd.DataFrame:
    """A frame without rows, whose columns have the types that pandas gives to these by default."""
    return schema.empty_table().to_pandas()
