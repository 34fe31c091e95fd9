"""Rows that end the model's process are found in few predictions and few deaths, and cost themselves alone.

A death is an exception that no model may catch, and that what stands for the child processes tells as they do.
"""

import math
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import ChildDied, ModelBlocked, WorkerError
from tasks.core.models.model import score_with_bisection
from tasks.core.storage import Lake
from tasks.shards import poison
from tests.unit.core.models.test_model import inputs, loaded

FIRST = 1000  # The position in the snapshot of the batch's first row.
WHAT = "score of batch 2 of 3 (rows 1,000 to 1,999) of late 2013-07-01"
OUTPUTS = {"y": Prediction()}


class Death(BaseException):
    """What ends a process."""


class Killed(BaseException):
    """The run itself is no more."""


class Deadly:
    """Ends its process on some rows, raises on others, and takes no more than so many at once."""

    def __init__(self, deadly=(), raises=(), at_most=math.inf, memory=()):
        self.deadly, self.raises, self.at_most, self.memory = set(deadly), set(raises), at_most, set(memory)
        self.asked = []

    def predict(self, frame):
        rows = [int(row) for row in frame["row"]]
        self.asked.append(rows)
        if self.deadly & set(rows) or len(rows) > self.at_most:
            raise Death
        if self.memory & set(rows):
            raise MemoryError("Unable to allocate 1. TiB")
        if self.raises & set(rows):
            raise ValueError("not these")
        return frame["row"].to_numpy() * 2.0


class Here:
    """Stands for child processes: a death is told, an exception passes."""

    deaths = 0
    dies_after = math.inf  # So many deaths, and the run is killed as well.

    def __init__(self, count, timeout_seconds, pool=""):
        self.count, self.timeout_seconds, self.pool = count, timeout_seconds, pool

    def call(self, what, function, *args):
        try:
            return function(*args)
        except Death as error:
            Here.deaths += 1
            if Here.deaths >= Here.dies_after:
                raise Killed from error
            died = ChildDied(f"the process that worked on {what} died: SIGSEGV(-11)")
            died.how = "signal SIGSEGV"
            raise died from error


class Batch:
    """A batch of so many rows, some of which were taken out before, and a model."""

    def __init__(self, lake, model, size, *, gone=(), give_up_after=100):
        self.model = model
        self.rows = np.array([FIRST + row for row in range(size) if row not in gone], np.int64)
        columns = {"outputs": OUTPUTS, "output": SimpleNamespace(columns=OUTPUTS)}
        self.task = SimpleNamespace(
            lake=lake,
            workspace="w",
            model="late version 3",
            give_up_after=give_up_after,
            job=SimpleNamespace(**columns),
        )

    def rows_to_score(self, _task, _batch, died):
        rows = np.setdiff1d(self.rows, np.array(sorted(died), np.int64))
        return pa.table({"row": rows}), rows

    def model_of(self, _task):
        return loaded(self.model, inputs(row="int64"))

    def score_batch(self, task, batch, died=(), watch=None):
        table, rows = self.rows_to_score(task, batch, died)
        scored, kept, raised = score_with_bisection(
            self.model_of(task), table, rows, OUTPUTS, give_up_after=task.give_up_after, watch=watch
        )
        return scored["y"].to_pylist(), kept.tolist(), {row for row, _ in raised}, dict(died)

    def score(self, patch):
        for name in ("rows_to_score", "model_of", "score_batch"):
            patch.setattr(poison, name, getattr(self, name))
        patch.setattr(poison, "Workers", Here)
        return poison.score_surely(Here(2, 60), WHAT, None, self.task, 1)


@pytest.fixture(autouse=True)
def _no_deaths():
    Here.deaths, Here.dies_after = 0, math.inf


def in_snapshot(rows):
    return {FIRST + row for row in rows}


def most_predictions(size, culprits):
    return culprits * (3 * math.ceil(math.log(max(size, 2), 4)) + 2) + 2


