"""Every instant at which a run touches the lake, numbered: at one of them the process is killed, or the disk fails.

And every line of our own code that it passes. It is for a process that was forked for it: nothing is put back.
"""

import os
import pathlib
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable

import pyarrow.parquet as pq

from tasks.core.storage import system

_READS = ("read_bytes", "open")
_CHANGES = ("rename", "replace", "unlink", "mkdir", "hardlink_to")
_REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
_OUR_CODE = (f"{_REPOSITORY}/tasks/", f"{_REPOSITORY}/flows/")


class Points:
    """Counts the calls that touch files below `root`, and acts at number `at` (from 1), or at it and all after it."""

    def __init__(self, root: pathlib.Path, act: Callable[[str], None], at: int, *, persistent: bool = False) -> None:
        self.seen: list[str] = []
        self._root, self._act, self._at, self._persistent = f"{root}/", act, at, persistent

    def reach(self, what: str, path: object) -> None:
        text = os.fspath(path) if isinstance(path, os.PathLike) else path
        if not isinstance(text, str) or not text.startswith(self._root):
            return
        self.seen.append(f"{what} {text.removeprefix(self._root)}")
        if len(self.seen) == self._at or (self._persistent and len(self.seen) > self._at):
            self._act(self.seen[-1])

    def before(self, owner: object, name: str) -> None:
        """Puts a point before each call of a function whose first argument is a path."""
        plain = getattr(owner, name)

        def counted(path, *args, **kwargs):
            self.reach(name, path)
            return plain(path, *args, **kwargs)

        setattr(owner, name, counted)


def install_kills(root: pathlib.Path, at: int) -> Points:
    """SIGKILL before or after the change with this number."""
    points = Points(root, lambda _: os.kill(os.getpid(), signal.SIGKILL), at)
    _install_changes(points)
    lake = str(root)
    system.after_change = lambda change, key: points.reach(f"after {change}", f"{lake}/{key}")
    return points


def install_faults(root: pathlib.Path, at: int, number: int, *, persistent: bool) -> Points:
    """The operating system's error `number`, from the read or write with this number, once or from then on."""

    def fail(what: str) -> None:
        raise OSError(number, os.strerror(number), what)

    points = Points(root, fail, at, persistent=persistent)
    _install_changes(points)
    for name in _READS:
        points.before(pathlib.Path, name)
    return points


class Lines:
    """Counts how often each line of our own code is reached, and kills where `line` is reached for the n-th time."""

    def __init__(self, root: pathlib.Path, line: str = "", nth: int = 0) -> None:
        self._killed_at, self._line, self._left = root.parent / "killed_at", line, nth
        self._counts: Counter[str] = Counter()

    @property
    def seen(self) -> list[str]:
        return [f"{line} {count}" for line, count in sorted(self._counts.items())]

    def trace(self, frame, event, _):
        """For sys.settrace: of every other code nothing is traced, which would take long."""
        if not frame.f_code.co_filename.startswith(_OUR_CODE):
            return None
        if event == "line":
            self._reach(f"{frame.f_code.co_filename.removeprefix(f'{_REPOSITORY}/')}:{frame.f_lineno}")
        return self.trace

    def _reach(self, line: str) -> None:
        self._counts[line] += 1
        if line == self._line and self._counts[line] == self._left:
            with open(self._killed_at, "w") as file:
                file.write(line)
            os.kill(os.getpid(), signal.SIGKILL)


def install_lines(root: pathlib.Path, line: str = "", nth: int = 0) -> Lines:
    """SIGKILL before a line of our own code, where it is reached for the n-th time; without one, all are counted."""
    lines = Lines(root, line, nth)
    threading.settrace(lines.trace)
    sys.settrace(lines.trace)
    return lines


def install_three_step_swaps() -> None:
    """As on a file system that cannot exchange two folders in one step."""
    system.exchange = lambda _one, _other: False


def _install_changes(points: Points) -> None:
    for name in _CHANGES:
        points.before(pathlib.Path, name)
    points.before(shutil, "rmtree")
    points.before(system, "exchange")
    points.before(system, "rename_no_replace")
    points.before(system, "write_flushed")
    points.before(os, "open")
    os.fsync = lambda descriptor: points.reach("fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
    for name in ("__init__", "write_table", "close"):
        _before_writer(points, name)


def _before_writer(points: Points, name: str) -> None:
    plain = getattr(pq.ParquetWriter, name)

    def counted(self, *args, **kwargs):
        if name == "__init__":
            self._seen_path = args[0]
        points.reach(f"parquet {name.strip('_')}", self._seen_path)
        return plain(self, *args, **kwargs)

    setattr(pq.ParquetWriter, name, counted)
