"""The types that a job may declare for a column, and the Arrow types they stand for.

Instants are microseconds in UTC, text is plain UTF-8: what every reader of Parquet understands alike.
"""

from __future__ import annotations

import re

import pyarrow as pa

SIMPLE_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_naive": pa.timestamp("us"),
}
_DECIMAL = re.compile(r"decimal\((\d{1,2}), ?(-?\d{1,2})\)")
_MOST_DIGITS = 38  # What 128 bits hold.
_LIST = re.compile(r"list<(.+)>")

ALLOWED = f"{', '.join(SIMPLE_TYPES)}, decimal(P, S), list<TYPE>"


def parse_type(name: str) -> pa.DataType:
    """The Arrow type of a declared name; ValueError says what is allowed."""
    if name in SIMPLE_TYPES:
        return SIMPLE_TYPES[name]
    if (decimal := _DECIMAL.fullmatch(name)) and 1 <= int(decimal[1]) <= _MOST_DIGITS:
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    if listed := _LIST.fullmatch(name):
        return pa.list_(parse_type(listed[1]))
    raise ValueError(f"'{name}' is not a column type; allowed: {ALLOWED}")


def type_name(arrow_type: pa.DataType) -> str:
    """The declared name of an Arrow type, or Arrow's own name where a job cannot declare it."""
    for name, known in SIMPLE_TYPES.items():
        if known.equals(arrow_type):
            return name
    if pa.types.is_decimal(arrow_type):
        return f"decimal({arrow_type.precision}, {arrow_type.scale})"
    if pa.types.is_list(arrow_type):
        return f"list<{type_name(arrow_type.value_type)}>"
    return str(arrow_type)
