"""Progress in the Prefect UI: one progress artifact a stage, brought up to date at most once a second."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from tasks.core.progress import listening

_PAUSE_SECONDS = 1.0


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Shows how far each stage of this flow run is, while the block runs."""
    with listening(_Artifacts().show):
        yield


class _Artifacts:
    """The artifacts of one flow run, and when each was last brought up to date."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[UUID, float]] = {}

    def show(self, run: str, stage: str, done: int, total: int | None) -> None:
        """A server that does not answer must not cost the run: the table, not the picture of it, is the point."""
        if not total:
            return
        try:
            self._show(re.sub(r"[^a-z0-9]+", "-", f"{run} {stage}".lower()), stage, done, total)
        except Exception as error:  # noqa: BLE001
            get_run_logger().debug("Progress was not shown: %s", error)

    def _show(self, key: str, stage: str, done: int, total: int) -> None:
        share: Any = min(100.0, 100 * done / total)
        known = self._known.get(key)
        if known is None:
            self._known[key] = (
                create_progress_artifact(share, key=key, description=f"{stage}, share of rows"),
                time.monotonic(),
            )  # type: ignore[assignment]
        elif done >= total or time.monotonic() - known[1] >= _PAUSE_SECONDS:
            update_progress_artifact(known[0], share)
            self._known[key] = (known[0], time.monotonic())
