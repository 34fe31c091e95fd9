"""Readers that hammer a table while versions are recalled: bad rows until the recall ends, good ones or none, never a part.

The readers are those of test_readers. What a recall takes out of one window and what it restores in another need not
change at one instant; of each window it does.
"""

import multiprocessing
import os
import time
import traceback
from collections import Counter

import pytest

from tasks.core.runs.recalling import recalls
from tests import recall_scenes as scenes
from tests.crash.test_readers import (
    may_be_tried_again,
    with_duckdb,
    with_pandas,
    with_polars,
    with_pyarrow,
)

processes = multiprocessing.get_context("spawn")

GOOD, STILL, FIRST_BAD = 1, 2, 10
RESTORED, EMPTIED, UNTOUCHED = "2013-07-01", "2013-07-02", "2013-07-03"
# So many rows that a count tells which of the windows it is made of.
ROWS = {"good": 40, "bad over good": 30, "bad alone": 50, "still": 500}
RECALLS, READS, LONGEST_SECONDS = 40, 20, 180


def judge(found, recalled):
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


def hammer(read, root, recalled, done, stop, results):
    """Reads until it is told to stop; hands over what it saw, and whatever should not be."""
    seen, errors, wrong = Counter(), Counter(), []
    while not stop.is_set():
        before = recalled.value
        try:
            found = dict(read(root))
        except Exception as error:
            errors[type(error).__name__] += 1
            if not may_be_tried_again(error):
                wrong.append(traceback.format_exc())
            continue
        if complaint := judge(found, before):
            wrong.append(complaint)
        seen["good"] += GOOD in found
        seen["bad"] += any(version >= FIRST_BAD for version in found)
        with done.get_lock():
            done.value += 1
    results.put((read.__name__, seen, errors, wrong))


def wait_for_reads(done):
    before, deadline = [count.value for count in done], time.monotonic() + 0.05
    while any(count.value == was for count, was in zip(done, before, strict=True)) and time.monotonic() < deadline:
        time.sleep(0.001)


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
    stop, results, recalled = processes.Event(), processes.Queue(), processes.Value("l", 0)
    done = [processes.Value("l", 0) for _ in reads]
    root = str(lake.path(f"predictions/{scenes.JOB}"))
    hammering = [
        processes.Process(target=hammer, args=(read, root, recalled, count, stop, results), daemon=True)
        for read, count in zip(reads, done, strict=True)
    ]
    for one in hammering:
        one.start()
    bad, deadline = FIRST_BAD, time.monotonic() + LONGEST_SECONDS
    try:
        while bad < FIRST_BAD + RECALLS or min(count.value for count in done) < READS:
            assert time.monotonic() < deadline, f"{bad} versions, reads: {[count.value for count in done]}"
            assert all(one.is_alive() for one in hammering)
            wait_for_reads(done)
            if min(count.value for count in done) == 0:
                continue
            scenes.publish(lake, f"bad{bad}", bad, rows=ROWS["bad over good"], day=RESTORED, hour=1)
            scenes.publish(lake, f"bad{bad}", bad, rows=ROWS["bad alone"], day=EMPTIED, hour=1)
            wait_for_reads(done)
            recalls.check_complete(recalls.recall(lake, scenes.order(bad), wait_seconds=0))
            recalled.value = bad
            bad += 1
    finally:
        stop.set()
    for _ in reads:
        name, seen, errors, wrong = results.get(timeout=30)
        print(f"{name}: {dict(seen)} of {bad - FIRST_BAD} recalls, errors: {dict(errors)}")
        assert wrong == [], f"{name}: {wrong[:3]}"
        assert min(seen["good"], seen["bad"]) >= 1, f"{name} saw {dict(seen)}"
    for one in hammering:
        one.join(30)
        assert one.exitcode == 0


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
    said = judge(found, recalled=11)
    assert said is None if complaint is None else complaint in said
