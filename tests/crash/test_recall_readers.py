"""Readers that hammer a table while versions are recalled: bad rows until the recall ends, good ones or none, never a part.

The readers are those of test_readers. What a recall takes out of one window and what it restores in another need not
change at one instant; of each window it does.
"""

import os

import pytest

from tasks.core.runs.recalling import recalls
from tests import recall_scenes as scenes
from tests.crash.hammering import Hammering
from tests.crash.test_readers import with_duckdb, with_pandas, with_polars, with_pyarrow

GOOD, STILL, FIRST_BAD = 1, 2, 10
RESTORED, EMPTIED, UNTOUCHED = "2013-07-01", "2013-07-02", "2013-07-03"
# So many rows that a count tells which of the windows it is made of.
ROWS = {"good": 40, "bad over good": 30, "bad alone": 50, "still": 500}
RECALLS, READS, LONGEST_SECONDS = 40, 20, 180


def judge(found, recalled):
    names = [("good", GOOD in found), ("bad", any(version >= FIRST_BAD for version in found))]
    return [name for name, is_there in names if is_there], complaint_of(found, recalled)


def complaint_of(found, recalled):
    """What is wrong with a read that began when version `recalled` and all before it had been recalled; None if nothing."""
    found = dict(found)
    if found.pop(STILL, None) != ROWS["still"]:
        return "the window that nobody touches is not whole"
    good = found.pop(GOOD, 0)
    if good not in (0, ROWS["good"]):
        return f"a part of the good rows: {good}"
    whole = (ROWS["bad over good"], ROWS["bad alone"], ROWS["bad over good"] + ROWS["bad alone"])
    for version, rows in found.items():
        if version <= recalled:
            return f"rows of version {version}, whose recall had ended"
        if rows not in whole:
            return f"a part of the rows of version {version}: {rows}"
        if good and rows != ROWS["bad alone"]:
            return f"good and bad rows of one window: {rows} of version {version}"
    return None


@pytest.mark.parametrize(
    "reads",
    [
        pytest.param([with_polars, with_duckdb], id="polars and duckdb", marks=pytest.mark.extras),
        pytest.param([with_pandas, with_pyarrow], id="pandas and pyarrow", marks=pytest.mark.extras),
    ],
)
def test_no_withdrawn_row_is_read_after_its_recall_and_never_a_part(lake, reads, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # Readers do not wait for the disk, nor does this.
    scenes.add_versions(lake, FIRST_BAD + RECALLS * 10)
    scenes.publish(lake, "still", STILL, rows=ROWS["still"], day=UNTOUCHED)
    scenes.publish(lake, "good", GOOD, rows=ROWS["good"], day=RESTORED)
    hammering = Hammering(reads, str(lake.path(f"predictions/{scenes.JOB}")), judge, longest_seconds=LONGEST_SECONDS)
    bad = FIRST_BAD
    with hammering.at_work():
        while bad < FIRST_BAD + RECALLS or min(hammering.counts) < READS:
            if not hammering.wait_for_a_read(all):
                continue
            scenes.publish(lake, f"bad{bad}", bad, rows=ROWS["bad over good"], day=RESTORED, hour=1)
            scenes.publish(lake, f"bad{bad}", bad, rows=ROWS["bad alone"], day=EMPTIED, hour=1)
            hammering.wait_for_a_read(all)
            recalls.check_complete(recalls.recall(lake, scenes.order(bad), wait_seconds=0))
            hammering.tell(bad)
            bad += 1
    for name, seen in hammering.results().items():
        assert min(seen["good"], seen["bad"]) >= 1, f"{name} saw {dict(seen)}"


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({2: 500, 1: 40}, None),
        ({2: 500}, None),
        ({2: 500, 12: 80}, None),
        ({2: 500, 1: 40, 12: 50}, None),
        ({2: 400, 1: 40}, "nobody touches"),
        ({2: 500, 1: 17}, "a part of the good"),
        ({2: 500, 12: 45}, "a part of the rows"),
        ({2: 500, 1: 40, 12: 80}, "good and bad rows"),
        ({2: 500, 11: 30}, "had ended"),
    ],
)
def test_the_judge_is_judged(found, complaint):
    said = complaint_of(found, recalled=11)
    assert said is None if complaint is None else complaint in said
