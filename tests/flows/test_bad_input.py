"""Bad days, one a test: a clear error, and nothing lost."""

import multiprocessing
import os
import time

import numpy as np
import pandas as pd
import pytest

from tasks.core import layout
from tasks.core.errors import LakeFull
from tasks.core.storage import Lake, system
from tests.flows.conftest import DAY, readings


def _nothing_is_visible(world):
    assert not (world.folder / "lake/predictions").exists()


def test_source_that_is_not_there(world):
    world.change_job(source__path="elsewhere")

    state = world.score()

    assert state.name == "Failed"
    assert "elsewhere" in state.message
    assert world.latest().verdict == "failed"
    _nothing_is_visible(world)


def test_missing_column_names_it_and_what_was_found(world):
    rows = readings().drop(columns="x")
    rows.to_parquet(world.folder / "data/a.parquet")

    state = world.score()

    assert state.name == "Blocked"
    assert "x" in state.message
    _nothing_is_visible(world)


def test_column_of_a_type_that_cannot_be_converted(world):
    rows = readings()
    rows["x"] = [[1.0]] * len(rows)
    rows.to_parquet(world.folder / "data/a.parquet")

    state = world.score()

    assert state.name == "Blocked"
    assert "x" in state.message
    assert "float64" in state.message


def test_value_that_cannot_be_converted_costs_its_row(world):
    rows = readings()
    rows["x"] = rows["x"].astype(str)
    rows.loc[5, "x"] = "n/a"
    rows.to_parquet(world.folder / "data/a.parquet")

    state = world.score()

    assert state.name == "Published", state.message
    (reason,) = world.table("quarantine")["reasons"][0]
    assert (reason["kind"], reason["column"], reason["value"]) == ("not_convertible", "x", "'n/a'")
    assert world.published().rows.scored == 199


def test_window_without_rows_blocks(world):
    state = world.score("2024-06-01")

    assert state.name == "Blocked"
    assert "no rows" in state.message
    assert world.latest("2024-06-01").verdict == "blocked"


def test_window_without_rows_is_published_empty_where_the_job_says_so(world):
    world.change_job(on_empty="publish")

    state = world.score("2024-06-01")

    assert state.name == "Published", state.message
    assert len(world.table()) == 0
    assert "probability" in world.table().columns


def test_equal_duplicates_are_kept_once_and_counted(world):
    rows = readings()
    world.write_rows(pd.concat([rows, rows.iloc[:3], rows.iloc[:1]]))

    state = world.score()

    assert state.name == "Published", state.message
    manifest = world.published()
    assert (manifest.rows.pulled, manifest.rows.scored, manifest.rows.duplicates) == (204, 200, 4)
    assert world.table()["sensor"].is_unique


def test_duplicates_that_differ_are_all_quarantined(world):
    rows = readings()
    world.write_rows(pd.concat([rows, rows.iloc[[7]].assign(x=99.0)]))

    state = world.score()

    assert state.name == "Published", state.message
    assert world.table("quarantine")["sensor"].tolist() == ["s00007", "s00007"]
    assert world.table("quarantine")["reasons"][0][0]["kind"] == "duplicate_key"
    assert "s00007" not in set(world.table()["sensor"])


def test_rows_without_a_key_or_an_event_time_are_quarantined_never_dropped(world):
    rows = readings().astype({"sensor": object})
    rows.loc[0, "sensor"] = None
    rows.loc[1, "at"] = pd.NaT
    world.write_rows(rows)

    state = world.score()

    assert state.name == "Published", state.message
    kinds = sorted(reasons[0]["kind"] for reasons in world.table("quarantine")["reasons"])
    assert kinds == ["no_event_time", "null_key"]
    assert world.published().rows.scored == 198


def test_nan_is_scored_infinity_is_quarantined_and_an_unseen_category_is_scored(world):
    rows = readings()
    rows.loc[0, "x"] = np.nan
    rows.loc[1, "x"] = np.inf
    rows.loc[2, "kind"] = "new"
    world.write_suite()
    world.change_job(suite=None)
    world.write_rows(rows)

    state = world.score()

    assert state.name == "Published", state.message
    quarantined = world.table("quarantine")
    assert quarantined["sensor"].tolist() == ["s00001"]
    assert quarantined["reasons"][0][0]["kind"] == "predict_raised"
    assert {"s00000", "s00002"} <= set(world.table()["sensor"])


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"not a parquet file"])
def test_truncated_or_corrupt_parquet_names_the_file(world, damage):
    file = world.folder / "data/a.parquet"
    file.write_bytes(damage(file.read_bytes()))

    state = world.score()

    assert state.name == "Failed"
    assert "a.parquet" in state.message
    _nothing_is_visible(world)


def test_corrupt_model_is_not_loaded(world):
    model = world.folder / "lake/models/readings/versions/0001/model.joblib"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)

    state = world.score()

    assert state.name == "Blocked"
    assert "SHA-256" in state.message
    _nothing_is_visible(world)


def test_missing_alias_says_what_there_is(world):
    world.change_job(model__alias="blessed")

    state = world.score()

    assert state.name == "Failed"
    assert "production = 1" in state.message


def test_suite_that_names_a_column_that_is_not_there_is_refused_before_a_row_is_read(world):
    world.write_suite({"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "z"}, "meta": {}})
    (world.folder / "data/a.parquet").unlink()

    state = world.score()

    assert state.name == "Failed"
    assert "'z'" in state.message


def test_second_run_of_the_same_window_is_refused_while_the_first_holds_it(world):
    ready = multiprocessing.get_context("spawn").Event()
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(str(world.lake.root), ready))
    holder.start()
    try:
        assert ready.wait(60)
        state = world.score()
        assert state.name == "Failed"
        assert "the test holds it" in state.message
    finally:
        holder.kill()
        holder.join()
    # The lock went with its owner.
    assert world.score().name == "Published"


def _hold(root, ready):
    with Lake(root).lock(layout.lock("readings", DAY), holder="the test holds it"):
        ready.set()
        time.sleep(600)


def test_lake_that_cannot_be_written(world, monkeypatch):
    blocked = world.folder / "a file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(blocked / "lake"))

    state = world.score()

    assert state.name == "Failed"
    assert "a file" in state.message


def test_full_disk_says_so_leaves_the_table_and_the_next_run_resumes(world, monkeypatch):
    changes = []

    def fill(change, key):
        changes.append(key)
        if "staged/predictions" in key:
            raise LakeFull(f"could not write {key}: No space left on device")

    monkeypatch.setattr(system, "after_change", fill)
    state = world.score()

    assert state.name == "Failed"
    assert "No space left" in state.message
    _nothing_is_visible(world)
    first = world.latest()
    monkeypatch.undo()
    os.environ |= {"LAMPLIGHTER_PROJECT": str(world.folder), "LAMPLIGHTER_LAKE": str(world.folder / "lake")}
    (world.folder / "data/a.parquet").unlink()

    # The snapshot is complete: it is not pulled again, and the source may be gone.
    assert world.score().name == "Published"
    assert world.published().snapshot.complete_at == first.snapshot.complete_at
