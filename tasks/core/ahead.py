"""Stages that overlap: what one makes waits, a few at most, until the next has time for it."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
_LOOK_SECONDS = 0.1


def ahead(items: Iterable[T], *, most: int = 1) -> Generator[T]:
    """The same items, made in a thread of their own while whoever takes them works on those before; `most` wait.

    What the making raises is raised here, in its place. Who takes no more closes the generator: the making ends with the item
    that it is at.
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(most)
    is_over = threading.Event()
    maker = threading.Thread(
        target=contextvars.copy_context().run, args=(_make, items, waiting, is_over), name="ahead", daemon=True
    )
    maker.start()
    try:
        while True:
            kind, item = waiting.get()
            if kind != "item":
                break
            yield item
            # Nothing is held while the next one is waited for.
            item = None
        if kind == "raised":
            raise item
    finally:
        is_over.set()
        _empty(waiting)
        maker.join()


def _make(items: Iterable[Any], waiting: queue.Queue[tuple[str, Any]], is_over: threading.Event) -> None:
    last: tuple[str, Any] = ("end", None)
    try:
        for item in items:
            is_taken = _put(waiting, ("item", item), is_over)
            del item
            if not is_taken:
                break
    except BaseException as error:  # noqa: BLE001 - it is raised where the items are taken
        last = ("raised", error)
    finally:
        if isinstance(items, Generator):
            items.close()
    _put(waiting, last, is_over)


def _put(waiting: queue.Queue[tuple[str, Any]], found: tuple[str, Any], is_over: threading.Event) -> bool:
    while not is_over.is_set():
        with contextlib.suppress(queue.Full):
            waiting.put(found, timeout=_LOOK_SECONDS)
            return True
    return False


def _empty(waiting: queue.Queue[tuple[str, Any]]) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            waiting.get_nowait()
