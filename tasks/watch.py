"""Progress in the Prefect UI: one progress artifact a stage, brought up to date at most once a second."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.core.logs import log
from tasks.core.progress import listening
from tasks.orchestration.artifacts import artifact_name

_PAUSE_SECONDS = 1.0
_ALL = 100.0
_WORDS = {
    "pull": "rows pulled",
    "validate": "rows validated",
    "score": "rows scored",
    "validate output": "rows checked before they go out",
    "challenge": "rows scored by the challenger",
    "windows": "windows that have ended",
}


@contextlib.contextmanager
def watched(job: str, as_of: str) -> Iterator[None]:
    """Shows how far each stage of this window's run is, while the block runs."""
    with listening(_Artifacts(job, f"{job} {as_of}").show):
        yield


@dataclass
class _Shown:
    """An artifact, the share that it shows in percent, and when it was brought up to date."""

    artifact: UUID
    share: float
    at: float


class _Artifacts:
    """The artifacts of one run, one a stage."""

    def __init__(self, of: str, run: str) -> None:
        self._of, self._run = of, run
        self._shown: dict[str, _Shown] = {}
        # Shards report at once: two of them must not make two artifacts of one stage.
        self._lock = threading.Lock()

    def show(self, run: str, stage: str, done: int, total: int | None) -> None:
        """A server that does not answer must not cost the run: the table, not the picture of it, is the point."""
        if run != self._run or not total:
            return
        try:
            with self._lock:
                self._show(stage, min(100.0, 100 * done / total))
        except Exception as error:  # noqa: BLE001
            log.debug("Progress was not shown: %s", error)

    def _show(self, stage: str, share: float) -> None:
        shown = self._shown.get(stage)
        if shown is None:
            words = f"{self._run}: {_WORDS.get(stage, stage)}"
            created: Any = create_progress_artifact(share, key=artifact_name(self._of, stage), description=words)
            self._shown[stage] = _Shown(created, share, time.monotonic())
        elif share > shown.share and (share >= _ALL or time.monotonic() - shown.at >= _PAUSE_SECONDS):
            update_progress_artifact(shown.artifact, share)
            self._shown[stage] = _Shown(shown.artifact, share, time.monotonic())
