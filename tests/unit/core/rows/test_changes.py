"""Rows added, removed and changed: counted by a slow reference, and within any bound of memory."""

import collections

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.rows import changes as module
from tasks.core.rows.changes import Changes, Side, common_columns, count_changes
from tasks.core.storage import Lake

SCHEMA = pa.schema([("k", pa.string()), ("x", pa.float64()), ("s", pa.string())])
NAN = float("nan")

_row = st.tuples(
    st.sampled_from([None, "a", "b", "c", "d"]),
    st.sampled_from([None, 0.0, -0.0, 1.0, NAN]),
    st.sampled_from(["", "u"]),
)


def table(rows):
    return (
        pa.table(
            [pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True) or [], SCHEMA, strict=True)],
            schema=SCHEMA,
        )
        if rows
        else SCHEMA.empty_table()
    )


def write(lake, key, rows, group_rows=3):
    made = rows if isinstance(rows, pa.Table) else table(rows)
    with lake.parquet_writer(key, made.schema) as writer:
        writer.write_table(made, row_group_size=group_rows)
    return Side(lake, key, len(made))


def counted(lake, old, new, memory_bytes=1 << 28, columns=("k", "x", "s"), group_rows=3):
    sides = write(lake, "old.parquet", old, group_rows), write(lake, "new.parquet", new, group_rows)
    found = count_changes(*sides, ["k"], columns, lake=lake, scratch="scratch", memory_bytes=memory_bytes)
    assert lake.files("scratch") == []
    return found


def by_hand(old, new):
    """Row by row: equal ones cancel, what is left of a key on both sides pairs."""
    before, now = (
        collections.Counter((key, str(x).replace("-0.0", "0.0"), s) for key, x, s in rows) for rows in (old, new)
    )
    gone, come = collections.Counter(), collections.Counter()
    for row, count in (before - now).items():
        gone[row[0]] += count
    for row, count in (now - before).items():
        come[row[0]] += count
    changed = sum((gone & come).values())
    return Changes(come.total() - changed, gone.total() - changed, changed)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(_row, max_size=12), st.lists(_row, max_size=12), st.sampled_from([1 << 28, 800, 160]))
def test_any_two_snapshots_are_counted_as_by_hand(tmp_path_factory, old, new, memory_bytes):
    lake = Lake(tmp_path_factory.mktemp("lake"))
    assert counted(lake, old, new, memory_bytes) == by_hand(old, new)


def test_what_is_added_removed_and_changed(lake):
    old = [("a", 1.0, ""), ("b", NAN, "u"), ("c", 3.0, ""), ("d", 4.0, "")]
    new = [("d", 4.0, ""), ("b", NAN, "u"), ("a", 1.5, ""), ("e", 5.0, ""), ("f", 6.0, "")]
    assert counted(lake, old, new) == Changes(added=2, removed=1, changed=1)
    assert counted(lake, old, old[::-1]) == Changes(0, 0, 0)
    assert counted(lake, [], old) == Changes(4, 0, 0)
    assert counted(lake, old, []) == Changes(0, 4, 0)
    assert counted(lake, [], []) == Changes(0, 0, 0)


def test_only_the_columns_that_both_have_in_one_type_are_compared(lake):
    old = pa.table({"k": ["a", "b"], "x": [1.0, 2.0], "gone": [1, 2], "wider": pa.array([1, 2], pa.int32())})
    new = pa.table({"wider": pa.array([7, 8], pa.int64()), "new": ["", ""], "x": [1.0, 3.0], "k": ["a", "b"]})
    columns, others = common_columns(old.schema, new.schema)
    assert (columns, others) == (["x", "k"], ["gone", "new", "wider"])
    assert counted(lake, old, new, columns=columns) == Changes(0, 0, 1)


@pytest.mark.parametrize("memory_bytes", [1 << 28, 1 << 20])
def test_many_rows_and_one_key_that_most_of_them_share(lake, memory_bytes):
    rows = 60_000
    keys = np.where(np.arange(rows) % 3 == 0, np.arange(rows).astype(str), "same")
    old = pa.table({"k": keys, "x": np.arange(rows, dtype=float), "s": np.full(rows, "")})
    new = old.set_column(1, "x", pa.array(np.arange(rows) + np.where(np.arange(rows) % 6 == 0, 0.5, 0.0)))
    # Of every third row each second differs; of those with the common key none does.
    assert counted(lake, old, new, memory_bytes, group_rows=7_000) == Changes(0, 0, 10_000)


def test_hashes_that_share_64_bits_are_not_mixed_up(lake, monkeypatch):
    """Every row has the same first half of both hashes, so that all of them share what they are sorted by."""

    def colliding(data, columns=None):
        found = hash_rows(data, columns)
        found[:, 0] = 7
        return found

    hash_rows = module.hash_rows
    monkeypatch.setattr(module, "hash_rows", colliding)
    random = np.random.default_rng(3)
    old, new = ([(f"{key}", float(value), "") for key, value in random.integers(0, 9, (200, 2))] for _ in range(2))
    assert counted(lake, old, new) == by_hand(old, new)


def test_what_a_killed_run_left_counts_for_nothing(lake):
    lake.append("scratch/rows/000000", b"x" * 40)
    lake.append("scratch/keys/000000", b"x" * 32)
    assert counted(lake, [("a", 1.0, "")], [("a", 1.0, "")], 160) == Changes(0, 0, 0)
