"""The one door to files: the lake (read and written), and a project's folder (read).

A key is a relative path with '/' in it. Every change is one step that a kill cannot halve: a file is written under a
hidden name, flushed to the disk and renamed; a folder is prepared aside and swapped in. Nothing else in Lamplighter
opens, lists, moves or removes a file.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.errors import DefinitionError, LakeCorrupt, LakeError, LakeFull, WindowBusy

_RENAME_NOREPLACE, _RENAME_EXCHANGE, _AT_FDCWD = 1, 2, -100
_HIDDEN = ".tmp-"
BUSY = "is being run by"  # In the message of WindowBusy, behind the name of the lock.
# Whoever only looks whether a lock is held has it for some microseconds: nobody is refused for that.
_A_LOOK_SECONDS = 0.05


def _ignore(_change: str, _key: str) -> None:
    """What happens after a change: nothing."""


# The tests that kill a run at every step hang on this hook: it is called after each change with its name and key.
after_change: Callable[[str, str], None] = _ignore


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
        if any(part in ("", ".", "..") or "\x00" in part or "\\" in part for part in parts):
            raise DefinitionError(
                f"'{key}' is not a path inside {self.root}", next_step="give a name without '..' or '/'"
            )
        return self.root.joinpath(*parts)

    def exists(self, key: str) -> bool:
        with _lake_errors("look at", self.path(key)):
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
        with _lake_errors("list", self.path(key)):
            try:
                with os.scandir(self.path(key)) as found:
                    return sorted(entry.name for entry in found if not entry.name.startswith("."))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def files(self, key: str = "") -> list[str]:
        """The keys of all files below a folder, sorted."""
        found = []
        with _lake_errors("list", self.path(key)):
            for folder, _, names in os.walk(self.path(key), onerror=_raise_unless_missing):
                below = Path(folder).relative_to(self.root)
                found += [str(below / name) for name in names]
        return sorted(found)

    def size_bytes(self, key: str) -> int:
        with _lake_errors("look at", self.path(key)):
            return self.path(key).stat().st_size

    def read_bytes(self, key: str) -> bytes:
        with _lake_errors("read", self.path(key)):
            return self.path(key).read_bytes()

    def read_range(self, key: str, start: int, size: int) -> bytes:
        """At most `size` bytes from `start` on; fewer, or none, at the end."""
        with _lake_errors("read", self.path(key)), self.path(key).open("rb") as file:
            file.seek(start)
            return file.read(size)

    def read_text(self, key: str) -> str:
        try:
            return self.read_bytes(key).decode("utf-8")
        except UnicodeDecodeError as error:
            raise LakeCorrupt(f"{self.path(key)} is not UTF-8 text ({error.reason} at byte {error.start})") from error

    def sha256(self, key: str) -> str:
        """The hex SHA-256 of a file, read in blocks."""
        with _lake_errors("read", self.path(key)), self.path(key).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def is_locked(self, key: str) -> bool:
        """Whether a process holds the lock of this name now. A look, which keeps nobody from taking it."""
        with _lake_errors("look at", self.path(key)):
            return _is_held(self.path(key))

    def parquet(self, key: str) -> TableReader:
        """An open Parquet file; LakeCorrupt where it is not one."""
        with _lake_errors("read", self.path(key)):
            return TableReader(self.path(key))


class Lake(Folder):
    """The folder that everything is published into."""

    def write_bytes(self, key: str, data: bytes) -> None:
        """Puts a file in place as a whole, over what may stand there."""
        target = self.path(key)
        with self._hidden_beside(target) as hidden, _lake_errors("write", target):
            _write_flushed(hidden, data)
            hidden.replace(target)
            _flush_folder(target.parent)
        after_change("write", key)

    def append(self, key: str, data: bytes) -> None:
        """Adds to the end of a scratch file. Not flushed, and not one step: for what the next run throws away."""
        target = self.path(key)
        with _lake_errors("write", target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("ab") as file:
                file.write(data)
        after_change("append", key)

    def create(self, key: str, data: bytes) -> bool:
        """Puts a file in place only where none stands; False if one did. Of two at once, one wins."""
        target = self.path(key)
        with self._hidden_beside(target) as hidden, _lake_errors("write", target):
            _write_flushed(hidden, data)
            try:
                target.hardlink_to(hidden)
            except FileExistsError:
                return False
            _flush_folder(target.parent)
        after_change("create", key)
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
            with _lake_errors("write", target):
                _flush_file(hidden)
                hidden.replace(target)
                _flush_folder(target.parent)
        after_change("write", key)

    def rename(self, source: str, target: str) -> None:
        """Moves a file or folder to where nothing stands; LakeError if something does. Done already is done."""
        old, new = self.path(source), self.path(target)
        if new.exists() and not old.exists():
            return
        with _lake_errors("move", new):
            new.parent.mkdir(parents=True, exist_ok=True)
            _rename_no_replace(old, new)
            _flush_folder(new.parent)
            _flush_folder(old.parent)
        after_change("rename", target)

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
        with _lake_errors("publish", old):
            old.parent.mkdir(parents=True, exist_ok=True)
            atomic = True
            if not old.exists():
                new.rename(old)
            elif not _exchange(new, old):
                atomic = False
                _exchange_in_three_steps(new, old)
            _flush_folder(old.parent)
            _flush_folder(new.parent)
        after_change("swap", target)
        return atomic

    def mend_swap(self, prepared: str, target: str) -> None:
        """Ends what a kill left of a swap that was not atomic: undone if the target was not yet in place, else done."""
        new, old = self.path(prepared), self.path(target)
        with _lake_errors("publish", old):
            if not _aside(new).exists():
                return
            _aside(new).rename(new if old.exists() else old)
            _flush_folder(old.parent)
            _flush_folder(new.parent)
        after_change("swap", target)

    def remove(self, key: str) -> None:
        """Removes a file or a folder with all in it; nothing there is fine."""
        path = self.path(key)
        with _lake_errors("remove", path):
            if path.is_dir() and not path.is_symlink():
                # Out of sight in one step first: nobody is to see a folder half removed.
                hidden = path.with_name(f"{_HIDDEN}{uuid.uuid4().hex}")
                path.rename(hidden)
                shutil.rmtree(hidden)
            else:
                path.unlink(missing_ok=True)
        after_change("remove", key)

    @contextlib.contextmanager
    def lock(self, key: str, *, holder: str, wait_seconds: float = 0) -> Iterator[None]:
        """Holds the lock of this name; WindowBusy, with the holder, when another process does. Frees itself on death."""
        path = self.path(key)
        with _lake_errors("lock", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = _acquire(path, time.monotonic() + max(wait_seconds, _A_LOOK_SECONDS))
        try:
            with _lake_errors("lock", path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, holder.encode())
            yield
        finally:
            # Removed while held: whoever waits on the old file sees that it is gone, and tries again. A file that
            # cannot be removed locks nobody out.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(descriptor)

    def sweep(self, key: str, *, idle_seconds: float = 0) -> None:
        """Removes what killed writers left under hidden names below a folder that this run has locked.

        Of a folder that others write to as well: what nobody has touched for so long.
        """
        for folder, folders, names in os.walk(self.path(key)):
            with _lake_errors("remove what a killed run left in", Path(folder)):
                for name in [n for n in names if n.startswith(_HIDDEN)]:
                    if _is_idle(Path(folder, name), idle_seconds):
                        Path(folder, name).unlink(missing_ok=True)
            for name in [n for n in folders if n.startswith(_HIDDEN)]:
                if _is_idle(Path(folder, name), idle_seconds):
                    shutil.rmtree(Path(folder, name), ignore_errors=True)

    @contextlib.contextmanager
    def _hidden_beside(self, target: Path) -> Iterator[Path]:
        hidden = target.with_name(f"{_HIDDEN}{uuid.uuid4().hex}")
        with _lake_errors("write", target):
            target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield hidden
        finally:
            with _lake_errors("write", target):
                hidden.unlink(missing_ok=True)


class TableReader(pq.ParquetFile):
    """An open Parquet file. A page that turns out to be broken later is the lake's error too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(path, memory_map=False, page_checksum_verification=True)

    def read(self, *args: Any, **kwargs: Any) -> pa.Table:
        with _lake_errors("read", self._path):
            return super().read(*args, **kwargs)

    def read_row_group(self, *args: Any, **kwargs: Any) -> pa.Table:
        with _lake_errors("read", self._path):
            return super().read_row_group(*args, **kwargs)

    def read_row_groups(self, *args: Any, **kwargs: Any) -> pa.Table:
        with _lake_errors("read", self._path):
            return super().read_row_groups(*args, **kwargs)

    def iter_batches(self, *args: Any, **kwargs: Any) -> Iterator[pa.RecordBatch]:
        batches = super().iter_batches(*args, **kwargs)
        while True:
            # What whoever takes the batches raises is not the lake's.
            with _lake_errors("read", self._path):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


