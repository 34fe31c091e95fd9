"""The stages of a look: what fails of one window stops no other, a kill loses nothing, and old news is not told."""

import itertools
import os
import sqlite3

import pytest

import tasks.monitor
from tasks.core import layout
from tasks.core.errors import Incomplete, WindowBusy
from tasks.core.monitoring import keeping
from tasks.core.monitoring.looking import Look
from tasks.core.storage import Folder, system
from tasks.monitor import conclude, find_what_differs, looking, pull_due_labels, tell_found
from tests.lake_tools import Killed
from tests.performance_scenes import JOB, World, midnight_after

DAYS = ("2026-03-01", "2026-03-02", "2026-03-03")
TRUTH = {"a": 0, "b": 1, "c": 0, "d": 1}


@pytest.fixture(autouse=True)
def _without_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Three days of four rows each; the scores are not what came true."""
    made = World(tmp_path)
    made.register(("roc_auc", 0.9, 0.8, 0.95))
    for day in DAYS:
        made.publish(
            [{"id": key, "p": p, "site": "n"} for key, p in zip("abcd", (0.1, 0.9, 0.6, 0.4), strict=True)], day=day
        )
        made.tell(day, **TRUTH)
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(made.lake.root))
    return made


def a_look(world, day="2026-03-04"):
    return Look(world.lake, Folder(world.folder), world.definition, day, midnight_after(day))


def done(look):
    pulled = pull_due_labels(look)
    find_what_differs(look, pulled)
    return pulled


def kept(lake):
    """All that a look leaves, by its key."""
    folders = (layout.MONITORING, layout.PERFORMANCE, layout.LABELS)
    return {key: lake.read_bytes(key) for folder in folders for key in lake.files(folder)}


def test_each_window_of_which_labels_are_due_is_measured_and_all_of_it_is_kept(world):
    pulled = done(a_look(world))
    # Due a day after its end: of the third day, as the fourth ends.
    assert (pulled.measured, pulled.missed) == (DAYS, ())
    found = keeping.monitored(world.lake, JOB, "2026-03-04")
    assert [one.as_of for one in found.windows] == list(DAYS)
    assert {one.metrics["roc_auc"].value for one in found.windows} == {0.75}
    assert found.benchmarks == {"late/0001": {"roc_auc": found.benchmarks["late/0001"]["roc_auc"]}}
    assert len(found.notes) == 1
    assert found.notes[0].startswith("The alarms of late/0001 are not calibrated: it was registered without")


def test_looking_twice_changes_nothing(world):
    done(a_look(world))
    before = kept(world.lake)
    assert done(a_look(world)).measured == ()
    assert kept(world.lake) == before


def test_the_look_of_the_day_before_stands_as_it_was(world):
    done(a_look(world, "2026-03-03"))
    before = kept(world.lake)
    # Its labels are due on that day, and are looked for again a day later.
    world.tell(DAYS[1], **TRUTH | {"a": 1})
    done(a_look(world))
    assert kept(world.lake).items() >= {key: data for key, data in before.items() if "/.looked/" not in key}.items()
    days = [keeping.monitored(world.lake, JOB, day).windows[1] for day in ("2026-03-03", "2026-03-04")]
    assert [(one.corrected, one.labels_as_of) for one in days] == [(0, "2026-03-03"), (1, "2026-03-04")]


def test_what_fails_of_one_window_stops_no_other_and_is_said(world):
    with sqlite3.connect(world.folder / "truth.sqlite") as database:
        database.execute("INSERT INTO truth VALUES (?, 'a', 1)", (DAYS[1],))
    database.close()
    look = a_look(world)
    pulled = done(look)
    assert pulled.measured == (DAYS[0], DAYS[2])
    assert len(pulled.missed) == 1
    assert pulled.missed[0].startswith("2026-03-02: id = a has labels that differ")
    found = keeping.monitored(world.lake, JOB, "2026-03-04")
    assert found.notes[0].startswith("Labels could not be used of 2026-03-02: id = a")
    with pytest.raises(Incomplete, match="id = a has labels that differ") as failed:
        conclude(look, pulled, [])
    assert failed.value.summary.found == found


def test_of_a_source_that_says_nothing_not_every_window_is_asked_for(world, monkeypatch):
    monkeypatch.setattr(tasks.monitor, "_MOST_FAILURES", 2)
    (world.folder / "truth.sqlite").unlink()
    pulled = done(a_look(world))
    assert pulled.measured == ()
    assert [one.partition(":")[0] for one in pulled.missed] == ["2026-03-03", "2026-03-02", "1 more were not tried"]


def test_a_kill_at_any_change_loses_nothing(world, tmp_path, monkeypatch):
    """The next look ends where one that was never killed does, to the byte."""
    for day in DAYS[1:]:
        world.lake.remove(layout.partition(layout.PREDICTIONS, JOB, day))
    done(a_look(world))
    whole = kept(world.lake)
    for kill_at in itertools.count(1):
        for folder in (layout.MONITORING, layout.PERFORMANCE, layout.LABELS, "scratch"):
            world.lake.remove(folder)
        changes = itertools.count(1)

        def after_change(kind, key, changes=changes, kill_at=kill_at):
            if next(changes) == kill_at:
                raise Killed

        monkeypatch.setattr(system, "after_change", after_change)
        try:
            done(a_look(world))
            break
        except Killed:
            pass
        finally:
            monkeypatch.setattr(system, "after_change", lambda kind, key: None)
        keeping.end_what_was_killed(world.lake, JOB)
        done(a_look(world))
        assert kept(world.lake) == whole, kill_at
    assert kill_at > 5


def test_only_the_newest_look_is_news(world, monkeypatch):
    told = []
    monkeypatch.setattr(tasks.monitor, "tell_alarms", lambda lake, job, found: told.append(found.as_of) or ["an alarm"])
    for day in ("2026-03-04", "2026-03-03"):
        done(a_look(world, day))
        tell_found(a_look(world, day))
    assert told == ["2026-03-04"]


def test_an_alarm_that_cannot_be_told_costs_nothing_else(world, monkeypatch, caplog):
    def fail(lake, job, found):
        raise RuntimeError("no server")

    monkeypatch.setattr(tasks.monitor, "tell_alarms", fail)
    look = a_look(world)
    done(look)
    assert tell_found(look) == []
    assert "The alarms of late as of 2026-03-04 were not told: no server" in caplog.text


def test_of_two_looks_at_once_the_second_waits_and_does_not_wait_for_ever(world, monkeypatch):
    monkeypatch.setattr(tasks.monitor, "_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(tasks.monitor, "scheduled_at", lambda: midnight_after("2026-03-04"))
    with (
        looking(JOB, "2026-03-04"),
        pytest.raises(WindowBusy, match="monitor of late is being run by the look at late as of 2026-03-04"),
        looking(JOB, "now"),
    ):
        pass
    with looking(JOB, "now") as look:
        assert (look.as_of, look.at) == ("2026-03-05", midnight_after("2026-03-04"))


def test_what_is_no_error_of_ours_stops_no_other_window_either(world, monkeypatch):
    measure = tasks.monitor.measure_window

    def fail(lake, definition, one, labels, **at):
        if one.window.as_of == DAYS[1]:
            raise KeyError("nobody thought of it")
        return measure(lake, definition, one, labels, **at)

    monkeypatch.setattr(tasks.monitor, "measure_window", fail)
    pulled = done(a_look(world))
    assert pulled.measured == (DAYS[0], DAYS[2])
    assert pulled.missed == ("2026-03-02: KeyError: 'nobody thought of it'",)


def test_a_file_of_performance_that_cannot_be_read_hides_no_other_window(world):
    done(a_look(world))
    (broken,) = world.lake.path(layout.performance(JOB, DAYS[1], "2026-03-04")).glob("*.parquet")
    broken.write_bytes(b"garbage")
    # Nor can it be made anew.
    world.lake.remove(layout.partition(layout.LABELS, JOB, DAYS[1]))
    (world.folder / "truth.sqlite").unlink()
    look = a_look(world, "2026-03-05")
    find_what_differs(look, pull_due_labels(look))
    found = keeping.monitored(world.lake, JOB, "2026-03-05")
    assert [one.as_of for one in found.windows] == [DAYS[0], DAYS[2]]
    assert found.notes[-1].startswith("How windows did cannot be read: 2026-03-02: could not read")


def test_a_look_of_a_day_to_come_keeps_no_alarm_back(world, monkeypatch):
    """A clock was years ahead, once."""
    told = []
    monkeypatch.setattr(tasks.monitor, "tell_alarms", lambda lake, job, found: told.append(found.as_of) or ["an alarm"])
    monkeypatch.setattr(tasks.monitor, "scheduled_at", lambda: midnight_after("2026-03-04"))
    for day in ("2036-03-04", "2026-03-04"):
        done(a_look(world, day))
    world.lake.write_bytes(f"{layout.table(layout.MONITORING, JOB)}/as_of=mine/notes.txt", b"")
    assert tell_found(a_look(world)) == ["an alarm"]
    assert told == ["2026-03-04"]
