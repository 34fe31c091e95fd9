"""A run that is stopped does not wait for its children, and leaves none."""

import concurrent.futures
import os
import time

import pytest

from tasks.core.errors import WorkerError
from tasks.core.workers import Workers, stop_children


def wait_long(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)


def answer():
    return 42


def test_who_waits_for_a_child_hears_that_it_was_stopped(tmp_path):
    path = tmp_path / "pid"
    workers = Workers(2, timeout_seconds=300)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(workers.call, "score of batch 1", wait_long, str(path))
        until(lambda: path.exists() and path.read_text())
        process = int(path.read_text())
        began = time.monotonic()
        stop_children()
        with pytest.raises(WorkerError, match="score of batch 1 was stopped"):
            waiting.result(timeout=60)
    assert time.monotonic() - began < 30
    until(lambda: not os.path.exists(f"/proc/{process}"))
    # The next call gets a child of its own.
    assert workers.call("another", answer) == 42


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
