"""Files of this user's own on this machine, outside every lake and project: what is run as code lies nowhere else."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@contextlib.contextmanager
def private_file(name: str, make: Callable[[Path], None], *, anew: bool = False) -> Iterator[Path]:
    """The file of this name, made where it is not there yet, or `anew`. Nobody else may write it, nor its folder.

    In `~/.cache/lamplighter`; where that cannot be made, or others may write there, in a folder that goes when this ends.
    """
    folder = _kept_folder()
    if folder is not None:
        yield _found_or_made(folder / name, make, anew=anew)
        return
    # Made for its owner alone, whatever the umask.
    with tempfile.TemporaryDirectory(prefix="lamplighter-") as away:
        path = Path(away, name)
        make(path)
        yield path


def _found_or_made(path: Path, make: Callable[[Path], None], *, anew: bool) -> Path:
    if anew or not _is_ours(path, stat.S_ISREG):
        aside = path.with_name(f".{uuid.uuid4().hex}-{path.name}")
        try:
            make(aside)
            aside.chmod(0o700)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    return path


def _kept_folder() -> Path | None:
    try:
        folder = Path.home() / ".cache" / "lamplighter"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_ours(folder, stat.S_ISDIR) and not any(map(_is_anothers, folder.parents)):
            return folder if os.access(folder, os.W_OK) else None
    except (OSError, RuntimeError):
        # No home, or none that can be written.
        pass
    return None


def _is_ours(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether it is of this kind, no link, this user's, and writable by nobody else."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return kind(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_WRITE


def _is_anothers(folder: Path) -> bool:
    """Whether somebody else may put another folder in the place of one in it: its owner, or whom it is open to."""
    found = folder.stat()
    if found.st_uid not in (0, os.geteuid()):
        return True
    return bool(found.st_mode & _OTHERS_WRITE) and not found.st_mode & stat.S_ISVTX
