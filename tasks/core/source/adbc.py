"""Rows from any database that has an ADBC driver, as a stream of Arrow batches, in one transaction that is rolled back.

PostgreSQL: read-only, repeatable read, with a statement timeout, in the session zone UTC. Its driver streams (by COPY)
only a query without parameters, and would hold the whole result of one with: so the bounds are bound to settings of the
transaction, which the query reads. `:start` and `:end` are timestamptz there, `:as_of` is text.
Other drivers: `:start` and `:end` are bound as instants in UTC, `:as_of` as text.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeVar

import pyarrow as pa

from tasks.core.definitions.window import Window
from tasks.core.errors import DefinitionError, SourceError
from tasks.core.source.address import Address
from tasks.core.source.binds import BINDS, spell_binds
from tasks.core.source.problems import guarded, problem

T = TypeVar("T")

_EXTRAS = ("postgresql",)
_CONNECT_SECONDS = 30
_TIMED_OUT = "57014"
_READ_ONLY = "25006"
# Of SQLSTATE: connection, serialization failure, deadlock, too many connections, shutdown and start of the server.
_PASSING_STATES = re.compile(r"08...|40001|40P01|53300|57P0[1-5]")
_PASSING_WORDS = re.compile(
    r"connection refused|connection reset|closed the connection|starting up|shutting down|timeout expired|timed out|"
    r"temporary failure|too many clients|no such file or directory|network is unreachable|no route to host|"
    r"in recovery mode|terminating connection|could not serialize access|deadlock detected|conflict with recovery",
    re.IGNORECASE,
)
_DRIVER_PREFIX = re.compile(
    r"^([A-Z_]+: )?(\[\w+\] )?(Failed to \w+( \w+)?: |Execution error \[\w+\]: )?((ERROR|FATAL): +)?"
)
_UTC = pa.timestamp("us", tz="UTC")


@contextlib.contextmanager
def open_adbc(
    driver: str, address: Address, query: str, window: Window, *, batch_rows: int, timeout_seconds: float
) -> Iterator[tuple[list[str], Iterator[pa.RecordBatch]]]:
    """The names of the query's columns, and its rows as the driver gives them."""
    database = _Database(driver, address, timeout_seconds)
    try:
        reader = database.read_postgresql(query, window) if driver == "postgresql" else database.read(query, window)
        yield reader.schema.names, database.batches(reader, batch_rows)
    finally:
        database.close()


class _Database:
    """A connection, the cursors that were opened on it, and how its errors are told."""

    def __init__(self, driver: str, address: Address, timeout_seconds: float) -> None:
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._open = contextlib.ExitStack()
        module = _driver_module(driver)
        # Arrow's, for what fails in the middle of a stream.
        self._errors = (module.Error, pa.ArrowException, OSError)
        self._connection = guarded(
            lambda: module.connect(_uri(driver, address)), self._errors, self._explain_connecting
        )
        self._open.callback(self._quietly, self._connection.close)
        self._open.callback(self._quietly, self._connection.rollback)

    def read_postgresql(self, query: str, window: Window) -> Any:
        self._execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._execute("SET LOCAL TIME ZONE 'UTC'")
        self._execute(f"SET LOCAL statement_timeout = {max(1, round(self._timeout_seconds * 1000))}")
        settings = ", ".join(
            f"set_config('lamplighter.{name}', ${place}, true)" for place, name in enumerate(BINDS, start=1)
        )
        bounds = (window.start.isoformat(), window.end.isoformat(), window.as_of)
        self._execute(
            f"SELECT {settings}", pa.RecordBatch.from_pydict(dict(zip(BINDS, map(_one, bounds), strict=True)))
        )
        # The driver puts the query into brackets: it must not end in a semicolon, nor in a comment without an end.
        return self._execute(spell_binds(query, _postgresql_setting).rstrip().rstrip(";") + "\n")

    def read(self, query: str, window: Window) -> Any:
        values: dict[str, pa.Array[Any]] = {
            "start": pa.array([window.start], _UTC),
            "end": pa.array([window.end], _UTC),
            "as_of": pa.array([window.as_of]),
        }
        order: list[str] = []
        text = spell_binds(query, lambda name: order.append(name) or "?")  # type: ignore[func-returns-value]
        bounds = pa.RecordBatch.from_arrays([values[name] for name in order], names=[str(n) for n in range(len(order))])
        return self._execute(text, bounds if order else None)

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

    def _explain_connecting(self, error: Exception) -> SourceError:
        message = _one_line(error)
        return problem(
            f"could not connect to {self._address.name}: {self._address.without_address(message)}",
            transient=bool(_PASSING_WORDS.search(message)),
            next_step="check the address, and that the server is up and lets this machine in",
        )

    def _explain(self, error: Exception) -> SourceError:
        state = getattr(error, "sqlstate", None) or ""
        where = self._address.name
        # In the middle of a stream there is no SQLSTATE to go by.
        if state in (_TIMED_OUT, "") and "statement timeout" in str(error):
            return problem(
                f"the query on {where} took longer than its limit of {self._timeout_seconds:g} s",
                next_step="make the query faster, or raise statement_timeout_seconds",
            )
        if state == _READ_ONLY:
            return problem(f"the query on {where} tries to write, and a source is read only")
        message = _primary_message(error)
        passing = bool(_PASSING_STATES.fullmatch(state)) or (not state and bool(_PASSING_WORDS.search(message)))
        return problem(f"the query on {where} failed: {self._address.without_secrets(message)}", transient=passing)


def _driver_module(driver: str) -> ModuleType:
    """The driver's DBAPI; DefinitionError with what to install where it is not there."""
    package = f"adbc_driver_{driver}"
    try:
        # The manager itself would load whatever library the address names.
        if driver != "manager":
            return importlib.import_module(f"{package}.dbapi")
    except ModuleNotFoundError:
        pass
    wanted = f"lamplighter[{driver}]" if driver in _EXTRAS else package.replace("_", "-")
    raise DefinitionError(
        f"the job's source needs the driver '{driver}', and it is not installed",
        state="nothing was started",
        next_step=f"pip install '{wanted}'",
    )


def _uri(driver: str, address: Address) -> str:
    """The address, with a limit for libpq, which would wait for minutes for a host that does not answer."""
    text = address.text.get_secret_value()
    if driver != "postgresql" or "connect_timeout" in text:
        return text
    joint = " " if "://" not in text else "&" if "?" in text else "?"
    return f"{text}{joint}connect_timeout={_CONNECT_SECONDS}"


def _postgresql_setting(name: str) -> str:
    setting = f"current_setting('lamplighter.{name}')"
    return setting if name == "as_of" else f"CAST({setting} AS timestamptz)"


def _one(value: str) -> pa.Array[Any]:
    return pa.array([value])


def _primary_message(error: Exception) -> str:
    """The server's own sentence and hint, without the query that drivers repeat; else the first line."""
    details = dict(getattr(error, "details", None) or [])
    parts = [details.get(b"PG_DIAG_MESSAGE_PRIMARY"), details.get(b"PG_DIAG_MESSAGE_HINT")]
    told = ". ".join(part.decode(errors="replace").rstrip(".") for part in parts if part)
    return told or _one_line(error, lines=1)


def _one_line(error: Exception, lines: int = 2) -> str:
    text = " ".join(line.strip() for line in str(error).strip().splitlines()[:lines]) or type(error).__name__
    return _DRIVER_PREFIX.sub("", text).rstrip(".")
