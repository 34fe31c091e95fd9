"""A model that takes its process with it, or never ends, costs the run: not the batches that were done, nor the next."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tasks.core.definitions.modelling import Prediction
from tests.flows.conftest import DAY, as_table, readings, register
from tests.flows.fickle_model import TYPE, Fickle

ROWS, BATCH = 100, 10


@pytest.fixture
def fickle(world):
    """Ten batches of ten rows, two children, and a model that does as files in `fickle` say."""
    (world.folder / "fickle").mkdir()
    world.change_job(suite=None, limits__batch_rows=BATCH, limits__workers=2)
    world.write_rows(readings(ROWS).assign(x=np.arange(ROWS, dtype=float)))
    _register(world)
    world.change_job(model__allowed_types=[TYPE])
    return world


def _register(world):
    return register(
        world.lake,
        "readings",
        Fickle(world.folder / "fickle"),
        {"x": "float64"},
        {"probability": Prediction(method="predict_proba", class_=1)},
        as_table(readings(20).assign(x=-np.arange(1.0, 21.0))),
    )


def _log(world):
    """The first row of each batch that was given to the model, in that order, and the processes."""
    lines = [line.split() for line in (world.folder / "fickle/log").read_text().splitlines()]
    return [int(first) for first, _ in lines], {int(pid) for _, pid in lines}


def _complete(world):
    """The first rows of the batches whose checkpoint is complete."""
    found = (world.folder / "lake/runs").rglob("batches/*.json")
    return {int(path.stem) * BATCH for path in found}


def _is_gone(pid):
    """Whether no such process runs; one that ended and was not yet asked for its end counts as gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("sigkill", "signal SIGKILL"),
        pytest.param("segfault", "signal SIGSEGV", marks=pytest.mark.extras),
        pytest.param("exit", "exit code 0", marks=pytest.mark.extras),
        pytest.param("memory", "MemoryError: Unable to allocate 1. TiB", marks=pytest.mark.extras),
    ],
)
def test_a_row_that_ends_the_models_process_is_taken_out_and_its_batch_named(fickle, caplog, what, how):
    (fickle.folder / f"fickle/{what}").write_text("45")

    state = fickle.score()

    assert state.name == "Published", state.message
    (reasons,) = fickle.table("quarantine")["reasons"]
    said = f"the model's process did not survive this row, even alone: {how}"
    assert [(one["kind"], one["message"]) for one in reasons] == [("model_died", said)]
    assert fickle.table("quarantine")["x"].tolist() == [45.0]
    x = np.delete(np.arange(ROWS), 45)
    np.testing.assert_allclose(fickle.table()["probability"], x / (1 + x), rtol=1e-15)
    assert fickle.published().quarantine_reasons == {"model_died": 1}
    batch = "score of batch 5 of 10 (rows 40 to 49) of readings 2024-05-01"
    assert f"The process that worked on {batch} died ({how}); it is tried once more in a new one" in caplog.text
    assert (
        f"The process that worked on {batch} died again ({how}); those to blame are among 10 of its rows" in caplog.text
    )
    assert f"Row 45 ends the process that scores it ({how}), and is taken out of the {batch}" in caplog.text
    first, processes = _log(fickle)
    assert os.getpid() not in processes
    # Of 10 rows: twice the whole, at most 3 of 4 parts, 2 of 3 and the last alone, and the whole without it. The others once.
    assert len([one for one in first if 40 <= one < 50]) <= 2 + 3 + 2 + 1 + 1
    assert sorted(one for one in first if not 40 <= one < 50) == [0, 10, 20, 30, 50, 60, 70, 80, 90]


