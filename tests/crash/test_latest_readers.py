"""Readers that hammer latest/<job>/ while it is replaced: the old rows, the new rows, or an error that may be tried again."""

import glob
import json
import os
from collections import Counter

import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.project import parse_job
from tasks.core.runs.latest import refresh
from tests.crash.hammering import Hammering, may_be_tried_again

# Key k has the value 1 or 2 in the newer window, which is replaced; 500 others it never has.
OLD, NEW = {1: 3000, 9: 500}, {2: 2000, 9: 1500}
REPLACEMENTS, READS, LONGEST_SECONDS = 40, 15, 60

JOB = parse_job(
    json.dumps(
        {
            "job": "late",
            "window": {"kind": "snapshot", "every": "1d"},
            "source": {"type": "files", "path": "data", "format": "parquet"},
            "keys": ["id"],
            "columns": {"id": "int64", "x": "float64"},
            "model": {"name": "late"},
            "output": {"columns": {"score": {"method": "predict"}}},
        }
    ),
    where="late",
)


def with_polars(root):
    import polars

    return Counter(polars.read_parquet(f"{root}/*.parquet")["x"].to_list())


def with_duckdb(root):
    import duckdb

    with duckdb.connect(config={"threads": 1}) as connection:
        return dict(connection.read_parquet(glob.glob(f"{root}/*.parquet")).aggregate("x, count(*)").fetchall())


def with_pandas(root):
    import pandas

    return Counter(pandas.read_parquet(root)["x"].tolist())


def judge(found, _):
    if found in (OLD, NEW):
        return ["old" if found == OLD else "new"], None
    return [], str(found)


def retried(error):
    return may_be_tried_again(error) or _is_none_there(error)


def _is_none_there(error):
    """The folder was replaced between its listing and its opening."""
    return isinstance(error, (KeyError, IndexError)) or "at least one" in str(error) or "empty" in str(error)


def publish(lake, day, run_id, keys, value):
    count = len(keys)
    table = pa.table({"id": list(keys), "x": pa.array([value] * count, pa.int64()), "run_id": [run_id] * count})
    folder = layout.partition(layout.PREDICTIONS, "late", day)
    lake.remove(folder)
    with lake.parquet_writer(f"{folder}/{layout.part(run_id)}", table.schema) as writer:
        writer.write_table(table, row_group_size=250)


def test_a_read_that_overlaps_a_replacement_is_old_or_new_or_an_error(lake, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    publish(lake, "2013-07-01", "still", range(3500), 9)
    publish(lake, "2013-07-02", "run0", range(3000), 1)
    refresh(lake, JOB)
    root, reads = str(lake.path("latest/late")), [with_polars, with_duckdb, with_pandas]
    assert [dict(read(root)) for read in reads] == [OLD] * 3
    hammering, number = Hammering(reads, root, judge, longest_seconds=LONGEST_SECONDS, retried=retried), 0
    with hammering.at_work():
        while number < REPLACEMENTS or min(hammering.counts) < READS:
            if hammering.wait_for_a_read():
                number += 1
                keys, value = (range(2000), 2) if number % 2 else (range(3000), 1)
                publish(lake, "2013-07-02", f"run{number}", keys, value)
                assert refresh(lake, JOB).state == "replaced"
    for name, seen in hammering.results().items():
        assert min(seen["old"], seen["new"]) >= 1, f"{name} saw {dict(seen)}"
