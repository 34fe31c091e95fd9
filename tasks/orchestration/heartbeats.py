"""Heartbeats, by which a server notices that a run's process has died."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings


@contextlib.contextmanager
def heartbeats_where_heard() -> Iterator[None]:
    """Runs in the block send heartbeats to a server that goes on after them, and none to one that ends with the command.

    Prefect's thread that sends them wakes up once a second, and a run ends with that thread.
    """
    if PREFECT_API_URL.value():
        yield
        return
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
