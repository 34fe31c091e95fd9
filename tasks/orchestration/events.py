"""The one door to Prefect's events: what happened to a window, for the automations that tell a person."""

from __future__ import annotations

from typing import Any

from prefect.events import emit_event
from prefect.logging import get_logger

BLOCKED = "lamplighter.run.blocked"
FAILED = "lamplighter.run.failed"
LATE = "lamplighter.run.late"
PUBLISHED = "lamplighter.run.published"
SOURCE_LATE = "lamplighter.source.late"


def tell(event: str, job: str, as_of: str, *, owner: str, payload: dict[str, Any]) -> None:
    """Emits an event of one window. A server that does not answer must not cost the run: the lake holds the truth."""
    try:
        emit_event(
            event=event,
            resource={
                "prefect.resource.id": f"lamplighter.window.{job}.{as_of}",
                "prefect.resource.name": f"{job} {as_of}",
                "lamplighter.job": job,
                "lamplighter.as_of": as_of,
                "lamplighter.owner": owner,
            },
            payload=payload,
        )
    except Exception as error:  # noqa: BLE001
        get_logger("lamplighter").warning("The event %s of %s %s was not sent: %s", event, job, as_of, error)
