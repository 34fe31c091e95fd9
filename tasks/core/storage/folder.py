"""A folder that is read: a project's, or the lake's."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, cast

from tasks.core.errors import DefinitionError, LakeCorrupt
from tasks.core.storage import locks, system
from tasks.core.storage.addresses import is_address
from tasks.core.storage.system import lake_errors
from tasks.core.storage.tables import TableReader

HIDDEN = ".tmp-"
_LONGEST_SHOWN = 300


class Folder:
    """A folder that is read: on this machine, or, by an address like s3://bucket/prefix, in an object store."""

    root: Path
    # What an address makes of it.
    in_store = "ObjectFolder"

    def __new__(cls, root: str | Path = "") -> Self:
        if "in_store" not in vars(cls) or not is_address(root):
            return super().__new__(cls)
        kind = getattr(importlib.import_module("tasks.core.storage.object_lake"), cls.in_store)
        return cast("Self", object.__new__(kind))

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
        """The path of a key on this machine; a key that would leave the folder is refused."""
        return self.root.joinpath(*checked_parts(key, self.root))

    def address(self, key: str = "") -> str:
        """What a person calls the place of a key: its path, or its address in an object store."""
        return str(self.path(key))

    def below(self, key: str) -> Self:
        """A folder in this one, as one of its own."""
        return type(self)(self.address(key))

    @contextlib.contextmanager
    def local(self, key: str) -> Iterator[Path]:
        """A path on this machine at which a file or folder can be read while the block runs, for whoever needs one."""
        yield self.path(key)

    def exists(self, key: str) -> bool:
        with lake_errors("look at", self.path(key)):
            return self.path(key).exists()

    def has_file(self, key: str) -> bool:
        """Whether the key names a file, or a link to one."""
        with lake_errors("look at", self.path(key)):
            return self.path(key).is_file()

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
                hidden = [name for name in (*folders, *names) if name.startswith(HIDDEN)]
                folders[:] = [name for name in folders if name not in hidden]
                for path in (Path(folder, name) for name in hidden if is_idle(Path(folder, name), idle_seconds)):
                    below = str(path.relative_to(self.root))
                    found[below] = sum(self.sizes_bytes(below).values())
        return found

    def is_idle(self, key: str, *, seconds: float) -> bool:
        """Whether a file is there that nobody has written to for so long."""
        return is_idle(self.path(key), seconds)

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
                f"{self.address(key)} is not UTF-8 text ({error.reason} at byte {error.start})",
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


def checked_parts(key: str, place: object) -> list[str]:
    """The names that a key is made of; DefinitionError where it would leave its folder."""
    parts = key.split("/") if key else []
    if any(part in ("", ".", "..") or "\x00" in part or "\\" in part for part in parts) or not _is_a_name(key):
        raise DefinitionError(
            f"'{key[:_LONGEST_SHOWN]}' is not a path inside {place}",
            next_step="give a name without '..' or '/'",
        )
    return parts


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


def is_idle(path: Path, seconds: float) -> bool:
    try:
        return not seconds or path.stat().st_mtime < time.time() - seconds
    except FileNotFoundError:
        return False


def _raise_unless_missing(error: OSError) -> None:
    """For os.walk, which would pass over a folder that it may not read as if that held nothing."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error
