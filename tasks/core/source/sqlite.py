"""Rows from a SQLite file, by Python's own driver: read-only, in one transaction, with a time limit.

SQLite types values, not columns. Values go on as they are where a column is of one kind, and as text where kinds are
mixed, so that the declared types decide. Instants are bound as 'YYYY-MM-DD HH:MM:SS' in UTC, which is what SQLite's own
datetime() writes: a column that is stored in another form is compared rightly only through datetime(column).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import pyarrow as pa

from tasks.core.definitions.binds import Bound, spell_binds
from tasks.core.errors import SourceError
from tasks.core.rows.conversions import Column
from tasks.core.source.problems import guarded, problem

T = TypeVar("T")

_ROWS_AT_ONCE = 10_000  # Python's objects are large: a batch is read in parts.
_STEPS_BETWEEN_LOOKS = 10_000
_WAIT_FOR_LOCK_SECONDS = 5.0
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextlib.contextmanager
def open_sqlite(
    path: str, query: str, bound: Bound, columns: pa.Schema | None, *, batch_rows: int, timeout_seconds: float
) -> Iterator[tuple[list[str], Iterator[pa.RecordBatch]]]:
    """The names of the query's columns, and its rows: of columns that are declared, these alone."""
    reader = _Reader(path, timeout_seconds)
    try:
        names = reader.run(lambda cursor: _begin(cursor, query, bound))
        if not names:
            raise problem(
                f"the query on {path} gives no rows: it is not a SELECT", next_step="give a query that selects"
            )
        yield names, _batches(reader, names, columns, min(batch_rows, _ROWS_AT_ONCE))
    finally:
        reader.close()


class _Reader:
    """A connection that reads, and a limit on the time that the database takes in all."""

    def __init__(self, path: str, timeout_seconds: float) -> None:
        self._path = path
        self._timeout_seconds = self._left_seconds = timeout_seconds
        self._deadline = 0.0
        self._connection = guarded(lambda: _connect(path), (sqlite3.Error,), self._explain)
        self._connection.set_progress_handler(self._is_late, _STEPS_BETWEEN_LOOKS)
        self._cursor = self._connection.cursor()

    def run(self, action: Callable[[sqlite3.Cursor], T]) -> T:
        """What the action returns; the time that it takes is taken from what is left."""
        started = time.monotonic()
        self._deadline = started + self._left_seconds
        try:
            return guarded(lambda: action(self._cursor), (sqlite3.Error,), self._explain)
        finally:
            self._left_seconds -= time.monotonic() - started

    def close(self) -> None:
        # A statement that was not read to its end would hold its lock.
        self._cursor.close()
        self._connection.close()

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def _explain(self, error: Exception) -> SourceError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_INTERRUPT:
            return problem(
                f"the query on {self._path} took longer than its limit of {self._timeout_seconds:g} s",
                next_step="make the query faster, or raise statement_timeout_seconds",
            )
        if code == sqlite3.SQLITE_READONLY:
            return problem(f"the query on {self._path} tries to write, and a source is read only")
        return problem(f"the query on {self._path} failed: {error}", transient=code in _PASSING)


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(path)}?mode=ro",
        uri=True,
        isolation_level=None,
        timeout=_WAIT_FOR_LOCK_SECONDS,
        # Whoever reads ahead does so in a thread; never two at once.
        check_same_thread=False,
    )
    # ATTACH would open another file, and make one that is not there: in a read-only transaction too.
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    # Bytes, not str: text that is not UTF-8 is to cost its own row, not the read.
    connection.text_factory = bytes
    return connection


def _begin(cursor: sqlite3.Cursor, query: str, bound: Bound) -> list[str]:
    """Starts the query, and gives the names of its columns."""
    cursor.execute("PRAGMA query_only = ON")
    cursor.execute("BEGIN")
    values = {name: _instant(value) if isinstance(value, dt.datetime) else value for name, value in bound.items()}
    cursor.execute(spell_binds(query, lambda name: f":{name}"), values)
    return [column[0] for column in cursor.description or ()]


def _instant(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _batches(reader: _Reader, names: Sequence[str], columns: pa.Schema | None, count: int) -> Iterator[pa.RecordBatch]:
    if columns is None:
        wanted = [(place, pa.field(name, pa.null())) for place, name in enumerate(names)]
    else:
        # A column that the query may lack is not made here.
        wanted = [(names.index(field.name), field) for field in columns if field.name in names]
    while rows := reader.run(lambda cursor: cursor.fetchmany(count)):
        values = list(zip(*rows, strict=True))
        arrays = [_column(values[place], field.type) for place, field in wanted]
        yield pa.RecordBatch.from_arrays(arrays, names=[field.name for _, field in wanted])


def _column(values: Sequence[Any], declared: pa.DataType) -> Column:
    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return _text(values)
    if pa.types.is_binary(column.type) and not pa.types.is_binary(declared):
        return column.view(pa.string())
    if pa.types.is_floating(column.type) and pa.types.is_string(declared):
        return _text(values)
    return column


def _text(values: Sequence[Any]) -> Column:
    as_bytes = [value if value is None or isinstance(value, bytes) else repr(value).encode() for value in values]
    return pa.array(as_bytes, pa.binary()).view(pa.string())
