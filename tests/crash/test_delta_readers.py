"""Readers of a Delta table that hammer it while windows are republished and withdrawn: old or new in full, and never an error.

That is more than a plain partition promises: what was replaced stays where it is for whoever began to read it.
"""

import os
from collections import Counter

import pytest

from tasks.core import layout
from tasks.core.runs import partitions
from tests import delta_scenes
from tests import recall_scenes as scenes
from tests.crash.hammering import Hammering
from tests.crash.test_crash import _run

pytestmark = pytest.mark.extras

NEXT = "2013-07-02"
# By version of the model the rows of the window that is republished; the other one stays as it is.
OLD, NEW, STILL = {1: 1000}, {2: 2000}, {9: 500}
REPUBLICATIONS, READS, LONGEST_SECONDS = 60, 20, 120


def with_deltalake(root):
    import deltalake

    return Counter(deltalake.DeltaTable(root).to_pandas()["x"].tolist())


def with_polars(root):
    import polars

    return Counter(polars.scan_delta(root).collect()["x"].to_list())


def with_duckdb(root):
    import deltalake
    import duckdb

    scores = deltalake.DeltaTable(root).to_pyarrow_dataset()  # noqa: F841 - DuckDB finds it by its name
    with duckdb.connect(config={"threads": 1}) as connection:
        return dict(connection.execute("select x, count(*) from scores group by 1").fetchall())


def judge(found, _):
    if found in (OLD | STILL, NEW | STILL):
        return ["old" if 1 in found else "new"], None
    return [], str(found)


def never(_error):
    return False


@pytest.mark.parametrize(
    "reads", [[with_deltalake, with_polars], [with_duckdb]], ids=["deltalake and polars", "duckdb"]
)
def test_a_read_that_overlaps_a_republication_is_old_or_new(lake, reads, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # Readers do not wait for the disk, nor does this.
    delta_scenes.begin(lake)
    scenes.publish(lake, "still", 9, rows=500, day=NEXT)
    scenes.publish(lake, "r0", 1, rows=1000)
    hammering = Hammering(
        reads, str(lake.path(delta_scenes.TABLE)), judge, longest_seconds=LONGEST_SECONDS, retried=never
    )
    republished = 0
    with hammering.at_work():
        while republished < REPUBLICATIONS or min(hammering.counts) < READS:
            if hammering.wait_for_a_read():
                republished += 1
                version = 2 if republished % 2 else 1
                scenes.publish(lake, f"r{republished}", version, rows=1000 * version, hour=republished)
    for name, seen in hammering.results().items():
        assert sum(seen.values()) >= READS
        assert min(seen["old"], seen["new"]) >= 1, f"{name} saw {dict(seen)}"
    shown = partitions.names(lake, layout.partition(layout.PREDICTIONS, scenes.JOB, scenes.DAY))
    assert shown == [f"part-r{republished}.parquet"]


def test_nothing_is_lost_by_kills_and_faults():
    done, kills, faults, cases, lost = _run("--short", "--case", "republish delta", "--case", "recall of delta")

    assert (lost, done.returncode) == (0, 0), done.stdout
    assert (kills >= 6, faults, cases) == (True, 2, 2)


@pytest.mark.slow
def test_nothing_is_lost_at_any_change():
    cases = ("republish delta", "convert to delta", "leave the shadow of delta", "recall of delta")
    chosen = [word for case in (*cases, "recall of delta with nothing to restore") for word in ("--case", case)]
    done, kills, _, count, lost = _run("--changes", *chosen)

    assert (lost, done.returncode) == (0, 0), done.stdout
    assert (kills >= 150, count) == (True, 5)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["conclude-early", "two-commits", "unflushed-file"])
def test_a_broken_publication_is_found(what):
    done, _, _, _, lost = _run("--changes", "--break", what, "--case", "republish delta")

    assert lost > 0, done.stdout
    assert done.returncode == 1
