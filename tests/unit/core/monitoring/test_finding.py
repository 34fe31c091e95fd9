"""What a look has come to, in a line; and how complete its labels are."""

import pytest

from tasks.core.errors import Incomplete
from tasks.core.monitoring.finding import Finding, completeness, concluded, status_line
from tasks.core.monitoring.records import Alarm, DriftPoint, Monitored, PerformancePoint, WindowPerformance
from tasks.core.runs.manifest import Interval
from tests.status_scenes import at

DRIFT = (DriftPoint(unit="2013-09-19", model="late/0001", statistic=0.5, line=2.0),)
PERFORMANCE = (PerformancePoint(unit="2013-09-19", model="late/0001", statistic=0.5, line=2.0),)

BENCHMARKED = PerformancePoint(unit="2013-09-19", model="late/0001", figures={"roc_auc": 0.7})
WORTH = {"late/0001": {"roc_auc": Interval(value=0.7, low=0.6, high=0.8)}}


def look(**found):
    return Monitored(
        **{"job": "late", "at": at("2013-09-21 04:00"), "as_of": "2013-09-20", "model": "late/0001"} | found
    )


def alarm(kind="drifted", until=None):
    return Alarm(kind=kind, onset="2013-09-10", until=until, reason="It differs.")


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"model": ""}, "nothing is published, so there is nothing to look at."),
        ({}, "no alarm can be raised yet."),
        ({"drift": (DRIFT[0].model_copy(update={"statistic": None}),)}, "no alarm can be raised yet."),
        ({"performance": (BENCHMARKED,)}, "no alarm can be raised yet."),
        ({"performance": (BENCHMARKED,), "benchmarks": WORTH}, "quiet; nothing is said of the data."),
        ({"drift": DRIFT}, "quiet; nothing is said of the performance."),
        ({"performance": PERFORMANCE}, "quiet; nothing is said of the data."),
        ({"drift": DRIFT, "performance": PERFORMANCE, "alarms": (alarm(until="2013-09-12"),)}, "quiet."),
        (
            {"alarms": (alarm(), alarm("degraded"))},
            "the data have drifted since 2013-09-10; the performance is degraded since 2013-09-10.",
        ),
    ],
    ids=["nothing", "no_line", "no_whole_block", "no_benchmark", "benchmark", "no_labels", "no_drift", "over", "open"],
)
def test_the_line_says_what_is_open_and_of_what_nothing_is_said(found, says):
    assert status_line(look(**found)) == f"late as of 2013-09-20: {says}"


def test_the_run_ends_quiet_or_with_an_alarm_and_has_gone_well_either_way():
    assert Finding(found=look(alarms=(alarm(until="2013-09-12"),))).state_name == "Quiet"
    assert Finding(found=look(alarms=(alarm(),))).state_name == "Alarm"


def test_labels_are_as_complete_as_all_rows_say():
    windows = tuple(
        WindowPerformance(as_of=day, unit=day, run_id="r", model="late/0001", labels_as_of=day, rows=1000, **counts)
        for day, counts in (
            ("2013-09-18", {"labelled": 990, "without_label": 10}),
            ("2013-09-19", {"labelled": 954, "without_label": 6, "awaited": 40}),
            ("2013-09-20", {"labelled": 999, "awaited": 1, "is_final": True}),
        )
    )
    assert completeness(look(windows=windows)) == (
        "98.1 % of labels, as of 2013-09-20: 3 windows to 2013-09-20 with 3,000 rows; 2,943 have a label, 16 have none "
        "and will have none, of 1 none has ever come, and of 40 not yet."
    )
    assert completeness(look()) == "No window has labels yet."


def test_labels_that_could_not_be_used_end_the_run_and_what_was_found_is_with_the_error():
    finding = Finding(found=look(), missed=tuple(f"2013-09-{day:02}: no such table" for day in range(1, 8)))
    with pytest.raises(Incomplete, match=r"2013-09-05: no such table; and 2 more. All else was looked at") as failed:
        concluded(finding)
    assert failed.value.summary == finding
    assert concluded(Finding(found=look())).missed == ()
