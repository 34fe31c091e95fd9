"""Rows of a SQL query: SQLite by Python's own driver, any other database by ADBC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pyarrow as pa

from tasks.core.definitions.binds import Bound
from tasks.core.definitions.source import SqlSource
from tasks.core.source.adbc import open_adbc
from tasks.core.source.address import BlockReader, address_of
from tasks.core.source.local import existing_path
from tasks.core.source.sqlite import open_sqlite
from tasks.core.storage import Folder

Opened = AbstractContextManager[tuple[list[str], Iterator[pa.RecordBatch]]]


def open_sql(
    source: SqlSource,
    query: str,
    bound: Bound,
    columns: pa.Schema | None,
    *,
    project: Folder,
    batch_rows: int,
    read_block: BlockReader | None,
) -> Opened:
    """The names of the query's columns, and its rows as the driver gives them: of SQLite only those declared, if any are."""
    address = address_of(source, source.driver, read_block)
    if source.driver == "sqlite":
        path = existing_path(project, address.text.get_secret_value(), "the SQLite database")
        return open_sqlite(
            path, query, bound, columns, batch_rows=batch_rows, timeout_seconds=source.statement_timeout_seconds
        )
    return open_adbc(
        source.driver,
        address,
        query,
        bound,
        batch_rows=batch_rows,
        timeout_seconds=source.statement_timeout_seconds,
    )