class TableWriter:
    """A Parquet file on its way: its own errors are the lake's, those of whoever fills it pass unchanged."""

    def __init__(self, hidden: Path, target: Path, schema: pa.Schema) -> None:
        self._target = target
        with _lake_errors("write", target):
            # Checksums, because a bit that flips in a page may still decode, to another number.
            self._writer = pq.ParquetWriter(
                hidden, schema, compression="zstd", version="2.6", store_schema=True, write_page_checksum=True
            )

    def write_table(self, table: pa.Table, row_group_size: int | None = None) -> None:
        with _lake_errors("write", self._target):
            self._writer.write_table(table, row_group_size)

    def close(self, metadata: Mapping[str, str]) -> None:
        """Ends the file, with this key-value metadata."""
        with _lake_errors("write", self._target):
            if metadata:
                self._writer.add_key_value_metadata(dict(metadata))
            self._writer.close()

    def abandon(self) -> None:
        """Lets go of the file; one that was closed stays as it is."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()


@contextlib.contextmanager
def _lake_errors(verb: str, path: Path) -> Iterator[None]:
    """Turns the operating system's errors, and Arrow's of a broken file, into ours."""
    try:
        yield
    except OSError as error:
        raise _lake_error(verb, path, error) from error
    except pa.ArrowInvalid as error:
        raise LakeCorrupt(f"could not {verb} {path}: {_first_line(error)}") from error


def _lake_error(verb: str, path: Path, error: OSError) -> LakeError:
    failed = f"could not {verb} {path}: {error.strerror or _first_line(error)}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LakeFull(failed, state="what was published stands as it was", next_step="free space, and run it again")
    if error.errno is None and verb == "read":
        # Arrow's, of a page that cannot be decoded: the system's own errors have a number.
        return LakeCorrupt(failed)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return LakeError(
            failed,
            state="what was published stands as it was",
            next_step="let this user write there, or set LAMPLIGHTER_LAKE to a folder that it may write",
        )
    return LakeError(failed, state="what was published stands as it was")


def _is_idle(path: Path, seconds: float) -> bool:
    try:
        return not seconds or path.stat().st_mtime < time.time() - seconds
    except FileNotFoundError:
        return False


def _raise_unless_missing(error: OSError) -> None:
    """For os.walk, which would pass over a folder that it may not read as if that held nothing."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _write_flushed(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_flush_folder = _flush_file  # A folder is flushed as a file is: its descriptor, opened for reading.


