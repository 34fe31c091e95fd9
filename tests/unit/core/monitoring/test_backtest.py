"""The past against itself: counts with their exact interval, parts that know nothing of each other, and delays."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from tasks.core.monitoring import backtest
from tasks.core.monitoring.backtest import Injected
from tasks.core.monitoring.drift import calibrate_drift
from tasks.core.monitoring.performance_series import WindowFigures
from tasks.core.monitoring.records import Alarm, DriftPoint
from tasks.core.monitoring.rhythm import Rhythm
from tests.unit.core.monitoring.test_drift import COLUMNS, DAYS, FIRST, world

MONTHS = Rhythm("month", 1, 12)
ALARM = Alarm(kind="drifted", onset="2026-01-12", reason="a test")


def point(unit, statistic):
    return DriftPoint(unit=unit, model="late/0001", statistic=statistic, line=1.0)


@pytest.mark.parametrize(
    ("alarms", "low", "high"),
    # F. Garwood's table of 1936, as reprinted ever since: of 0, 1 and 10 events.
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.39)],
)
def test_a_count_has_the_exact_interval_of_a_poisson_mean(alarms, low, high):
    rate = backtest.rate_of_count(alarms, 2.0)
    assert rate.per_year == alarms / 2
    assert (rate.low * 2, rate.high * 2) == (pytest.approx(low, rel=2e-3), pytest.approx(high, rel=2e-3))
    if alarms:
        assert stats.poisson.sf(alarms - 1, rate.low * 2) == pytest.approx(0.025)
    assert stats.poisson.cdf(alarms, rate.high * 2) == pytest.approx(0.025)


def test_alarms_a_year_are_of_the_units_that_could_be_judged():
    points = [point(DAYS.at(FIRST + number), None if number < 6 else 0.5) for number in range(79)]
    found = backtest.count("data", "past", points, [ALARM], DAYS, 1.0)
    assert (found.first, found.last) == (DAYS.at(FIRST + 6), DAYS.at(FIRST + 78))
    assert found.years == pytest.approx(73 / 365.25)
    assert found.rate.per_year == pytest.approx(5.0, rel=1e-3)
    # One alarm in a fifth of a year is no evidence against one a year, and three are.
    assert found.holds
    assert not backtest.count("data", "past", points, [ALARM] * 3, DAYS, 1.0).holds
    assert backtest.count("data", "past", points[:6], [], DAYS, 1.0) is None


def test_years_of_months_are_counted_in_months():
    points = [point(MONTHS.at(MONTHS.number("2025-01-01") + number), 0.5) for number in range(18)]
    assert backtest.count("data", "past", points, [], MONTHS, 1.0).years == 1.5


@pytest.fixture(scope="module")
def past():
    return world(1, 182)


def test_each_part_is_held_against_the_others_alone(past):
    """The last sixth is strange. Of itself it would be usual; the others do not know it."""
    strange = world(2, 31, first=151, shares={"size": [0.4, 0.3, 0.1, 0.1, 0.1]})
    observed = backtest.joined(past.of_units(past.units[:151]), strange)
    points = backtest.drift_of_parts(observed, DAYS, per_year=1.0, model="late/0001")
    assert [one.unit for one in points] == list(observed.units)
    (alarm,) = backtest.alarms_of_parts(points, observed.units, DAYS)
    assert observed.units[151] <= alarm.onset < observed.units[165]
    assert alarm.until is None
    # Without it nothing is raised: a part has no memory of the one before.
    quiet = backtest.drift_of_parts(past, DAYS, per_year=1.0, model="late/0001")
    assert backtest.alarms_of_parts(quiet, past.units, DAYS) == ()
    unknown = [one.unit for one in quiet if one.statistic is None]
    # The first week of each of six parts, and a day more, as two in a row are to be beyond.
    assert len(unknown) == 6 * 7


def test_a_part_whose_others_are_too_short_says_nothing(past):
    assert backtest.drift_of_parts(past.of_units(past.units[:50]), DAYS, per_year=1.0, model="") == []
    assert backtest.drift_of_parts(past.of_units([]), DAYS, per_year=1.0, model="") == []


def windows(days, bias):
    random = np.random.default_rng(4)
    return [
        WindowFigures(DAYS.at(FIRST + day), 100, {"bias": random.normal(bias(day), 0.01), "roc_auc": 0.7})
        for day in range(days)
    ]


def test_performance_of_each_part_against_the_others():
    figures = windows(182, lambda day: 0.3 if day >= 160 else 0.0)
    options = {"together": 14, "per_year": 1.0, "model": "late/0001"}
    points = backtest.performance_of_parts(figures, DAYS, **options)
    alarms = backtest.alarms_of_parts(points, sorted({one.unit for one in figures}), DAYS)
    assert [one.kind for one in alarms] == ["degraded"]
    assert alarms[0].onset > DAYS.at(FIRST + 160)
    # In any order, and cut in two.
    shuffled = [figures[place] for place in np.random.default_rng(5).permutation(182)]
    assert backtest.performance_of_parts(shuffled, DAYS, **options) == points


def test_the_delay_to_a_shift_counts_its_first_unit_and_says_what_stood_out(past):
    calibration = calibrate_drift(past, DAYS)
    before, after = world(7, 9, first=182), world(8, 21, first=191, missing=0.3)
    found, by = backtest.delay_of(calibration, DAYS, before, after, per_year=1.0)
    assert by == "missing size"
    # A week is a third missing after a day or two, and that is to last two days.
    assert 2 <= found <= 4
    assert backtest.delay_of(calibration, DAYS, before, world(9, 21, first=191), per_year=1.0) == (None, "")


def test_a_shift_that_leaves_no_row_at_all_is_found(past):
    nothing = dataclasses.replace(
        after := world(8, 21, first=191),
        rows=after.rows * 0,
        columns=tuple(
            dataclasses.replace(one, counts=one.counts * 0, missing=one.missing * 0) for one in after.columns
        ),
    )
    found, _ = backtest.delay_of(calibrate_drift(past, DAYS), DAYS, world(7, 9, first=182), nothing, per_year=1.0)
    assert found <= 3


def test_two_stretches_are_joined_by_the_name_of_the_column(past):
    before, after = world(7, 9), world(8, 5, first=9)
    turned = dataclasses.replace(after, columns=after.columns[::-1])
    both = backtest.joined(before, turned)
    assert both.units == before.units + after.units
    assert [one.column for one in both.columns] == [one.column for one in before.columns]
    for one, first, second in zip(both.columns, before.columns, after.columns, strict=True):
        assert one.counts.tolist() == first.counts.tolist() + second.counts.tolist()
        assert one.has_new == COLUMNS[one.column][1]


def test_the_summary_counts_what_was_found_and_its_median_delay():
    delays = {"mean shift": [3, None, 5, 4], "values missing": [None]}
    injected = [Injected(kind=kind, column="x", size="", delay=one) for kind, each in delays.items() for one in each]
    assert backtest.summary(injected) == {"mean shift": (3, 4, 4.0), "values missing": (0, 1, None)}
