"""Starts a Python command that is told to end when the process which started it is gone, however that went.

`python -m tasks.orchestration.leashed PARENT -m prefect server start`
"""

from __future__ import annotations

import ctypes
import os  # noqa: TID251 - a process becomes another; no file is touched
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Becomes the command; ends at once where the parent has gone before it could be watched."""
    parent, *command = sys.argv[1:]
    # The kernel's own leash: it outlives the exec, and needs no thread in a program that is not ours.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit(1)
    os.execv(sys.executable, [sys.executable, *command])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
