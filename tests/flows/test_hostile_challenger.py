"""Whatever a challenger does, and wherever it is killed, what production has published stands as it did."""

import shutil
import time

import pandas as pd
import pytest

import tasks.challenge
from flows.challenge import challenge
from tasks.core import storage
from tasks.core.errors import LakeError
from tasks.core.models.registry import Registry
from tasks.core.runs import challenger
from tasks.core.runs.publication import recover
from tasks.open import reopened
from tests.flows.challenging import (
    FEATURES,
    as_without_challenger,
    challengers_of,
    every_file,
    log,
    of_production,
    page,
    record,
)
from tests.flows.conftest import CHALLENGED_AT, DAY, logistic_model, numbered
from tests.flows.hostile_model import TYPE
from tests.unit.core.runs.test_publication import Killed, Mortal

# No extra is needed, but a minute or two: `make test` is to stay short.
pytestmark = pytest.mark.extras


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("load", "it will not be loaded"),
        ("raise", "raised on more than 21 single rows"),
        ("nan", "missing, NaN or infinite"),
        ("shape", "3 columns for 2 classes"),
        ("exit", "died: "),
        ("sigkill", "SIGKILL"),
        ("segfault", "SIGSEGV"),
        ("memory", "MemoryError"),
        ("disk", "could not write"),
        ("hang", "did not end within 8 s"),
    ],
)
def test_whatever_it_does_production_is_as_if_there_were_none(world, hostile, what, says):
    world.change_job(limits__batch_timeout_seconds=8)
    hostile(what)
    alone = as_without_challenger(world)

    state = world.score()

    assert (state.type.value, state.name, state.message, *of_production(world)) == alone
    failed = record(world)
    assert (failed.verdict, failed.version, failed.file) == ("failed", 2, None)
    assert says in failed.reason
    assert challengers_of(world) == {}
    assert failed.digest
    shown = page(world)
    assert "Published" in shown
    assert "The challenger failed" in shown
    # Nothing of it lies about.
    assert not list((world.folder / "lake").rglob("challenger/*/*"))


def test_a_model_that_is_not_what_was_registered_or_not_allowed_is_not_loaded(world, hostile):
    world.change_job(model__allowed_types=[])
    state = world.score()
    assert state.name == "Published"
    assert TYPE in record(world).reason

    (world.folder / "lake/models/readings/versions/0002/model.joblib").write_bytes(b"something else")
    again = challenge("readings", DAY, return_state=True)
    assert "its SHA-256 is" in again.message
    assert record(world).verdict == "failed"

    shutil.rmtree(world.folder / "lake/models/readings/versions/0002")
    assert world.score(rescore="the folder is gone").name == "AlreadyPublished"
    assert "no version 2" in challenge("readings", DAY, return_state=True).message
    assert world.score().name == "AlreadyPublished"


def test_a_full_disk_costs_the_challenger_and_not_the_manifest(world, hostile, monkeypatch):
    alone = as_without_challenger(world)
    plain = storage.TableWriter.write_table

    def full(self, table, row_group_size=None):
        if "challenger" in str(self._target):
            raise LakeError("no space left on device")
        plain(self, table, row_group_size)

    monkeypatch.setattr(storage.TableWriter, "write_table", full)

    state = world.score()

    assert (state.type.value, state.name, state.message, *of_production(world)) == alone
    assert record(world).reason == "no space left on device"
    assert challengers_of(world) == {}


@pytest.mark.parametrize("part", ["_named", "begin", "follow_challenger", "score_challenger"])
def test_even_a_fault_of_its_own_stage_is_a_line_in_the_log(world, hostile, monkeypatch, part):
    alone = as_without_challenger(world)

    def fault(*_, **__):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(tasks.challenge, part, fault)

    state = world.score()

    assert (state.type.value, state.name, state.message, *of_production(world)) == alone
    assert "The challenger has not scored this window" in page(world)
    assert f"lamplighter challenge readings --as-of {DAY}" in page(world)


