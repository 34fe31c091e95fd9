"""The table with one row a key: whatever was published, replaced and withdrawn, it is what its definition says."""

import contextlib
import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.core import layout
from tasks.core.definitions.project import parse_job
from tasks.core.errors import DefinitionError, LakeError, WindowBusy
from tasks.core.rows import newest
from tasks.core.runs import latest
from tasks.core.runs.latest import note, refresh
from tasks.core.storage import Lake, system
from tests.lake_tools import Killed

JOB = "late"
COLUMNS = pa.schema([("id", pa.string()), ("score", pa.float64()), ("run_id", pa.string())])


@pytest.fixture(autouse=True)
def _without_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def lake():
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Lake(Path(folder) / "lake")


def a_job(keep=None, *, kind="interval", keys=("id",)):
    window = {"kind": "interval", "every": "1d"} if kind == "interval" else {"kind": "snapshot", "every": "1d"}
    content = {
        "job": JOB,
        "window": window,
        "source": {"type": "files", "path": "data", "format": "parquet"},
        "keys": list(keys),
        **({"event_time": "at"} if kind == "interval" else {}),
        "columns": {"id": "string", "site": "string", "at": "timestamp", "x": "float64"},
        "model": {"name": "late"},
        "output": {"columns": {"score": {"method": "predict"}}, **({} if keep is None else {"latest": keep})},
    }
    return parse_job(json.dumps(content), where=JOB)


def publish(lake, day, run_id, scores, *, schema=COLUMNS, contract=1, group=2, table=layout.PREDICTIONS):
    """A run's file becomes what the window shows: keys with their scores; other columns hold the run's name."""
    rows = [{"id": key, "score": score, "run_id": run_id} for key, score in scores.items()]
    full = pa.Table.from_pylist([{name: row.get(name, None) for name in schema.names} for row in rows], schema=schema)
    put(lake, day, run_id, full, contract=contract, group=group, table=table)


def put(lake, day, run_id, rows, *, contract=1, group=2, table=layout.PREDICTIONS):
    withdraw(lake, day, table)
    key = f"{layout.partition(table, JOB, day)}/{layout.part(run_id)}"
    says = {"lamplighter": json.dumps({"contract_version": contract})}
    with lake.parquet_writer(key, rows.schema, metadata=says) as writer:
        writer.write_table(rows, group)


def withdraw(lake, day, table=layout.PREDICTIONS):
    lake.remove(layout.partition(table, JOB, day))


def read(lake):
    """As a reader does it: the one file that is listed, by pyarrow alone."""
    files = sorted(lake.path(layout.latest(JOB)).glob("[!_.]*"))
    return pq.read_table(files[0], partitioning=None) if files else None


def rows(lake):
    found = read(lake)
    return None if found is None else sorted(map(tuple, (row.values() for row in found.to_pylist())), key=str)


def by_definition(lake):
    """Window by window, the newest last, into one dictionary; by pyarrow alone."""
    found = {}
    for folder in sorted(lake.path(layout.table(layout.PREDICTIONS, JOB)).glob("as_of=*")):
        for row in pq.read_table(next(folder.glob("*.parquet")), partitioning=None).to_pylist():
            found[row["id"]] = tuple(row.values())
    return sorted(found.values(), key=str)


def left_over(lake):
    return [key for key in lake.files() if key.startswith(("scratch/", "locks/")) or ".tmp" in key]


def test_one_row_a_key_of_the_newest_window_that_has_it(lake):
    publish(lake, "2024-05-01", "r1", {"a": 1.0, "b": 1.0})
    publish(lake, "2024-05-02", "r2", {"b": 2.0, "c": 2.0})
    assert refresh(lake, a_job()).model_dump() == {"state": "replaced", "rows": 3, "removed": False}
    assert rows(lake) == [("a", 1.0, "r1"), ("b", 2.0, "r2"), ("c", 2.0, "r2")]
    assert read(lake).schema.equals(COLUMNS)
    said = json.loads(lake.read_text("latest/late/_windows.json"))
    assert said["windows"] == {"2024-05-01": "r1", "2024-05-02": "r2"}
    assert left_over(lake) == []


