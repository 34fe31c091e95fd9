"""Alarms: when an episode begins and ends, and the words that say why."""

import pytest

from tasks.core.monitoring.episodes import drift_alarms, episodes_of, label_alarms
from tasks.core.monitoring.records import ColumnDrift, DriftPoint, PerformancePoint, WindowPerformance
from tasks.core.monitoring.rhythm import Rhythm

DAYS = Rhythm("day", 7, 365.25 / 7)
MONTHS = Rhythm("month", 1, 12)
FIRST = DAYS.number("2026-03-01")


def drift(statistics, rhythm=DAYS, model="late/0001", first=0, groups=None, columns=()):
    columns = columns or (ColumnDrift(column="size", component="features", value=0.31, z=5.0),)
    return [
        DriftPoint(
            unit=rhythm.at(rhythm.number("2026-03-01") + first + place),
            model=model,
            statistic=value,
            line=None if value is None else 2.0,
            groups=groups or {"features": 3.0},
            columns=columns,
        )
        for place, value in enumerate(statistics)
    ]


def day(place):
    return DAYS.at(FIRST + place)


def spans(points, rhythm=DAYS):
    return [(one.onset, one.until) for one in drift_alarms(points, rhythm)]


def test_an_episode_is_over_after_a_whole_week_on_this_side():
    assert spans(drift([1, 3, 1, 1, 1, 1, 1, 1])) == [(day(1), None)]
    assert spans(drift([1, 3, 1, 1, 1, 1, 1, 1, 1])) == [(day(1), day(1))]


def test_what_comes_back_within_a_week_is_the_same_episode():
    assert spans(drift([3, 3, 1, 1, 1, 1, 1, 1, 3])) == [(day(0), None)]
    assert spans(drift([3, 3, 1, 1, 1, 1, 1, 1, 1, 3])) == [(day(0), day(1)), (day(9), None)]


def test_what_is_not_known_ends_no_episode():
    assert spans(drift([3, *[None] * 9, 1])) == [(day(0), None)]
    assert spans(drift([None, 2.0, 1])) == []


def test_a_month_ends_an_episode_of_months():
    assert spans(drift([3, 1, 3], MONTHS), MONTHS) == [("2026-03-01", "2026-03-01"), ("2026-05-01", None)]


def test_an_episode_of_a_version_that_scores_no_more_is_over():
    points = [*drift([1, 3, 3]), *drift([None, 1, 1], model="late/0002", first=3)]
    (alarm,) = drift_alarms(points, DAYS)
    assert (alarm.model, alarm.onset, alarm.until) == ("late/0001", day(1), day(2))
    assert spans(list(reversed(points))) == [(day(1), day(2))]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (
            {"component": "volume", "column": "", "value": 0.4, "z": 8, "reference": 6534.0, "observed": 4380.0},
            "the number of rows (4,380, usually 6,534)",
        ),
        (
            {"component": "missing", "column": "seats", "value": 0.19, "z": 8, "reference": 0.01, "observed": 0.2},
            "missing values of seats (20.0%, usually 1.0%)",
        ),
        (
            {
                "component": "new_categories",
                "column": "dest",
                "value": 0.003,
                "z": 8,
                "reference": 0,
                "observed": 0.003,
            },
            "new categories of dest (0.3%)",
        ),
        ({"component": "scores", "column": "p", "value": 0.21, "z": 8}, "the scores p (Jensen-Shannon distance 0.21)"),
    ],
)
def test_the_reason_names_what_is_furthest_out(column, words):
    other = ColumnDrift(column="size", component="features", value=0.3, z=9)
    points = drift([3], groups={column["component"]: 4.0, "features": 1.0}, columns=(other, ColumnDrift(**column)))
    (alarm,) = drift_alarms(points, DAYS)
    assert alarm.reason == (
        "The data of 2026-02-23 to 2026-03-01 differ from what is usual: the statistic is 3.0, beyond 2.0, chiefly for "
        f"{words}."
    )
    assert alarm.next_step


def test_a_few_columns_are_named_and_none_that_is_hardly_out():
    columns = tuple(
        ColumnDrift(column=name, component="features", value=0.3, z=z)
        for name, z in [("d", 5), ("a", 8), ("e", 4.5), ("c", 6), ("b", 3)]
    )
    (alarm,) = drift_alarms(drift([3], columns=columns), DAYS)
    assert "distribution of a (" in alarm.reason
    assert "distribution of c (" in alarm.reason
    assert alarm.reason.count("distribution of") == 3
    (alarm,) = drift_alarms(drift([3], columns=columns[1:2] + columns[4:]), DAYS)
    assert alarm.reason.count("distribution of") == 1


def window(place, rows, awaited, without_label=0, part=""):
    return WindowPerformance(
        as_of=day(place) + part,
        unit=day(place),
        run_id="1",
        model="late/0001",
        labels_as_of=day(place + 1),
        rows=rows,
        labelled=rows - awaited - without_label,
        without_label=without_label,
        awaited=awaited,
    )


def test_labels_are_late_where_fewer_have_come_than_expected():
    windows = [window(0, 100, 10), window(1, 100, 51), window(2, 100, 50), window(3, 0, 0)]
    (alarm,) = label_alarms(windows, DAYS, 0.5)
    assert (alarm.kind, alarm.onset, alarm.until, alarm.model) == ("labels_late", day(1), None, "late/0001")
    assert alarm.reason == (
        "Labels of 2026-03-02 are late: of 100 rows 49.0% have theirs, and 50% are expected when they are due."
    )


def test_a_label_that_never_comes_is_not_late():
    assert label_alarms([window(0, 100, 10, without_label=80)], DAYS, 0.5) == []


def test_windows_of_one_day_are_late_together():
    windows = [window(0, 100, 100, part="T0000Z"), window(0, 300, 0, part="T0600Z")]
    assert label_alarms(windows, DAYS, 0.75) == []
    assert len(label_alarms(windows, DAYS, 0.76)) == 1


def test_all_episodes_by_their_onset():
    performance = [PerformancePoint(unit=day(0), model="late/0001", statistic=9.0, line=2.0, z={"roc_auc": 9.0})]
    found = episodes_of(drift([1, 3]), performance, [window(1, 100, 99)], rhythm=DAYS, expected_share=0.5)
    assert [(one.kind, one.onset) for one in found] == [
        ("degraded", day(0)),
        ("drifted", day(1)),
        ("labels_late", day(1)),
    ]
    assert episodes_of([], [], [], rhythm=DAYS, expected_share=0.5) == ()
