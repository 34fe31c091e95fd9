"""The flow `score` with a version that another interpreter must load; here it is this very one, in processes of its own."""

import datetime as dt
import json
import os
import sys

import numpy as np
import pytest

from tasks.core.definitions.modelling import Prediction
from tasks.core.models.formats import get_format
from tasks.core.models.model import expected_outputs
from tasks.core.models.model_version import Candidate
from tasks.core.models.registry import Registry
from tests.flows.conftest import DAY, as_table, readings, register
from tests.flows.fickle_model import TYPE, Fickle
from tests.flows.graded import BETTER, checks
from tests.flows.test_fickle_model import _complete, _is_gone, _log, _wait_until

# No extra is needed, but a minute or two: `make test` is to stay short.
pytestmark = pytest.mark.extras

ROWS, BATCH = 60, 10
AT = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def bind(world, version, estimator, interpreter="other"):
    """The same version, bound to an interpreter, as production."""
    registry = Registry(world.lake)
    signature = version.signature.model_copy(update={"interpreter": interpreter})
    probe, _ = registry.probe(version)
    candidate = Candidate(
        model_bytes=get_format("joblib").dump(estimator),
        signature=signature,
        profile=registry.profile(version),
        benchmark={},
        probe=probe,
        expected=expected_outputs(estimator, signature, probe),
    )
    bound = registry.register(version.name, candidate, at=AT, actor="test")
    registry.set_alias(version.name, "production", bound.version, at=AT, actor="test", reason="a test")
    return bound


