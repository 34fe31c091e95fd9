"""What keeps a table's log short, and its folders: nothing goes that a reader may still ask for."""

import datetime as dt
import os

import pyarrow as pa
import pytest

from tasks.core.delta import log, upkeep
from tasks.core.delta.log import checkpoint_key, commit_key
from tasks.core.runs.publication import recover
from tests import delta_scenes
from tests import recall_scenes as scenes
from tests.delta_scenes import TABLE

DAY = scenes.DAY
LATER = scenes.MIDNIGHT + dt.timedelta(hours=24)


@pytest.fixture
def replaced(lake):
    """A window of three runs, each an hour after the one before: r2 is what the table shows."""
    delta_scenes.begin(lake)
    for number in range(3):
        scenes.publish(lake, f"r{number}", 1, hour=number)
    return lake


def part(number):
    return f"{TABLE}/as_of={DAY}/part-r{number}.parquet"


def test_a_file_is_unread_a_week_after_it_was_replaced(replaced):
    # r0 was replaced at two o'clock, and r1 at three.
    almost = scenes.MIDNIGHT + dt.timedelta(days=7, hours=2)
    assert upkeep.unread(replaced, TABLE, now=almost) == {}
    assert list(upkeep.unread(replaced, TABLE, now=almost + dt.timedelta(minutes=1))) == [part(0)]
    later = almost + dt.timedelta(days=1)
    assert upkeep.unread(replaced, TABLE, now=later) == {
        part(0): scenes.MIDNIGHT + dt.timedelta(hours=2),
        part(1): scenes.MIDNIGHT + dt.timedelta(hours=3),
    }


def test_a_file_that_no_commit_names_is_unread_when_nobody_has_written_to_it_for_a_week(replaced):
    """A run was killed between its file and its commit."""
    scenes.write_part(replaced, part("killed"), 1, 3)
    now = scenes.MIDNIGHT
    assert upkeep.unread(replaced, TABLE, now=now) == {}
    long_ago = dt.datetime.now().timestamp() - 8 * 86_400
    for name in ("killed", "2"):
        os.utime(replaced.path(part(name)), (long_ago, long_ago))
    assert upkeep.unread(replaced, TABLE, now=now) == {part("killed"): None}


def test_a_folder_that_is_no_delta_table_has_no_such_files(lake):
    scenes.publish(lake, "r", 1)
    assert upkeep.unread(lake, TABLE, now=LATER) == {}


def test_every_tenth_commit_brings_a_checkpoint_without_removals_of_long_ago(lake):
    delta_scenes.begin(lake)
    for number in range(9):
        scenes.publish(lake, f"r{number}", 1, hour=number)
    assert not lake.exists(checkpoint_key(TABLE, 10))
    scenes.publish(lake, "late", 1, hour=7 * 24 + 1)
    assert lake.names(f"{TABLE}/_delta_log")[-1] == "_last_checkpoint"
    with lake.parquet(checkpoint_key(TABLE, 10)) as file:
        rows = file.read().to_pylist()
    assert [one["add"]["path"].rpartition("/")[2] for one in rows if one["add"]] == ["part-late.parquet"]
    # Published at 1 + 168 + 1 o'clock: r0 was replaced by r1 at 2 o'clock, and so on.
    gone = [one["remove"]["path"].rpartition("/")[2] for one in rows if one["remove"]]
    assert gone == [f"part-r{number}.parquet" for number in range(9)]
    # Published at 4 o'clock a week after r3 made way for r4: by then whoever read r0 to r2 has had his week.
    scenes.publish(lake, "later", 1, hour=7 * 24 + 4)
    upkeep.write_checkpoint(lake, TABLE, log.read(lake, TABLE))
    with lake.parquet(checkpoint_key(TABLE, 11)) as file:
        gone = [one["remove"]["path"] for one in file.read().to_pylist() if one["remove"]]
    assert [path.rpartition("/")[2] for path in gone][:2] == ["part-r3.parquet", "part-r4.parquet"]


@pytest.mark.parametrize("lost", [["_last_checkpoint"], ["_last_checkpoint", f"{10:020d}.checkpoint.parquet"]])
def test_a_checkpoint_that_a_kill_cut_short_is_completed_by_whoever_comes_next(lake, lost):
    delta_scenes.begin(lake)
    for number in range(10):
        scenes.publish(lake, f"r{number}", 1, hour=number)
    whole = {name: lake.read_bytes(f"{TABLE}/_delta_log/{name}") for name in lake.names(f"{TABLE}/_delta_log")}
    for name in lost:
        lake.remove(f"{TABLE}/_delta_log/{name}")
    recover(lake, scenes.JOB, DAY)
    assert {name: lake.read_bytes(f"{TABLE}/_delta_log/{name}") for name in lake.names(f"{TABLE}/_delta_log")} == whole


def test_commits_go_that_are_before_a_checkpoint_of_a_month_ago(lake):
    delta_scenes.begin(lake)
    for number in range(19):
        scenes.publish(lake, f"r{number}", 1, hour=number)
    assert lake.exists(commit_key(TABLE, 0))
    long_ago = dt.datetime.now().timestamp() - 31 * 86_400
    for path in lake.path(f"{TABLE}/_delta_log").iterdir():
        os.utime(path, (long_ago, long_ago))
    scenes.publish(lake, "last", 1, hour=20)
    names = [name for name in lake.names(f"{TABLE}/_delta_log") if name != "_last_checkpoint"]
    assert (names[0], names[1]) == (f"{10:020d}.checkpoint.parquet", f"{10:020d}.json")
    assert names[-2:] == [f"{20:020d}.checkpoint.parquet", f"{20:020d}.json"]
    log._read_before.clear()
    assert log.read(lake, TABLE).by_label() == {DAY: ["part-last.parquet"]}


def test_of_one_window_no_other_is_listed(replaced, monkeypatch):
    for number in range(2):
        scenes.publish(replaced, f"n{number}", 1, day="2013-07-02", hour=number)
    listed, names = [], type(replaced).names
    monkeypatch.setattr(type(replaced), "names", lambda self, key: listed.append(key) or names(self, key))
    now = scenes.MIDNIGHT + dt.timedelta(days=30)
    assert list(upkeep.unread(replaced, TABLE, now=now, label=DAY)) == [part(0), part(1)]
    assert [key for key in listed if not key.endswith("_delta_log")] == [f"{TABLE}/as_of={DAY}"]


def test_a_checkpoint_that_arrow_cannot_write_fails_nothing(lake, monkeypatch):
    def fail(*_):
        raise pa.ArrowInvalid("no such value")

    delta_scenes.begin(lake)
    monkeypatch.setattr(upkeep, "write_checkpoint", fail)
    for number in range(10):
        scenes.publish(lake, f"r{number}", 1, hour=number)
    assert delta_scenes.shown(lake.root) == {DAY: ["part-r9.parquet"]}
