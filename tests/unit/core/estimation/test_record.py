"""The record of estimates against labels, and when one is muted."""

import pytest
from scipy.stats import binom

from tasks.core.estimation.record import records_of
from tasks.core.monitoring.records import WindowPerformance
from tasks.core.runs.manifest import Interval

ESTIMATE = Interval(value=0.7, low=0.6, high=0.8)


def window(day: int, truth: float | None, **changes) -> WindowPerformance:
    parts = {
        "as_of": f"2013-{7 + day // 28:02d}-{1 + day % 28:02d}",
        "unit": "",
        "run_id": "r",
        "model": "flights/0001",
        "labels_as_of": "2014-01-01",
        "rows": 100,
        "labelled": 97,
        "without_label": 3,
        "metrics": {"roc_auc": Interval(value=truth)},
        "estimates": {"roc_auc": ESTIMATE},
    }
    return WindowPerformance(**parts | changes)


def test_inside_outside_and_the_mean_error_are_counted():
    (record,) = records_of([window(0, 0.6), window(1, 0.75), window(2, 0.5)])

    assert (record.metric, record.model, record.compared, record.inside) == ("roc_auc", "flights/0001", 3, 2)
    assert record.mean_error == pytest.approx((0.1 - 0.05 + 0.2) / 3)
    assert record.p_value == pytest.approx(binom.cdf(2, 3, 0.95))
    assert not record.muted


@pytest.mark.parametrize(
    ("inside", "outside", "muted"),
    # binom.cdf(6, 8, .95) = .057, binom.cdf(5, 8, .95) = .0058; cdf(50, 56, .95) = .057, cdf(48, 56, .95) = .0068.
    [(6, 2, False), (5, 3, True), (50, 6, False), (48, 8, True), (0, 7, False), (0, 8, True)],
)
def test_it_is_muted_when_so_few_inside_cannot_be_chance_and_eight_windows_say_so(inside, outside, muted):
    windows = [window(day, 0.7 if day < inside else 0.3) for day in range(inside + outside)]

    (record,) = records_of(windows)

    assert record.muted is muted
    assert record.compared == inside + outside


def test_the_last_fifty_six_windows_count_in_any_order_and_an_estimator_can_come_back():
    wrong_before = [window(day, 0.3) for day in range(20)]
    right_since = [window(day, 0.7) for day in range(20, 76)]

    (record,) = records_of([*right_since[::-1], *wrong_before])

    assert (record.compared, record.inside, record.muted) == (56, 56, False)


def test_versions_and_metrics_have_records_of_their_own():
    two = {"roc_auc": ESTIMATE, "brier": Interval(value=0.2, low=0.1, high=0.3)}
    windows = [
        window(0, 0.7, estimates=two, metrics={"roc_auc": Interval(value=0.7), "brier": Interval(value=0.9)}),
        window(1, 0.3, model="flights/0002"),
    ]

    assert [(one.model, one.metric, one.inside) for one in records_of(windows)] == [
        ("flights/0001", "brier", 0),
        ("flights/0001", "roc_auc", 1),
        ("flights/0002", "roc_auc", 0),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"labelled": 0, "awaited": 97},
        {"labelled": 80, "without_label": 0, "awaited": 20},
        {"metrics": {}},
        {"metrics": {"roc_auc": Interval(value=None)}},
        {"estimates": {"roc_auc": Interval(value=0.7)}},
        {"estimates": {}},
    ],
)
def test_what_cannot_be_compared_is_in_no_record(changes):
    assert records_of([window(0, 0.7, **changes)]) == ()


def test_of_a_final_window_rows_whose_labels_never_came_do_not_matter():
    (record,) = records_of([window(0, 0.7, labelled=80, without_label=0, awaited=20, is_final=True)])

    assert record.compared == 1
