"""kernel.c as a library of this process: compiled once on each machine, by the compiler that is there.

It is Lamplighter's own text and the same for every model. So no code lies in a lake, in a version or in a release.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.resources
import platform
import subprocess
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tasks.core.storage.private import private_file

if TYPE_CHECKING:
    from pathlib import Path  # noqa: TID251 - the type alone

_COMPILERS = ("cc", "gcc", "clang")
# No product and sum in one rounding: the sums are to be scikit-learn's, bit by bit.
_FLAGS = ("-O3", "-ffp-contract=off", "-fPIC", "-shared", "-x", "c", "-")
_SECONDS = 120


class NoLibrary(Exception):
    """The kernel cannot be had on this machine; says why. Internal: scikit-learn's own way is always there."""


@lru_cache(maxsize=1)
def library() -> Any:
    """The functions of kernel.c; NoLibrary without a compiler, and where what it made cannot be loaded."""
    source = (importlib.resources.files("tasks.core.models.trees") / "kernel.c").read_bytes()
    name = f"trees-{_key(source)}.so"
    try:
        try:
            return _loaded(name, source)
        except OSError:
            # A machine that lost its power may have kept a half of it.
            return _loaded(name, source, anew=True)
    except OSError as error:
        raise NoLibrary(f"the library of compiled trees cannot be loaded: {error}") from error


def _loaded(name: str, source: bytes, *, anew: bool = False) -> Any:
    with private_file(name, lambda path: _compile(source, path), anew=anew) as path:
        return ctypes.CDLL(str(path))


def _key(source: bytes) -> str:
    """Another text, other flags or another kind of machine are another library."""
    made_for = "\n".join([*_FLAGS, sys.platform, platform.machine(), *platform.libc_ver()])
    return hashlib.sha256(source + made_for.encode()).hexdigest()[:32]


def _compile(source: bytes, path: Path) -> None:
    for compiler in _COMPILERS:
        try:
            done = subprocess.run(  # noqa: S603 - our own text, by the system's compiler
                [compiler, *_FLAGS, "-o", str(path)], input=source, capture_output=True, timeout=_SECONDS, check=False
            )
        except FileNotFoundError:
            continue
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoLibrary(f"{compiler} cannot be run: {error}") from error
        if done.returncode:
            said = " ".join(done.stderr.decode(errors="replace").split())[:300]
            raise NoLibrary(f"{compiler} failed on Lamplighter's own C: {said}")
        return
    raise NoLibrary(f"there is no C compiler here ({', '.join(_COMPILERS)})")