def test_production_is_reported_before_the_challenger_takes_its_time(world, hostile, monkeypatch):
    seen = []
    plain = tasks.challenge._each_batch
    monkeypatch.setattr(tasks.challenge, "_each_batch", lambda *a: (seen.append(page(world)), plain(*a))[1])

    world.score()

    assert "Published" in seen[0]
    assert "The challenger has not scored this window" in seen[0]
    assert "The challenger decides otherwise on" in page(world)


def test_a_version_that_is_recalled_meanwhile_puts_nothing_into_the_table(world, hostile, monkeypatch):
    plain = tasks.challenge._each_batch

    def recalled_meanwhile(*arguments):
        done = plain(*arguments)
        Registry(world.lake).recall(
            "readings", 2, at=CHALLENGED_AT, actor="test", reason="it was trained on the answers"
        )
        return done

    monkeypatch.setattr(tasks.challenge, "_each_batch", recalled_meanwhile)

    assert world.score().name == "Published"

    assert "it was trained on the answers" in record(world).reason
    assert challengers_of(world) == {}
    # It is no challenger any more: the next window has none.
    world.write_rows(numbered().assign(at=lambda rows: rows["at"] + pd.Timedelta(days=1)))
    assert world.score("2024-05-02").name == "Published"
    assert challenger.read(world.lake, world.published("2024-05-02")) is None


def test_its_processes_serve_nobody_else_and_are_ended(world, hostile):
    """With one batch production is scored here; with isolation it has a child of its own, which stays for the next."""
    world.change_job(suite=None, limits__isolate="always")
    world.score()
    first = log(world)[1]
    _wait_until(lambda: all(map(_is_gone, first)))

    world.write_rows(numbered(150))
    assert world.score(rescore="other rows").name == "Published"

    assert len(first) == 1
    assert len(log(world)[1] - first) == 1
    _wait_until(lambda: all(map(_is_gone, log(world)[1])))


def _wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _is_gone(pid):
    """Whether no such process runs; one that ended and was not yet asked for its end counts as gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(
    "how",
    [{"steps": True}, {}, {"atomic": False}],
    ids=["between steps", "between system calls", "where folders cannot be exchanged"],
)
def test_killed_at_any_change_it_leaves_production_alone_and_is_done_by_the_next(world, named, monkeypatch, how):
    """In place of a version that was the challenger before, whose rows stand."""
    world.change_job(limits__batch_rows=100)
    named(logistic_model(), FEATURES, sample=numbered())
    world.score()
    before = of_production(world)
    named(logistic_model().set_params(logisticregression__C=0.01), FEATURES, sample=numbered())
    start = world.folder / "start"
    shutil.copytree(world.lake.root, start)
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setattr(tasks.challenge, "Workers", _InThisProcess)
    old = challengers_of(world)
    with reopened("readings", DAY) as run:
        # The lock would die with its process; here its holder lives on.
        pass
    _challenge_plainly(run)
    new, left = challengers_of(world), every_file(world)
    assert set(old) != set(new)

    for dies_after in range(1000):
        shutil.rmtree(world.lake.root)
        shutil.copytree(start, world.lake.root)
        with pytest.MonkeyPatch.context() as patch:
            mortal = Mortal(patch, dies_after, **how)
            try:
                _challenge_plainly(run)
            except BaseException as error:
                if not (mortal.dead or isinstance(error, Killed)):
                    raise
        if not mortal.dead:
            break
        assert of_production(world) == before, dies_after
        seen = challengers_of(world)
        assert seen in (old, new, *([{}] if "atomic" in how else [])), dies_after
        # What the record says has been scored is what stands.
        if record(world).verdict == "scored":
            assert seen == (new if record(world).version == 3 else old), dies_after
        recover(world.lake, "readings", DAY)
        _challenge_plainly(run)
        assert (challengers_of(world), record(world).verdict) == (new, "scored"), dies_after
        assert of_production(world) == before, dies_after
        assert {path for path in every_file(world) - left if "challenger/staged" not in path} == set(), dies_after
    assert dies_after >= 8


class _InThisProcess:
    """Stands for child processes: a test that kills at every change cannot wait for their start."""

    def __init__(self, count, timeout_seconds, pool):
        self.count = 1

    def call(self, what, function, *arguments):
        return function(*arguments)


def _challenge_plainly(run):
    tasks.challenge.begin(run)
    tasks.challenge.score_with_challenger(run)
