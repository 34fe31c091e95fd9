"""The table of performance is a contract with everybody who reads it, and its record says what its rows say."""

import pathlib
import re

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core import layout
from tasks.core.performance.tables import PERFORMANCE_SCHEMA, of_windows, read
from tests.performance_scenes import DAY, JOB, World

COUNTS = ("rows", "labelled", "without_label", "awaited", "corrected")


def test_the_schema():
    """A change of one of these lines is a new version of the contract."""
    assert [(field.name, field.type) for field in PERFORMANCE_SCHEMA] == [
        ("window_start", pa.timestamp("us", tz="UTC")),
        ("model_version", pa.string()),
        ("run_id", pa.string()),
        ("slice", pa.string()),
        ("slice_value", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("rows_labelled", pa.int64()),
        ("benchmark", pa.float64()),
        ("benchmark_low", pa.float64()),
        ("benchmark_high", pa.float64()),
    ]


def test_what_a_reader_finds_in_the_lake(tmp_path):
    """The path, the file's columns, and rows that say what the record says; readers find the partitions in the path."""
    world = World(tmp_path)
    world.publish([{"id": "a", "p": 0.9}, {"id": "b", "p": 0.25}, {"id": "c", "p": 0.5}])
    world.tell(a=1, b=0)
    (found,) = world.look("2026-03-02")

    path = world.lake.path(f"performance/{JOB}/as_of={DAY}/labels_as_of=2026-03-02/part-one.parquet")
    assert pq.read_schema(path).remove_metadata() == PERFORMANCE_SCHEMA
    rows = pq.read_table(path, partitioning=None).to_pylist()
    whole = {row["metric"]: row for row in rows if not row["slice"]}
    assert {name: whole[name]["value"] for name in COUNTS} == {name: getattr(found, name) for name in COUNTS}
    assert {name: whole[name]["value"] for name in found.metrics} == {
        name: one.value for name, one in found.metrics.items()
    }
    assert {(row["run_id"], row["model_version"]) for row in rows} == {("one", "late/0001")}
    assert read(world.lake, JOB, DAY, "2026-03-02").found.metrics == found.metrics

    every = pq.read_table(world.lake.path("performance/late"), partitioning="hive")
    assert {"as_of", "labels_as_of"} <= set(every.column_names)


def test_all_windows_in_the_order_of_time(tmp_path):
    world = World(tmp_path)
    for day in ("2026-03-03", "2026-03-01", "2026-03-02"):
        world.publish([{"id": "a", "p": 0.9}], day=day)
    world.look("2026-03-03")
    found = of_windows(world.lake, world.job, until_day="2026-03-03")
    assert [one.as_of for one in found] == ["2026-03-01", "2026-03-02"]
    # Nothing of it is in the way of who lists the job's tables.
    assert world.lake.names(layout.LABELS) == [JOB]


DOCS = pathlib.Path(__file__).parents[4] / "docs/models.md"


def test_the_query_of_the_docs_gives_what_is_known_now(tmp_path, monkeypatch):
    """In the order of time, of each window the newest day; and the docs' table names the columns of the schema."""
    world = World(tmp_path)
    for day in ("2026-03-01", "2026-03-02"):
        world.publish([{"id": "a", "p": 0.9}, {"id": "b", "p": 0.25}], day=day)
        world.tell(day, a=1, b=0)
    world.look("2026-03-03")
    world.tell("2026-03-02", a=0, b=1)
    world.look("2026-03-04")
    page = DOCS.read_text()
    (query,) = (one for one in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) if "performance/" in one)
    monkeypatch.chdir(tmp_path)

    found = duckdb.sql(query.replace("flight_delays", JOB)).fetchall()

    assert [(str(row[0]), row[2], row[6]) for row in found] == [("2026-03-01", 1.0, 2), ("2026-03-02", 0.0, 2)]
    section = page.partition("| column of `performance/")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| ([^|]*) \|", section, re.MULTILINE)))
    assert named == PERFORMANCE_SCHEMA.names
