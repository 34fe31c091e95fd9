"""Tags of a flow run beyond those of its deployment: the Prefect UI filters the list of runs by them."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.logging import get_logger
from prefect.runtime import flow_run


def tag_run(*tags: str) -> None:
    """Adds the tags to this run's. A server that does not answer must not cost the run."""
    if flow_run.id is None:
        return
    try:
        with get_client(sync_client=True) as client:
            standing = client.read_flow_run(flow_run.id).tags
            if missing := [tag for tag in tags if tag not in standing]:
                client.update_flow_run(flow_run.id, tags=[*standing, *missing])
    except Exception as error:  # noqa: BLE001
        get_logger("lamplighter").debug("The run was not tagged: %s", error)
