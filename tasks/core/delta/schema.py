"""A Delta table's columns: the contract of the published rows in Delta's own words."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from tasks.core.errors import DefinitionError

PARTITION = "as_of"
_TYPES: dict[pa.DataType, str] = {
    pa.bool_(): "boolean",
    pa.int8(): "byte",
    pa.int16(): "short",
    pa.int32(): "integer",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.binary(): "binary",
    pa.date32(): "date",
    pa.timestamp("us", tz="UTC"): "timestamp",
}

Field = dict[str, Any]


def fields_of(schema: pa.Schema, *, table: str) -> list[Field]:
    """The columns of a file, with the partition's; DefinitionError for a type that Delta does not have."""
    return [*(_field(one, table) for one in schema), _named(PARTITION, "string")]


def merged(standing: list[Field], wanted: list[Field], *, table: str) -> list[Field]:
    """The table's columns, and after them those that are new; DefinitionError where a column would have another type.

    Or a name that differs in case alone: the deltalake package opens no such table. A column that is no longer published
    stays: the rows of earlier windows have it, later ones read as null.
    """
    known = {one["name"].casefold(): one for one in standing}
    found = list(standing)
    for one in wanted:
        before = known.setdefault(one["name"].casefold(), one)
        if (before["name"], before["type"]) != (one["name"], one["type"]):
            raise _refused(before, one, table)
        if before is one:
            found.append(one)
    return found


def schema_string(fields: list[Field]) -> str:
    return json.dumps({"type": "struct", "fields": fields}, separators=(",", ":"))


def fields_in(schema_string: str) -> list[Field]:
    """The columns that a log's metadata names."""
    found: list[Field] = json.loads(schema_string)["fields"]
    return found


def _refused(before: Field, one: Field, table: str) -> DefinitionError:
    wanted, rule = _said(one), "a column of a Delta table has one type in all windows"
    if before["name"] != one["name"]:
        wanted, rule = f"'{one['name']}'", "to a Delta table names that differ in case alone are the same"
    return DefinitionError(
        f"the Delta table {table} has the column '{before['name']}' as {_said(before)}, and the job would publish it as "
        f"{wanted}: {rule}",
        state="nothing was pulled, and readers see what they saw",
        next_step=f"publish it under another name and raise output.version; or publish under the name of another "
        f"job, and score its windows: lamplighter backfill JOB, instead of {table}",
    )


def _field(field: pa.Field[Any], table: str) -> Field:
    kind = _type(field.type)
    if kind is None:
        raise DefinitionError(
            f"the column '{field.name}' of {table} is {field.type}, which no plain Delta table holds",
            state="nothing was pulled, and readers see what they saw",
            next_step="publish it as another type, such as timestamp or string, or set output.format: parquet",
        )
    return _named(field.name, kind)


def _type(kind: pa.DataType) -> Any:
    if kind in _TYPES:
        return _TYPES[kind]
    if isinstance(kind, pa.Decimal128Type) and 0 <= kind.scale <= kind.precision:
        return f"decimal({kind.precision},{kind.scale})"
    if isinstance(kind, pa.ListType):
        element = _type(kind.value_type)
        return element and {"type": "array", "elementType": element, "containsNull": True}
    return None


def _named(name: str, kind: Any) -> Field:
    return {"name": name, "type": kind, "nullable": True, "metadata": {}}


def _said(field: Field) -> str:
    return str(field["type"]) if isinstance(field["type"], str) else json.dumps(field["type"])
