"""Ready: the source is asked whether the window is complete, until it says yes or the time is up."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tasks.core import progress
from tasks.core.definitions.operation import Ready
from tasks.core.definitions.schedule import length
from tasks.core.definitions.source import SqlSource
from tasks.core.errors import JobError, SourceLate
from tasks.core.logs import log
from tasks.core.rows import snapshot
from tasks.core.runs.retained import retained_snapshot
from tasks.core.runs.run import Run, manifest_of
from tasks.core.source import ask
from tasks.secrets import secret_address
from tasks.stage import Stage

STAGE = "ready"
# A run that is cancelled while it sleeps ends with the nap.
_NAP_SECONDS, _SHORTEST_PAUSE = 1.0, dt.timedelta(seconds=1)
_YES, _NO = ("true", "t", "yes", "y", "on", "1"), ("false", "f", "no", "n", "off", "0", "")

_sleep: Callable[[float], None] = time.sleep


def wait_for_source(run: Run) -> None:
    """Returns when the job's `ready` query is true; at once where there is none, and where the source is not read.

    SourceLate when the time is up. However late the run began, the source is asked once.
    """
    ready, source = run.job.ready, run.job.source
    if ready is None or not isinstance(source, SqlSource) or not _reads_source(run):
        return
    _wait(run, ready, lambda: _ask(run, ready, source))


def _ask(run: Run, ready: Ready, source: SqlSource) -> object:
    known_at = run.job.known_at(run.window)
    return ask(
        source, ready.query, window=run.window, known_at=known_at, project=run.project, read_block=secret_address
    )


def _reads_source(run: Run) -> bool:
    """Whether this run has yet to pull, and does so from the source."""
    return snapshot.read_record(run.lake, run.workspace) is None and retained_snapshot(run) is None


def _wait(run: Run, ready: Ready, answer_now: Callable[[], object]) -> None:
    gives_up_at = _scheduled_at(run) + length(ready.give_up_after)
    pause, since = max(length(ready.every), _SHORTEST_PAUSE), _now()
    for times in itertools.count(1):
        answer, at = answer_now(), _now()
        if _is_yes(answer):
            return
        if at >= gives_up_at:
            raise _late(run, ready, since=since, times=times, answer=answer)
        progress.advance(run.name, STAGE, 1, None)
        _say(
            f"{run.name} waits for its source: asked {times} times since {since:%H:%M:%S} UTC, the last answer is "
            f"{_in_words(answer)}. It is asked again every {ready.every}, until {gives_up_at:%Y-%m-%d %H:%M:%S} UTC."
        )
        _pause_until(min(at + pause, gives_up_at))


def _scheduled_at(run: Run) -> dt.datetime:
    return manifest_of(run).trigger.scheduled_at or run.started_at


def _pause_until(at: dt.datetime) -> None:
    while (left := (at - _now()).total_seconds()) > 0:
        _sleep(min(left, _NAP_SECONDS))


def _is_yes(answer: Any) -> bool:
    """Whether an answer says that the window is complete; no row and no value are a no. JobError where it is neither."""
    if answer is None:
        return False
    if isinstance(answer, bool | int | float | Decimal) and answer == answer:  # noqa: PLR0124 - NaN
        return bool(answer)
    if isinstance(answer, str) and answer.strip().lower() in _YES + _NO:
        return answer.strip().lower() in _YES
    raise JobError(
        f"the query of 'ready' answered {_in_words(answer)}, which says neither yes nor no",
        state="nothing was pulled",
        next_step="let its first value be true or false, such as SELECT count(*) > 0 FROM ...",
    )


def _late(run: Run, ready: Ready, *, since: dt.datetime, times: int, answer: object) -> SourceLate:
    asked = f"{times} times since" if times > 1 else "once, at"
    return SourceLate(
        f"the source of {run.name} did not say within {ready.give_up_after} of the scheduled time "
        f"({_scheduled_at(run):%Y-%m-%d %H:%M:%S} UTC) that the window is complete; its last answer was "
        f"{_in_words(answer)}, and it was asked {asked} {since:%Y-%m-%d %H:%M:%S} UTC",
        state="nothing was pulled, and what readers see stands",
        next_step=f"find out where the feed is; when it is there, lamplighter score {run.job.job} --as-of {run.window.as_of}",
    )


def _in_words(answer: object) -> str:
    return "nothing" if answer is None else f"'{str(answer)[:100]}'"


def _say(sentence: str) -> None:
    log.info(sentence)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


wait_until_ready = Stage("Wait until the source is ready", wait_for_source)
