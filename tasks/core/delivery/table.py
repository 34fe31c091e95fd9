"""The database's table: how published columns stand in PostgreSQL, and whether a table that is there can take them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from tasks.core.definitions.column_types import type_name
from tasks.core.errors import NotDelivered

AS_OF = "as_of"
LONGEST_NAME_BYTES = 63  # What is longer PostgreSQL cuts without a word.

# As PostgreSQL itself spells them, so that they compare.
_TYPES = {
    "bool": "boolean",
    "int8": "smallint",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "float32": "real",
    "float64": "double precision",
    "string": "text",
    "binary": "bytea",
    "date": "date",
    "time": "time without time zone",
    "timestamp": "timestamp with time zone",
    "timestamp_naive": "timestamp without time zone",
}
# Other types that hold every value, or refuse one that they cannot hold.
_ALSO_FITS = {
    "smallint": ("integer", "bigint", "real", "double precision"),
    "integer": ("bigint", "double precision"),
    "real": ("double precision",),
    "text": ("character varying",),
}
_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
_NUMERIC = re.compile(r"numeric(?:\((\d+),(-?\d+)\))?")


@dataclass(frozen=True)
class Column:
    """A column of a table that is there: its type as the server spells it, and whether each row must give a value."""

    type: str
    is_required: bool = False


def quoted(name: str) -> str:
    """A name as an identifier of SQL, whatever it is made of."""
    return '"' + name.replace('"', '""') + '"'


def sql_type(kind: pa.DataType) -> str | None:
    """The type of a column in PostgreSQL; None where it has none that takes every value."""
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision},{kind.scale})"
    if pa.types.is_list(kind):
        # Lists of lists must there be of one length each.
        of = None if pa.types.is_list(kind.value_type) else sql_type(kind.value_type)
        return f"{of}[]" if of else None
    return _TYPES.get(type_name(kind))


def columns_of(schema: pa.Schema) -> dict[str, str]:
    """The published columns with their types in PostgreSQL, in order; NotDelivered names those that it cannot take."""
    wrong = [name for name in schema.names if len(name.encode()) > LONGEST_NAME_BYTES]
    if wrong:
        raise _not_taken(
            f"PostgreSQL takes names of at most {LONGEST_NAME_BYTES} bytes, and there are longer ones: {_named(wrong)}",
            "give these columns shorter names",
        )
    found = {field.name: sql_type(field.type) for field in schema}
    if lacking := [f"'{name}' ({type_name(schema.field(name).type)})" for name, kind in found.items() if kind is None]:
        raise _not_taken(
            f"PostgreSQL has no type for the columns {', '.join(lacking)}",
            "take them out of output.pass_through, or let the source's query give them as text",
        )
    return {name: kind for name, kind in found.items() if kind is not None}


def check_columns(table: str, wanted: Mapping[str, str], found: Mapping[str, Column]) -> None:
    """NotDelivered where a table cannot take the columns, with the SQL that mends it; `table` is as SQL names it.

    A column is never to be given a type that cannot hold what other windows have in it.
    """
    problems, cures, kept = [], [], []
    for name, kind in wanted.items():
        if name not in found:
            problems.append(f"it has no column '{name}' ({kind})")
            cures.append(f"ADD COLUMN {quoted(name)} {kind}")
        elif not fits(kind, found[name].type):
            problems.append(f"its column '{name}' is {found[name].type}, and must be {kind}")
            if (cure := _widened(name, found[name].type, kind)) is None:
                kept.append(name)
            else:
                cures.append(cure)
    for name, column in found.items():
        if name not in wanted and column.is_required:
            problems.append(f"its column '{name}' must have a value, and the job gives none")
            cures.append(f"ALTER COLUMN {quoted(name)} DROP NOT NULL")
    if problems:
        raise _not_taken(
            f"the table {table} cannot take the job's rows: {'; '.join(problems)}",
            f"score the window again with --rescore if its rows are older than the types that the job has now, or name "
            f"another table in output.sql: {_named(kept)} cannot be altered without loss to what the table has"
            if kept
            else f"whoever owns the table runs: ALTER TABLE {table} {', '.join(cures)};",
        )


def _widened(name: str, found: str, wanted: str) -> str | None:
    """How a column gets the type that is wanted; None where that cannot hold every value of the type that it has."""
    if (found, wanted) == (_TYPES["timestamp_naive"], _TYPES["timestamp"]):
        return f"ALTER COLUMN {quoted(name)} TYPE {wanted} USING {quoted(name)} AT TIME ZONE 'UTC'"
    elements = found.removesuffix("[]"), wanted.removesuffix("[]")
    is_list = (found.endswith("[]"), wanted.endswith("[]"))
    holds = wanted == "text" or (is_list[0] == is_list[1] and fits(*elements))
    return f"ALTER COLUMN {quoted(name)} TYPE {wanted}" if holds else None


def fits(wanted: str, found: str) -> bool:
    """Whether a column of type `found` holds every value of type `wanted`, or refuses it aloud."""
    if wanted == found or found in _ALSO_FITS.get(wanted, ()):
        return True
    if wanted == "text":
        return found.startswith("character varying")
    numeric = _NUMERIC.fullmatch(found)
    if numeric is None:
        return False
    digits = _digits(wanted)
    if digits is None or numeric[1] is None:
        return digits is not None
    before, after = int(numeric[1]) - int(numeric[2]), int(numeric[2])
    return before >= digits[0] and after >= digits[1]


def _digits(kind: str) -> tuple[int, int] | None:
    """The digits before and after the point that a number of this type may have; None of any other type."""
    if kind in _DIGITS:
        return _DIGITS[kind], 0
    numeric = _NUMERIC.fullmatch(kind)
    if numeric is None or numeric[1] is None:
        return None
    return int(numeric[1]) - int(numeric[2]), int(numeric[2])


def _not_taken(failed: str, next_step: str) -> NotDelivered:
    return NotDelivered(failed, next_step=next_step)


def _named(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
