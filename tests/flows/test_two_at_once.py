"""Two processes, one window: one publishes, the other is told so, and nothing is there twice."""

import contextlib
import os
import pathlib
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from prefect.settings import PREFECT_API_URL

from tests.flows.conftest import DAY

# As the command `lamplighter` starts; the first argument names a file to wait for once all is staged.
_COMMAND = """
import pathlib, sys, time
from tasks.core.storage import system
go = pathlib.Path(sys.argv.pop(1))

def wait(change, key):
    if "staged/predictions" in key and change == "write":
        (go.parent / "staged").touch()
        while not go.exists():
            time.sleep(0.01)

system.after_change = wait
from flows.cli import main
main()
"""


@pytest.fixture
def start(world):
    """Starts `lamplighter score readings` in a process of its own, on the tests' Prefect server."""
    started = []

    def start(go):
        arguments = [sys.executable, "-c", _COMMAND, str(go), "score", "readings", "--as-of", DAY]
        environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()}
        started.append(
            subprocess.Popen(
                arguments, env=environment, cwd=os.getcwd(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _is_published_once(world):
    lake = world.folder / "lake"
    for table, rows in (("predictions", 200), ("quarantine", 0)):
        (file,) = [path for path in (lake / table).rglob("*") if path.is_file()]
        assert pq.read_metadata(file).num_rows == rows
    (workspace,) = (lake / f"runs/readings/as_of={DAY}").iterdir()
    assert workspace.name == world.published().run_id
    assert not (lake / "superseded").exists()
    assert not any((lake / "locks").iterdir())
    assert not list(lake.rglob(".*"))
    assert world.table()["sensor"].is_unique


def _until(condition, first):
    deadline = time.monotonic() + 400
    while not condition():
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _waits_for_lock(process):
    """Whether a process has the window's lock file open, which another one holds."""
    files = pathlib.Path(f"/proc/{process.pid}/fd")
    with contextlib.suppress(FileNotFoundError):
        return any(os.path.realpath(file).endswith(f"readings {DAY}.lock") for file in files.iterdir())
    return False


def _first_and_one_that_waits(world, start):
    world.change_job(limits__wait_for_window="10min")
    first = start(world.folder / "go")
    _until((world.folder / "staged").exists, first)
    second = start(world.folder)
    _until(lambda: _waits_for_lock(second), first)
    assert second.poll() is None
    return first, second


@pytest.mark.extras
def test_a_second_that_may_wait_finds_the_window_published(world, start):
    first, second = _first_and_one_that_waits(world, start)

    (world.folder / "go").touch()

    assert "200 of 200 rows scored" in first.communicate(timeout=400)[0]
    out, error = second.communicate(timeout=400)
    assert (second.returncode, "is published" in out) == (0, True), out + error
    _is_published_once(world)


@pytest.mark.extras
def test_a_second_that_waits_takes_over_when_the_first_is_killed(world, start):
    first, second = _first_and_one_that_waits(world, start)

    first.kill()

    out, error = second.communicate(timeout=400)
    assert (second.returncode, "200 of 200 rows scored" in " ".join(out.split())) == (0, True), out + error
    _is_published_once(world)


@pytest.mark.extras
def test_the_second_is_refused_while_the_first_is_at_work(world, start):
    go = world.folder / "go"
    first = start(go)
    deadline = time.monotonic() + 120
    while not (world.folder / "staged").exists():
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline, "the first did not come to its publication"
        time.sleep(0.05)
    manifest = (world.folder / "lake").rglob("manifest.json")
    before = {path: path.read_bytes() for path in manifest if "models" not in path.parts}

    # What it is to wait for is there: it would publish, were it let.
    second = start(world.folder)
    out, refused = second.communicate(timeout=120)

    assert (second.returncode, out) == (1, "")
    assert "is being run by run" in refused
    assert "that run was not disturbed" in refused.lower()
    assert {path: path.read_bytes() for path in before} == before
    assert not (world.folder / "lake/predictions").exists()
    assert not (world.folder / "lake/reports/readings/index.html").exists()

    go.touch()
    out, _ = first.communicate(timeout=120)
    assert first.returncode == 0
    assert "200 of 200 rows scored" in out
    _is_published_once(world)

    third = start(world.folder)
    out, _ = third.communicate(timeout=120)
    assert third.returncode == 0
    assert "is published" in out
    _is_published_once(world)


def test_of_two_started_at_once_one_publishes_and_the_other_says_why_it_did_not(world, start):
    both = [start(world.folder), start(world.folder)]

    told = [(process.communicate(timeout=180), process.returncode) for process in both]

    published = [out for (out, _), code in told if code == 0 and "200 of 200 rows scored" in " ".join(out.split())]
    assert len(published) == 1, told
    for (out, error), code in told:
        if out not in published:
            said = " ".join((out + error).split())
            assert (code, "is being run by run" in said) == (1, True) or (code, "is published" in said) == (0, True), (
                said
            )
    _is_published_once(world)