def test_twice_is_once(lake):
    publish(lake, "2024-05-01", "r1", {"a": 1.0})
    refresh(lake, a_job())
    before = {key: lake.read_bytes(key) for key in lake.files()}
    assert refresh(lake, a_job()).state == "current"
    assert {key: lake.read_bytes(key) for key in lake.files()} == before


def test_keys_that_a_window_no_longer_has_come_back_from_older_ones(lake):
    publish(lake, "2024-05-01", "r1", {"a": 1.0, "b": 1.0})
    publish(lake, "2024-05-02", "r2", {"a": 2.0})
    publish(lake, "2024-05-03", "r3", {"a": 3.0, "b": 3.0, "c": 3.0})
    refresh(lake, a_job())
    publish(lake, "2024-05-03", "again", {"c": 4.0})
    refresh(lake, a_job())
    assert rows(lake) == [("a", 2.0, "r2"), ("b", 1.0, "r1"), ("c", 4.0, "again")]
    withdraw(lake, "2024-05-02")
    refresh(lake, a_job())
    assert rows(lake) == [("a", 1.0, "r1"), ("b", 1.0, "r1"), ("c", 4.0, "again")]


def test_a_key_comes_back_from_the_newest_of_the_older_ones_whichever_of_them_has_changed(lake):
    for day in ("2024-05-01", "2024-05-02", "2024-05-03"):
        publish(lake, day, f"r{day[-1]}", {"a": float(day[-1])})
    refresh(lake, a_job())
    publish(lake, "2024-05-01", "again", {"a": 10.0})
    publish(lake, "2024-05-03", "other", {"b": 30.0})
    refresh(lake, a_job())
    assert rows(lake) == [("a", 2.0, "r2"), ("b", 30.0, "other")]


def test_an_older_window_that_comes_late_takes_nothing_from_newer_ones(lake):
    publish(lake, "2024-05-02", "r2", {"a": 2.0})
    refresh(lake, a_job())
    publish(lake, "2024-05-01", "r1", {"a": 1.0, "b": 1.0})
    refresh(lake, a_job())
    assert rows(lake) == [("a", 2.0, "r2"), ("b", 1.0, "r1")]


def test_what_is_in_shadow_is_not_in_it(lake):
    publish(lake, "2024-05-01", "r1", {"a": 1.0})
    publish(lake, "2024-05-02", "r2", {"a": 2.0}, table=layout.SHADOW)
    refresh(lake, a_job())
    assert rows(lake) == [("a", 1.0, "r1")]


def test_a_window_without_rows_is_one(lake):
    publish(lake, "2024-05-01", "r1", {})
    assert refresh(lake, a_job()).rows == 0
    assert read(lake).schema.equals(COLUMNS)
    publish(lake, "2024-05-02", "r2", {"a": 2.0})
    refresh(lake, a_job())
    publish(lake, "2024-05-02", "r3", {})
    refresh(lake, a_job())
    assert rows(lake) == []


def test_when_the_last_window_is_withdrawn_the_folder_goes(lake):
    publish(lake, "2024-05-01", "r1", {"a": 1.0})
    refresh(lake, a_job())
    withdraw(lake, "2024-05-01")
    assert refresh(lake, a_job()).model_dump() == {"state": "none", "rows": 0, "removed": True}
    assert not lake.exists("latest/late")
    assert left_over(lake) == []


def test_hostile_keys_are_keys(lake):
    odd = {"": 1.0, "'; drop table x --": 1.0, "\N{SNOWMAN}\x00": 1.0, "a/b": 1.0, "ä": 1.0}
    publish(lake, "2024-05-01", "r1", odd)
    publish(lake, "2024-05-02", "r2", {"a\N{COMBINING DIAERESIS}": 2.0, "": 2.0})
    refresh(lake, a_job())
    # The two ways to write ä are two keys, as everywhere else.
    assert {row[0]: row[2] for row in rows(lake)} == dict.fromkeys(odd, "r1") | {
        "a\N{COMBINING DIAERESIS}": "r2",
        "": "r2",
    }


