"""Rows from any database that has an ADBC driver, as a stream of Arrow batches, in one transaction that is rolled back.

PostgreSQL: read-only, repeatable read, with a statement timeout, in the session zone UTC. Its driver streams (by COPY)
only a query without parameters, and would hold the whole result of one with: so the bounds are bound to settings of the
transaction, which the query reads. `:as_of` is text there, the other binds are timestamptz.
Other drivers: `:as_of` is bound as text, the others as instants in UTC.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pyarrow as pa

from tasks.core.definitions.binds import Bound, spell_binds
from tasks.core.errors import SourceError
from tasks.core.source.address import Address
from tasks.core.source.driver import connected, is_passing, primary_message, state_of
from tasks.core.source.problems import guarded, problem

T = TypeVar("T")

_TIMED_OUT = "57014"
_READ_ONLY = "25006"
_UTC = pa.timestamp("us", tz="UTC")


@contextlib.contextmanager
def open_adbc(
    driver: str, address: Address, query: str, bound: Bound, *, batch_rows: int, timeout_seconds: float
) -> Iterator[tuple[list[str], Iterator[pa.RecordBatch]]]:
    """The names of the query's columns, and its rows as the driver gives them."""
    database = _Database(driver, address, timeout_seconds)
    try:
        reader = database.read_postgresql(query, bound) if driver == "postgresql" else database.read(query, bound)
        yield reader.schema.names, database.batches(reader, batch_rows)
    finally:
        database.close()


class _Database:
    """A connection, the cursors that were opened on it, and how its errors are told."""

    def __init__(self, driver: str, address: Address, timeout_seconds: float) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._open = contextlib.ExitStack()
        self._connection, self._errors = connected(driver, address)
        self._open.callback(self._quietly, self._connection.close)
        self._open.callback(self._quietly, self._connection.rollback)

    def read_postgresql(self, query: str, bound: Bound) -> Any:
        self._execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._execute("SET LOCAL TIME ZONE 'UTC'")
        self._execute(f"SET LOCAL statement_timeout = {max(1, round(self._timeout_seconds * 1000))}")
        settings = ", ".join(
            f"set_config('lamplighter.{name}', ${place}, true)" for place, name in enumerate(bound, start=1)
        )
        values = {name: pa.array([_as_text(value)]) for name, value in bound.items()}
        self._execute(f"SELECT {settings}", pa.RecordBatch.from_pydict(values))
        # The driver puts the query into brackets: it must not end in a semicolon, nor in a comment without an end.
        return self._execute(spell_binds(query, _postgresql_setting).rstrip().rstrip(";") + "\n")

    def read(self, query: str, bound: Bound) -> Any:
        values: dict[str, pa.Array[Any]] = {
            name: pa.array([value], _UTC if isinstance(value, dt.datetime) else pa.string())
            for name, value in bound.items()
        }
        order: list[str] = []
        text = spell_binds(query, lambda name: order.append(name) or "?")  # type: ignore[func-returns-value]
        given = pa.RecordBatch.from_arrays([values[name] for name in order], names=[str(n) for n in range(len(order))])
        return self._execute(text, given if order else None)

    def batches(self, reader: Any, batch_rows: int) -> Iterator[pa.RecordBatch]:
        # Closing alone would read what is left, to its end.
        unfinished = self._open.enter_context(contextlib.ExitStack())
        unfinished.callback(self._quietly, self._connection.adbc_cancel)
        while (batch := self._guarded(lambda: next(iter(reader), None))) is not None:
            for first in range(0, batch.num_rows, batch_rows):
                yield batch.slice(first, batch_rows)
        unfinished.pop_all()

    def close(self) -> None:
        self._open.close()

    def _execute(self, statement: str, parameters: pa.RecordBatch | None = None) -> Any:
        cursor = self._guarded(self._connection.cursor)
        self._open.callback(self._quietly, cursor.close)
        self._guarded(lambda: cursor.execute(statement, parameters))
        reader = self._guarded(cursor.fetch_record_batch)
        self._open.callback(self._quietly, reader.close)
        return reader

    def _guarded(self, call: Callable[[], T]) -> T:
        return guarded(call, self._errors, self._explain)

    def _quietly(self, close: Callable[[], None]) -> None:
        # What fails at the end of a read that failed already has nothing to add; the server rolls back by itself.
        with contextlib.suppress(*self._errors):
            close()

    def _explain(self, error: Exception) -> SourceError:
        state = state_of(error)
        where = self._address.name
        # In the middle of a stream there is no SQLSTATE to go by.
        if state in (_TIMED_OUT, "") and "statement timeout" in str(error):
            return problem(
                f"the query on {where} took longer than its limit of {self._timeout_seconds:g} s",
                next_step="make the query faster, or raise statement_timeout_seconds",
            )
        if state == _READ_ONLY:
            return problem(f"the query on {where} tries to write, and a source is read only")
        told = self._address.without_secrets(primary_message(error))
        return problem(f"the query on {where} failed: {told}", transient=is_passing(error))


def _postgresql_setting(name: str) -> str:
    setting = f"current_setting('lamplighter.{name}')"
    return setting if name == "as_of" else f"CAST({setting} AS timestamptz)"


def _as_text(value: dt.datetime | str) -> str:
    return value.isoformat() if isinstance(value, dt.datetime) else value
