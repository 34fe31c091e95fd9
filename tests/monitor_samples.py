"""What a look at a job might have found, for the tests of the pages that show it: half a year of days."""

import datetime as dt
import math

from tasks.core.monitoring.records import (
    Alarm,
    Calibration,
    ColumnDrift,
    DriftCalibration,
    DriftPoint,
    EstimateRecord,
    Monitored,
    PerformanceCalibration,
    PerformancePoint,
    Rate,
    Tail,
    WindowPerformance,
)
from tasks.core.pages import WindowPoint
from tasks.core.runs.manifest import Interval, RowCounts

MODEL = "flight_delays/0003"
FIRST = dt.date(2013, 7, 1)
TAIL = Tail(middle=0.0, spread=0.4, excesses=10, highest=1.1, blocks=20, blocks_a_year=52.2)
BENCHMARK = {
    "roc_auc": Interval(value=0.731, low=0.721, high=0.742),
    "brier": Interval(value=0.165, low=0.16, high=0.171),
}
DRIFTED = Alarm(
    kind="drifted",
    onset="2013-07-29",
    until="2013-08-04",
    model=MODEL,
    statistic=3.1,
    line=2.4,
    reason="The data of 2013-07-23 to 29 differ from what is usual: statistic 3.1 beyond 2.4; chiefly new categories of dest (0.30 %).",
    next_step="look at the new destination in the source; if it is to stay, `lamplighter train flight_delays`",
)
DEGRADED = Alarm(
    kind="degraded",
    onset="2013-09-05",
    model=MODEL,
    statistic=2.9,
    line=1.8,
    reason="Since 2013-09-05 fewer flights were late than was predicted: the share late less the mean score was -0.14 over the week, and is usually within 0.06.",
    next_step="`lamplighter train flight_delays`, then `lamplighter promote flight_delays`",
)
LATE = Alarm(kind="labels_late", onset="2013-12-20", model=MODEL, reason="Labels of 61.0 % came, of 95 % expected.")
CALIBRATION = Calibration(
    first="2013-01-01",
    last="2013-06-30",
    units=181,
    drift=DriftCalibration(persistence=2, block_rows=6500, columns=(), figures={}, groups={}, tail=TAIL),
    performance=PerformanceCalibration(figures={}, together=14, tail=TAIL),
    assumptions=("Half a year stands for the whole: what a winter brings is not known.",),
)


def day(number):
    return (FIRST + dt.timedelta(days=number)).isoformat()


def wave(number, period, size=1.0, shift=0.0):
    """Something that looks as if it were measured, and is the same each time."""
    return size * (math.sin(2 * math.pi * (number + shift) / period) + 0.6 * math.sin(number * 12.9898 + shift))


def columns(number, count):
    names = ["volume", "missing", "new_categories", "scores", "features"]
    found = [ColumnDrift(column="", component="volume", value=0.1, z=wave(number, 30, 0.4) - 0.4)]
    for i in range(count):
        z = wave(number, 17 + i, 0.5, 3 * i) - 0.6 + (3.8 if i == 2 and 28 <= number <= 34 else 0)
        component = "new_categories" if i == 2 and z > 2 else "missing" if i % 5 == 4 else "features"
        shares = {"reference": 0.02, "observed": 0.12} if component == "missing" else {}
        found.append(
            ColumnDrift(
                column=COLUMNS[i] if i < len(COLUMNS) else f"feature_{i:02d}",
                component=component,
                value=0.08,
                z=z,
                explains=z > 2,
                **shares,
            )
        )
    found.append(ColumnDrift(column="probability_late", component="scores", value=0.05, z=wave(number, 40, 0.7) - 0.3))
    groups = {name: max([one.z for one in found if one.component == name], default=-0.5) for name in names}
    return tuple(found), groups


COLUMNS = [
    "carrier",
    "origin",
    "dest",
    "weekday",
    "departure_minute",
    "distance",
    "scheduled_minutes",
    "plane_year",
    "plane_seats",
    "temp",
    "dewp",
    "humid",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
]


