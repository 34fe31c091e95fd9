"""What a look at a job has found is kept whole, and read again as it was."""

import datetime as dt
import itertools
import os

import pyarrow.parquet as pq
import pytest

from tasks.core import layout
from tasks.core.errors import LakeCorrupt
from tasks.core.monitoring import keeping
from tasks.core.monitoring.records import (
    Alarm,
    ColumnDrift,
    DriftPoint,
    Monitored,
    PerformancePoint,
    WindowPerformance,
)
from tasks.core.runs.manifest import Interval
from tasks.core.storage import system
from tests.lake_tools import Killed

JOB = "late"


@pytest.fixture(autouse=True)
def _without_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


def a_look(as_of="2013-07-03", **more):
    day = dt.datetime.fromisoformat(f"{as_of}T00:00:00+00:00")
    return Monitored(job=JOB, at=day + dt.timedelta(days=1), as_of=as_of, model="late/0001", **more)


def full_look():
    return a_look(
        drift=(
            DriftPoint(
                unit="2013-07-02",
                model="late/0001",
                windows=7,
                rows=70,
                statistic=2.5,
                line=2.0,
                groups={"features": 2.5},
                columns=(ColumnDrift(column="dest", component="features", value=0.2, z=3.0),),
            ),
        ),
        performance=(
            PerformancePoint(
                unit="2013-07-01", model="late/0001", labelled=60, figures={"bias": -0.1}, z={"bias_low": 4}
            ),
        ),
        windows=(
            WindowPerformance(
                as_of="2013-07-01",
                unit="2013-07-01",
                run_id="r",
                model="late/0001",
                labels_as_of="2013-07-03",
                rows=10,
                labelled=8,
                without_label=2,
                metrics={"roc_auc": Interval(value=0.7, low=0.6, high=0.8)},
                estimates={"roc_auc": Interval(value=0.75)},
            ),
        ),
        alarms=(
            Alarm(kind="drifted", onset="2013-07-02", model="late/0001", statistic=2.5, line=2.0, reason="It differs."),
        ),
    )


def files_of(lake):
    return {key: lake.read_bytes(key) for key in lake.files(layout.MONITORING)}


def test_what_was_found_is_read_again_as_it_was(lake):
    assert keeping.keep(lake, full_look()) is True
    assert keeping.monitored(lake, JOB, "2013-07-03") == full_look()


def test_the_newest_look_is_that_of_the_last_day_whichever_was_made_last(lake):
    for day in ("2013-07-10", "2013-07-09"):
        keeping.keep(lake, a_look(day))
    assert keeping.days_looked_at(lake, JOB) == ["2013-07-09", "2013-07-10"]
    assert keeping.newest_monitored(lake, JOB) == a_look("2013-07-10")


def test_of_a_job_that_nobody_looked_at_there_is_none(lake):
    assert keeping.newest_monitored(lake, JOB) is None
    assert keeping.monitored(lake, JOB, "2013-07-01") is None


def test_every_figure_is_a_row_of_the_table(lake):
    keeping.keep(lake, full_look())
    rows = [tuple(row.values()) for row in pq.read_table(lake.path(layout.table(layout.MONITORING, JOB))).to_pylist()]
    at, first, second = dt.datetime(2013, 7, 4, tzinfo=dt.UTC), dt.date(2013, 7, 1), dt.date(2013, 7, 2)
    assert [row[1:8] for row in rows] == [
        (second, "drift", "statistic", "", 2.5, None, None),
        (second, "drift", "line", "", 2.0, None, None),
        (second, "drift", "group", "features", 2.5, None, None),
        (second, "drift", "features", "dest", 0.2, None, None),
        (second, "drift", "features_z", "dest", 3.0, None, None),
        (first, "performance", "rows_labelled", "", 60.0, None, None),
        (first, "performance", "bias", "", -0.1, None, None),
        (first, "performance", "bias_low_z", "", 4.0, None, None),
        (first, "window", "rows", "2013-07-01", 10.0, None, None),
        (first, "window", "labelled", "2013-07-01", 8.0, None, None),
        (first, "window", "without_label", "2013-07-01", 2.0, None, None),
        (first, "window", "awaited", "2013-07-01", 0.0, None, None),
        (first, "window", "corrected", "2013-07-01", 0.0, None, None),
        (first, "window", "label_share", "2013-07-01", 0.8, None, None),
        (first, "window", "roc_auc", "2013-07-01", 0.7, 0.6, 0.8),
        (first, "window", "estimated_roc_auc", "2013-07-01", 0.75, None, None),
        (second, "alarm", "drifted", "", 2.5, None, None),
    ]
    assert {(row[0], row[8]) for row in rows} == {(at, "late/0001")}


