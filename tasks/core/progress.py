"""Who wants to know how far a run is, hears it from here; the stages do not know who listens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

# Called with the run's name, the stage, the rows done and the total (None while it is unknown).
Listener = Callable[[str, str, int, int | None], None]

_listeners: list[Listener] = []
_done: dict[tuple[str, str], tuple[int, int | None]] = {}
_lock = threading.Lock()


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hands all progress of this process to the listener while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def advance(run: str, stage: str, rows: int, total_rows: int | None) -> None:
    """So many more rows are done, of a total that may be unknown; shards call this at once."""
    with _lock:
        done, _ = _done.get((run, stage), (0, None))
        _done[run, stage] = (done + rows, total_rows)
    _tell(run, stage)


def end(run: str, stage: str) -> None:
    """The stage is done, however many rows it had."""
    with _lock:
        done, _ = _done.get((run, stage), (0, None))
        _done[run, stage] = (done, done)
    _tell(run, stage)
    with _lock:
        _done.pop((run, stage), None)


def forget(run: str) -> None:
    """The run is over, however it ended: if it is done again, it begins at nought."""
    with _lock:
        for key in [key for key in _done if key[0] == run]:
            del _done[key]


def _tell(run: str, stage: str) -> None:
    done, total = _done.get((run, stage), (0, None))
    for listener in tuple(_listeners):
        listener(run, stage, done, total)
