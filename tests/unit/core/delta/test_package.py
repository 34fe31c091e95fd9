"""What is written here by hand, held against what the deltalake package writes and reads."""

import json

import pyarrow as pa
import pytest

from tasks.core.definitions.column_types import SIMPLE_TYPES, parse_type
from tasks.core.delta import actions, log, schema
from tests import delta_scenes
from tests import recall_scenes as scenes

pytestmark = pytest.mark.extras

TYPES = [*(name for name in SIMPLE_TYPES if name not in ("time", "timestamp_naive")), "decimal(10, 2)", "list<int64>"]


@pytest.fixture(autouse=True)
def deltalake():
    return pytest.importorskip("deltalake")


@pytest.mark.parametrize("name", TYPES)
def test_the_package_has_the_same_name_for_each_type(deltalake, name):
    fields = pa.schema([("x", parse_type(name)), ("as_of", pa.string())])
    theirs = json.loads(deltalake.Schema.from_arrow(fields).to_json())
    mine = json.loads(schema.schema_string(schema.fields_of(fields.remove(1), table="t")))
    assert mine == theirs


def test_the_package_writes_the_same_figures(lake, deltalake, tmp_path):
    """But for those of floats and flags, which it writes too, and of instants, which it cuts off."""
    rows = pa.table(
        {
            "i": pa.array([3, None, -1, 2], pa.int64()),
            "s": ["b", "a", None, None],
            "at": pa.array([1_500_000, 0, None, 2_000_000], pa.timestamp("us", tz="UTC")),
            "d": pa.array([0, 1, 2, 3], pa.date32()),
        }
    )
    with lake.parquet_writer("x.parquet", rows.schema) as writer:
        writer.write_table(rows)
    deltalake.write_deltalake(str(tmp_path / "theirs"), rows)
    (path,) = (tmp_path / "theirs/_delta_log").glob("*.json")
    (theirs,) = [one["add"] for one in map(json.loads, path.read_text().splitlines()) if "add" in one]
    mine = actions.figures(lake, "x.parquet")
    for one in (theirs := json.loads(theirs["stats"])), mine:
        for ends in (one["minValues"], one["maxValues"]):
            ends["at"] = ends["at"].replace(".000Z", "Z")
    assert mine == theirs


def test_the_package_reads_a_table_that_has_a_checkpoint_and_no_commits_before_it(lake, deltalake):
    delta_scenes.begin(lake)
    for number in range(12):
        scenes.publish(lake, f"r{number}", number, hour=number)
    scenes.publish(lake, "other", 99, day="2013-07-02")
    for version in range(10):
        lake.remove(log.commit_key(delta_scenes.TABLE, version))
    found = deltalake.DeltaTable(str(lake.path(delta_scenes.TABLE)))
    assert (found.version(), sorted(found.to_pandas()["x"])) == (13, [11, 11, 11, 99, 99, 99])
    assert deltalake.DeltaTable(str(lake.path(delta_scenes.TABLE)), version=11).to_pandas()["x"].tolist() == [10] * 3
    assert found.metadata().name == "late"
    protocol = found.protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)


def test_a_reader_passes_over_files_by_their_figures(lake, deltalake):
    """The file is damaged, and nobody who asks for what it does not have opens it."""
    delta_scenes.begin(lake)
    scenes.publish(lake, "low", 1)
    scenes.publish(lake, "high", 9, day="2013-07-02")
    lake.path(f"{delta_scenes.TABLE}/as_of={scenes.DAY}/part-low.parquet").write_bytes(b"damaged")
    import polars

    table = polars.scan_delta(str(lake.path(delta_scenes.TABLE)))
    assert table.filter(polars.col("as_of") == "2013-07-02").collect()["x"].to_list() == [9, 9, 9]
    scores = deltalake.DeltaTable(str(lake.path(delta_scenes.TABLE))).to_pyarrow_dataset()
    import pyarrow.dataset

    assert scores.to_table(filter=pyarrow.dataset.field("x") > 5)["x"].to_pylist() == [9, 9, 9]


def test_a_commit_of_the_package_after_ours_and_ours_after_its(lake, deltalake):
    delta_scenes.begin(lake)
    scenes.publish(lake, "mine", 1)
    address = str(lake.path(delta_scenes.TABLE))
    rows = pa.table({"x": pa.array([7], pa.int64()), "as_of": ["2013-07-02"]})
    deltalake.write_deltalake(address, rows, mode="append")
    deltalake.DeltaTable(address).create_checkpoint()
    log._read_before.clear()
    (theirs,) = log.read(lake, delta_scenes.TABLE).names("2013-07-02")
    scenes.publish(lake, "again", 2, day="2013-07-02")
    found = deltalake.DeltaTable(address)
    assert (found.version(), sorted(found.to_pandas()["x"])) == (3, [1, 1, 1, 2, 2, 2])
    assert lake.exists(f"{delta_scenes.TABLE}/as_of=2013-07-02/{theirs}")
