"""The one door to Prefect's events: what happened to a window, for the automations that tell a person."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events import Event
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from tasks.core.events import (
    AS_OF_LABEL,
    BLOCKED,
    EVENT_LABEL,
    FAILED,
    JOB_LABEL,
    LATE,
    MISSED,
    OWNER_LABEL,
    PUBLISHED,
    SOURCE_LATE,
    WINDOW,
)
from tasks.core.logs import log

__all__ = ["BLOCKED", "FAILED", "LATE", "MISSED", "PUBLISHED", "SOURCE_LATE", "has_server", "is_cancelled", "tell"]

_LONGEST = 2000  # Characters of a sentence: a chat cuts what is longer, and a person has stopped reading.
# Nobody is to wait for an alarm longer than for a stage. Prefect's own five retries are two minutes and a half of a
# server that hangs, and two of one that answers 503; one is for a database that is locked for a moment.
_HTTP, _RETRIES = {"timeout": 15.0}, 1


def tell(
    event: str, job: str, as_of: str, *, owner: str, payload: dict[str, Any], event_id: UUID | None = None
) -> bool:
    """Sends an event of one window or episode; whether the server has taken it. Sent again under the same id it is the same event.

    A server that does not answer must not cost the run: the lake holds the truth. Sent by a request, and not by
    Prefect's background thread, which cannot say whether anybody heard it.
    """
    try:
        made = Event(
            id=event_id or uuid4(),
            event=event,
            resource={
                "prefect.resource.id": f"{WINDOW}.{job}.{as_of}",
                "prefect.resource.name": f"{job} {as_of}",
                JOB_LABEL: job,
                AS_OF_LABEL: as_of,
                OWNER_LABEL: owner,
                EVENT_LABEL: event,
            },
            related=_this_run(),
            payload={key: value[:_LONGEST] if isinstance(value, str) else value for key, value in payload.items()},
        )
        _send(made)
    except Exception as error:  # noqa: BLE001
        log.warning("The event %s of %s %s was not sent: %s", event, job, as_of, error)
        return False
    return True


def has_server() -> bool:
    """Whether events go to a server that stays, and not to one that ends with this process and tells nobody."""
    return bool(PREFECT_API_URL.value())


def is_cancelled() -> bool:
    """Whether somebody cancels this flow run: what it breaks off with then is no failure."""
    with contextlib.suppress(Exception), _client() as client:
        state = client.read_flow_run(UUID(str(flow_run.id))).state if flow_run.id else None
        return state is not None and (state.is_cancelling() or state.is_cancelled())
    return False


def _this_run() -> list[dict[str, str]]:
    if not flow_run.id:
        return []
    return [
        {
            "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
            "prefect.resource.role": "flow-run",
            "prefect.resource.name": flow_run.name or "",
        }
    ]


def _send(event: Event) -> None:
    with _client() as client:
        path: Any = "/events"
        client.request("POST", path, json=[event.model_dump(mode="json")]).raise_for_status()


@contextlib.contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    retries = min(_RETRIES, PREFECT_CLIENT_MAX_RETRIES.value())
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: retries}),
        get_client(sync_client=True, httpx_settings=dict(_HTTP)) as client,
    ):
        yield client
