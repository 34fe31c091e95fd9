"""Announce: how a run of a window ended, as an event, for the automations that tell the people whom it concerns."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

from prefect.runtime import flow_run

from tasks.core import layout
from tasks.core.definitions.project import Project
from tasks.core.errors import (
    Blocked,
    LamplighterError,
    NotDelivered,
    NothingToDo,
    SourceLate,
    WindowBusy,
    WindowFinished,
)
from tasks.core.logs import log
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.run import latest_manifest
from tasks.core.runs.seen import readers_see
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.orchestration import events
from tasks.outcome import published_sentence
from tasks.scheduled import window_asked_for

P = ParamSpec("P")

# Nobody is told of a run that found nothing to do, or another run at work: that one will tell.
_NO_NEWS = (WindowFinished, NothingToDo, WindowBusy)


def told_as_event(function: Callable[P, Manifest]) -> Callable[P, Manifest]:
    """Makes the end of a run of one window an event; not of a dry run, and not of one that was cancelled.

    The event is a view of what the lake holds: lost, it costs nothing but the news.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> Manifest:
        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        try:
            manifest = function(*args, **kwargs)
        # A cancellation is no Exception, but it may make one of a child that it ends.
        except Exception as error:
            if not isinstance(error, _NO_NEWS) and not events.is_cancelled():
                _tell(given.arguments, *_of_error(error))
            raise
        verdict = f"{(manifest.verdict or '').replace('_', ' ')}{', in shadow' if manifest.shadow else ''}"
        _tell(given.arguments, events.PUBLISHED, verdict, published_sentence(manifest), "")
        return manifest

    return told


def payload_of(lake: Lake, job: str, as_of: str, **said: str) -> dict[str, Any]:
    """What every event of a window says: these, and what readers see, and where its report is, if it has one."""
    page = layout.window_page(job, as_of)
    report = lake.address(page) if lake.exists(page) else ""
    return {"job": job, "as_of": as_of, **said, "readers_see": readers_see(lake, job, as_of), "report": report}


def _of_error(error: Exception) -> tuple[str, str, str, str]:
    """The event, the verdict in words, the reason, and what to do next."""
    if not isinstance(error, LamplighterError):
        return events.FAILED, "failed", f"{type(error).__name__}: {error}", ""
    if isinstance(error, SourceLate):
        return events.SOURCE_LATE, "source late", error.failed, error.next_step
    if isinstance(error, Blocked):
        return events.BLOCKED, "blocked", error.failed, error.next_step
    verdict = "published, and not delivered" if isinstance(error, NotDelivered) else "failed"
    return events.FAILED, verdict, error.failed, error.next_step


def _tell(given: dict[str, Any], event: str, verdict: str, reason: str, next_step: str) -> None:
    """No news of a run is worth the run: what goes wrong here is a line in the log."""
    if given["dry_run"]:
        return
    try:
        job, as_of = given["job"], given["as_of"]
        with contextlib.suppress(LamplighterError):
            as_of = window_asked_for(job, as_of)
        lake, owner = Lake(Settings().lake), _owner(job)
        payload = payload_of(
            lake,
            job,
            as_of,
            verdict=verdict,
            reason=reason,
            next_step=next_step or f"lamplighter show {job} --as-of {as_of}",
            owner=owner,
            run_id=_run_id(lake, job, as_of),
        )
        events.tell(event, job, as_of, owner=owner, payload=payload)
    except Exception as failed:  # noqa: BLE001
        log.warning("The event %s was not sent: %s", event, failed)


def _owner(job: str) -> str:
    """Of a job that cannot be read, nobody's."""
    with contextlib.suppress(LamplighterError):
        return Project(Folder(Settings().project)).load(job, suites=False).job.owner
    return ""


def _run_id(lake: Lake, job: str, as_of: str) -> str:
    """Of a run that ended before it was one: none."""
    manifest = latest_manifest(lake, job, as_of)
    is_this = manifest is not None and manifest.trigger.flow_run_id == str(flow_run.id)
    return manifest.run_id if manifest and is_this else ""
