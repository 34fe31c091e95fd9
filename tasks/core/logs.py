"""Log lines that say which run they belong to: text for people, one JSON object a line for machines.

Everything is logged through `log` here, whose lines hold the job, the window and the run of whoever calls. A line stays
one line whatever a job's data holds.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import re
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, TextIO

from tasks.core.harmless import harmless
from tasks.core.settings import Settings

RUN_FIELDS = ("job", "as_of", "run_id")
_MORE_FIELDS = ("stage", "seconds", "rows")
_LONGEST = 4000
_PLAIN = re.compile(r"[\w.:/+-]+", re.ASCII)

# One record a run: the stages' threads share it, so that all see the run's name as soon as it has one.
_bound: ContextVar[dict[str, Any] | None] = ContextVar("lamplighter_run", default=None)


@contextlib.contextmanager
def run_fields(**fields: str | None) -> Iterator[None]:
    """The lines of the block belong to one run, of which so much is known already."""
    token = _bound.set({name: value for name, value in fields.items() if value})
    try:
        yield
    finally:
        _bound.reset(token)


def know(**fields: str) -> None:
    """More is known of the run whose lines these are."""
    bound = _bound.get()
    if bound is not None:
        bound.update(fields)


def count(*, seconds: float, rows: int | None) -> None:
    """What a stage did, for the line at its end."""
    bound = _bound.get()
    if bound is not None:
        bound["counted"] = (seconds, rows)


def counted() -> tuple[float, int | None] | None:
    """What the last stage said that it did; once."""
    bound = _bound.get()
    return bound.pop("counted", None) if bound is not None else None


def show_lines(*, usual_level: str | None) -> None:
    """Lets the lines go to standard error, as the settings say; at the usual level where they say nothing."""
    settings = Settings()
    for earlier in _shown():
        log.removeHandler(earlier)
    level = settings.log_level or usual_level
    handler = _ToStandardError()
    handler.setFormatter(_Json() if settings.log_format == "json" else _Text())
    handler.setLevel(level.upper() if level else logging.CRITICAL + 1)
    log.setLevel(logging.DEBUG if level == "debug" else logging.INFO)
    log.addHandler(handler)
    # What the root logger shows belongs to whoever set it up.
    log.propagate = False


def is_decided() -> bool:
    """Whether somebody said whether lines are shown: a command that is typed does, before a flow in it would."""
    return bool(_shown())


def one_line(text: str) -> str:
    """The text without anything that could end a line, move a cursor or pass for another line; cut where it is long."""
    return harmless(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")


class _OfRun(logging.Filter):
    """Adds the run to each line before any handler sees it, and makes the message one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        bound = _bound.get() or {}
        for name in RUN_FIELDS:
            setattr(record, name, one_line(str(bound.get(name, ""))))
        record.msg, record.args = one_line(record.getMessage()), None
        return True


class _ToStandardError(logging.StreamHandler[TextIO]):
    """Looks up standard error at each line: who redirects it gets the lines."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class _Text(logging.Formatter):
    """The instant, the level, the run's fields, and the message: `... INFO job=churn as_of=2026-11-20 run_id=- Begins`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={_word(getattr(record, name, ''))}" for name in RUN_FIELDS)
        return f"{_instant(record)} {record.levelname} {fields} {record.getMessage()}{self._trace(record)}"

    def _trace(self, record: logging.LogRecord) -> str:
        if not record.exc_info:
            return ""
        lines = self.formatException(record.exc_info).splitlines()
        return "".join(f"\n  | {one_line(line)}" for line in lines)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _instant(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name, "") or None for name in RUN_FIELDS}
        line |= {name: getattr(record, name) for name in _MORE_FIELDS if getattr(record, name, None) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _shown() -> list[logging.Handler]:
    return [handler for handler in log.handlers if isinstance(handler, _ToStandardError)]


def _instant(record: logging.LogRecord) -> str:
    return dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _word(value: str) -> str:
    """The value, in quotes where it is not one plain word."""
    return (value if _PLAIN.fullmatch(value) else json.dumps(value)) if value else "-"


log = logging.getLogger("lamplighter")
log.addFilter(_OfRun())
# Where nobody wants lines, Python's own last resort would print the warnings.
log.addHandler(logging.NullHandler())
log.setLevel(logging.INFO)