def _renameat2(old: Path, new: Path, flags: int) -> int:
    """The errno of renameat2(2), or 0. ENOSYS where the C library or the kernel does not know it."""
    # The C library that this process runs on: looking it up by name would start other processes.
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return errno.ENOSYS
    failed = call(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags)
    return ctypes.get_errno() if failed else 0


def _aside(prepared: Path) -> Path:
    """Where a replaced folder waits during a swap that the file system cannot do in one step."""
    return prepared.with_name(f"{prepared.name}.old")


_NOT_SUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def _exchange(one: Path, other: Path) -> bool:
    code = _renameat2(one, other, _RENAME_EXCHANGE)
    if code and code not in _NOT_SUPPORTED:
        raise OSError(code, os.strerror(code))
    return code == 0


def _exchange_in_three_steps(new: Path, old: Path) -> None:
    """For a file system that cannot do it in one. A kill in between is mended by `mend_swap`."""
    aside = _aside(new)
    old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        aside.rename(old)
        raise
    aside.rename(new)


def _rename_no_replace(old: Path, new: Path) -> None:
    code = _renameat2(old, new, _RENAME_NOREPLACE)
    if code in _NOT_SUPPORTED:
        if new.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        old.rename(new)
    elif code:
        raise OSError(code, os.strerror(code))


def _acquire(path: Path, deadline: float) -> int:
    """A descriptor that holds the lock of the file which the path names now."""
    while True:
        descriptor, held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = _is_named(descriptor, path)
            if held:
                return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise _busy(descriptor, path) from None
            time.sleep(min(0.2, max(deadline - time.monotonic(), 0.01)))
        finally:
            if not held:
                os.close(descriptor)


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, and let go at once: who wants the lock meanwhile tries again after a moment.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


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
