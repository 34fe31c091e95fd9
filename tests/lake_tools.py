"""What the tests of the lake's files share."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.storage import Lake

SCHEMA = pa.schema([("x", pa.float64())])
# Each starts anew: nothing of this process, and none of its threads, is in them.
processes = multiprocessing.get_context("spawn")


class Killed(BaseException):
    """What stands for SIGKILL: no `except Exception` sees it."""


def rows(count: int = 3, value: float = 1.0) -> pa.Table:
    return pa.table({"x": np.full(count, value)}, schema=SCHEMA)


def table_in(lake: Lake, key: str) -> pa.Table:
    """What a reader makes of a file that knows nothing of lakes."""
    with lake.local(key) as path:
        return pq.read_table(path)


def write(lake: Lake, key: str, table: pa.Table) -> None:
    with lake.parquet_writer(key, SCHEMA) as writer:
        writer.write_table(table)


def everything_in(lake: Lake) -> list[str]:
    """Every file and empty folder, hidden ones too, by the operating system's own account; every object of a store."""
    if "://" in lake.address():
        return lake.files()
    return sorted(
        str(path.relative_to(lake.root)) for path in lake.root.rglob("*") if path.is_file() or not any(path.iterdir())
    )


def open_files() -> int:
    """But for connections, which clients keep."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found += not os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found


def failing(number: int):
    """A function that fails as the operating system does."""

    def fail(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    return fail


class Child(subprocess.Popen):
    """A process that does not outlive a block that failed, nor is waited for."""

    def __exit__(self, kind, *rest) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, *rest)


def run(lake: Lake, body: str, **options) -> Child:
    """Starts another Python with `lake` and what it needs imported."""
    head = (
        "import os, signal, sys, time\n"
        "from tasks.core import storage\n"
        "from tasks.core.errors import LamplighterError, WindowBusy\n"
        f"lake = storage.Lake({lake.address()!r})\n"
    )
    return Child(
        [sys.executable, "-c", head + body],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