def test_keys_of_several_columns(lake):
    schema = pa.schema([("id", pa.string()), ("site", pa.string()), ("run_id", pa.string())])
    first = pa.table({"id": ["a", "a"], "site": ["x", "y"], "run_id": ["r1", "r1"]}, schema=schema)
    second = pa.table({"id": ["a"], "site": ["y"], "run_id": ["r2"]}, schema=schema)
    put(lake, "2024-05-01", "r1", first)
    put(lake, "2024-05-02", "r2", second)
    refresh(lake, a_job(keys=("id", "site")))
    assert rows(lake) == [("a", "x", "r1"), ("a", "y", "r2")]
    # The job tells rows apart otherwise now: all of it is made anew.
    publish_more = pa.table({"id": ["b"], "site": ["y"], "run_id": ["r3"]}, schema=schema)
    put(lake, "2024-05-03", "r3", publish_more)
    refresh(lake, a_job())
    assert rows(lake) == [("a", "y", "r2"), ("b", "y", "r3")]


# -- contracts ------------------------------------------------------------------------------------------------------


def test_the_columns_are_those_of_the_newest_contract_and_missing_ones_are_null(lake):
    wider = pa.schema([("id", pa.string()), ("score", pa.float32()), ("why", pa.string()), ("run_id", pa.string())])
    publish(lake, "2024-05-01", "r1", {"a": 1.0, "b": 1.0})
    refresh(lake, a_job())
    publish(lake, "2024-05-02", "r2", {"b": 2.0}, schema=wider, contract=2)
    refresh(lake, a_job())
    assert read(lake).schema.equals(wider)
    assert rows(lake) == [("a", 1.0, None, "r1"), ("b", 2.0, None, "r2")]
    # A later window of the old contract takes no column away; when the only one that had it goes, it goes.
    publish(lake, "2024-05-03", "r3", {"c": 3.0})
    refresh(lake, a_job())
    assert read(lake).schema.equals(wider)
    withdraw(lake, "2024-05-02")
    refresh(lake, a_job())
    assert read(lake).schema.equals(COLUMNS)
    assert rows(lake) == [("a", 1.0, "r1"), ("b", 1.0, "r1"), ("c", 3.0, "r3")]


def test_a_column_that_cannot_become_todays_type_is_null(lake):
    other = pa.schema([("id", pa.string()), ("score", pa.timestamp("us", tz="UTC")), ("run_id", pa.string())])
    publish(lake, "2024-05-01", "r1", {"a": 1.5})
    put(lake, "2024-05-02", "r2", pa.Table.from_pylist([{"id": "b", "run_id": "r2"}], schema=other), contract=2)
    refresh(lake, a_job())
    assert rows(lake) == [("a", None, "r1"), ("b", None, "r2")]


def test_keys_of_another_type_are_the_keys_that_they_become(lake):
    numbers = pa.schema([("id", pa.int32()), ("score", pa.float64()), ("run_id", pa.string())])
    publish(lake, "2024-05-01", "r1", {1: 1.0, 2: 1.0}, schema=numbers)
    refresh(lake, a_job())
    publish(lake, "2024-05-02", "r2", {"2": 2.0}, contract=2)
    refresh(lake, a_job())
    assert rows(lake) == [("1", 1.0, "r1"), ("2", 2.0, "r2")]


def test_without_the_keys_in_the_newest_window_it_says_so_and_stays(lake):
    publish(lake, "2024-05-01", "r1", {"a": 1.0})
    refresh(lake, a_job())
    put(lake, "2024-05-02", "r2", pa.table({"other": ["b"], "run_id": ["r2"]}), contract=2)
    with pytest.raises(DefinitionError, match="window 2024-05-02 has no column id"):
        refresh(lake, a_job())
    assert rows(lake) == [("a", 1.0, "r1")]


# -- how long it is kept ------------------------------------------------------------------------------------------------


