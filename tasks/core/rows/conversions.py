"""The conversions of Arrow columns that conform is made of: each takes a whole column, or raises pa.ArrowInvalid.

They are exact: what a value cannot keep in the new type is an error, never rounded away. Which kinds may become which
stands in one table, `_WAYS`; a pair that is not in it can never be converted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tasks.core.definitions.column_types import type_name

# The stubs of pyarrow know its functions for arrays of one type each, and columns here are of any.
pc: Any = pyarrow.compute
Column: TypeAlias = Any
Conversion: TypeAlias = Callable[[Column, pa.DataType, str | None], Column]

_UTC = pa.timestamp("us", tz="UTC")
_NAIVE = pa.timestamp("us")
# 0001-01-01 and 9999-12-31T23:59:59.999999: what Python, pandas and SQL all know.
_FIRST_MICROSECOND, _LAST_MICROSECOND = -62_135_596_800_000_000, 253_402_300_799_999_999
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_CLOCK_AND_OFFSET = r"\d:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}(:?\d{2})?)$"
_DIGITS_BEYOND_MICROSECONDS = r"(\.\d{6})\d+"
_MIDNIGHT = r"^(\d{4}-\d{2}-\d{2})[ T]00:00(:00(\.0+)?)?$"
_CLOCK = r"^\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?$"

_CAST_ADVICE = "cast '{column}' in the query, or declare another type for it in the job's columns"
_TEXT_ADVICE = "cast '{column}' to text, or to another plain type, in the query"
_ZONE_ADVICE = (
    "say which zone '{column}' is in, by {column} AT TIME ZONE 'Area/City' in the query; or declare it timestamp_naive"
)
_INSTANT_ADVICE = "make an instant of '{column}' in the query (to_timestamp, or datetime(..., 'unixepoch') in SQLite)"
_MONEY_ADVICE = "cast '{column}' to numeric in the query: the driver gives money as a count of cents"


class CannotConvert(Exception):
    """A type that can never become the declared one: what was found, and what a person can do."""

    def __init__(self, found: str, advice: str = _CAST_ADVICE) -> None:
        super().__init__(found)
        self.found = found
        self.advice = advice


def plain(column: Column, field: pa.Field[Any] | None = None) -> Column:
    """The column without its wrapping (dictionary, extension, large and view types); CannotConvert where it has no plain form."""
    if field is not None and (field.metadata or {}).get(b"POSTGRESQL:type") == b"money":
        raise CannotConvert("money", _MONEY_ADVICE)
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain(_storage(column))
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return plain(pc.call_function("run_end_decode", [column]))
    target = _plain_type(kind)
    return column if target is None else column.cast(target)


def converter(found: pa.DataType, declared: pa.DataType, naive_zone: str | None) -> Callable[[Column], Column]:
    """The conversion from a plain type to a declared one; CannotConvert where there is none."""
    if pa.types.is_null(found):
        return lambda column: nulls(len(column), declared)
    way = _WAYS.get((kind_of(found), kind_of(declared)))
    if way is None:
        raise CannotConvert(type_name(found), _advice(kind_of(found), kind_of(declared)))
    if way is _naive_to_instant and naive_zone is None:
        raise CannotConvert(f"{type_name(found)} (an instant without zone)", _ZONE_ADVICE)
    if way is _list_to_list:
        converter(plain(nulls(0, _item_type(found))).type, _item_type(declared), naive_zone)
    return lambda column: way(column, declared, naive_zone)


def nulls(count: int, kind: Any) -> Column:
    return pa.nulls(count, kind)


def kind_of(kind: pa.DataType) -> str:
    """The family of a plain type; 'other' for what cannot be declared."""
    if pa.types.is_timestamp(kind):
        return "naive" if kind.tz is None else "instant"
    for name, belongs in _KINDS.items():
        if belongs(kind):
            return name
    return "other"


_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "bool": pa.types.is_boolean,
    "int": pa.types.is_integer,
    "float": pa.types.is_floating,
    "decimal": pa.types.is_decimal,
    "string": pa.types.is_string,
    "binary": pa.types.is_binary,
    "date": pa.types.is_date,
    "time": pa.types.is_time,
    "list": pa.types.is_list,
}


def _advice(found: str, declared: str) -> str:
    if found in ("int", "float", "decimal") and declared == "instant":
        return _INSTANT_ADVICE
    if declared == "instant" and found == "date":
        return _ZONE_ADVICE
    return _CAST_ADVICE


def _item_type(listed: pa.DataType) -> pa.DataType:
    item: pa.DataType = listed.value_type  # type: ignore[attr-defined]
    return item


# --- Wrapping


def _plain_type(kind: pa.DataType) -> pa.DataType | None:
    """The plain type of a type that differs from it in layout alone; None for a type that is plain."""
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_large_list(kind) or pa.types.is_list_view(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_item_type(kind))
    return None


def _storage(column: Column) -> Column:
    """What lies under an extension type that is known to mean text; numbers and text of PostgreSQL among them."""
    kind: Any = column.type
    storage = column.storage
    if kind.extension_name == "arrow.uuid":
        return _uuid_text(storage)
    if kind.extension_name in ("arrow.json", "arrow.bool8"):
        return storage if kind.extension_name == "arrow.json" else pc.not_equal(storage, 0)
    if kind.extension_name == "arrow.opaque" and pa.types.is_string(kind.storage_type):
        return storage
    # The bytes of an opaque value are the database's own coding, not text.
    raise CannotConvert(getattr(kind, "type_name", kind.extension_name), _TEXT_ADVICE)


def _uuid_text(storage: Column) -> Column:
    """8-4-4-4-12 lower-case hexadecimal digits."""
    raw = b"".join(value or bytes(16) for value in storage.to_pylist())
    digits = np.frombuffer(raw.hex().encode(), np.uint8).reshape(-1, 32)
    text = np.full((len(storage), 36), ord("-"), np.uint8)
    for start, end, shift in ((0, 8, 0), (8, 12, 1), (12, 16, 2), (16, 20, 3), (20, 32, 4)):
        text[:, start + shift : end + shift] = digits[:, start:end]
    fixed = pa.Array.from_buffers(pa.binary(36), len(storage), [None, pa.py_buffer(text.tobytes())])
    return pc.if_else(storage.is_valid(), fixed.cast(pa.binary()).cast(pa.string()), None)


# --- Guards


def _require(holds: Any, message: str) -> None:
    """Raises where a value of a mask is false; nulls are fine."""
    if pc.all(holds, min_count=0).as_py() is False:
        raise pa.ArrowInvalid(message)


def _in_calendar(column: Column) -> Column:
    ticks = column.cast(pa.int32() if pa.types.is_date32(column.type) else pa.int64())
    first, last = (
        (_FIRST_DAY, _LAST_DAY) if pa.types.is_date32(column.type) else (_FIRST_MICROSECOND, _LAST_MICROSECOND)
    )
    _require(pc.and_(pc.greater_equal(ticks, first), pc.less_equal(ticks, last)), "outside the years 1 to 9999")
    return column


# --- Numbers


def _cast(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    """Arrow's own conversion, which fails on any loss that it can see."""
    return column.cast(to)


