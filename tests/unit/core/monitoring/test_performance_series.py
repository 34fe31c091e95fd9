"""Performance over time: means by hand, what is worse and for how long, and the benchmark where nothing is calibrated."""

import random

import numpy as np
import pytest
from scipy import stats

from tasks.core.monitoring import tails
from tasks.core.monitoring.episodes import performance_alarms
from tasks.core.monitoring.performance_series import (
    WindowFigures,
    calibrate_performance,
    performance_lacks,
    performance_points,
)
from tasks.core.monitoring.rhythm import Rhythm
from tasks.core.runs.manifest import Interval

DAYS = Rhythm("day", 7, 365.25 / 7)
FIRST = DAYS.number("2026-01-05")


def windows(seed, days, *, first=0, bias=0.0, auc=0.7, rows=200):
    rng = np.random.default_rng(seed)
    return [
        WindowFigures(
            DAYS.at(FIRST + first + day),
            rows,
            {
                "bias": bias + rng.normal(0, 0.05),
                "roc_auc": auc + rng.normal(0, 0.03),
                "brier": 0.2 + rng.normal(0, 0.01),
            },
        )
        for day in range(days)
    ]


def points(calibration, given, benchmark=None, degraded_after=7, per_year=1.0):
    return performance_points(
        calibration, DAYS, given, per_year=per_year, model="late/0001", benchmark=benchmark or {},
        degraded_after=degraded_after,
    )  # fmt: skip


def beyond(found):
    return [one.unit for one in found if one.statistic is not None and one.statistic > one.line]


@pytest.fixture(scope="module")
def usual():
    return calibrate_performance(windows(1, 182), DAYS, together=14)


def test_means_are_weighted_by_rows_and_need_most_of_a_week():
    given = [
        WindowFigures(DAYS.at(FIRST + day), 10 * day + 10, {"bias": float(day), "roc_auc": 0.5}) for day in range(7)
    ]
    last = points(None, given)[-1]
    # 10 * 0 + 20 * 1 + ... + 70 * 6 over 10 + 20 + ... + 70.
    assert last.figures == pytest.approx({"bias": 1120 / 280, "roc_auc": 0.5})
    assert last.labelled == 280
    assert points(None, given)[3].figures == {}
    # Known of four days of seven.
    some = [*given[:4], *(WindowFigures(one.unit, one.labelled, {"bias": 0.0}) for one in given[4:])]
    assert set(points(None, some)[-1].figures) == {"bias"}


