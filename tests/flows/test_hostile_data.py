"""Rows as they really come: none, one, three hundred columns, every odd value; in any order, and cut anywhere."""

import datetime as dt
import os
import shutil
import types

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tasks.pull
from tests.flows.conftest import COLUMNS, as_table, readings

_SCRIPT = "<script>alert('x')</script>"
_ODD = (
    "",
    " ",
    "é",
    "e\u0301",
    "Ж中文",
    "🕯️",
    "\u202eabc",
    "a\x00b",
    "a\nb",
    "a/b\\c",
    "'; DROP TABLE x; --",
    _SCRIPT,
    "NaN",
    "null",
)


def _forget_runs(world):
    """As if nothing had been scored yet."""
    for name in ("predictions", "quarantine", "metrics", "runs", "reports", "superseded"):
        shutil.rmtree(world.folder / "lake" / name, ignore_errors=True)


def _by_n(world, name):
    return pd.read_parquet(world.folder / "lake" / name / "readings").set_index("n")


@pytest.fixture
def stopped_clock(monkeypatch):
    """Every pull ends at one instant."""
    now = dt.datetime(2024, 5, 2, 1, tzinfo=dt.UTC)
    clock = types.SimpleNamespace(datetime=types.SimpleNamespace(now=lambda _: now), UTC=dt.UTC)
    monkeypatch.setattr(tasks.pull, "dt", clock)


def test_no_rows_and_one_row_with_a_suite(world):
    world.write_suite(
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "sensor"}, "severity": "critical"},
        {
            "type": "expect_column_mean_to_be_between",
            "kwargs": {"column": "x", "min_value": -9, "max_value": 9},
            "severity": "warning",
        },
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 0}, "severity": "critical"},
    )
    world.change_job(on_empty="publish")
    pq.write_table(as_table(readings(1)).slice(0, 0), world.folder / "data/a.parquet")
    none = world.score()
    assert none.type.value == "COMPLETED", none.message
    assert (len(world.table()), world.published().rows.pulled) == (0, 0)

    world.write_rows(readings(1))
    one = world.score(rescore="there is one now")

    assert one.name == "Published", one.message
    assert world.table()["sensor"].tolist() == ["s00000"]


def test_three_hundred_columns_with_awkward_names_come_through_unchanged(world):
    names = [f"c{number:03d}" for number in range(290)] + ["a b", "ä", "<b>", "select", "a.b", "a/b", "Index", "x'y"]
    rows = readings(50)
    values = np.random.default_rng(3).normal(size=(50, len(names)))
    wide = as_table(rows)
    for at, name in enumerate(names):
        wide = wide.append_column(name, pa.array(values[:, at]))
    pq.write_table(wide, world.folder / "data/a.parquet")
    world.change_job(columns=COLUMNS | dict.fromkeys(names, "float64"), output__pass_through=["kind", *names])

    state = world.score()

    assert state.name == "Published", state.message
    table = world.table()
    for at, name in enumerate(names):
        np.testing.assert_array_equal(table[name], values[:, at])


def test_odd_text_in_keys_and_values_comes_through_and_is_only_text_in_the_pages(world):
    rows = readings(len(_ODD)).assign(sensor=_ODD)
    rows.loc[len(_ODD) - 3, "kind"] = _SCRIPT
    world.change_job(limits__quarantine_share=0.5)
    world.write_rows(rows)

    state = world.score()

    assert state.name == "Published", state.message
    assert set(world.table()["sensor"]) == set(_ODD) - {_SCRIPT}
    quarantined = world.table("quarantine")
    assert quarantined["sensor"].tolist() == [_SCRIPT]
    assert quarantined["reasons"][0][0]["value"] == _SCRIPT
    for page in (world.folder / "lake/reports").rglob("*.html"):
        assert "<script>alert" not in page.read_text(), page


def test_numbers_at_the_ends_of_their_types(world):
    huge = [2**63 - 1, -(2**63), 2**53 + 1, 0]
    floats = [1.7976931348623157e308, -1.7976931348623157e308, 5e-324, -0.0]
    world.change_job(
        suite=None,
        columns=COLUMNS | {"n": "int64"},
        keys=["n"],
        output__pass_through=["x", "y"],
        limits__quarantine_share=1,
    )
    rows = as_table(readings(6).assign(x=[*floats, np.nan, np.inf]))
    rows = rows.append_column("n", pa.array([*huge, 1, 2], pa.int64()))
    pq.write_table(rows, world.folder / "data/a.parquet")

    state = world.score()

    assert state.name == "Published", state.message
    table, quarantined = (_by_n(world, name) for name in ("predictions", "quarantine"))
    assert sorted([*table.index, *quarantined.index]) == sorted([*huge, 1, 2])
    # An infinity is no number to the model; of the largest ones it may say that they are too large.
    assert {2} <= set(quarantined.index) <= {2, *huge[:2]}
    assert {reason["kind"] for reasons in quarantined["reasons"] for reason in reasons} == {"predict_raised"}
    for number, value in zip([*huge, 1], [*floats, np.nan], strict=True):
        if number in table.index:
            np.testing.assert_array_equal(table["x"][number], value)
            assert np.signbit(table["x"][number]) == np.signbit(value)
    assert 0 <= table["probability"].min() <= table["probability"].max() <= 1


