"""A source whose columns change between two windows: what the job's policy makes of it."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.flows.conftest import DAY, as_table, readings

NEXT = "2024-05-02"


def write_next(world, change=lambda table: table):
    """The next day's rows, in a file of their own, with their columns changed."""
    pq.write_table(change(as_table(readings(day=NEXT))), world.folder / "data/b.parquet")


def as_text(table, name="x"):
    place = table.schema.names.index(name)
    return table.set_column(place, name, table[name].cast(pa.string()))


def changes(world, as_of=NEXT):
    return [(one.change, one.column, one.before, one.now) for one in world.latest(as_of).schema_changes]


def test_columns_as_before_change_nothing(world):
    world.score()
    write_next(world)

    assert world.score(NEXT).name == "Published"
    manifest = world.latest(NEXT)
    assert manifest.schema_changes == ()
    assert manifest.snapshot.source_columns == {
        "sensor": "string",
        "at": "timestamp",
        "kind": "string",
        "x": "float64",
        "y": "float64",
    }


def test_a_retyped_column_is_published_with_a_warning_once(world):
    world.score()
    write_next(world, as_text)

    state = world.score(NEXT)

    assert state.name == "PublishedWithWarnings", state.message
    assert changes(world) == [("retyped", "x", "float64", "string")]
    (reason,) = world.published(NEXT).reasons
    assert reason == "the source gives column 'x' as string, and gave it as float64 before"
    # What stands now is what the next window is compared with.
    pq.write_table(as_text(as_table(readings(day="2024-05-03"))), world.folder / "data/c.parquet")
    assert world.score("2024-05-03").name == "Published"


def test_a_block_shows_the_difference_keeps_what_readers_see_and_is_lifted_in_the_job(world):
    world.change_job(schema_changes={"retyped": "block"})
    world.score()
    write_next(world, lambda table: as_text(table).append_column("unit", pa.array(["K"] * len(table))))

    state = world.score(NEXT)

    assert state.name == "Blocked"
    assert "'x' was float64 and is string" in state.message
    assert "'unit' is new" in state.message
    assert DAY in state.message
    assert world.published(NEXT) is None
    assert [one.consequence for one in world.latest(NEXT).schema_changes] == ["accepted", "blocks"]

    world.change_job(schema_changes={"retyped": "warn"})
    assert world.score(NEXT).name == "PublishedWithWarnings"


def test_a_feed_that_is_mended_to_the_same_rows_is_no_longer_blocked(world):
    world.change_job(schema_changes={"retyped": "block"})
    world.score()
    write_next(world, as_text)
    assert world.score(NEXT).name == "Blocked"
    write_next(world)

    assert world.score(NEXT).name == "Published"
    assert world.published(NEXT).snapshot.source_columns["x"] == "float64"


def test_a_missing_column_blocks_and_shows_what_came_instead(world):
    world.score()
    (world.folder / "data/a.parquet").unlink()
    write_next(world, lambda table: table.rename_columns(["sensor", "at", "kind", "x", "why"]))

    state = world.score(NEXT)

    assert state.name == "Blocked"
    assert "'why' is new" in state.message
    assert "'y' is missing (float64)" in state.message
    assert DAY in state.message
    assert world.published(NEXT) is None


def test_a_missing_column_is_taken_as_missing_where_the_job_says_so(world):
    world.change_job(schema_changes={"missing": "fill_null"})
    world.score()
    (world.folder / "data/a.parquet").unlink()
    write_next(world, lambda table: table.drop_columns(["y"]))

    state = world.score(NEXT)

    assert state.name == "PublishedWithWarnings", state.message
    assert changes(world) == [("missing", "y", "float64", None)]
    assert world.published(NEXT).rows.scored == 200
    snapshot = world.folder / "lake/runs/readings" / f"as_of={NEXT}" / world.latest(NEXT).run_id / "snapshot.parquet"
    assert pd.read_parquet(snapshot)["y"].isna().all()


def test_a_missing_key_blocks_whatever_the_job_says(world):
    world.change_job(schema_changes={"missing": "fill_null"})
    (world.folder / "data/a.parquet").unlink()
    write_next(world, lambda table: table.drop_columns(["sensor"]))

    assert world.score(NEXT).name == "Blocked"


def test_added_and_widened_columns_are_recorded_and_published(world):
    write_first = as_table(readings())
    narrow = write_first.set_column(3, "x", write_first["x"].cast(pa.float32()))
    pq.write_table(narrow, world.folder / "data/a.parquet")
    world.score()
    write_next(world, lambda table: table.append_column("unit", pa.array(["K"] * len(table))))

    assert world.score(NEXT).name == "Published"
    assert sorted(changes(world)) == [
        ("added", "unit", None, "unknown"),
        ("widened", "x", "float32", "float64"),
    ]