def test_neither_order_nor_cut_of_windows_matters(usual):
    given = windows(2, 30, first=182)
    halves = [WindowFigures(one.unit, one.labelled // 2, one.figures) for one in given for _ in range(2)]
    random.Random(3).shuffle(halves)
    for one, other in zip(points(usual, halves), points(usual, given), strict=True):
        assert (one.unit, one.labelled) == (other.unit, other.labelled)
        assert one.figures == pytest.approx(other.figures)
        assert one.statistic == pytest.approx(other.statistic)
    shuffled = windows(1, 182)
    random.Random(4).shuffle(shuffled)
    assert calibrate_performance(shuffled, DAYS, together=14) == usual


def test_of_less_than_eight_weeks_nothing_is_said():
    assert calibrate_performance(windows(1, 61), DAYS, together=14) is None
    assert performance_lacks(windows(1, 61), DAYS, together=14) == (
        "The alarms of the performance are not calibrated: the past holds labels of 7 whole weeks, and what is usual is "
        "told from 8 at least."
    )
    # Two weeks are told together: with the first of them another.
    assert calibrate_performance(windows(1, 75), DAYS, together=14) is not None
    assert performance_lacks(windows(1, 75), DAYS, together=14) == ""


def test_a_past_that_is_long_enough_but_for_what_is_told_together_says_so():
    assert calibrate_performance(windows(1, 63), DAYS, together=14) is None
    assert performance_lacks(windows(1, 63), DAYS, together=14) == (
        "The alarms of the performance are not calibrated: the past holds labels of 8 whole weeks, 7 without those before "
        "14 days together (monitor.degraded_after), and what is usual is told from 8 at least."
    )
    months = Rhythm("month", 1, 12)
    year = [WindowFigures(months.at(2026 * 12 + month), 100, {"accuracy": 0.6, "roc_auc": 0.7}) for month in range(12)]
    assert calibrate_performance(year, months, together=7) is None
    assert "12 whole months, 6 without those before 7 months together" in performance_lacks(year, months, together=7)


def test_of_what_has_no_metric_nothing_is_said():
    given = [WindowFigures(DAYS.at(FIRST + day), 10, {}) for day in range(100)]
    assert calibrate_performance(given, DAYS, together=14) is None
    assert "no metric is known" in performance_lacks(given, DAYS, together=14)


def test_what_moves_with_the_share_alone_is_not_watched(usual):
    assert set(usual.figures) == {"bias_low", "bias_high", "roc_auc"}


def test_while_nothing_changes_there_are_no_more_alarms_than_promised():
    """Twelve worlds of half a year each after half a year: at two a year twelve alarms are promised."""
    alarms = 0
    for seed in range(12):
        calibration = calibrate_performance(windows(100 + seed, 182), DAYS, together=14)
        later = points(calibration, windows(500 + seed, 182, first=182), per_year=2.0)
        alarms += len(performance_alarms(later, DAYS))
    assert alarms <= stats.poisson.ppf(0.99, 12)


@pytest.mark.parametrize(
    ("changed", "worst", "words"),
    [
        ({"bias": -0.15}, "bias_low", "below what was predicted"),
        ({"bias": 0.15}, "bias_high", "above what was predicted"),
        ({"auc": 0.55}, "roc_auc", "roc_auc is 0.6"),
    ],
)
def test_what_is_worse_alarms_within_days_and_says_why(usual, changed, worst, words):
    found = points(usual, [*windows(2, 28, first=182), *windows(3, 28, first=210, **changed)])
    onset = beyond(found)[0]
    # A day that is far worse is not enough: it is one of fourteen.
    assert DAYS.number(onset) - FIRST - 210 in range(1, 10)
    (alarm,) = performance_alarms(found, DAYS)
    assert (alarm.kind, alarm.onset, alarm.until) == ("degraded", onset, None)
    assert words in alarm.reason
    assert max(found[-1].z, key=found[-1].z.get) == worst
    assert found[-1].statistic == pytest.approx(max(found[-1].z.values()))


def test_a_bad_day_does_not_last(usual):
    given = windows(2, 56, first=182)
    given[30] = WindowFigures(given[30].unit, 200, {"bias": 0.2, "roc_auc": 0.6})
    assert beyond(points(usual, given)) == []


def test_the_bias_is_told_from_the_versions_own():
    past = windows(1, 182)
    told = calibrate_performance(past, DAYS, together=14, usual_bias=0.1)
    plain = calibrate_performance(past, DAYS, together=14)
    assert told == plain.model_copy(update={"usual_bias": 0.1})
    # A version that has always scored 0.1 too low is as it was; one that does so no more has changed.
    assert beyond(points(told, windows(2, 56, first=182, bias=0.1))) == []
    assert beyond(points(told, windows(2, 56, first=182, bias=-0.05)))
    assert points(told, windows(2, 56, first=182, bias=0.1))[-1].figures["bias"] == pytest.approx(0.1, abs=0.05)
    (alarm,) = performance_alarms(points(told, windows(2, 56, first=182, bias=-0.1)), DAYS)
    assert "below what was predicted, on average, and usually 0.100 above it." in alarm.reason


def test_without_a_calibration_the_benchmark_judges():
    benchmark = {"roc_auc": Interval(value=0.7, low=0.68, high=0.72), "rmse": Interval(value=None)}
    given = [WindowFigures(DAYS.at(FIRST + day), 10, {"roc_auc": 0.7 if day < 10 else 0.5}) for day in range(30)]
    found = points(None, given, benchmark, degraded_after=3)
    # The week to the eleventh day has a mean of 0.671, below 0.68; the third such is that to the thirteenth.
    assert [one.is_worse for one in found] == [False] * 12 + [True] * 18
    assert {one.statistic for one in found} == {None}
    (alarm,) = performance_alarms(found, DAYS)
    assert (alarm.onset, alarm.until, alarm.line) == (DAYS.at(FIRST + 12), None, None)
    assert "roc_auc 0.614" in alarm.reason
    assert points(None, given)[-1].worse_than_benchmark == ()


def test_higher_is_worse_of_errors():
    given = [WindowFigures(DAYS.at(FIRST + day), 10, {"rmse": 2.0}) for day in range(9)]
    accepted = {"rmse": Interval(value=1.0, low=0.9, high=1.1)}
    assert points(None, given, accepted, degraded_after=2)[-1].worse_than_benchmark == ("rmse",)
    better = {"rmse": Interval(value=3.0, low=2.9, high=3.1)}
    assert not points(None, given, better, degraded_after=2)[-1].is_worse


def test_the_line_is_that_of_the_tail(usual):
    found = points(usual, windows(2, 30, first=182), per_year=3.0)
    assert {one.line for one in found} == {tails.line_of(usual.tail, 3.0)}


def test_of_nothing_nothing_is_said(usual):
    assert points(usual, []) == []
    assert points(None, [WindowFigures("2026-01-05", 0, {})]) == []