@pytest.fixture
def other(monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_OTHER", sys.executable)


def production(world):
    registry = Registry(world.lake)
    version = registry.alias("readings", "production")
    content = registry.read(version, "model.joblib")
    return version, get_format("joblib").load(content, ())


@pytest.mark.parametrize("batch_rows", [1000, 70])
def test_the_partition_is_the_one_that_a_model_loaded_here_gives(world, other, batch_rows):
    world.change_job(limits__batch_rows=batch_rows, limits__workers=2)
    assert world.score().name == "Published"
    here = world.table()
    bind(world, *production(world))

    state = world.score(rescore="from elsewhere")

    assert state.name == "Published", state.message
    assert set(world.table()["model_version"]) == {"readings/0002"}
    same = ["sensor", "at", "kind", "probability"]
    assert world.table()[same].equals(here[same])
    model = world.published().model
    assert (model.version, model.interpreter) == (2, "other")
    assert model.libraries["scikit-learn"] == world.published().environment["scikit-learn"]
    assert model.warnings == ()
    assert model.loaded_by.startswith(f"the interpreter other (python {sys.version.split()[0]}, scikit-learn ")
    page = (world.folder / f"lake/reports/readings/as_of={DAY}.html").read_text()
    assert "the interpreter other (python" in page


def test_children_load_it_by_the_interpreter_that_the_parent_has_tried(world, monkeypatch, tmp_path):
    """A child that waits for work since an earlier run was told then where the interpreter is: that may be no more so."""
    world.change_job(limits__batch_rows=70, limits__workers=2)
    bind(world, *production(world))
    for name in "ab":
        (tmp_path / name).write_text(f'#!/bin/sh\necho x >> {tmp_path}/{name}.log\nexec {sys.executable} "$@"\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_OTHER", str(tmp_path / "a"))
    assert world.score().name == "Published"
    started = (tmp_path / "a.log").read_text()
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_OTHER", str(tmp_path / "b"))

    world.write_rows(readings(199))
    assert world.score(rescore="it moved").name == "Published"

    assert (tmp_path / "a.log").read_text() == started
    # Once for the gate, and once in each child.
    assert len((tmp_path / "b.log").read_text().split()) == len(started.split()) == 3


def test_a_machine_without_that_interpreter_blocks_and_says_which_variable(world, monkeypatch):
    monkeypatch.delenv("LAMPLIGHTER_PYTHON_OTHER", raising=False)
    bind(world, *production(world))

    state = world.score()

    assert state.name == "Blocked"
    assert "readings version 2 must be loaded by the interpreter 'other'" in state.message
    assert "set LAMPLIGHTER_PYTHON_OTHER to the path of its Python" in state.message
    assert world.latest().verdict == "blocked"


@pytest.fixture
def fickle(world, other):
    """Six batches of ten rows, two workers, and a model that does as files in `fickle` say, in the other interpreter."""
    (world.folder / "fickle").mkdir()
    world.change_job(suite=None, limits__batch_rows=BATCH, limits__workers=2, model__allowed_types=[TYPE])
    world.write_rows(readings(ROWS).assign(x=np.arange(ROWS, dtype=float)))
    model = Fickle(world.folder / "fickle")
    outputs = {"probability": Prediction(method="predict_proba", class_=1)}
    sample = as_table(readings(20).assign(x=-np.arange(1.0, 21.0)))
    bind(world, register(world.lake, "readings", model, {"x": "float64"}, outputs, sample), model)
    return world


@pytest.mark.parametrize("batch_rows", [BATCH, 1000])
@pytest.mark.parametrize(("what", "how"), [("sigkill", "signal SIGKILL"), ("exit", "exit code 0")])
def test_a_row_that_ends_the_process_there_is_taken_out(fickle, what, how, batch_rows):
    (fickle.folder / f"fickle/{what}").write_text("25")
    fickle.change_job(limits__batch_rows=batch_rows)

    state = fickle.score()

    assert state.name == "Published", state.message
    (reasons,) = fickle.table("quarantine")["reasons"]
    assert [one["kind"] for one in reasons] == ["model_died"]
    assert reasons[0]["message"].endswith(f"even alone: {how}")
    assert len(fickle.table()) == ROWS - 1


def test_a_batch_that_is_too_much_for_it_fails_the_run_which_is_resumed(fickle):
    (fickle.folder / "fickle/many").write_text("25")

    state = fickle.score()

    assert state.name == "Failed"
    assert "score of batch 3 of 6 (rows 20 to 29) of readings 2024-05-01 died twice or more" in state.message
    assert fickle.latest().verdict == "failed"
    assert not (fickle.folder / "lake/predictions").exists()
    assert 20 not in _complete(fickle)

    before = _complete(fickle)
    (fickle.folder / "fickle/many").unlink()
    (fickle.folder / "fickle/log").unlink()
    (fickle.folder / "data/a.parquet").unlink()
    again = fickle.score()

    assert again.name == "Published", again.message
    assert sorted(_log(fickle)[0]) == sorted(set(range(0, ROWS, BATCH)) - before)
    x = np.arange(ROWS)
    np.testing.assert_allclose(fickle.table()["probability"], x / (1 + x), rtol=1e-15)


def test_a_model_that_never_ends_there_is_ended_with_its_worker(fickle):
    (fickle.folder / "fickle/hang").write_text("25")
    fickle.change_job(limits__batch_timeout_seconds=15)

    state = fickle.score()

    assert state.name == "Failed"
    assert "did not end within 15 s" in state.message or "within 15 s, and its process was ended" in state.message
    lines = (fickle.folder / "fickle/log").read_text().splitlines()
    (hanging,) = [int(line.split()[1]) for line in lines if line.startswith("20 ")]
    assert hanging != os.getpid()
    _wait_until(lambda: _is_gone(hanging))

    (fickle.folder / "fickle/hang").unlink()
    assert fickle.score().name == "Published"


def test_a_window_of_one_batch_has_its_limit_too(fickle):
    """Nobody else would end it: the parent does such a window itself."""
    (fickle.folder / "fickle/hang").write_text("25")
    fickle.change_job(limits__batch_timeout_seconds=10, limits__batch_rows=1000)

    state = fickle.score()

    assert state.name == "Failed"
    assert "did not score 60 rows with readings version 3 within 10 s, and its process was ended" in state.message
    assert _log(fickle)[1].isdisjoint({os.getpid()})
    assert not (fickle.folder / f"lake/predictions/readings/as_of={DAY}").exists()


def test_it_is_promoted_by_the_same_gate(judged, lamplighter, other):
    assert lamplighter("bind", "readings", "--version", str(BETTER), "--interpreter", "other")[0] == 0
    bound = max(Registry(judged.lake).numbers("readings"))

    code, out, err = lamplighter("promote", "readings", "--version", str(bound), "--reason", "it looks at x", "--json")

    outcomes = checks(json.loads(out)["verdict"])
    # Batches of a few rows take their time at the border, and so do those of a model that is that small.
    assert outcomes.pop("speed") in ("passed", "failed")
    assert set(outcomes.values()) == {"passed"}, (out, err)
    assert code in (0, 3)
