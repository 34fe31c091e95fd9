"""The table with one row a key, where it may not be built upon: it is made anew from the windows, or taken away."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core import layout
from tasks.core.errors import WindowBusy
from tasks.core.runs import latest
from tasks.core.runs.latest import is_behind, refresh, take_stale_away
from tests.unit.core.runs.test_latest import JOB, a_job, by_definition, lake, left_over, publish, put, rows, withdraw

__all__ = ["lake"]

TIERED = pa.schema([("id", pa.string()), ("score", pa.float64()), ("tier", pa.string()), ("run_id", pa.string())])
NARROW = pa.schema([("id", pa.string()), ("score", pa.float32()), ("run_id", pa.string())])


@pytest.fixture(autouse=True)
def _without_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


def of(schema, *found):
    return pa.Table.from_pylist(list(found), schema=schema)


@pytest.fixture
def narrowed(lake):
    """A window of a contract with a wide score and a tier, then one of a contract with a narrow score alone."""
    gold = {"id": "a", "score": 0.1, "tier": "gold", "run_id": "r1"}
    put(lake, "2024-05-01", "r1", of(TIERED, gold, gold | {"id": "b", "tier": "silver"}))
    refresh(lake, a_job())
    put(lake, "2024-05-02", "r2", of(NARROW, {"id": "b", "score": 0.5, "run_id": "r2"}), contract=2)
    refresh(lake, a_job())
    # Rounded to 24 bits, as numpy.float32(0.1) is.
    assert rows(lake) == [("a", 0.10000000149011612, "r1"), ("b", 0.5, "r2")]
    return lake


def test_a_contract_that_is_withdrawn_leaves_nothing_of_its_types(narrowed):
    withdraw(narrowed, "2024-05-02")
    refresh(narrowed, a_job())
    assert rows(narrowed) == [("a", 0.1, "gold", "r1"), ("b", 0.1, "silver", "r1")] == by_definition(narrowed)


def test_a_contract_that_comes_back_has_the_values_that_its_windows_have(narrowed):
    put(narrowed, "2024-05-03", "r3", of(TIERED, {"id": "c", "score": 0.9, "tier": "x", "run_id": "r3"}), contract=3)
    refresh(narrowed, a_job())
    assert rows(narrowed) == [("a", 0.1, "gold", "r1"), ("b", 0.5, None, "r2"), ("c", 0.9, "x", "r3")]


def test_in_one_contract_it_is_built_upon(lake, monkeypatch):
    publish(lake, "2024-05-01", "r1", {"a": 1.0, "b": 1.0})
    refresh(lake, a_job())
    built_on, merged = [], latest._merged
    monkeypatch.setattr(latest, "_merged", lambda *given: built_on.append(given[2]) or merged(*given))
    publish(lake, "2024-05-02", "r2", {"b": 2.0})
    refresh(lake, a_job())
    assert [kept.windows for kept in built_on] == [{"2024-05-01": "r1"}]


def test_a_damaged_page_of_another_column_than_the_keys(lake):
    publish(lake, "2024-05-01", "r1", {f"k{number}": number * 0.37 for number in range(2000)}, group=5000)
    refresh(lake, a_job())
    (file,) = lake.path("latest/late").glob("*.parquet")
    column = pq.ParquetFile(file).metadata.row_group(0).column(1)
    data = bytearray(file.read_bytes())
    data[(column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size // 2] ^= 0xFF
    file.write_bytes(data)
    publish(lake, "2024-05-02", "r2", {"k1": 9.0})
    assert refresh(lake, a_job()).rows == 2000
    assert rows(lake) == by_definition(lake)
    assert left_over(lake) == []


def test_a_window_takes_part_with_all_of_its_keys_or_with_none(lake):
    publish(lake, "2024-05-01", "r1", {"1": 1.0, "x": 1.0}, group=1)
    numbers = pa.schema([("id", pa.int64()), ("score", pa.float64()), ("run_id", pa.string())])
    publish(lake, "2024-05-02", "r2", {7: 2.0}, schema=numbers, contract=2)
    refresh(lake, a_job())
    assert rows(lake) == [(7, 2.0, "r2")]


def test_no_two_contents_have_one_name(lake):
    schema = pa.schema([("id", pa.string()), ("site", pa.string()), ("run_id", pa.string())])
    for day, site in (("2024-05-01", "p"), ("2024-05-02", "q")):
        put(lake, day, day, of(schema, {"id": "a", "site": site, "run_id": day}))
    names = []
    for keys, count in ((("id",), 1), (("id", "site"), 2)):
        assert refresh(lake, a_job(keys=keys)).rows == count
        names += [path.name for path in lake.path("latest/late").glob("*.parquet")]
    assert len(set(names)) == 2


# -- what no window shows any more ----------------------------------------------------------------------------------


def test_what_was_withdrawn_is_taken_away_and_the_next_one_makes_it(lake):
    publish(lake, "2024-05-01", "r1", {"a": 1.0})
    publish(lake, "2024-05-02", "r2", {"b": 2.0})
    refresh(lake, a_job())
    assert (is_behind(lake, JOB), take_stale_away(lake, JOB)) == (False, False)
    # What it lacks is no reason.
    publish(lake, "2024-05-03", "r3", {"c": 3.0})
    assert (is_behind(lake, JOB), take_stale_away(lake, JOB)) == (True, False)
    publish(lake, "2024-05-02", "r1 again", {"b": 1.0})
    assert take_stale_away(lake, JOB) is True
    assert (lake.exists("latest/late"), left_over(lake)) == (False, [])
    assert take_stale_away(lake, JOB) is False
    refresh(lake, a_job())
    assert rows(lake) == [("a", 1.0, "r1"), ("b", 1.0, "r1 again"), ("c", 3.0, "r3")]


@pytest.mark.parametrize("said", [None, b"{", json.dumps({"latest_version": 2}).encode()])
def test_a_table_of_which_nobody_knows_what_it_holds_is_taken_away(lake, said):
    publish(lake, "2024-05-01", "r1", {"a": 1.0})
    refresh(lake, a_job())
    lake.remove("latest/late/_windows.json")
    if said:
        lake.write_bytes("latest/late/_windows.json", said)
    assert take_stale_away(lake, JOB) is True
    assert rows(lake) is None


def test_while_another_run_is_at_it_nothing_is_taken(lake):
    publish(lake, "2024-05-01", "r1", {"a": 1.0})
    refresh(lake, a_job())
    withdraw(lake, "2024-05-01")
    with lake.lock(layout.latest_lock(JOB), holder="another run"), pytest.raises(WindowBusy, match="another run"):
        take_stale_away(lake, JOB)
    assert rows(lake) == [("a", 1.0, "r1")]
