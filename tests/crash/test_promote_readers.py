"""Readers that hammer a table while versions are promoted and score a window again: the rows of one version, all of them.

The readers are those of test_readers. A promotion alone changes nothing that they see; the run after it does, in one step.
"""

import os

import pytest

from tests import recall_scenes as scenes
from tests.crash.hammering import Hammering
from tests.crash.test_readers import with_duckdb, with_pandas, with_polars, with_pyarrow

STILL, FIRST = 1, 2
AGAIN, UNTOUCHED = "2013-07-01", "2013-07-03"
STILL_ROWS, EVEN_ROWS, ODD_ROWS = 500, 300, 200
PROMOTIONS, READS, LONGEST_SECONDS = 40, 15, 120


def rows_of(version):
    return ODD_ROWS if version % 2 else EVEN_ROWS


def judge(found, published):
    """`published` is the version whose run had ended when the read began."""
    complaint = complaint_of(dict(found), published)
    return ([] if complaint else [f"version {'odd' if max(found) % 2 else 'even'}"]), complaint


def complaint_of(found, published):
    if found.pop(STILL, None) != STILL_ROWS:
        return "the window that nobody touches is not whole"
    if len(found) != 1:
        return f"rows of {len(found)} versions in one window: {found}"
    ((version, rows),) = found.items()
    if rows != rows_of(version):
        return f"a part of the rows of version {version}: {rows}"
    return f"rows of version {version}, after those of {published}" if version < published else None


@pytest.mark.parametrize(
    "reads",
    [
        pytest.param([with_polars, with_duckdb], id="polars and duckdb", marks=pytest.mark.extras),
        pytest.param([with_pandas, with_pyarrow], id="pandas and pyarrow", marks=pytest.mark.extras),
    ],
)
def test_readers_see_the_rows_of_one_version_and_none_of_an_earlier_one(lake, reads, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # Readers do not wait for the disk, nor does this.
    scenes.add_versions(lake, FIRST + PROMOTIONS * 20)
    scenes.publish(lake, "still", STILL, rows=STILL_ROWS, day=UNTOUCHED)
    version = FIRST
    scenes.publish(lake, f"run{version}", version, rows=rows_of(version), day=AGAIN)
    hammering = Hammering(reads, str(lake.path(f"predictions/{scenes.JOB}")), judge, longest_seconds=LONGEST_SECONDS)
    with hammering.at_work():
        while version < FIRST + PROMOTIONS or min(hammering.counts) < READS:
            if hammering.wait_for_a_read():
                version += 1
                scenes.set_alias(lake, version)
                scenes.publish(lake, f"run{version}", version, rows=rows_of(version), day=AGAIN)
                hammering.tell(version)
    for name, seen in hammering.results().items():
        assert min(seen["version odd"], seen["version even"]) >= 1, f"{name} saw {dict(seen)}"


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({1: 500, 12: 300}, None),
        ({1: 500, 13: 200}, None),
        ({1: 400, 12: 300}, "nobody touches"),
        ({1: 500}, "rows of 0 versions"),
        ({1: 500, 12: 300, 13: 200}, "rows of 2 versions"),
        ({1: 500, 12: 299}, "a part of the rows"),
        ({1: 500, 11: 200}, "after those of 12"),
    ],
)
def test_the_judge_is_judged(found, complaint):
    said = complaint_of(dict(found), published=12)
    assert said is None if complaint is None else complaint in said