def test_of_interval_windows_it_is_kept_up_to_so_many_rows(lake, monkeypatch):
    monkeypatch.setattr(latest, "MOST_ROWS", 2)
    publish(lake, "2024-05-01", "r1", {"a": 1.0, "b": 1.0})
    assert refresh(lake, a_job()).rows == 2
    publish(lake, "2024-05-02", "r2", {"c": 2.0})
    assert refresh(lake, a_job()).model_dump() == {"state": "outgrown", "rows": 0, "removed": True}
    assert not lake.exists("latest/late")
    assert "would have more than 2 rows" in note(lake, a_job())
    # It is not tried again at each run; who wants it gets it, and who no longer does not.
    monkeypatch.setattr(latest, "_made", lambda *_: pytest.fail("it was made again"))
    assert refresh(lake, a_job()).model_dump() == {"state": "outgrown", "rows": 0, "removed": False}
    monkeypatch.undo()
    monkeypatch.setattr(latest, "MOST_ROWS", 2)
    assert refresh(lake, a_job(True)).rows == 3
    assert (note(lake, a_job(True)), note(lake, a_job())) == ("", "")
    assert refresh(lake, a_job()).state == "outgrown"
    assert not lake.exists("latest/late")


def test_a_window_of_too_many_rows_is_not_read_to_find_that(lake, monkeypatch):
    monkeypatch.setattr(latest, "MOST_ROWS", 2)
    publish(lake, "2024-05-01", "r1", {"a": 1.0, "b": 1.0, "c": 1.0})
    monkeypatch.setattr(latest, "hash_rows", lambda *_: pytest.fail("it was read"))
    assert refresh(lake, a_job()).state == "outgrown"


def test_of_snapshots_it_is_kept_however_long(lake, monkeypatch):
    monkeypatch.setattr(latest, "MOST_ROWS", 1)
    publish(lake, "2024-05-01", "r1", {"a": 1.0, "b": 1.0})
    assert refresh(lake, a_job(kind="snapshot")).rows == 2


def test_switched_off_it_goes(lake):
    publish(lake, "2024-05-01", "r1", {"a": 1.0})
    refresh(lake, a_job())
    assert refresh(lake, a_job(False)).model_dump() == {"state": "switched off", "rows": 0, "removed": True}
    assert not lake.exists("latest/late")
    assert refresh(lake, a_job(False)).removed is False
    assert "output.latest is false" in note(lake, a_job(False))


# -- what is damaged, killed, or at work --------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["windows", "file", "gone", "footer", "unknown run"])
def test_a_table_that_is_damaged_is_made_anew(lake, damage):
    publish(lake, "2024-05-01", "r1", {"a": 1.0, "b": 1.0})
    refresh(lake, a_job())
    (file,) = lake.path("latest/late").glob("*.parquet")
    if damage == "windows":
        lake.path("latest/late/_windows.json").write_text("{")
    elif damage == "gone":
        file.unlink()
    elif damage == "unknown run":
        pq.write_table(pq.read_table(file).set_column(2, "run_id", pa.array(["x", None])), file)
    else:
        data = bytearray(file.read_bytes())
        data[8 if damage == "file" else -6] ^= 0xFF
        file.write_bytes(data)
    publish(lake, "2024-05-02", "r2", {"b": 2.0})
    refresh(lake, a_job())
    assert rows(lake) == [("a", 1.0, "r1"), ("b", 2.0, "r2")]


def test_a_window_that_cannot_be_read_leaves_the_table_as_it_was(lake):
    publish(lake, "2024-05-01", "r1", {"a": 1.0})
    refresh(lake, a_job())
    lake.write_bytes(f"{layout.partition(layout.PREDICTIONS, JOB, '2024-05-02')}/{layout.part('r2')}", b"no Parquet")
    with pytest.raises(LakeError):
        refresh(lake, a_job())
    assert rows(lake) == [("a", 1.0, "r1")]
    assert left_over(lake) == []


