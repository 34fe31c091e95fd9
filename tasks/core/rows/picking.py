"""Some rows of Parquet files, in the columns of another: what a table is made of that takes its rows from many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.core.rows.newest import Places
from tasks.core.storage.tables import TableReader


def conform_to(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with these columns; what it lacks, or has in a type that cannot become today's, is null."""
    columns = [_column(table, field) for field in schema]
    return pa.table(columns, schema=schema)


def can_become(file: TableReader, schema: pa.Schema) -> bool:
    """Whether all values of these columns can have these types; they are read where they have others."""
    if all(file.schema_arrow.field(field.name).type.equals(field.type) for field in schema):
        return True
    try:
        for group in range(file.num_row_groups):
            file.read_row_group(group, columns=schema.names).select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _column(table: pa.Table, field: pa.Field[Any]) -> Any:
    if field.name in table.column_names:
        column = table[field.name]
        if column.type.equals(field.type):
            return column
        try:
            return column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    return pa.nulls(len(table), field.type)


def taken(file: TableReader, places: Places) -> Iterator[pa.Table]:
    """The rows at these places, a row group at a time; one that is taken whole is not copied."""
    first = 0
    for group in range(file.num_row_groups):
        end = first + file.metadata.row_group(group).num_rows
        here = places[np.searchsorted(places, first) : np.searchsorted(places, end)] - first
        if len(here):
            table = file.read_row_group(group)
            yield table if len(here) == len(table) else table.take(here)
        first = end


def in_groups(tables: Iterator[pa.Table], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """The same rows, in tables of so many rows or more, but for the last."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= rows:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables([schema.empty_table(), *held])
