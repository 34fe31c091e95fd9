"""Locks on files, held by a process and freed by its death."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from tasks.core.errors import WindowBusy

BUSY = "is being run by"  # In the message of WindowBusy, behind the name of the lock.


def acquire(path: Path, *, wait_seconds: float) -> int:
    """A descriptor that holds the lock of the file which the path names now; WindowBusy when another keeps it."""
    deadline = time.monotonic() + wait_seconds
    while True:
        descriptor, held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), False
        try:
            if _try(descriptor, fcntl.LOCK_EX):
                held = _is_named(descriptor, path)
                if held:
                    return descriptor
            elif _try(descriptor, fcntl.LOCK_SH):
                # Nobody holds it: somebody only looks, for some microseconds, and nobody is refused for that.
                continue
            elif time.monotonic() >= deadline:
                raise _busy(descriptor, path)
            else:
                time.sleep(min(0.2, max(deadline - time.monotonic(), 0.01)))
        finally:
            if not held:
                os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock now. A look: who wants the lock meanwhile tries again at once."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_named(descriptor: int, path: Path) -> bool:
    """Whether the path still names this file: who held the lock before has removed the file on leaving."""
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _busy(descriptor: int, path: Path) -> WindowBusy:
    holder = os.pread(descriptor, 1000, 0).decode(errors="replace") or "another run"
    return WindowBusy(
        f"{path.stem} {BUSY} {holder}",
        state="that run was not disturbed, and this one changed nothing",
        next_step="wait for it to end, and run it again",
    )
