"""A child process ends soon after its parent was killed. The standard library alone: other interpreters run this too."""

from __future__ import annotations

import os  # noqa: TID251 - a child asks who its parent is; no file is touched
import signal
import threading
import time

_WATCH_SECONDS = 0.5


def end_with_parent(parent: int, *, with_group: bool = False) -> None:
    """Ends this process, or the group that it leads, when its parent is gone: it would hold its memory for nobody."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_SECONDS)
        if with_group:
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
