"""Two columns of different origin that mean the same: brought to one type, and held against each other value by value.

Numbers meet as numbers, whatever their width; text meets a number, a date or an instant as that, and a whole
number or a decimal as a float where it holds digits that these do not have; a date and an instant
without zone meet an instant in UTC. As keys, whole floats are the whole numbers that they stand for. A value that cannot
be brought to the common type is different from whatever stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from tasks.core.errors import SchemaBlocked
from tasks.core.rows.conform import convert
from tasks.core.rows.conversions import CannotConvert, kind_of, nulls, plain
from tasks.core.rows.digest import hash_rows

# The stubs of pyarrow know its functions for arrays of one type each, and columns here are of any.
pc: Any = pyarrow.compute
Column = Any
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_INT, _FLOAT, _UTC, _NAIVE = pa.int64(), pa.float64(), pa.timestamp("us", tz="UTC"), pa.timestamp("us")
_WHOLE_DIGITS, _MOST_DIGITS = 20, 38  # Of uint64, and of 128 bits.
_BEYOND_INT64 = 2.0**63
# The families that meet as one of the two, by the order in which they are named here.
_NUMBERS = ("bool", "int", "decimal", "float")
_INSTANTS: dict[str, pa.DataType] = {"date": pa.date32(), "naive": _NAIVE, "instant": _UTC}
# As 12.0 stands what was a whole number before pandas put it beside a missing one.
_OF_TEXT = {
    "int": r"^[+-]?[0-9]{1,19}(\.0*)?$",
    "float": r"(?i)^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf(inity)?|nan)$",
    "decimal": r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$",
    "bool": r"(?i)^(true|false|t|f|1|0)(\.0)?$",
    "date": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "naive": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "instant": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "time": r"^[0-9]{2}:[0-9]{2}",
}
_UNITS = {"date": "days", "instant": "s", "naive": "s"}
_TICKS = {"date": 1.0, "instant": 1e6, "naive": 1e6}


@dataclass(frozen=True)
class Brought:
    """A column in the common type, and which of its values could not be brought to it; these are null in it."""

    column: Column
    lost: Mask


@dataclass(frozen=True)
class Held:
    """Of each pair of values: whether they differ, and by how much (NaN where that is no number); `near`: within the tolerance."""

    differs: Mask
    distance: Floats
    near: Mask


def plain_type(kind: pa.DataType) -> pa.DataType | None:
    """The type without its wrapping (dictionary, extension, large and view types); None where it has no plain form."""
    try:
        found: pa.DataType = plain(nulls(0, kind)).type
    except (CannotConvert, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    return found


def meeting_type(ours: pa.DataType, theirs: pa.DataType, *, as_key: bool = False) -> pa.DataType | None:
    """The type in which two columns are compared; None where they cannot be."""
    one, other = plain_type(ours), plain_type(theirs)
    if one is None or other is None:
        return None
    if pa.types.is_null(one) or pa.types.is_null(other):
        known = other if pa.types.is_null(one) else one
        return pa.string() if pa.types.is_null(known) else meeting_type(known, known, as_key=as_key)
    return _of_kinds(one, other, as_key=as_key)


def _of_kinds(one: pa.DataType, other: pa.DataType, *, as_key: bool) -> pa.DataType | None:
    kinds = {kind_of(one), kind_of(other)}
    if "other" in kinds:
        return None
    if "string" in kinds and len(kinds) > 1:
        (apart,) = kinds - {"string"}
        known = other if kind_of(one) == "string" else one
        return pa.string() if apart == "binary" else None if apart == "list" else _of_kinds(known, known, as_key=as_key)
    if kinds <= set(_NUMBERS) and kinds != {"bool"}:
        return _number(one, other, kinds, as_key=as_key)
    if kinds <= set(_INSTANTS):
        return _INSTANTS[max(kinds, key=list(_INSTANTS).index)]
    if kinds == {"time"}:
        return pa.time64("us")
    return one if len(kinds) == 1 and (one == other or kinds != {"list"}) else None


def _number(one: pa.DataType, other: pa.DataType, kinds: set[str], *, as_key: bool) -> pa.DataType | None:
    if kinds == {"bool", "decimal"}:
        return None
    if "float" in kinds and not (as_key and "int" in kinds):
        return _FLOAT
    if kinds <= {"bool", "int"} or (as_key and "int" in kinds):
        return pa.decimal128(_WHOLE_DIGITS, 0) if pa.uint64() in (one, other) else _INT
    return _decimal(one, other)


def _decimal(one: Any, other: Any) -> pa.DataType:
    both = [(kind.precision, kind.scale) if kind_of(kind) == "decimal" else (_WHOLE_DIGITS, 0) for kind in (one, other)]
    scale = max(scale for _, scale in both)
    digits = max(precision - scale for precision, scale in both) + scale
    return pa.decimal128(digits, scale) if digits <= _MOST_DIGITS else _FLOAT


# --- To the common type


def meet(ours: Column, theirs: Column) -> tuple[Brought, Brought] | None:
    """Both columns in the type in which they are compared; None where there is none."""
    target = meeting_type(ours.type, theirs.type)
    if target is None:
        return None
    brought = bring(ours, target), bring(theirs, target)
    if kind_of(target) in ("int", "decimal") and any(one.lost.any() for one in brought):
        floats = bring(ours, _FLOAT), bring(theirs, _FLOAT)
        if any(more.lost.sum() < one.lost.sum() for more, one in zip(floats, brought, strict=True)):
            return floats
    return brought


def bring(column: Column, target: pa.DataType) -> Brought:
    """The column in the common type; what cannot be brought to it is null there, and marked as lost."""
    try:
        values = plain(column)
    except CannotConvert:
        return _all_lost(column, target)
    if values.type == target:
        return Brought(values, np.zeros(len(values), dtype=bool))
    likely = _likely(values, target)
    try:
        made, _ = convert(likely, pa.field("value", target), naive_zone="UTC")
    except SchemaBlocked:
        return _all_lost(values, target)
    return Brought(made, _mask(pc.and_(values.is_valid(), made.is_null())))


def _likely(values: Column, target: pa.DataType) -> Column:
    """The values of which a conversion may be asked: it looks at each one alone that it cannot convert."""
    found, wanted = kind_of(values.type), kind_of(target)
    if found == "string" and wanted in _OF_TEXT:
        return _likely_text(values, wanted)
    if found == "float" and wanted in ("int", "decimal"):
        floats = pc.fill_null(values.cast(_FLOAT), np.nan).to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore"):
            whole = (np.abs(floats) < _BEYOND_INT64) & (floats == np.trunc(floats))
        return pc.if_else(pa.array(whole), values, pa.scalar(None, values.type))
    if found == "int" and wanted == "float":
        # Beyond 2^53 to the nearest: to refuse each alone would take long.
        return values.cast(_FLOAT, safe=False)
    return values.cast(pa.timestamp("s")) if found == "date" and wanted == "instant" else values


def _likely_text(values: Column, wanted: str) -> Column:
    try:
        trimmed = pc.utf8_trim_whitespace(values)
    except pa.ArrowInvalid:
        # What is not UTF-8 is found by the conversion.
        return values
    if wanted == "bool":
        trimmed = pc.replace_substring_regex(pc.utf8_lower(trimmed), r"^([01])\.0$", r"\1")
    return pc.if_else(pc.match_substring_regex(trimmed, _OF_TEXT[wanted]), trimmed, None)


def _all_lost(column: Column, target: pa.DataType) -> Brought:
    return Brought(nulls(len(column), target), _mask(column.is_valid()))


def missing(column: Column) -> Mask:
    """Which values are null, or no number where a number should be: no row can be told by such a key."""
    absent = _mask(column.is_null())
    if pa.types.is_floating(column.type):
        absent |= np.isnan(pc.fill_null(column.cast(_FLOAT), 0.0).to_numpy(zero_copy_only=False))
    return absent


# --- Held against each other


def hold(ours: Brought, theirs: Brought, tolerance: float) -> Held:
    """Each value against the one beside it; `tolerance` is of floats and decimals: absolute below 1, relative above.

    NaN equals NaN, and null equals null; either is different from all else.
    """
    one, other = ours.column, theirs.column
    absent, absent_there = _mask(one.is_null()), _mask(other.is_null())
    both = ~(absent | absent_there)
    distance = _distance(one, other, both)
    unequal = both & _unequal(one, other)
    near = unequal & _within(one, other, distance, tolerance)
    return Held((unequal & ~near) | (absent != absent_there) | ours.lost | theirs.lost, distance, near)


def unit(target: pa.DataType) -> str:
    """What distances of this type are counted in; empty for numbers."""
    return _UNITS.get(kind_of(target), "")


def as_floats(column: Column) -> Floats:
    """Numbers, or instants in their unit, as floats; 0 where one is null."""
    ticks = _TICKS.get(kind_of(column.type))
    if ticks is not None:
        column = column.cast(pa.int32() if kind_of(column.type) == "date" else _INT)
    floats: Floats = pc.fill_null(column.cast(_FLOAT, safe=False), 0.0).to_numpy(zero_copy_only=False)
    return floats / (ticks or 1.0)


def has_distance(target: pa.DataType) -> bool:
    return kind_of(target) in ("int", "float", "decimal", *_TICKS)


def _distance(one: Column, other: Column, both: Mask) -> Floats:
    if not has_distance(one.type):
        return np.full(len(one), np.nan)
    if kind_of(one.type) == "int":
        found = _between_ints(one, other)
    elif kind_of(one.type) == "decimal" and one.type.precision < _MOST_DIGITS:
        found = np.abs(as_floats(pc.subtract(one, other)))
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            found = np.abs(as_floats(one) - as_floats(other))
    return np.where(both, found, np.nan)


def _between_ints(one: Column, other: Column) -> Floats:
    """As whole numbers: beyond 2^53 those that differ may be one float."""
    here, there = (pc.fill_null(column, 0).to_numpy(zero_copy_only=False) for column in (one, other))
    least, most = np.minimum(here, there), np.maximum(here, there)
    found: Floats = (most.astype(np.uint64) - least.astype(np.uint64)).astype(np.float64)
    return found


def _unequal(one: Column, other: Column) -> Mask:
    """Whether the values differ; of rows in which one is null it says nothing."""
    if not pa.types.is_floating(one.type):
        return _other_hash(one, other) if kind_of(one.type) == "list" else _mask(pc.not_equal(one, other))
    here, there = as_floats(one), as_floats(other)
    return np.asarray((here != there) & ~(np.isnan(here) & np.isnan(there)))


def _within(one: Column, other: Column, distance: Floats, tolerance: float) -> Mask:
    """Whether the values are within the tolerance. Whole numbers have none, and what is infinite is near to nothing."""
    is_fraction = pa.types.is_floating(one.type) or (kind_of(one.type) == "decimal" and one.type.scale > 0)
    if not tolerance or not is_fraction:
        return np.zeros(len(one), dtype=bool)
    sizes = np.maximum(np.abs(as_floats(one)), np.abs(as_floats(other)))
    with np.errstate(invalid="ignore"):
        return np.asarray((distance <= tolerance * np.maximum(1.0, sizes)) & np.isfinite(distance))


def _other_hash(one: Column, other: Column) -> Mask:
    hashes = [hash_rows(pa.table({"value": column})) for column in (one, other)]
    unequal: Mask = (hashes[0] != hashes[1]).any(axis=1)
    return unequal


def _mask(column: Column) -> Mask:
    found: Mask = pc.fill_null(column, False).to_numpy(zero_copy_only=False)
    return found
