"""The lake, read and written, and a project's folder, read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.core.errors import DefinitionError, LakeCorrupt, LakeError
from tasks.core.storage import locks, system
from tasks.core.storage.system import lake_errors
from tasks.core.storage.tables import TableReader, TableWriter

_HIDDEN = ".tmp-"
_LONGEST_SHOWN = 300
# What nobody has touched for so long under a hidden name was left by a writer that is dead: no file takes an hour to write.
ABANDONED_SECONDS = 3600.0


class Folder:
    """A folder that is read."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).absolute()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Folder) and (type(self), self.root) == (type(other), other.root)

    def __hash__(self) -> int:
        return hash((type(self), self.root))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (str(self.root),))

    def path(self, key: str = "") -> Path:
        """The path of a key; a key that would leave the folder is refused."""
        parts = key.split("/") if key else []
        if any(part in ("", ".", "..") or "\x00" in part or "\\" in part for part in parts) or not _is_a_name(key):
            raise DefinitionError(
                f"'{key[:_LONGEST_SHOWN]}' is not a path inside {self.root}",
                next_step="give a name without '..' or '/'",
            )
        return self.root.joinpath(*parts)

    def exists(self, key: str) -> bool:
        with lake_errors("look at", self.path(key)):
            return self.path(key).exists()

    def holds_file(self, key: str) -> bool:
        """Whether the key names a plain file that lies in this folder when every link has been followed."""
        path = self.path(key)
        try:
            # A loop of links is a RuntimeError.
            real = path.resolve(strict=True)
            return real.is_file() and real.is_relative_to(self.root.resolve())
        except (OSError, RuntimeError):
            return False

    def names(self, key: str = "") -> list[str]:
        """The sorted names in a folder, without hidden ones; none where there is no folder."""
        with lake_errors("list", self.path(key)):
            try:
                with os.scandir(self.path(key)) as found:
                    return sorted(entry.name for entry in found if not entry.name.startswith("."))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def folder_marks(self, key: str) -> dict[str, str]:
        """By name, sorted, a mark of each folder in a folder: another one in its place has another mark.

        Its number and the instant of its last change: a number alone is given again when its folder is gone.
        """
        with lake_errors("list", self.path(key)):
            try:
                with os.scandir(self.path(key)) as found:
                    folders = [one for one in found if not one.name.startswith(".") and one.is_dir()]
            except (FileNotFoundError, NotADirectoryError):
                return {}
            marks = {one.name: _mark(one) for one in folders}
        return {name: mark for name, mark in sorted(marks.items()) if mark}

    def files(self, key: str = "") -> list[str]:
        """The keys of all files below a folder, sorted."""
        found = []
        with lake_errors("list", self.path(key)):
            for folder, _, names in os.walk(self.path(key), onerror=_raise_unless_missing):
                below = Path(folder).relative_to(self.root)
                found += [str(below / name) for name in names]
        return sorted(found)

    def sizes_bytes(self, key: str) -> dict[str, int]:
        """The size of a file, or of every file below a folder, hidden ones too; nothing where there is neither."""
        path = self.path(key)
        with lake_errors("look at", path):
            found = [path] if path.is_file() else [self.root / name for name in self.files(key)]
            sizes = {str(one.relative_to(self.root)): _size_bytes(one) for one in found}
        return {name: size for name, size in sizes.items() if size is not None}

    def litter_bytes(self, key: str, *, idle_seconds: float) -> dict[str, int]:
        """What `sweep` would remove below a folder, each with the bytes in it."""
        found: dict[str, int] = {}
        with lake_errors("list", self.path(key)):
            for folder, folders, names in os.walk(self.path(key), onerror=_raise_unless_missing):
                hidden = [name for name in (*folders, *names) if name.startswith(_HIDDEN)]
                folders[:] = [name for name in folders if name not in hidden]
                for path in (Path(folder, name) for name in hidden if _is_idle(Path(folder, name), idle_seconds)):
                    below = str(path.relative_to(self.root))
                    found[below] = sum(self.sizes_bytes(below).values())
        return found

    def is_idle(self, key: str, *, seconds: float) -> bool:
        """Whether a file is there that nobody has written to for so long."""
        return _is_idle(self.path(key), seconds)

    def size_bytes(self, key: str) -> int:
        with lake_errors("look at", self.path(key)):
            return self.path(key).stat().st_size

    def read_bytes(self, key: str) -> bytes:
        with self._to_read(key) as path:
            return path.read_bytes()

    def read_range(self, key: str, start: int, size: int) -> bytes:
        """At most `size` bytes from `start` on; fewer, or none, at the end."""
        with self._to_read(key) as path, path.open("rb") as file:
            file.seek(start)
            return file.read(size)

    def read_text(self, key: str) -> str:
        try:
            return self.read_bytes(key).decode("utf-8")
        except UnicodeDecodeError as error:
            raise LakeCorrupt(
                f"{self.path(key)} is not UTF-8 text ({error.reason} at byte {error.start})",
                state="it was left as it is",
                next_step="restore it from a backup, or write it as UTF-8",
            ) from error

    def sha256(self, key: str) -> str:
        """The hex SHA-256 of a file, read in blocks."""
        with self._to_read(key) as path, path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def is_locked(self, key: str) -> bool:
        """Whether a process holds the lock of this name now. A look, which keeps nobody from taking it."""
        with lake_errors("look at", self.path(key)):
            return locks.is_held(self.path(key))

    def parquet(self, key: str) -> TableReader:
        """An open Parquet file; LakeCorrupt where it is not one."""
        with self._to_read(key) as path:
            return TableReader(path)

    @contextlib.contextmanager
    def _to_read(self, key: str) -> Iterator[Path]:
        """The path of a file; what goes wrong as it is opened and read is an error of ours."""
        path = self.path(key)
        with lake_errors("read", path):
            system.refuse_no_file(path)
            yield path