def test_the_columns_are_a_contract_with_whoever_reads_them():
    assert [(field.name, str(field.type)) for field in keeping.MONITORING_SCHEMA] == [
        ("looked_at", "timestamp[us, tz=UTC]"),
        ("unit", "date32[day]"),
        ("of", "string"),
        ("metric", "string"),
        ("subject", "string"),
        ("value", "double"),
        ("low", "double"),
        ("high", "double"),
        ("model_version", "string"),
    ]


def test_the_same_found_again_changes_nothing(lake, monkeypatch):
    keeping.keep(lake, full_look())
    keeping.end_what_was_killed(lake, JOB)
    changes = []
    monkeypatch.setattr(system, "after_change", lambda kind, key: changes.append(key))
    assert keeping.keep(lake, full_look()) is False
    assert changes == []


def test_what_differs_takes_the_place_of_the_look_before(lake):
    keeping.keep(lake, full_look())
    assert keeping.keep(lake, a_look()) is True
    assert len(files_of(lake)) == 2
    assert keeping.monitored(lake, JOB, "2013-07-03") == a_look()


@pytest.mark.parametrize("swaps", [True, False], ids=["in_one_step", "in_three"])
def test_a_kill_at_any_change_leaves_a_whole_look_and_the_next_makes_it_right(lake, monkeypatch, swaps):
    if not swaps:
        monkeypatch.setattr(system, "exchange", lambda one, other: False)
    keeping.keep(lake, a_look())
    for kill_at in itertools.count(1):
        left = itertools.count(1)

        def after_change(kind, key, left=left, kill_at=kill_at):
            if next(left) == kill_at:
                raise Killed

        monkeypatch.setattr(system, "after_change", after_change)
        try:
            keeping.keep(lake, full_look())
        except Killed:
            assert keeping.monitored(lake, JOB, "2013-07-03") in (a_look(), full_look())
        else:
            break
        finally:
            monkeypatch.setattr(system, "after_change", lambda kind, key: None)
        keeping.keep(lake, full_look())
        assert len(files_of(lake)) == 2
        keeping.keep(lake, a_look())
    assert kill_at > 3
    keeping.end_what_was_killed(lake, JOB)
    assert lake.files("scratch") == []


def test_a_kill_between_the_steps_of_a_swap_is_mended_by_whoever_looks_next(lake):
    """On a file system that cannot exchange two folders, the old one waits aside while the new one is put in place."""
    keeping.keep(lake, a_look())
    scratch = f"{layout.monitoring_scratch(JOB)}/2013-07-03"
    lake.write_bytes(f"{scratch}/{layout.MONITORED}", b"half")
    lake.rename(layout.monitoring(JOB, "2013-07-03"), f"{scratch}.old")
    keeping.end_what_was_killed(lake, JOB)
    assert keeping.newest_monitored(lake, JOB) is not None
    assert lake.files("scratch") == []


def test_a_look_that_cannot_be_read_names_the_file_and_what_to_do(lake):
    lake.write_bytes(f"{layout.monitoring(JOB, '2013-07-03')}/{layout.MONITORED}", b"{}")
    with pytest.raises(
        LakeCorrupt, match=r"_monitored.json is not what a look at a job leaves: .*lamplighter monitor late"
    ):
        keeping.newest_monitored(lake, JOB)