def drift_point(number, count=16):
    if number < 6:
        return DriftPoint(unit=day(number), model=MODEL, windows=number + 1, rows=900 * (number + 1))
    found, groups = columns(number, count)
    statistic = max(0.1, 0.7 + wave(number, 25, 0.3)) + (2.2 if 28 <= number <= 34 else 0)
    return DriftPoint(
        unit=day(number),
        model=MODEL,
        windows=7,
        rows=6_500,
        statistic=statistic,
        line=2.4,
        groups=groups,
        columns=found,
    )


def auc(number):
    return 0.728 + wave(number, 19, 0.012) - (0.03 if number > 66 else 0)


def bias(number):
    return wave(number, 23, 0.03) - (0.13 if number > 62 else 0)


def performance_point(number):
    figures = {"bias": bias(number), "roc_auc": auc(number), "brier": 0.166 + wave(number, 21, 0.003)}
    statistic = max(0.0, 0.6 + wave(number, 25, 0.2) + (2.0 if number > 62 else 0))
    return PerformancePoint(
        unit=day(number), model=MODEL, labelled=6_300, statistic=statistic, line=1.8, figures=figures
    )


def around(value, half):
    return Interval(value=value, low=value - half, high=value + half)


def window_performance(number, days, **changes):
    recent = days - 4 - number
    awaited = 0 if recent > 5 else 60 * (6 - max(recent, 0))
    rows = 940 + 30 * (number % 7)
    values = {
        "as_of": day(number),
        "unit": day(number),
        "run_id": f"run-{number}",
        "model": MODEL,
        "labels_as_of": day(min(number + 3, days - 1)),
        "rows": rows,
        "labelled": rows - 14 - awaited,
        "without_label": 14,
        "awaited": awaited,
        "is_final": recent > 10,
        "corrected": 2 if number % 40 == 0 else 0,
        "metrics": {
            "roc_auc": around(auc(number) + wave(number, 3, 0.02), 0.035),
            "brier": around(0.166 + wave(number, 5, 0.01), 0.012),
            "log_loss": around(0.51 + wave(number, 5, 0.02), 0.03),
        },
        "bias": around(bias(number) + wave(number, 4, 0.02), 0.03),
        "estimates": {"roc_auc": around(0.729 + wave(number, 31, 0.006), 0.04)},
    }
    return WindowPerformance(**values | changes)


def monitored(days=184, features=16, **changes):
    """A look on the evening of the last of so many days; labels come three days later."""
    values = {
        "job": "flight_delays",
        "at": dt.datetime(2014, 1, 1, 11, tzinfo=dt.UTC),
        "as_of": day(days - 1),
        "model": MODEL,
        "calibration": CALIBRATION,
        "rates": {"drifted": Rate(per_year=1.0, low=0.6, high=1.9), "degraded": Rate(per_year=1.0, low=0.5, high=2.2)},
        "benchmarks": {MODEL: BENCHMARK},
        "drift": tuple(drift_point(i, features) for i in range(days)),
        "performance": tuple(performance_point(i) for i in range(6, days - 3)),
        "windows": tuple(window_performance(i, days) for i in range(days - 3)),
        "estimates": (
            EstimateRecord(metric="roc_auc", model=MODEL, compared=56, inside=54, p_value=0.55, mean_error=0.004),
        ),
        "alarms": (DRIFTED,),
    }
    return Monitored(**values | changes)


MUTED = EstimateRecord(
    metric="roc_auc", model=MODEL, compared=56, inside=38, p_value=1e-9, mean_error=0.041, muted=True
)


def points(days=184, **changes):
    """The windows of those days, as the index lists them."""
    return [
        WindowPoint(
            **{
                "as_of": day(i),
                "verdict": "published",
                "rows": RowCounts(pulled=960 + 30 * (i % 7), scored=950 + 30 * (i % 7), quarantined=10),
                "href": f"as_of={day(i)}.html",
                "model_version": 3,
                "seconds": 3.1,
                "mean_prediction": 0.27 + wave(i, 28, 0.02),
                "biggest_psi": 0.1,
                "biggest_psi_column": "temp",
                "quantiles": tuple(q + wave(i, 28, 0.02) for q in (0.08, 0.16, 0.24, 0.35, 0.55)),
                "estimates": {"roc_auc": around(0.729 + wave(i, 31, 0.006), 0.04)},
            }
            | changes
        )
        for i in range(days)
    ]
