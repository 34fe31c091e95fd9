"""What the operating system does for the lake: bytes that reach the disk, moves in one step, its errors in our words."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from tasks.core.errors import LakeCorrupt, LakeError, LakeFull

_LONGEST_PATH = 1000
_RENAME_NOREPLACE, _RENAME_EXCHANGE, _AT_FDCWD = 1, 2, -100


def _ignore(_change: str, _key: str) -> None:
    """What happens after a change: nothing."""


# The tests that kill a run at every step hang on this hook: it is called after each change with its name and key.
after_change: Callable[[str, str], None] = _ignore


# What there is instead of a file, or of a folder.
_NOT_A_FILE = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.ENOTEMPTY, errno.ENXIO)
_RESTORE = "restore it from a backup; lamplighter audit JOB names what of a job is damaged, and what to do"


def refuse_no_file(path: Path) -> None:
    """Whoever opens a pipe or a device may wait for ever. OSError; LakeError where `lake_errors` is around it."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.ENXIO, "it is a pipe, a socket or a device, and no file")


@contextlib.contextmanager
def lake_errors(verb: str, path: Path | str) -> Iterator[None]:
    """Turns the operating system's errors, and Arrow's of a broken file, into ours."""
    try:
        yield
    except OSError as error:
        raise _lake_error(verb, path, error) from error
    except MemoryError:
        # Arrow's is one of its exceptions too. Whoever gives out work asks for less of it at a time.
        raise
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise LakeCorrupt(
            f"could not {verb} {path}: {_first_line(error)}", state="it was left as it is", next_step=_RESTORE
        ) from error


def _lake_error(verb: str, path: Path | str, error: OSError) -> LakeError:
    failed = f"could not {verb} {_shown(path)}: {error.strerror or _first_line(error)}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LakeFull(failed, state="what was published stands as it was", next_step="free space, and run it again")
    if error.errno is None and verb == "read":
        # Arrow's, of a page that cannot be decoded: the system's own errors have a number.
        return LakeCorrupt(failed, state="it was left as it is", next_step=_RESTORE)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return LakeError(
            failed,
            state="what was published stands as it was",
            next_step="let this user write there, or set LAMPLIGHTER_LAKE to a folder that it may write",
        )
    look = f"look at what lies there: ls -l {path}" if error.errno in _NOT_A_FILE else "see to the disk"
    return LakeError(failed, state="what was published stands as it was", next_step=f"{look}, and run it again")


def _shown(path: Path | str) -> str:
    """The path; of one that is too long for any file its beginning."""
    return str(path) if len(str(path)) <= _LONGEST_PATH else f"{str(path)[:_LONGEST_PATH]}…"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


# Whatever the umask of whoever runs this: the world never writes what is made here.
_FILE_MODE, _FOLDER_MODE = 0o664, 0o775


def make_file(path: Path) -> None:
    """An empty file, for whoever would make one by a mode of their own."""
    path.touch(_FILE_MODE)


def write_flushed(path: Path, data: bytes) -> None:
    make_file(path)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def link_or_copy(old: Path, new: Path) -> None:
    """A second name of a file; a copy that is flushed where the file system has no such names, or no more of them."""
    try:
        new.hardlink_to(old)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS):
            raise
        make_file(new)
        shutil.copyfile(old, new)
        flush_file(new)


def flush_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


flush_folder = flush_file  # A folder is flushed as a file is: its descriptor, opened for reading.


def make_folder(path: Path, root: Path) -> None:
    """The folder with all above it below `root`, each flushed into the one above: else a loss of power takes it, and what
    was flushed in it.
    """
    try:
        path.mkdir(_FOLDER_MODE)
    except FileExistsError:
        if not path.is_dir():
            raise
    except FileNotFoundError:
        make_folder(path.parent, root)
        make_folder(path, root)
    else:
        if root in path.parents:
            flush_folder(path.parent)


def _renameat2(old: Path, new: Path, flags: int) -> int:
    """The errno of renameat2(2), or 0. ENOSYS where the C library or the kernel does not know it."""
    # The C library that this process runs on: looking it up by name would start other processes.
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return errno.ENOSYS
    failed = call(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags)
    return ctypes.get_errno() if failed else 0


def aside(prepared: Path) -> Path:
    """Where a replaced folder waits during a swap that the file system cannot do in one step."""
    return prepared.with_name(f"{prepared.name}.old")


_NOT_SUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def exchange(one: Path, other: Path) -> bool:
    code = _renameat2(one, other, _RENAME_EXCHANGE)
    if code and code not in _NOT_SUPPORTED:
        raise OSError(code, os.strerror(code))
    return code == 0


def exchange_in_three_steps(new: Path, old: Path) -> None:
    """For a file system that cannot do it in one. A kill in between is mended by `mend_swap`."""
    waiting = aside(new)
    old.rename(waiting)
    try:
        new.rename(old)
    except OSError:
        waiting.rename(old)
        raise
    waiting.rename(new)


def rename_no_replace(old: Path, new: Path) -> None:
    code = _renameat2(old, new, _RENAME_NOREPLACE)
    if code in _NOT_SUPPORTED:
        if new.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        old.rename(new)
    elif code:
        raise OSError(code, os.strerror(code))
