"""Readers that hammer latest/<job>/ while it is replaced: the old rows, the new rows, or an error that may be tried again."""

import glob
import json
import os
import time
import traceback
from collections import Counter

import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.project import parse_job
from tasks.core.runs.latest import refresh
from tests.crash.test_readers import may_be_tried_again, processes

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


def hammer(read, root, done, stop, results):
    seen, wrong = Counter(), []
    while not stop.is_set():
        try:
            found = dict(read(root))
            if found in (OLD, NEW):
                seen["old" if found == OLD else "new"] += 1
            else:
                wrong.append(str(found))
        except Exception as error:
            if not (may_be_tried_again(error) or _is_none_there(error)):
                wrong.append(traceback.format_exc())
        with done.get_lock():
            done.value += 1
    results.put((read.__name__, seen, wrong))


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
    stop, results = processes.Event(), processes.Queue()
    done = [processes.Value("l", 0) for _ in reads]
    hammering = [
        processes.Process(target=hammer, args=(read, root, count, stop, results), daemon=True)
        for read, count in zip(reads, done, strict=True)
    ]
    for one in hammering:
        one.start()
    number, deadline = 0, time.monotonic() + LONGEST_SECONDS
    try:
        while number < REPLACEMENTS or min(count.value for count in done) < READS:
            assert time.monotonic() < deadline, [count.value for count in done]
            assert all(one.is_alive() for one in hammering)
            _wait_for_a_read(done)
            if min(count.value for count in done) > 0:
                number += 1
                keys, value = (range(2000), 2) if number % 2 else (range(3000), 1)
                publish(lake, "2013-07-02", f"run{number}", keys, value)
                assert refresh(lake, JOB).state == "replaced"
    finally:
        stop.set()
    for _ in reads:
        name, seen, wrong = results.get(timeout=30)
        assert wrong == [], f"{name}: {wrong[:3]}"
        assert min(seen["old"], seen["new"]) >= 1, f"{name} saw {dict(seen)}"
    for one in hammering:
        one.join(30)
        assert one.exitcode == 0


def _wait_for_a_read(done):
    before, deadline = [count.value for count in done], time.monotonic() + 0.05
    while [count.value for count in done] == before and time.monotonic() < deadline:
        time.sleep(0.001)
