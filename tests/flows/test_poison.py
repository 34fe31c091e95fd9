"""Windows of one batch, which the parent may do itself: a model that takes its process with it does not take the run."""

import json
import os

import numpy as np
import pytest

from tasks.core.definitions.modelling import Prediction
from tasks.core.runs import shards
from tests.flows.conftest import DAY, as_table, readings, register
from tests.flows.fickle_model import BAD_START, TYPE, BadStart, Fickle
from tests.flows.test_fickle_model import _is_gone, _log, _wait_until


def prepare(world, model, allowed, rows):
    (world.folder / "fickle").mkdir()
    world.change_job(suite=None, limits__quarantine_share=0.5, model__allowed_types=[allowed])
    world.write_rows(readings(rows).assign(x=np.arange(rows, dtype=float)))
    sample = as_table(readings(20).assign(x=-np.arange(1.0, 21.0)))
    outputs = {"probability": Prediction(method="predict_proba", class_=1)}
    register(world.lake, "readings", model, {"x": "float64"}, outputs, sample)
    return world.folder / "fickle"


def test_a_segfault_in_the_only_batch_costs_its_row(world, lamplighter):
    folder = prepare(world, Fickle(world.folder / "fickle"), TYPE, 4)
    (folder / "segfault").write_text("1")

    state = world.score()

    assert state.name == "Published", state.message
    assert os.getpid() not in _log(world)[1]
    np.testing.assert_allclose(world.table()["probability"], [0, 2 / 3, 3 / 4], rtol=1e-15)
    code, out, _ = lamplighter("quarantine", "readings", "--as-of", DAY)
    assert code == 0
    assert "model_died" in out
    assert "the model's process did not survive this row, even alone: signal SIGSEGV" in out
    assert "model_died" in (world.folder / f"lake/reports/readings/as_of={DAY}.html").read_text()


def test_a_run_that_came_to_no_end_is_taken_up_in_a_child(world, monkeypatch):
    """Its model is one that the parent would ask itself: had it died of that, so would this run, and the next."""
    counts = []
    plain = shards.Workers.call

    def counted(self, what, function, *args, **kwargs):
        counts.append((function.__name__, self.count))
        return plain(self, what, function, *args, **kwargs)

    monkeypatch.setattr(shards.Workers, "call", counted)

    def vanish(*_, **__):
        raise KeyboardInterrupt

    world.change_job(suite=None)
    with monkeypatch.context() as gone:
        gone.setattr("tasks.score.each_batch", vanish)
        with pytest.raises(KeyboardInterrupt):
            world.score()
    assert counts == [("check_version", 0)]
    # As a process leaves it that has ended at once.
    path = world.lake.path(f"{world.latest().workspace}/manifest.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "running", "verdict": None}))
    counts.clear()

    assert world.score().name == "Published"
    assert counts[:2] == [("check_version", 1), ("score_batch", 1)]


@pytest.mark.extras
def test_a_model_that_never_ends_has_its_limit(world):
    folder = prepare(world, Fickle(world.folder / "fickle"), TYPE, 10)
    (folder / "hang").write_text("5")
    world.change_job(limits__batch_timeout_seconds=10)

    state = world.score()

    assert state.name == "Failed"
    assert "score of batch 1 of 1 (rows 0 to 9) of readings 2024-05-01 did not end within 10 s" in state.message
    (hanging,) = _log(world)[1]
    _wait_until(lambda: _is_gone(hanging))
    (folder / "hang").unlink()
    assert world.score().name == "Published"


@pytest.mark.extras
@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("segfault", "the loading of readings version 2 for readings 2024-05-01 died: "),
        ("hang", "the loading of readings version 2 for readings 2024-05-01 did not end within 10 s"),
    ],
)
def test_a_model_that_cannot_even_be_loaded_any_more_fails_the_run(world, monkeypatch, what, says):
    # Long enough for a child to start.
    monkeypatch.setattr("tasks.load._SECONDS", 10.0)
    folder = prepare(world, BadStart(world.folder / "fickle"), BAD_START, 10)
    (folder / "what").write_text(what)
    world.change_job(limits__batch_timeout_seconds=10)

    state = world.score()

    assert state.name == "Failed"
    assert says in state.message
    (process,) = _log(world)[1]
    assert process != os.getpid()
    _wait_until(lambda: _is_gone(process))
    assert world.latest().verdict == "failed"