def test_a_window_that_is_replaced_meanwhile_is_read_again(lake, monkeypatch):
    publish(lake, "2024-05-01", "r1", {"a": 1.0})
    made, times = latest._merged, []

    def replaced_meanwhile(*arguments):
        times.append(1)
        if len(times) == 1:
            publish(lake, "2024-05-01", "r2", {"a": 2.0})
        return made(*arguments)

    monkeypatch.setattr(latest, "_merged", replaced_meanwhile)
    refresh(lake, a_job())
    assert (rows(lake), len(times)) == ([("a", 2.0, "r2")], 2)


def test_one_at_a_time(lake):
    publish(lake, "2024-05-01", "r1", {"a": 1.0})
    with lake.lock(layout.latest_lock(JOB), holder="another run"), pytest.raises(WindowBusy, match="another run"):
        refresh(lake, a_job())


@pytest.mark.parametrize("atomic", [True, False])
def test_killed_at_any_change_readers_see_old_or_new_and_the_next_one_mends_it(lake, monkeypatch, atomic):
    """A kill before and after every change; three of the changes make a swap where folders cannot be exchanged."""
    if not atomic:
        monkeypatch.setattr(system, "exchange", lambda *_: False)
    publish(lake, "2024-05-01", "r1", {"a": 1.0, "b": 1.0})
    refresh(lake, a_job())
    publish(lake, "2024-05-02", "r2", {"b": 2.0})
    old, new = [("a", 1.0, "r1"), ("b", 1.0, "r1")], [("a", 1.0, "r1"), ("b", 2.0, "r2")]
    seen = []
    for steps in itertools.count():
        copy = Lake(lake.root.with_name("killed"))
        shutil.copytree(lake.root, copy.root)
        died = _refresh_killed(copy, steps)
        seen.append(rows(copy))
        assert refresh(copy, a_job()).state == ("current" if seen[-1] == new else "replaced")
        assert rows(copy) == new
        assert left_over(copy) == []
        shutil.rmtree(copy.root)
        if not died:
            break
    assert steps >= 8
    # Where folders cannot be exchanged there is an instant without any.
    assert [one for one, _ in itertools.groupby(seen)] in ([old, new], *([[old, None, new]] if not atomic else []))


def _refresh_killed(lake, steps):
    """Dies before the rename, removal or write with this number; whether it did."""
    left = [steps]

    def mortal(plain):
        def call(*arguments, **named):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return plain(*arguments, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        # The lock of a dead process holds nobody up.
        patch.setattr(Lake, "lock", lambda *_, **__: contextlib.nullcontext())
        for name in ("rename", "replace", "unlink"):
            patch.setattr(Path, name, mortal(getattr(Path, name)))
        patch.setattr(shutil, "rmtree", mortal(shutil.rmtree))
        for name in ("exchange", "rename_no_replace", "write_flushed"):
            patch.setattr(system, name, mortal(getattr(system, name)))
        try:
            refresh(lake, a_job())
        except Killed:
            return True
    return False


# -- by brute force -----------------------------------------------------------------------------------------------------

DAYS = [f"2024-05-{day:02d}" for day in range(1, 5)]
# What becomes of a window: nothing, it goes, or it is published with these keys.
CHANGE = st.one_of(st.none(), st.just("withdrawn"), st.frozensets(st.sampled_from("ab")))
ROUNDS = st.lists(st.tuples(*[CHANGE] * len(DAYS)), min_size=1, max_size=4)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=ROUNDS, settle_rows=st.sampled_from([1, 3, 1 << 20]))
def test_whatever_is_published_and_withdrawn_it_is_what_the_definition_says(rounds, settle_rows):
    """After each round of changes the table is brought up to date."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(newest, "_SETTLE_ROWS", settle_rows)
        lake = Lake(folder)
        for number, changes in enumerate(rounds):
            for day, change in zip(DAYS, changes, strict=True):
                if change == "withdrawn":
                    withdraw(lake, day)
                elif change is not None:
                    publish(lake, day, f"run{number}-{day}", {key: float(number) for key in sorted(change)})
            refresh(lake, a_job())
            assert (rows(lake) or []) == by_definition(lake)
