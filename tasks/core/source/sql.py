"""Rows of a SQL query: SQLite by Python's own driver, any other database by ADBC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pyarrow as pa

from tasks.core.definitions.binds import Bound
from tasks.core.definitions.source import SqlSource
from tasks.core.errors import DefinitionError
from tasks.core.secret_parts import holds_secret
from tasks.core.source.adbc import open_adbc
from tasks.core.source.address import Address, BlockReader, address_of
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
        path = existing_path(project, _path_in(address), "the SQLite database")
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


def _path_in(address: Address) -> str:
    """The path, which is told where something is wrong with it; an address of another database has no place there."""
    text = address.text.get_secret_value()
    if address.is_secret and ("://" in text or holds_secret(text)):
        raise DefinitionError(
            f"{address.name}: what stands there is no path of a SQLite file",
            state="nothing was started",
            next_step="put the file's path there, or mend source.driver in the job",
        )
    return text