def most_deaths(size, culprits):
    return culprits * (math.ceil(math.log(max(size, 2), 4)) + 1) + 1


def test_a_batch_that_nothing_dies_of_is_asked_for_once_and_leaves_no_word(lake, monkeypatch):
    batch = Batch(lake, Deadly(), 1000)
    scored, kept, raised, died = batch.score(monkeypatch)
    assert (kept, raised, died) == (batch.rows.tolist(), set(), {})
    assert scored == [2.0 * row for row in kept]
    assert len(batch.model.asked) == 1
    assert lake.files() == []


@pytest.mark.parametrize("culprits", [[0], [999], [500], [3, 4], [0, 999], [10, 200, 201, 700]])
def test_the_rows_to_blame_alone_are_taken_out(lake, monkeypatch, culprits):
    batch = Batch(lake, Deadly(in_snapshot(culprits)), 1000)
    scored, kept, _, died = batch.score(monkeypatch)
    assert died == dict.fromkeys(in_snapshot(culprits), "signal SIGSEGV")
    assert kept == [row for row in batch.rows.tolist() if row not in died]
    assert scored == [2.0 * row for row in kept]
    # Asked for as one, as if they had never been there: the same boundaries, and so the same bytes.
    assert batch.model.asked[-1] == kept
    assert len(batch.model.asked) <= most_predictions(1000, len(culprits)) < 2 + 2 * len(culprits) * 10
    assert Here.deaths <= most_deaths(1000, len(culprits))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 300).flatmap(lambda n: st.tuples(*[st.just(n), *[st.sets(st.integers(0, n - 1), max_size=6)] * 3]))
)
def test_whatever_else_is_wrong_each_row_is_accounted_for(tmp_path_factory, drawn):
    size, deadly, raises, gone = drawn
    model = Deadly(in_snapshot(deadly), in_snapshot(raises))
    Here.deaths = 0
    batch = Batch(Lake(tmp_path_factory.mktemp("poison")), model, size, gone=gone)
    with pytest.MonkeyPatch.context() as patch:
        _, kept, raised, died = batch.score(patch)
        clean = Deadly((), in_snapshot(raises))
        Batch(batch.task.lake, clean, size, gone=gone | deadly).score_batch(batch.task, 1)
    deadly, raises = in_snapshot(deadly - gone), in_snapshot(raises - gone)
    assert (set(died), raised) == (deadly, raises - deadly)
    assert kept == [row for row in batch.rows.tolist() if row not in deadly | raises]
    # The last that the model was asked for is what it is asked for where the deadly rows were never there.
    assert model.asked[len(model.asked) - len(clean.asked) :] == clean.asked
    assert Here.deaths <= most_deaths(size, len(deadly))
    if not raises:
        assert len(model.asked) <= most_predictions(size, len(deadly))


def test_one_death_is_no_rows_fault(lake, monkeypatch, caplog):
    model, kill = Deadly(), [True]
    plain = model.predict

    def once(frame):
        model.at_most = 0 if kill else math.inf
        kill.clear()
        return plain(frame)

    model.predict = once
    _, kept, _, died = Batch(lake, model, 50).score(monkeypatch)
    assert (len(kept), died, Here.deaths) == (50, {}, 1)
    assert f"The process that worked on {WHAT} died (signal SIGSEGV); it is tried once more" in caplog.text


@pytest.mark.parametrize("at_most", [99, 30, 7, 1])
def test_where_no_row_alone_is_to_blame_they_were_too_many(lake, monkeypatch, at_most):
    model = Deadly(at_most=at_most)
    batch = Batch(lake, model, 100)
    with pytest.raises(WorkerError, match="of none of its rows alone: most likely they were too many") as failed:
        batch.score(monkeypatch)
    assert WHAT in failed.value.failed
    assert "lower limits.batch_rows" in failed.value.next_step
    assert Here.deaths <= 2 + math.ceil(math.log(100, 4))
    # Whoever has made room begins anew, and blames nobody.
    model.at_most = math.inf
    assert batch.score(monkeypatch)[1] == batch.rows.tolist()
    assert len(model.asked[-1]) == 100


