"""A child process that runs one flow run after the other, for as long as its parent asks. Prefect is imported late here."""

from __future__ import annotations

import importlib
import os  # noqa: TID251 - a child sets what Prefect is to find, before it is imported
import signal
from multiprocessing.connection import Connection
from typing import Any

from tasks.core.logs import show_lines
from tasks.core.orphans import end_with_parent


def serve(connection: Connection, parent: int, environment: dict[str, str], flow: str, log_level: str | None) -> None:
    """Takes ids of flow runs of the flow `module.name`, and gives back the name and message of each one's final state."""
    end_with_parent(parent)
    # The parent hears the terminal too, and ends this process in its own time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment)
    show_lines(usual_level=log_level)
    module, _, name = flow.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    while (run_id := _asked(connection)) is not None:
        connection.send(_run(found, run_id))


def _asked(connection: Connection) -> str | None:
    try:
        asked: str | None = connection.recv()
    except EOFError:
        return None
    return asked


def _run(flow: Any, run_id: str) -> tuple[str, str]:
    from uuid import UUID  # noqa: PLC0415

    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.flow_engine import run_flow  # noqa: PLC0415

    try:
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(UUID(run_id))
        state: Any = run_flow(flow, flow_run=flow_run, return_type="state")
    except Exception as error:  # noqa: BLE001 - the next window is not to suffer for it
        return "Failed", f"{type(error).__name__}: {error}"
    return state.name or "", state.message or ""
