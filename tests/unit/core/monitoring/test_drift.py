"""Drift: figures by hand, what alarms and what does not, and the rate in simulation."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from tasks.core.monitoring import tails
from tasks.core.monitoring.drift import calibrate_drift, drift_lacks, drift_points
from tasks.core.monitoring.episodes import drift_alarms
from tasks.core.monitoring.observed import Observed, ObservedColumn, of_profiles
from tasks.core.monitoring.rhythm import Rhythm
from tasks.core.profiles.profile import WindowProfile, profile_batch, reference_profile

DAYS = Rhythm("day", 7, 365.25 / 7)
WEEKS = Rhythm("week", 1, 365.25 / 7)
FIRST = DAYS.number("2026-01-05")  # A Monday.
# By column: role, has_new, and the shares of its bins.
COLUMNS = {
    "size": ("feature", False, [0.1, 0.2, 0.3, 0.2, 0.2]),
    "kind": ("feature", True, [0.5, 0.3, 0.2, 0.0]),
    "day": ("feature", False, []),
    "score": ("prediction", False, [0.4, 0.3, 0.2, 0.1]),
}


def world(seed, days, *, first=0, rows=300, missing=0.02, shares=None):
    """Days of about so many rows, fewer on Sundays; `day` is the weekday, which makes a week of all its days."""
    rng = np.random.default_rng(seed)
    units = [DAYS.at(FIRST + first + number) for number in range(days)]
    counts = rng.poisson([rows // 2 if (first + number) % 7 == 6 else rows for number in range(days)])
    columns = []
    for name, (role, has_new, usual) in sorted(COLUMNS.items(), key=lambda one: (one[1][0], one[0])):
        share = missing if name == "size" else 0.0
        lost = rng.binomial(counts, share)
        if name == "day":
            binned = np.zeros((days, 7), np.int64)
            binned[np.arange(days), (first + np.arange(days)) % 7] = counts
        else:
            binned = rng.multinomial(counts - lost, (shares or {}).get(name, usual))
        columns.append(ObservedColumn(role, name, binned.astype(np.int64), lost.astype(np.int64), has_new))
    return Observed(tuple(units), np.ones(days, np.int64), counts.astype(np.int64), tuple(columns))


def points(calibration, observed, per_year=1.0, rhythm=DAYS):
    return drift_points(calibration, rhythm, observed, per_year=per_year, model="late/0001")


def beyond(found):
    return [one.unit for one in found if one.statistic is not None and one.statistic > one.line]


@pytest.fixture(scope="module")
def usual():
    return calibrate_drift(world(1, 182), DAYS)


def test_of_less_than_eight_weeks_nothing_is_said():
    short = world(1, 61)
    assert calibrate_drift(short, DAYS) is None
    assert drift_lacks(short, DAYS) == (
        "The drift's alarms are not calibrated: the past holds 7 whole weeks, and what is usual is told from 8 at least."
    )
    assert drift_lacks(world(1, 62), DAYS) == ""
    assert calibrate_drift(world(1, 62), DAYS) is not None


def test_of_nothing_nothing_is_said(usual):
    empty = world(1, 70).of_units([])
    assert calibrate_drift(empty, DAYS) is None
    assert points(usual, empty) == []


def test_weeks_are_blocks_of_their_own():
    units = tuple(WEEKS.at(WEEKS.number("2026-01-05") + number) for number in range(30))
    observed = dataclasses.replace(world(3, 30, rows=2000), units=units)
    found = calibrate_drift(observed, WEEKS)
    assert found.persistence == 1
    assert found.tail.blocks == 30


def test_the_figures_of_a_block_by_hand(usual):
    observed = world(2, 7)
    last = points(usual, observed)[-1]
    assert (last.windows, last.rows) == (7, int(observed.rows.sum()))
    values = {(one.component, one.column): one for one in last.columns}
    columns = {one.column: one for one in observed.columns}
    kept = {one.column: one for one in usual.columns}
    size = jensenshannon(columns["size"].counts.sum(axis=0), kept["size"].counts, base=2)
    assert values["features", "size"].value == pytest.approx(size)
    missing = columns["size"].missing.sum() / last.rows
    before = kept["size"].missing / (kept["size"].missing + sum(kept["size"].counts))
    assert values["missing", "size"].value == pytest.approx(abs(missing - before))
    assert (values["missing", "size"].observed, values["missing", "size"].reference) == pytest.approx((missing, before))
    assert values["volume", ""].value == pytest.approx(abs(np.log(last.rows / usual.block_rows)))
    assert values["new_categories", "kind"].value == 0.0
    # Of scores, that some are missing is a part of their shape; here none are.
    score = jensenshannon([*columns["score"].counts.sum(axis=0), 0], [*kept["score"].counts, 0], base=2)
    assert values["scores", "score"].value == pytest.approx(score)


def test_the_first_days_of_a_version_are_not_judged(usual):
    found = points(usual, world(2, 9))
    assert [one.statistic is None for one in found] == [True] * 7 + [False] * 2
    assert [one.line is None for one in found] == [True] * 6 + [False] * 3


def test_a_run_that_was_missed_is_no_drift(usual):
    observed = world(2, 28, first=182)
    without = observed.of_units([unit for number, unit in enumerate(observed.units) if number not in (9, 10, 20)])
    assert beyond(points(usual, without)) == []


@pytest.mark.parametrize(
    ("changed", "group", "column"),
    [
        ({"shares": {"size": [0.2, 0.3, 0.3, 0.1, 0.1]}}, "features", "size"),
        ({"shares": {"score": [0.2, 0.3, 0.2, 0.3]}}, "scores", "score"),
        ({"shares": {"kind": [0.49, 0.29, 0.19, 0.03]}}, "new_categories", "kind"),
        ({"missing": 0.2}, "missing", "size"),
        ({"rows": 200}, "volume", ""),
    ],
)
def test_what_changes_alarms_within_days_and_says_why(usual, changed, group, column):
    before, after = world(2, 14, first=182), world(3, 21, first=196, **changed)
    found = points(usual, joined(before, after))
    out = beyond(found)
    assert out
    assert out[0] in after.units[1:8]
    onset = next(one for one in found if one.unit == out[0])
    assert max(onset.groups, key=onset.groups.get) == group
    worst = max((one for one in onset.columns if one.component == group), key=lambda one: one.z)
    assert worst.column == column
    (alarm,) = drift_alarms(found, DAYS)
    assert (alarm.kind, alarm.onset, alarm.until, alarm.model) == ("drifted", out[0], None, "late/0001")
    assert (column or "the number of rows") in alarm.reason


def joined(before, after):
    columns = [
        ObservedColumn(
            one.role,
            one.column,
            np.concatenate([one.counts, two.counts]),
            np.concatenate([one.missing, two.missing]),
            one.has_new,
        )
        for one, two in zip(before.columns, after.columns, strict=True)
    ]
    return Observed(
        before.units + after.units,
        np.concatenate([before.windows, after.windows]),
        np.concatenate([before.rows, after.rows]),
        tuple(columns),
    )


def test_a_column_that_stands_out_explains_and_its_like_do_not(usual):
    after = world(3, 21, first=182, shares={"size": [0.4, 0.3, 0.1, 0.1, 0.1]})
    explained = {(one.component, one.column) for one in points(usual, after)[-1].columns if one.explains}
    assert explained == {("features", "size")}


def test_a_category_of_its_season_is_usual_where_the_past_had_one():
    """One that came in one month alone is new to the rest of the past: what is new later is held against that."""
    past = world(1, 182)
    kind = next(one for one in past.columns if one.column == "kind")
    seasonal = np.zeros(182, bool)
    seasonal[80:108] = True
    counts = np.insert(kind.counts, 2, np.where(seasonal, 12, 0), axis=1)
    rows = past.rows + np.where(seasonal, 12, 0)
    columns = tuple(dataclasses.replace(one, counts=counts) if one is kind else one for one in past.columns)
    found = calibrate_drift(dataclasses.replace(past, columns=columns, rows=rows), DAYS)
    plain = calibrate_drift(past, DAYS)
    assert plain.groups["new_categories"].spread == 0.25
    assert found.groups["new_categories"].spread > 1


def test_scores_are_held_against_those_of_the_same_model():
    """Each month of the past has a model with steps of its own: against the others' scores all of it would be drift."""
    past, models = world(1, 182), np.random.default_rng(6).dirichlet([1, 1, 1, 1], size=7)
    of = np.minimum(np.arange(182) // 26, 6)
    draws = np.random.default_rng(7)
    score = next(one for one in past.columns if one.role == "prediction")
    scores = np.array([draws.multinomial(rows, models[model]) for rows, model in zip(past.rows, of, strict=True)])
    rests = np.array([[*draws.multinomial(20_000, models[model]), 0] for model in of])

    def calibrated(rest):
        own = dataclasses.replace(score, counts=scores, rest=rest)
        columns = tuple(own if one is score else one for one in past.columns)
        observed = dataclasses.replace(past, columns=columns)
        return observed, calibrate_drift(observed, DAYS)

    observed, beside = calibrated(rests)
    assert beside.figures["scores score"].middle < 0.05
    assert calibrated(None)[1].figures["scores score"].middle > 0.2
    assert beyond(points(beside, observed)) == []


def test_the_order_of_columns_makes_no_difference():
    rng = np.random.default_rng(5)
    days = [f"2026-{month:02d}-{day:02d}" for month in (1, 2, 3) for day in range(1, 25)]
    tables = {
        day: pa.table({"a": rng.normal(size=9), "b": rng.choice(["x", "y", "z"], 9), "c": rng.exponential(size=9)})
        for day in days
    }
    scores = {day: pa.table({"score": rng.random(9)}) for day in days}

    def statistics(names):
        whole = pa.concat_tables(tables.values()).select(names)
        references = (reference_profile(whole), reference_profile(pa.concat_tables(scores.values())))
        profiles = [
            (day, WindowProfile(
                features=profile_batch(references[0], tables[day]), predictions=profile_batch(references[1], scores[day])
            ))
            for day in days
        ]  # fmt: skip
        observed = of_profiles(references, profiles)
        calibration = calibrate_drift(observed, DAYS)
        return calibration, [one.statistic for one in points(calibration, observed)]

    assert statistics(["a", "b", "c"]) == statistics(["c", "a", "b"])


def test_a_calibration_without_the_volume_judges_the_rest(usual):
    without = usual.model_copy(
        update={
            "figures": {name: one for name, one in usual.figures.items() if name != "volume"},
            "groups": {name: one for name, one in usual.groups.items() if name != "volume"},
        }
    )
    found = points(without, world(2, 14, first=182, rows=100))
    assert "volume" not in found[-1].groups
    assert all(one.component != "volume" for one in found[-1].columns)


def test_where_nothing_has_ever_moved_a_row_more_is_no_news():
    def still(rows, days, first):
        counts = np.full(days, rows)
        column = ObservedColumn("feature", "x", np.stack([counts, 0 * counts], axis=1), 0 * counts, False)
        units = tuple(DAYS.at(FIRST + first + number) for number in range(days))
        return Observed(units, np.ones(days, np.int64), counts, (column,))

    calibration = calibrate_drift(still(100, 182, 0), DAYS)
    assert beyond(points(calibration, still(101, 14, 182))) == []
    assert beyond(points(calibration, still(110, 14, 182))) != []


def test_a_day_without_rows_is_a_matter_of_the_volume(usual):
    nothing = world(3, 14, first=182, rows=0)
    last = points(usual, nothing)[-1]
    assert last.statistic > last.line
    assert max(last.groups, key=last.groups.get) == "volume"
    assert {one.component for one in last.columns if one.z > 0} == {"volume"}


def test_while_nothing_changes_there_are_no_more_alarms_than_promised():
    """12 worlds of half a year each after half a year: at two a year 12 alarms are promised, and not to be passed."""
    alarms = 0
    for seed in range(12):
        calibration = calibrate_drift(world(100 + seed, 182), DAYS)
        later = points(calibration, world(500 + seed, 182, first=182), per_year=2.0)
        alarms += len(drift_alarms(later, DAYS))
    assert alarms <= stats.poisson.ppf(0.99, 12)
    assert tails.rate_of(calibration.tail, 2.0).per_year <= 2.0 + 1e-9
