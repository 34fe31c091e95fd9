"""What a loss of power would take: a kill leaves what is in the page cache, a loss of power does not.

No rename is to put bytes in place that did not reach the disk, and none is over before the folder that it changed has.
This watches the calls of a whole run, in a process that was forked for it, and lists what breaks either.
"""

import os
import pathlib
import stat

import pyarrow.parquet as pq

from tasks.core.storage import system

# What puts something in place, by the names that the lake's changes have.
_PLACES = ("write", "create", "rename", "swap")
_HIDDEN = ".tmp-"


class Flushes:
    """Knows which files and folders below `root` were changed and have not been flushed since; `seen` is what is wrong."""

    def __init__(self, root: pathlib.Path) -> None:
        self.seen: list[str] = []
        self.renames = 0
        self._root = root
        self._unflushed: set[tuple[int, int]] = set()

    # -- what was changed -----------------------------------------------------------------------------------------

    def changed(self, path: object) -> None:
        if not isinstance(path, (str, os.PathLike)):
            return  # Arrow writes into memory as well.
        path = pathlib.Path(path)
        if path.is_relative_to(self._root):
            self._unflushed.add(_identity(path))

    def flushed(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        self._unflushed.discard((found.st_dev, found.st_ino))

    # -- what must not be -----------------------------------------------------------------------------------------

    def check_whole(self, path: object, verb: str) -> None:
        """All that a name will stand for is on the disk: the file, or the folder with every name and file in it."""
        path = pathlib.Path(path)
        if not path.is_relative_to(self._root) or not path.exists():
            return
        self.renames += 1
        for one in [path, *(path.rglob("*") if path.is_dir() else ())]:
            if _identity(one) in self._unflushed:
                self.seen.append(f"{verb} {self._key(path)}: {self._key(one)} had not been flushed")

    def check_in_place(self, change: str, key: str) -> None:
        """After a change: the folder that it changed is on the disk, and so is each that leads there."""
        if change not in _PLACES:
            return
        folder = self._root / key
        while folder != self._root:
            folder = folder.parent
            if _identity(folder) in self._unflushed:
                self.seen.append(f"after {change} {key}: the folder {self._key(folder) or '.'} was not flushed")

    def _key(self, path: pathlib.Path) -> str:
        return str(path.relative_to(self._root)).removeprefix(".")


def install_flushes(root: pathlib.Path) -> Flushes:
    """Watches every call that puts something on the disk, and every one that flushes it."""
    flushes = Flushes(root)
    _watch_writers(flushes)
    _watch_moves(flushes)
    os.fsync = flushes.flushed
    system.after_change = flushes.check_in_place
    return flushes


def _watch_writers(flushes: Flushes) -> None:
    plain_open, plain_mkdir, plain_writer = pathlib.Path.open, pathlib.Path.mkdir, pq.ParquetWriter.__init__

    def watched_open(self, mode="r", *args, **kwargs):
        is_new = not self.exists()
        file = plain_open(self, mode, *args, **kwargs)
        if set(mode) & set("wxa+"):
            flushes.changed(self)
            if is_new:
                flushes.changed(self.parent)
        return file

    def watched_mkdir(self, *args, **kwargs):
        is_new = not self.exists()
        plain_mkdir(self, *args, **kwargs)
        if is_new:
            flushes.changed(self.parent)

    def watched_writer(self, where, *args, **kwargs):
        plain_writer(self, where, *args, **kwargs)
        flushes.changed(where)
        if isinstance(where, os.PathLike):
            flushes.changed(where.parent)

    pathlib.Path.open, pathlib.Path.mkdir = watched_open, watched_mkdir
    pq.ParquetWriter.__init__ = watched_writer


def _watch_moves(flushes: Flushes) -> None:
    plain_exchange, plain_link = system.exchange, pathlib.Path.hardlink_to

    def moving(plain, verb):
        def moved(old, new):
            # What is put under a hidden name is on its way out, and nobody minds if it comes back.
            if pathlib.Path(new).name.startswith(_HIDDEN):
                return plain(old, new)
            flushes.check_whole(old, verb)
            done = plain(old, new)
            flushes.changed(pathlib.Path(new).parent)
            return done

        return moved

    def exchanged(one, other):
        flushes.check_whole(one, "exchange")
        done = plain_exchange(one, other)
        if done:
            flushes.changed(pathlib.Path(one).parent)
            flushes.changed(pathlib.Path(other).parent)
        return done

    def linked(new, old):
        flushes.check_whole(old, "link")
        plain_link(new, old)
        flushes.changed(pathlib.Path(new).parent)

    for owner, name in ((pathlib.Path, "rename"), (pathlib.Path, "replace"), (system, "rename_no_replace")):
        setattr(owner, name, moving(getattr(owner, name), name))
    system.exchange, pathlib.Path.hardlink_to = exchanged, linked


def _identity(path: pathlib.Path) -> tuple[int, int]:
    found = os.stat(path)
    assert stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode), path
    return found.st_dev, found.st_ino
