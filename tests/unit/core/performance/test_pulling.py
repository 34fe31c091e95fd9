"""Labels: when they are due, one row a key, and kept only when they have changed."""

import pytest

from tasks.core import layout
from tasks.core.errors import DefinitionError
from tasks.core.performance.pulling import labels_of, looks_of, newest_labels
from tasks.core.storage import Folder
from tests.performance_scenes import DAY, JOB, World

ROWS = [{"id": "a", "p": 0.9}, {"id": "b", "p": 0.2}]


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.publish(ROWS)
    return made


def pulled(world):
    return labels_of(world.definition, Folder(world.folder), world.job.window.parse(DAY), str)


def as_dictionary(table):
    return dict(zip(table["id"].to_pylist(), table["y"].to_pylist(), strict=True))


def test_labels_are_due_at_the_window_s_end_with_its_delay_and_again_after_each_revisit(world):
    """The window ends with March 1; with a day's delay its labels are due as March 2 ends, then after 1 and 7 days more."""
    days = [f"2026-03-{day:02d}" for day in range(1, 15)]
    looked = [day for day in days if world.look(day)]

    assert looked == ["2026-03-02", "2026-03-03", "2026-03-09"]


def test_one_pull_meets_all_that_is_overdue(world):
    assert [one.is_final for one in world.look("2026-04-01")] == [True]
    assert world.due("2026-04-02") == []


def test_a_look_at_an_earlier_day_pulls_by_itself(world):
    world.look("2026-03-09")

    assert [one.window.as_of for one in world.due("2026-03-02")] == [DAY]
    assert [one.labels_as_of for one in world.look("2026-03-02")] == ["2026-03-02"]
    assert world.due("2026-03-02") == world.due("2026-03-09") == []


def test_nothing_is_due_of_a_job_without_labels_or_of_a_window_that_shows_nothing(world, tmp_path):
    world.lake.remove(layout.partition(layout.PREDICTIONS, JOB, DAY))
    assert world.due("2026-04-01") == []
    assert World(tmp_path / "other", labels=None, monitor={}).due("2026-04-01") == []


def test_windows_of_another_length_that_the_job_had_before_are_passed_over(world):
    world.lake.write_bytes(f"{layout.partition(layout.PREDICTIONS, JOB, '2026-03-01T0500Z')}/part-old.parquet", b"")
    assert [one.window.as_of for one in world.due("2026-04-01")] == [DAY]


def test_a_null_is_no_label_and_gives_way_to_one(world):
    world.folder.joinpath("truth.sqlite").unlink()
    world.tell(a=1, b=None)
    import sqlite3

    with sqlite3.connect(world.folder / "truth.sqlite") as database:
        database.execute("INSERT INTO truth SELECT day, id, NULL FROM truth WHERE id = 'a'")
        database.execute("INSERT INTO truth SELECT * FROM truth WHERE id = 'b'")
    database.close()

    assert as_dictionary(pulled(world)) == {"a": True, "b": None}


def test_a_key_with_labels_that_differ_is_refused(tmp_path):
    query = "SELECT id, y FROM truth UNION ALL SELECT id, 1 - y FROM truth WHERE :as_of = day"
    world = World(tmp_path, query=query)
    world.tell(a=1)
    with pytest.raises(DefinitionError, match="id = a has labels that differ"):
        pulled(world)


def test_labels_of_another_type_are_told_of_and_count_as_none(world):
    world.tell(a="late", b=0)
    (found,) = world.look("2026-03-02")

    assert (found.labelled, found.without_label, found.awaited) == (1, 1, 0)
    assert any(
        "1 values of the labels are not of their column's type, such as y = 'late'" in one for one in found.notes
    )


def test_labels_are_kept_only_when_they_have_changed(world):
    for day, truth in (("2026-03-02", {"a": 1}), ("2026-03-03", {"a": 1}), ("2026-03-09", {"a": 1, "b": 0})):
        world.tell(**truth)
        world.look(day)

    assert world.lake.names(layout.partition(layout.LABELS, JOB, DAY)) == [
        "labels_as_of=2026-03-02",
        "labels_as_of=2026-03-09",
    ]
    kept = newest_labels(world.lake, JOB, DAY, until_day="2026-03-08")
    with world.lake.parquet(kept.key) as file:
        assert as_dictionary(file.read()) == {"a": True}
    assert [one.day for one in looks_of(world.lake, JOB, DAY).looks] == ["2026-03-02", "2026-03-03", "2026-03-09"]


def test_a_broken_record_of_looks_is_none(world):
    world.look("2026-03-02")
    world.lake.write_bytes(layout.labels_looked_for(JOB, DAY), b"{")
    assert [one.pull for one in world.due("2026-03-02")] == [True]


def test_of_a_query_without_binds_the_labels_of_published_rows_are_kept(tmp_path):
    world = World(tmp_path, query="SELECT id, y FROM truth")
    world.publish(ROWS[:1])
    world.tell(a=1, b=0)
    world.look("2026-03-02")
    kept = newest_labels(world.lake, JOB, DAY, until_day="2026-03-02")
    with world.lake.parquet(kept.key) as file:
        assert as_dictionary(file.read()) == {"a": True}

    # Other rows are published: their labels are pulled, though none is due.
    world.publish(ROWS, "two")
    assert [one.pull for one in world.due("2026-03-02")] == [True]
    assert [one.labelled for one in world.look("2026-03-02")] == [2]
    assert world.due("2026-03-02") == []
