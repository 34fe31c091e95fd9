"""Who asked for this run: the user of this process, or whoever a Prefect server says."""

from __future__ import annotations

from prefect.context import FlowRunContext

from tasks.core import provenance


def asked_by() -> str:
    """The user who typed a command; of a deployment's run what the server knows, which is no person: it knows none."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None:
        return provenance.actor()
    creator = run.created_by
    return (creator and creator.display_value) or "somebody at the Prefect server"
