"""The source is asked whether a window is complete, and the run waits until it says so, or is late."""

import contextlib
import datetime as dt
import re
import sqlite3

import pytest

import tasks.ready
from flows.score import score
from tasks.core.errors import SourceLate
from tests.flows.conftest import DAY, make_warehouse

ASK = "SELECT complete FROM loads WHERE day = :as_of AND :start < :end"


class Clock:
    """Time that passes when somebody sleeps, and what happens then."""

    def __init__(self):
        self.at = dt.datetime.now(dt.UTC)
        self.naps = []
        self.then = lambda: None

    def now(self):
        return self.at

    def sleep(self, seconds):
        self.naps.append(seconds)
        self.at += dt.timedelta(seconds=seconds)
        self.then()


@pytest.fixture
def clock(monkeypatch):
    stands = Clock()
    monkeypatch.setattr(tasks.ready, "_now", stands.now)
    monkeypatch.setattr(tasks.ready, "_sleep", stands.sleep)
    return stands


@pytest.fixture
def loads(world):
    """A database whose feed writes down when a day is complete, and a job that asks it each minute, for an hour."""
    make_warehouse(world).close()
    world.change_job(ready={"query": ASK, "every": "1min", "give_up_after": "1h"})
    with contextlib.closing(sqlite3.connect(world.folder / "warehouse.sqlite", isolation_level=None)) as database:
        database.execute("CREATE TABLE loads (day TEXT, complete)")
        yield database


def say(database, answer, day=DAY):
    database.execute("DELETE FROM loads")
    database.execute("INSERT INTO loads VALUES (?, ?)", (day, answer))


@pytest.mark.parametrize("yes", [1, 2.5, "true", "YES", "t"])
def test_a_source_that_is_ready_is_asked_once(world, loads, clock, yes):
    say(loads, yes)

    state = world.score()

    assert state.name == "Published", state.message
    assert clock.naps == []


def test_it_is_asked_until_it_says_yes(world, loads, clock):
    say(loads, 0)

    def third_minute():
        if sum(clock.naps) >= 150:
            say(loads, 1)

    clock.then = third_minute

    state = world.score()

    assert state.name == "Published", state.message
    # Asked at 0, 1, 2 and 3 minutes; it sleeps in short naps, so that a cancellation is heard.
    assert round(sum(clock.naps)) == 180
    assert max(clock.naps) <= 1


@pytest.mark.parametrize("no", [0, None, "false", "", 0.0])
def test_the_time_is_up_an_hour_after_the_scheduled_time(world, loads, clock, no):
    say(loads, no)

    state = world.score()

    assert state.name == "SourceLate", state.message
    assert abs(sum(clock.naps) - 3600) < 60
    error = state.result(raise_on_failure=False)
    assert isinstance(error, SourceLate)
    assert error.exit_code == 3
    answer = "nothing" if no is None else f"'{no}'"
    assert f"its last answer was {answer}, " in error.failed
    assert re.search("asked 6[12] times since", error.failed)
    assert f"lamplighter score readings --as-of {DAY}" in error.next_step
    manifest = world.latest()
    assert (manifest.verdict, manifest.snapshot) == ("blocked", None)
    assert world.published() is None


def test_no_row_is_a_no(world, loads, clock):
    state = world.score()

    assert state.name == "SourceLate"
    assert "its last answer was nothing" in state.message


def test_a_run_that_begins_too_late_still_asks_once(world, loads, clock):
    clock.at += dt.timedelta(hours=2)
    say(loads, 0)
    assert "it was asked once, at" in world.score().message
    say(loads, 1)
    assert world.score().name == "Published"
    assert clock.naps == []


def test_an_answer_that_is_neither_is_refused(world, loads, clock):
    say(loads, "soon")

    state = world.score()

    assert state.name == "Failed"
    assert "answered 'soon', which says neither yes nor no" in state.message


def test_a_query_that_fails_is_an_error_of_the_source(world, loads, clock):
    loads.execute("DROP TABLE loads")

    state = world.score()

    assert state.name == "Failed"
    assert "no such table: loads" in state.message
    assert clock.naps == []


def test_a_busy_source_is_asked_again_as_ever(world, loads, clock, monkeypatch):
    say(loads, 1)
    monkeypatch.setattr("tasks.core.source.sqlite._WAIT_FOR_LOCK_SECONDS", 0.0)
    naps = []

    def release(seconds):
        naps.append(seconds)
        loads.execute("COMMIT")

    monkeypatch.setattr("tasks.core.source.problems._sleep", release)
    loads.execute("BEGIN EXCLUSIVE")

    assert world.score().name == "Published"
    assert len(naps) == 1


def test_a_run_that_has_its_rows_does_not_ask_again(world, loads, clock, monkeypatch):
    say(loads, 1)

    class Killed(Exception):
        pass

    def die(*_):
        raise Killed

    with monkeypatch.context() as dies:
        dies.setattr("tasks.load.check_version", die)
        assert world.score().is_crashed() or not world.published()
    say(loads, 0)

    assert world.score().name == "Published"


def test_where_a_kept_snapshot_is_read_nobody_is_asked(world, loads, clock):
    say(loads, 1)
    world.score()
    say(loads, 0)

    again = score("readings", DAY, "the model was wrong", from_snapshot=True, return_state=True)
    assert again.name in ("Published", "AlreadyPublished"), again.message
    assert world.score(rescore="pulled again").name == "SourceLate"
    # What readers saw stands.
    assert world.published() is not None
