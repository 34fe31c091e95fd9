"""How a run ends, as a Prefect state that a person understands.

name                   type       when
Published              COMPLETED  the rows are what readers see now
PublishedWithWarnings  COMPLETED  as Published, and a rule that warns did not hold
AlreadyPublished       COMPLETED  the window was published before, and nobody asked for it again: nothing was pulled
NothingToDo            COMPLETED  all is as it was asked for; Unchanged: a window pulled again has the rows it had
DryRun                 COMPLETED  everything was done but publishing: nothing that readers see has changed
OnTime, WindowsLate    COMPLETED  of `deadlines`: whether any window is past its deadline. Looking at them went well
Quiet, Alarm           COMPLETED  of `monitor`: whether what was published differs from what is usual. The look went well
Proven                 COMPLETED  of `audit`: what readers see is what the records say, as far as it was looked at
Promoted               COMPLETED  of `promote`: an alias has moved
Pruned, NothingPruned  COMPLETED  of `prune`: whether anything that had outlived its retention was removed
Blocked                FAILED     a gate said no: nothing that readers see has changed
SourceLate             FAILED     the source was not ready in time: nothing was pulled
Differs                FAILED     of `audit`: something is not as its records say. Nothing was changed
NotDelivered           FAILED     the rows are what readers of the lake see, and the job's database does not have them
Failed                 FAILED     something broke: nothing that readers see has changed
Cancelled, Crashed                Prefect's own: somebody cancelled it; its process was killed

The message says what happened, what state remains and what to type next. 'Late' is Prefect's own name for a run that
nobody has started yet, so it is not used here.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec

from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from tasks.core import logs
from tasks.core.errors import Blocked, Differs, LamplighterError, NotDelivered, NothingToDo, SourceLate, WindowFinished
from tasks.core.logs import log
from tasks.core.pages.markdown import escape
from tasks.core.runs.manifest import Manifest
from tasks.orchestration.quiet import say_it_once
from tasks.orchestration.run_logs import log_to_run_page

P = ParamSpec("P")


def told_as_state(function: Callable[P, object]) -> Callable[P, Any]:
    """Makes a flow's function end in a named state; what it raises on purpose is kept in the state, without a traceback."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> Any:
        given = signature.bind_partial(*args, **kwargs).arguments
        log_to_run_page()
        say_it_once()
        with logs.run_fields(job=given.get("job"), as_of=given.get("as_of")), _logged_if_crashed():
            state = _state_of(function, *args, **kwargs)
            log.log(_level_of(state), "%s: %s", state.name, state.message)
            return state

    return told


def _state_of(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> Any:
    try:
        result = function(*args, **kwargs)
    except WindowFinished as finished:
        return Completed(name="AlreadyPublished", message=str(finished))
    except LamplighterError as error:
        return failed_state(error)
    if isinstance(result, Manifest):
        return Completed(name=_published_name(result), message=published_sentence(result), data=result)
    return Completed(name=getattr(result, "state_name", "Completed"), message=str(result), data=result)


def _level_of(state: Any) -> int:
    if state.is_completed():
        return logging.INFO
    return logging.WARNING if state.name in ("Blocked", "SourceLate") else logging.ERROR


@contextlib.contextmanager
def _logged_if_crashed() -> Iterator[None]:
    """What was not foreseen, or a cancellation, is a line too; its traceback is Prefect's to show."""
    try:
        yield
    except BaseException as error:
        log.error("Stopped by %s", ": ".join(filter(None, (type(error).__name__, str(error)))))
        raise


def failed_state(error: LamplighterError) -> Any:
    """The final state of what ended with this error: 'Blocked' is a state of its own, not a crash."""
    if isinstance(error, NothingToDo):
        return Completed(name="NothingToDo", message=str(error), data=error)
    return Failed(name=_failed_name(error), message=str(error), data=error)


def _failed_name(error: LamplighterError) -> str:
    if isinstance(error, (SourceLate, NotDelivered, Differs)):
        return type(error).__name__
    return "Blocked" if isinstance(error, Blocked) else "Failed"


def show_table(name: str, rows: list[dict[str, Any]], description: str) -> None:
    """What a run did, as a table in the Prefect UI. A server that does not answer must not cost the run.

    The UI takes the description for Markdown, and it may hold somebody's reason.
    """
    if flow_run.id is None:
        return
    try:
        create_table_artifact(rows, key=re.sub(r"[^a-z0-9]+", "-", name.lower()), description=escape(description))
    except Exception as error:  # noqa: BLE001
        log.warning("The table %s was not shown: %s", name, error)


def published_sentence(manifest: Manifest) -> str:
    rows = manifest.rows
    parts = [f"{rows.scored:,} of {rows.pulled:,} rows scored", f"{rows.quarantined:,} quarantined"]
    if rows.duplicates:
        parts.append(f"{rows.duplicates:,} exact duplicates")
    verdict = (manifest.verdict or "").replace("_", " ")
    if manifest.shadow:
        verdict += ", in shadow"
    if manifest.is_dry_run:
        return f"{manifest.job} {manifest.as_of}: a dry run; it would be {verdict}: {', '.join(parts)}. Nothing was published."
    return f"{manifest.job} {manifest.as_of}: {verdict}. {', '.join(parts)}. Run {manifest.run_id}."


def _published_name(manifest: Manifest) -> str:
    if manifest.is_dry_run:
        return "DryRun"
    return "PublishedWithWarnings" if manifest.verdict == "published_with_warnings" else "Published"
