"""A backfill with several windows at once: in child processes, which may die; interrupted, killed, and run again."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
from prefect.settings import PREFECT_API_URL

from flows.backfill import backfill
from tasks.core import layout
from tasks.core.definitions.modelling import Prediction
from tests.flows.conftest import as_table, make_project, open_world, readings, register
from tests.flows.hostile_model import TYPE, Hostile

# Processes of their own, each of which imports all of Lamplighter: minutes.
pytestmark = pytest.mark.extras

DAYS = ("2024-05-01", "2024-05-02", "2024-05-03", "2024-05-04")


@pytest.fixture(scope="module")
def made_days(tmp_path_factory):
    """Four days of rows of which none is scored; a row's x is positive."""
    world = make_project(tmp_path_factory.mktemp("days") / "project")
    for number, day in enumerate(DAYS):
        rows = readings(100 + number, day)
        world.write_rows(rows.assign(x=rows["x"].abs() + 1, sensor=rows["sensor"] + day), f"{number}.parquet")
    return world


@pytest.fixture
def days(made_days, tmp_path, monkeypatch):
    return open_world(tmp_path / "project", monkeypatch, like=made_days)


@pytest.fixture
def model(days):
    """Production does as the text says that is given."""
    folder = days.folder / "hostile"
    folder.mkdir()
    days.change_job(model__allowed_types=[TYPE])
    sample = as_table(readings(20).assign(x=[-1.0 - number for number in range(20)]))
    outputs = {"probability": Prediction(method="predict_proba", class_=1)}
    register(days.lake, "readings", Hostile(folder), {"x": "float64"}, outputs, sample)
    return (folder / "what").write_text


def filled(at_once, **options):
    return backfill("readings", DAYS[0], DAYS[-1], "never scored", at_once=at_once, **options, return_state=True)


def outcomes(state):
    summary = state.result(raise_on_failure=False)
    return [one.outcome for one in getattr(summary, "summary", summary).windows]


@pytest.mark.slow
def test_three_at_once_write_what_one_after_the_other_does(days, made_days, tmp_path, monkeypatch):
    state = filled(3)
    assert (state.name, outcomes(state)) == ("Completed", ["done"] * 4), state.message
    at_once = days.table()

    other = open_world(tmp_path / "other/project", monkeypatch, like=made_days)
    state = filled(1)
    assert outcomes(state) == ["done"] * 4

    columns = [name for name in at_once if name not in ("run_id", "scored_at")]
    pd.testing.assert_frame_equal(at_once[columns], other.table()[columns])
    assert len(at_once) == 100 + 101 + 102 + 103


@pytest.mark.slow
def test_a_process_that_dies_costs_its_own_window_and_no_more_are_begun(days, model):
    model("kill the run")
    state = filled(2, stop_after=1)

    assert state.name == "Failed"
    assert outcomes(state) == ["failed", "failed", "not started", "not started"]
    assert "the process that scored 2024-05-01 died (exit code -9)" in state.message
    assert not (days.folder / "lake/predictions").exists()

    model("well")
    assert outcomes(filled(2)) == ["done"] * 4


def test_a_window_that_somebody_holds_is_waited_for_and_then_left_alone(days):
    key = layout.lock("readings", DAYS[0])
    held, may_go = threading.Event(), threading.Event()

    def hold():
        with days.lake.lock(key, holder="run quick-owl"):
            held.set()
            may_go.wait(300)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)

    def release():
        while not days.published(DAYS[-1]):
            time.sleep(0.2)
        may_go.set()

    threading.Thread(target=release, daemon=True).start()
    state = filled(1)
    holder.join()

    assert (state.name, outcomes(state)) == ("Completed", ["done"] * 4), state.message


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [signal.SIGINT, signal.SIGTERM, signal.SIGKILL],
)
def test_a_command_that_is_stopped_leaves_no_process_and_no_half_window_and_is_run_again(days, model, how):
    model("hang")
    command = [sys.executable, "-c", "from flows.cli import main; main()", "backfill", "readings"]
    command += ["--from", DAYS[0], "--to", DAYS[-1], "--reason", "never scored", "--at-once", "2"]
    environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()}
    started = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        log = days.folder / "hostile/log"
        _poll(lambda: log.exists() and len(log.read_text().split()) == 4, started)
        began = time.monotonic()
        started.send_signal(how)
        started.communicate(timeout=60)
        print(f"{how.name}: ended in {time.monotonic() - began:.1f} s")
    finally:
        started.kill()
    _poll(lambda: not _in_session(started.pid))
    assert not (days.folder / "lake/predictions").exists()

    model("well")
    state = filled(2)
    assert outcomes(state) == ["done"] * 4, state.message
    assert len(days.table()) == 100 + 101 + 102 + 103


def _poll(condition, process=None):
    end = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.1)


def _in_session(session):
    """The processes that were started below one that led a session."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found