class Lake(Folder):
    """The folder that everything is published into."""

    def write_bytes(self, key: str, data: bytes) -> None:
        """Puts a file in place as a whole, over what may stand there."""
        target = self.path(key)
        with self._hidden_beside(target) as hidden, lake_errors("write", target):
            system.write_flushed(hidden, data)
            hidden.replace(target)
            system.flush_folder(target.parent)
        system.after_change("write", key)

    def append(self, key: str, data: bytes) -> None:
        """Adds to the end of a scratch file. Not flushed, and not one step: for what the next run throws away."""
        target = self.path(key)
        with lake_errors("write", target):
            system.make_folder(target.parent, self.root)
            system.make_file(target)
            with target.open("ab") as file:
                file.write(data)
        system.after_change("append", key)

    def create(self, key: str, data: bytes) -> bool:
        """Puts a file in place only where none stands; False if one did. Of two at once, one wins."""
        target = self.path(key)
        with self._hidden_beside(target) as hidden, lake_errors("write", target):
            system.write_flushed(hidden, data)
            try:
                target.hardlink_to(hidden)
            except FileExistsError:
                return False
            system.flush_folder(target.parent)
        system.after_change("create", key)
        return True

    @contextlib.contextmanager
    def parquet_writer(
        self, key: str, schema: pa.Schema, *, metadata: Mapping[str, str] | None = None
    ) -> Iterator[TableWriter]:
        """A Parquet file that appears whole when the block ends well, and not at all when it does not."""
        target = self.path(key)
        with self._hidden_beside(target) as hidden:
            writer = TableWriter(hidden, target, schema)
            try:
                yield writer
                writer.close(metadata or {})
            finally:
                writer.abandon()
            with lake_errors("write", target):
                system.flush_file(hidden)
                hidden.replace(target)
                system.flush_folder(target.parent)
        system.after_change("write", key)

    def rename(self, source: str, target: str) -> None:
        """Moves a file or folder to where nothing stands; LakeError if something does. Done already is done."""
        old, new = self.path(source), self.path(target)
        if new.exists() and not old.exists():
            return
        with lake_errors("move", new):
            system.make_folder(new.parent, self.root)
            system.rename_no_replace(old, new)
            system.flush_folder(new.parent)
            system.flush_folder(old.parent)
        system.after_change("rename", target)

    def try_rename(self, source: str, target: str) -> bool:
        """As rename, but False where something stands already: of two at once, one wins."""
        try:
            self.rename(source, target)
        except LakeError:
            if self.exists(target):
                return False
            raise
        return True

    def swap(self, prepared: str, target: str) -> bool:
        """Puts a prepared folder in place of another in one step; the other is then where the prepared one was.

        Where nothing stands the folder is moved there. Returns whether the step was atomic: on a file system that
        cannot exchange two folders a reader may, for an instant, find none.
        """
        new, old = self.path(prepared), self.path(target)
        with lake_errors("publish", old):
            system.make_folder(old.parent, self.root)
            atomic = True
            if not old.exists():
                new.rename(old)
            elif not system.exchange(new, old):
                atomic = False
                system.exchange_in_three_steps(new, old)
            system.flush_folder(old.parent)
            system.flush_folder(new.parent)
        system.after_change("swap", target)
        return atomic

    def mend_swap(self, prepared: str, target: str) -> None:
        """Ends what a kill left of a swap that was not atomic: undone if the target was not yet in place, else done."""
        new, old = self.path(prepared), self.path(target)
        with lake_errors("publish", old):
            if not system.aside(new).exists():
                return
            system.aside(new).rename(new if old.exists() else old)
            system.flush_folder(old.parent)
            system.flush_folder(new.parent)
        system.after_change("swap", target)

    def remove(self, key: str) -> None:
        """Removes a file or a folder with all in it; nothing there is fine."""
        path = self.path(key)
        with lake_errors("remove", path):
            if path.is_dir() and not path.is_symlink():
                # Out of sight in one step first: nobody is to see a folder half removed.
                hidden = path.with_name(f"{_HIDDEN}{uuid.uuid4().hex}")
                path.rename(hidden)
                shutil.rmtree(hidden)
            else:
                path.unlink(missing_ok=True)
        system.after_change("remove", key)

    def remove_empty(self, key: str) -> None:
        """Removes a folder in which nothing is. Whoever calls keeps others from writing into it."""
        with contextlib.suppress(OSError):
            self.path(key).rmdir()

    @contextlib.contextmanager
    def lock(self, key: str, *, holder: str, wait_seconds: float = 0) -> Iterator[None]:
        """Holds the lock of this name; WindowBusy, with the holder, when another process does. Frees itself on death."""
        path = self.path(key)
        with lake_errors("lock", path):
            system.make_folder(path.parent, self.root)
            descriptor = locks.acquire(path, wait_seconds=wait_seconds)
        try:
            with lake_errors("lock", path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, holder.encode())
            yield
        finally:
            # Removed while held: whoever waits on the old file sees that it is gone, and tries again. A file that
            # cannot be removed locks nobody out.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(descriptor)

    def sweep(self, key: str, *, idle_seconds: float = 0, below: bool = True) -> None:
        """Removes what killed writers left under hidden names in a folder that this run has locked, and `below` it.

        Of a folder that others write to as well: what nobody has touched for so long.
        """
        for folder, folders, names in os.walk(self.path(key)):
            with lake_errors("remove what a killed run left in", Path(folder)):
                for name in [n for n in names if n.startswith(_HIDDEN)]:
                    if _is_idle(Path(folder, name), idle_seconds):
                        Path(folder, name).unlink(missing_ok=True)
            for name in [n for n in folders if n.startswith(_HIDDEN)]:
                if _is_idle(Path(folder, name), idle_seconds):
                    shutil.rmtree(Path(folder, name), ignore_errors=True)
            if not below:
                return

    @contextlib.contextmanager
    def _hidden_beside(self, target: Path) -> Iterator[Path]:
        hidden = target.with_name(f"{_HIDDEN}{uuid.uuid4().hex}")
        with lake_errors("write", target):
            system.make_folder(target.parent, self.root)
        try:
            yield hidden
        finally:
            with lake_errors("write", target):
                hidden.unlink(missing_ok=True)


def _size_bytes(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return None


def _is_a_name(text: str) -> bool:
    """Whether the system can call a file so: half a character of UTF-16 has no bytes."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _mark(folder: os.DirEntry[str]) -> str:
    """Nothing, of a folder that has gone since it was listed."""
    try:
        stat = folder.stat()
    except FileNotFoundError:
        return ""
    return f"{stat.st_ino} {stat.st_ctime_ns}"


def _is_idle(path: Path, seconds: float) -> bool:
    try:
        return not seconds or path.stat().st_mtime < time.time() - seconds
    except FileNotFoundError:
        return False


def _raise_unless_missing(error: OSError) -> None:
    """For os.walk, which would pass over a folder that it may not read as if that held nothing."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error