def _bool_to_number(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    return column.cast(pa.int8()).cast(to)


def _number_to_bool(column: Column, _to: pa.DataType, _zone: str | None = None) -> Column:
    _require(pc.or_(pc.equal(column, 0), pc.equal(column, 1)), "neither 0 nor 1")
    return pc.equal(column, 1)


def _decimal_to_bool(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    return _number_to_bool(column.cast(pa.int64()), to)


def _int_to_decimal(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    # By way of 20 digits, which hold any integer: Arrow refuses fewer whatever the values are.
    return column.cast(pa.decimal128(20, 0)).cast(to)


def _float_to_float(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    # To 64 bits first: Arrow knows no test for infinity on 16 bits.
    wide = column.cast(pa.float64())
    narrow = wide.cast(to)
    _require(pc.or_(pc.is_inf(wide), pc.invert(pc.is_inf(narrow))), "too large")
    return narrow


def _float_to_decimal(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    # 0.1 is meant as 0.1, not as the 55 digits that its bits stand for.
    return column.cast(pa.string()).cast(to)


def _trimmed(column: Column) -> Column:
    """Text without the blanks around it (char(n) of databases is padded) and without a leading plus."""
    return pc.replace_substring_regex(pc.utf8_trim_whitespace(_utf8(column)), r"^\+(\d|\.)", r"\1")


def _text_to_int(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    text = pc.replace_substring_regex(_trimmed(column), r"^(-?\d+)\.0*$", r"\1")
    # Arrow would take 0x1F too.
    _require(pc.match_substring_regex(text, r"^-?\d+$"), "not a whole number")
    return text.cast(to)


def _text_to_float(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    text = _trimmed(column)
    wide = text.cast(pa.float64())
    # 1e400 would become infinity in silence.
    meant = pc.match_substring_regex(text, r"^[+-]?inf(inity)?$", ignore_case=True)
    _require(pc.or_(pc.invert(pc.is_inf(wide)), meant), "too large")
    return _float_to_float(wide, to)


def _text_to_decimal(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    return _trimmed(column).cast(to)


def _text_to_bool(column: Column, _to: pa.DataType, _zone: str | None = None) -> Column:
    text = pc.utf8_lower(_trimmed(column))
    yes, no = (pc.is_in(text, pa.array(words)) for words in (["true", "t", "1"], ["false", "f", "0"]))
    _require(pc.or_(pc.or_(yes, no), text.is_null()), "neither true nor false")
    return pc.if_else(text.is_valid(), yes, None)


# --- Text and bytes


def _utf8(column: Column, _to: pa.DataType | None = None, _zone: str | None = None) -> Column:
    # What a file or a driver calls a string was not checked by it.
    column.validate(full=True)
    return column


# --- Days and instants


def _date_to_date(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    return _in_calendar(column.cast(to))


def _date_to_naive(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    return _in_calendar(column.cast(to))


def _naive_to_date(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    days = column.cast(to)
    _require(pc.equal(days.cast(column.type), column), "not midnight")
    return _in_calendar(days)


def _to_microseconds(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    if column.type.unit == "ns":
        # Downwards also before 1970; windows begin at whole microseconds, so none is left by it.
        column = pc.floor_temporal(column, unit="microsecond").cast(pa.timestamp("us", column.type.tz), safe=False)
    return _in_calendar(column.cast(to))


def _naive_to_instant(column: Column, to: pa.DataType, zone: str | None) -> Column:
    """An instant that the clocks of the zone show twice, or never, is not converted."""
    return _in_calendar(pc.assume_timezone(_to_microseconds(column, _NAIVE), zone or "UTC").cast(to))


def _text_to_date(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    text = pc.replace_substring_regex(_trimmed(column), _MIDNIGHT, r"\1")
    return _in_calendar(text.cast(to))


def _text_to_instant(column: Column, to: pa.DataType, zone: str | None) -> Column:
    text = pc.replace_substring_regex(_trimmed(column), _DIGITS_BEYOND_MICROSECONDS, r"\1")
    has_offset = pc.match_substring_regex(text, _CLOCK_AND_OFFSET)
    with_offset = pc.if_else(has_offset, text, None).cast(_UTC)
    without = pc.if_else(has_offset, None, text).cast(_NAIVE)
    return _in_calendar(pc.coalesce(with_offset, _naive_to_instant(without, to, zone)))


def _text_to_naive(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    text = pc.replace_substring_regex(_trimmed(column), _DIGITS_BEYOND_MICROSECONDS, r"\1")
    return _in_calendar(text.cast(to))


def _time_to_time(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    return column.cast(to, safe=False)  # From nanoseconds the digits beyond are cut off, as of instants.


def _text_to_time(column: Column, to: pa.DataType, _zone: str | None = None) -> Column:
    text = pc.replace_substring_regex(_trimmed(column), _DIGITS_BEYOND_MICROSECONDS, r"\1")
    _require(pc.match_substring_regex(text, _CLOCK), "not a time of day")
    return pc.binary_join_element_wise("1970-01-01", text, " ").cast(_NAIVE).cast(to)


# --- Lists


def _list_to_list(column: Column, to: pa.DataType, zone: str | None) -> Column:
    """A list with an item that cannot be converted cannot be converted."""
    items = plain(pc.list_flatten(column))
    converted = converter(items.type, _item_type(to), zone)(items)
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
    return pa.ListArray.from_arrays(offsets, converted, mask=column.is_null()).cast(to)


_WAYS: dict[tuple[str, str], Conversion] = {
    ("bool", "bool"): _cast,
    ("bool", "int"): _bool_to_number,
    ("bool", "float"): _bool_to_number,
    ("bool", "string"): _cast,
    ("int", "bool"): _number_to_bool,
    ("int", "int"): _cast,
    ("int", "float"): _cast,
    ("int", "decimal"): _int_to_decimal,
    ("int", "string"): _cast,
    ("float", "bool"): _number_to_bool,
    ("float", "int"): _cast,
    ("float", "float"): _float_to_float,
    ("float", "decimal"): _float_to_decimal,
    ("decimal", "bool"): _decimal_to_bool,
    ("decimal", "int"): _cast,
    ("decimal", "float"): _cast,
    ("decimal", "decimal"): _cast,
    ("decimal", "string"): _cast,
    ("string", "bool"): _text_to_bool,
    ("string", "int"): _text_to_int,
    ("string", "float"): _text_to_float,
    ("string", "decimal"): _text_to_decimal,
    ("string", "string"): _utf8,
    ("string", "binary"): _cast,
    ("string", "date"): _text_to_date,
    ("string", "time"): _text_to_time,
    ("string", "instant"): _text_to_instant,
    ("string", "naive"): _text_to_naive,
    ("binary", "binary"): _cast,
    ("binary", "string"): _cast,
    ("date", "date"): _date_to_date,
    ("date", "naive"): _date_to_naive,
    ("date", "string"): _cast,
    ("time", "time"): _time_to_time,
    ("instant", "instant"): _to_microseconds,
    ("naive", "naive"): _to_microseconds,
    ("naive", "date"): _naive_to_date,
    ("naive", "instant"): _naive_to_instant,
    ("list", "list"): _list_to_list,
}
