"""Readers that hammer a table while one of its partitions is republished: old or new in full, or an error; nothing else.

The readers are those of the outside world, in processes of their own, with nothing of ours imported. All but Polars are
given the files by name. Where DuckDB and Arrow (pandas, pyarrow) list a folder by themselves, they look at each file that
they found, and take one that is gone by then for one that never was: rarely, and without an error, the partition that is
being replaced is missing from what they read. Never is it mixed, and never is a part of it read.
"""

import glob
import os
from collections import Counter

import pyarrow as pa
import pytest

from tasks.core import layout
from tests.crash.hammering import Hammering

# The partition that is republished alternates between these; the other one stays as it is.
OLD, NEW, STILL = {1: 1000}, {2: 2000}, {9: 500}
ROW_GROUP = 250
REPUBLICATIONS, READS, LONGEST_SECONDS = 150, 20, 60


def with_polars(root):
    import polars

    table = polars.read_parquet(f"{root}/**/*.parquet", hive_partitioning=True)
    return Counter(table.filter(polars.col("as_of").is_not_null())["x"].to_list())


def with_duckdb(root):
    import duckdb

    with duckdb.connect(config={"threads": 1}) as connection:
        table = connection.read_parquet(files(root), hive_partitioning=True)
        return dict(table.filter("as_of IS NOT NULL").aggregate("x, count(*)").fetchall())


def with_pandas(root):
    import pandas

    return Counter(pandas.read_parquet(files(root)).dropna(subset="as_of")["x"].tolist())


def with_pyarrow(root):
    import pyarrow.dataset

    return Counter(pyarrow.dataset.dataset(files(root), partitioning="hive").to_table()["x"].to_pylist())


def with_duckdb_listing_itself(root):
    import duckdb

    query = f"SELECT x, count(*) FROM read_parquet('{root}/*/*.parquet', hive_partitioning = true) GROUP BY x"
    with duckdb.connect(config={"threads": 1}) as connection:
        return with_all_partitions(dict(connection.execute(query).fetchall()))


def with_pandas_listing_itself(root):
    import pandas

    return with_all_partitions(Counter(pandas.read_parquet(root)["x"].tolist()))


def files(root):
    """The names that a folder holds at one instant."""
    return sorted(glob.glob(f"{root}/*/*.parquet"))


def with_all_partitions(found):
    if found == STILL:
        raise FileNotFoundError("the other partition was passed over")
    return found


def judge(found, _):
    if found in (OLD | STILL, NEW | STILL):
        return ["old" if 1 in found else "new"], None
    return [], str(found)


def prepare(lake, folder, number, content):
    ((value, count),) = content.items()
    rows = pa.table({"x": pa.array([value] * count, pa.int64()), "y": pa.array(range(count), pa.int64())})
    with lake.parquet_writer(f"{folder}/{layout.part(f'run{number}')}", rows.schema) as writer:
        writer.write_table(rows, row_group_size=ROW_GROUP)


def republish(lake, number, content):
    """One swap as publication does it: what was replaced moves, as a whole, to where no reader looks."""
    staged = f"runs/late/as_of=2013-07-01/run{number}/staged"
    prepare(lake, staged, number, content)
    assert lake.swap(staged, layout.partition("predictions", "late", "2013-07-01"))
    if lake.exists(staged):
        lake.rename(staged, layout.superseded("late", "2013-07-01", f"run{number}"))


@pytest.mark.parametrize(
    "reads",
    [
        [with_polars, with_duckdb, with_duckdb_listing_itself],
        [with_pandas, with_pyarrow, with_pandas_listing_itself],
    ],
    ids=["polars and duckdb", "pandas and pyarrow"],
)
def test_a_read_that_overlaps_a_republication_is_old_or_new_or_an_error(lake, reads, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # Readers do not wait for the disk, nor does this.
    republish(lake, 0, OLD)
    prepare(lake, layout.partition("predictions", "late", "2013-07-02"), 0, STILL)
    hammering = Hammering(reads, str(lake.path("predictions/late")), judge, longest_seconds=LONGEST_SECONDS)
    republished = 0
    with hammering.at_work():
        while republished < REPUBLICATIONS or min(hammering.counts) < READS:
            if hammering.wait_for_a_read():
                republished += 1
                republish(lake, republished, NEW if republished % 2 else OLD)
    for name, seen in hammering.results().items():
        assert sum(seen.values()) >= READS
        assert min(seen["old"], seen["new"]) >= 1, f"{name} saw {dict(seen)}"