@pytest.mark.parametrize("batch_rows", [7, 1000])
def test_duplicates_are_found_across_batches(world, batch_rows):
    rows = readings(60)
    again = rows.iloc[[0, 6, 7, 30]]
    other = rows.iloc[[13, 14, 59]].assign(y=99.0)
    world.change_job(suite=None, limits__batch_rows=batch_rows, limits__quarantine_share=0.5)
    world.write_rows(pd.concat([rows, again, other, again.iloc[:1], other.iloc[:1]]))

    state = world.score()

    assert state.name == "Published", state.message
    counts = world.published().rows
    # By hand: 60 + 4 + 3 + 1 + 1 pulled; 5 repeat; of three keys, 3 + 3 rows and one repetition differ.
    assert (counts.pulled, counts.duplicates, counts.quarantined, counts.scored) == (69, 5, 7, 57)
    assert world.table()["sensor"].is_unique
    assert set(world.table("quarantine")["sensor"]) == {"s00013", "s00014", "s00059"}


@pytest.mark.extras
def test_the_order_of_rows_changes_neither_the_run_nor_what_it_says(world):
    rows = readings(60)
    rows.loc[3, "kind"] = "lukewarm"
    world.change_job(limits__batch_rows=7)
    world.write_rows(rows)
    assert world.score().name == "Published"
    first, table, quarantined = world.published(), world.table(), world.table("quarantine")
    world.write_rows(rows.sample(frac=1, random_state=1))

    again = world.score(rescore="in another order")

    assert again.name == "AlreadyPublished", again.message
    _forget_runs(world)
    assert world.score().name == "Published"
    second = world.published()
    assert (second.run_id, second.snapshot.digest) == (first.run_id, first.snapshot.digest)
    assert (second.rows, second.key_digests) == (first.rows, first.key_digests)
    pd.testing.assert_frame_equal(world.table().drop(columns="scored_at"), table.drop(columns="scored_at"), rtol=1e-12)
    assert world.table("quarantine")["sensor"].tolist() == quarantined["sensor"].tolist() == ["s00003"]


@pytest.mark.extras
def test_batches_of_1_7_and_1000_rows_agree(world):
    found = []
    for batch_rows in (1, 7, 1000):
        _forget_runs(world)
        world.write_rows(readings(30))
        world.change_job(suite=None, limits__batch_rows=batch_rows)
        assert world.score().name == "Published"
        found.append(world.table().drop(columns=["run_id", "scored_at"]))

    for other in found[1:]:
        np.testing.assert_allclose(other["probability"], found[0]["probability"], rtol=0, atol=1e-12)
        pd.testing.assert_frame_equal(other.drop(columns="probability"), found[0].drop(columns="probability"))


@pytest.mark.extras
def test_one_worker_and_two_write_the_same_bytes(world, stopped_clock):
    found = []
    for workers in (1, 2):
        _forget_runs(world)
        world.change_job(limits__batch_rows=30, limits__workers=workers)
        assert world.score().name == "Published"
        found.append(world.partition_bytes())

    assert found[0] == found[1]


def test_half_a_page_of_a_killed_run_is_taken_away_by_a_later_report(world):
    left = world.folder / "lake/reports/readings/.tmp-0"
    left.parent.mkdir(parents=True)
    left.write_text("half a page")
    os.utime(left, (0, 0))

    assert world.score().name == "Published"
    assert not left.exists()


@pytest.mark.extras
def test_a_mended_limit_takes_up_what_was_done(world):
    """The errors of a batch that took too long, or whose process died, say: complete batches are kept."""
    world.score()
    first = world.published().plan_key
    world.change_job(limits__batch_timeout_seconds=900, limits__workers=2, limits__isolate="always")
    world.write_rows(readings(150))

    assert world.score(rescore="other rows").name == "Published"
    assert world.published().plan_key == first
    assert world.published().rows.scored == 150