def test_a_row_that_memory_runs_out_of_is_told_from_the_others(lake, monkeypatch):
    _, kept, _, died = Batch(lake, Deadly(memory=in_snapshot([7])), 40).score(monkeypatch)
    assert died == {FIRST + 7: "MemoryError: Unable to allocate 1. TiB"}
    assert len(kept) == 39


def test_a_death_while_nothing_is_predicted_is_no_rows_fault(lake, monkeypatch):
    batch = Batch(lake, Deadly(), 40)

    def die(_task):
        raise Death

    batch.model_of = die
    with pytest.raises(WorkerError, match=r"died twice or more \(signal SIGSEGV\), and not while it predicted"):
        batch.score(monkeypatch)
    assert Here.deaths == 2


def test_what_an_earlier_process_was_given_is_no_reason_to_blame_it_for_a_later_death(lake, monkeypatch):
    batch = Batch(lake, Deadly(in_snapshot([5])), 40)
    plain, loads = batch.model_of, []

    def die_from_the_third_on(task):
        loads.append(task)
        if len(loads) > 2:
            raise Death
        return plain(task)

    batch.model_of = die_from_the_third_on
    with pytest.raises(WorkerError, match="and not while it predicted"):
        batch.score(monkeypatch)
    assert Here.deaths == 3


def test_a_death_after_the_predictions_is_no_rows_fault_either(lake, monkeypatch):
    batch = Batch(lake, Deadly(), 40)
    plain = batch.score_batch

    def die_at_the_end(*args):
        plain(*args)
        raise Death

    batch.score_batch = die_at_the_end
    with pytest.raises(WorkerError, match="and not while it predicted"):
        batch.score(monkeypatch)


def test_more_rows_to_blame_than_the_job_allows_block(lake, monkeypatch):
    batch = Batch(lake, Deadly(in_snapshot(range(0, 100, 10))), 100, give_up_after=3)
    with pytest.raises(
        ModelBlocked, match=r"late version 3 ended its process \d+ times in score of batch 2"
    ) as blocked:
        batch.score(monkeypatch)
    assert "rows to blame so far: 4, such as row 1,000 (signal SIGSEGV), row 1,010" in blocked.value.failed


def test_a_model_that_dies_of_everything_is_given_up(lake, monkeypatch):
    monkeypatch.setattr(poison, "MOST_DEATHS", 20)
    batch = Batch(lake, Deadly(in_snapshot(range(100_000))), 100_000, give_up_after=2000)
    with pytest.raises(ModelBlocked, match="ended its process 20 times"):
        batch.score(monkeypatch)
    assert Here.deaths == 20


def test_as_many_as_are_allowed_are_no_reason_to_give_up(lake, monkeypatch):
    batch = Batch(lake, Deadly(in_snapshot([1, 2, 3])), 100, give_up_after=3)
    assert len(batch.score(monkeypatch)[3]) == 3


def test_whoever_takes_up_the_work_of_a_killed_run_knows_what_it_knew(lake, monkeypatch):
    """Killed at each death in turn: in all no more deaths than without any kill, but for the one that was not noted."""
    culprits = in_snapshot([3, 70, 71])
    batch = Batch(lake, Deadly(culprits), 100)
    batch.score(monkeypatch)
    usual = Here.deaths
    assert usual > 6
    for dies_after in range(1, usual + 1):
        lake.remove("w")
        Here.deaths, Here.dies_after = 0, dies_after
        with pytest.raises(Killed):
            batch.score(monkeypatch)
        Here.dies_after = math.inf
        assert set(batch.score(monkeypatch)[3]) == culprits
        assert Here.deaths <= usual + 1


def test_what_is_known_and_cannot_be_read_is_found_again(lake, monkeypatch):
    lake.write_bytes("w/batches/000001.died", b"{")
    assert set(Batch(lake, Deadly(in_snapshot([5])), 20).score(monkeypatch)[3]) == in_snapshot([5])