@pytest.mark.extras
def test_a_batch_of_too_many_rows_fails_the_run_which_is_resumed(fickle):
    (fickle.folder / "fickle/many").write_text("45")

    state = fickle.score()

    assert (state.type.value, state.name) == ("FAILED", "Failed")
    assert (
        "batch 5 of 10 (rows 40 to 49) of readings 2024-05-01 died twice or more, and of none of its rows"
        in state.message
    )
    assert "lower limits.batch_rows" in state.message
    assert fickle.latest().verdict == "failed"
    assert not (fickle.folder / "lake/predictions").exists()
    complete = _complete(fickle)
    # The shard of even batches ended there; the one of odd batches was not disturbed.
    assert complete == {0, 20, 10, 30, 50, 70, 90}

    # Whatever it was is over: what was done is not done again, and the source is not asked.
    (fickle.folder / "fickle/many").unlink()
    (fickle.folder / "fickle/log").unlink()
    (fickle.folder / "data/a.parquet").unlink()
    again = fickle.score()

    assert again.name == "Published", again.message
    assert sorted(_log(fickle)[0]) == [40, 60, 80]
    x = np.arange(ROWS)
    np.testing.assert_allclose(fickle.table()["probability"], x / (1 + x), rtol=1e-15)


@pytest.mark.extras
def test_a_mended_model_is_another_version_and_scores_all(fickle):
    (fickle.folder / "fickle/many").write_text("45")
    assert fickle.score().name == "Failed"
    failed = fickle.latest().run_id
    (fickle.folder / "fickle/many").unlink()
    (fickle.folder / "fickle/log").unlink()
    version = _register(fickle)

    state = fickle.score()

    assert state.name == "Published", state.message
    assert set(fickle.table()["model_version"]) == {version.label}
    assert sorted(_log(fickle)[0]) == list(range(0, ROWS, BATCH))
    assert fickle.published().run_id != failed


@pytest.mark.extras
def test_a_model_that_never_ends_is_ended_and_the_next_run_goes_on(fickle):
    (fickle.folder / "fickle/hang").write_text("25")
    # Long enough for a child to start and import; the hanging batch would take ten minutes.
    fickle.change_job(limits__batch_timeout_seconds=15)
    started = time.monotonic()

    state = fickle.score()

    assert state.name == "Failed"
    assert "batch 3 of 10 (rows 20 to 29) of readings 2024-05-01 did not end within 15 s" in state.message
    assert time.monotonic() - started < 100
    assert _complete(fickle) == {0, 10, 30, 50, 70, 90}
    lines = (fickle.folder / "fickle/log").read_text().splitlines()
    (hanging,) = [int(line.split()[1]) for line in lines if line.startswith("20 ")]
    _wait_until(lambda: _is_gone(hanging))

    (fickle.folder / "fickle/hang").unlink()
    (fickle.folder / "fickle/log").unlink()
    assert fickle.score().name == "Published"
    assert sorted(_log(fickle)[0]) == [20, 40, 60, 80]


_ALONE = """
import sys
from tests.crash.harness import run_without_prefect, FIRST
from tasks.core import workers
from tasks.core.runs import shards
counted = shards.worker_count
run_without_prefect(FIRST)
shards.worker_count = counted
import flows.score
flows.score.score.fn.__wrapped__("readings", sys.argv[1], "")
"""


@pytest.mark.extras
def test_children_end_with_a_parent_that_was_killed(fickle):
    """Else they hold memory for ten minutes, and one that hangs for ever; and write where the next run works."""
    (fickle.folder / "fickle/hang").write_text("25")
    fickle.change_job(limits__workers=1)
    parent = subprocess.Popen([sys.executable, "-c", _ALONE, DAY], cwd=os.getcwd())
    _wait_until(lambda: 20 in _complete(fickle) | set(_log(fickle)[0] if _has_log(fickle) else []))
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    _, children = _log(fickle)
    assert parent.pid not in children
    _wait_until(lambda: all(_is_gone(pid) for pid in children), 15)

    (fickle.folder / "fickle/hang").unlink()
    (fickle.folder / "fickle/log").unlink()
    assert fickle.score().name == "Published"
    assert 0 not in _log(fickle)[0]


def _has_log(world):
    return (world.folder / "fickle/log").exists()
