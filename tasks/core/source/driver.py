"""ADBC drivers: how one is loaded and connected, and how what goes wrong with a database is told without a secret."""

from __future__ import annotations

import importlib
import re
from types import ModuleType
from typing import Any

from tasks.core.errors import DefinitionError, SourceError
from tasks.core.source.address import Address
from tasks.core.source.problems import guarded, problem

_EXTRAS = ("postgresql",)
_CONNECT_SECONDS = 30
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


def connected(driver: str, address: Address, *, whose: str = "source") -> tuple[Any, tuple[type[Exception], ...]]:
    """A connection, which is in a transaction from its first statement on, and the kinds of errors that it raises.

    SourceError where the database cannot be reached, DefinitionError where the driver is not installed.
    """
    module = _driver_module(driver, whose)
    # Whatever a driver raises may hold the address: its own errors, Arrow's in the middle of a stream, and any other.
    errors = (Exception,)

    def explain(error: Exception) -> SourceError:
        message = _one_line(error)
        return problem(
            f"could not connect to {address.name}: {address.without_address(message)}",
            transient=bool(_PASSING_WORDS.search(message)),
            next_step="check the address, and that the server is up and lets this machine in",
        )

    return guarded(lambda: module.connect(_uri(driver, address)), errors, explain), errors


def state_of(error: Exception) -> str:
    """The SQLSTATE of a driver's error; '' where it has none."""
    return getattr(error, "sqlstate", None) or ""


def is_passing(error: Exception) -> bool:
    """Whether the failure may pass by itself."""
    state = state_of(error)
    if state:
        return bool(_PASSING_STATES.fullmatch(state))
    return bool(_PASSING_WORDS.search(primary_message(error)))


def primary_message(error: Exception) -> str:
    """The server's own sentence and hint, without the query that drivers repeat; else the first line."""
    details = dict(getattr(error, "details", None) or [])
    parts = [details.get(b"PG_DIAG_MESSAGE_PRIMARY"), details.get(b"PG_DIAG_MESSAGE_HINT")]
    told = ". ".join(part.decode(errors="replace").rstrip(".") for part in parts if part)
    return told or _one_line(error, lines=1)


def _driver_module(driver: str, whose: str) -> ModuleType:
    """The driver's DBAPI; DefinitionError with what to install where it is not there."""
    package = f"adbc_driver_{driver}"
    try:
        # The manager itself would load whatever library the address names.
        if driver != "manager":
            return importlib.import_module(f"{package}.dbapi")
    except ModuleNotFoundError:
        pass
    raise DefinitionError(
        f"the job's {whose} needs the driver '{driver}', and it is not installed",
        state="nothing was started",
        next_step=how_to_install(driver),
    )


def how_to_install(driver: str) -> str:
    """The command that brings a driver."""
    wanted = f"lamplighter[{driver}]" if driver in _EXTRAS else f"adbc-driver-{driver}".replace("_", "-")
    return f"pip install '{wanted}'"


def _uri(driver: str, address: Address) -> str:
    """The address, with a limit for libpq, which would wait for minutes for a host that does not answer."""
    text = address.text.get_secret_value()
    if driver != "postgresql" or "connect_timeout" in text:
        return text
    joint = " " if "://" not in text else "&" if "?" in text else "?"
    return f"{text}{joint}connect_timeout={_CONNECT_SECONDS}"


def _one_line(error: Exception, lines: int = 2) -> str:
    text = " ".join(line.strip() for line in str(error).strip().splitlines()[:lines]) or type(error).__name__
    return _DRIVER_PREFIX.sub("", text).rstrip(".")
