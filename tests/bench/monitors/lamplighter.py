"""Lamplighter: one statistic for the data and one for the performance, at the budget of one alarm a year each."""

import pyarrow as pa
from sklearn.metrics import brier_score_loss, roc_auc_score

from tasks.core.monitoring.drift import calibrate_drift, drift_points
from tasks.core.monitoring.observed import of_profiles
from tasks.core.monitoring.performance_series import WindowFigures, calibrate_performance, performance_points
from tasks.core.monitoring.rhythm import Rhythm
from tasks.core.profiles.profile import WindowProfile, profile_batch, reference_profile

NAME = "Lamplighter"
PER_YEAR, TOGETHER = 1.0, 14
DAILY = Rhythm("day", 7, 365.25 / 7)


def monitor(reference, current, features):
    """Names of monitors and the days on which each is beyond its line."""
    return {"data": _data(reference, current, features), "performance": _performance(reference, current)}


def _data(reference, current, features):
    before = pa.Table.from_pandas(reference, preserve_index=False)
    references = reference_profile(before.select(features)), reference_profile(before.select(["score"]))
    past, now = (of_profiles(references, list(_profiles(references, frame))) for frame in (reference, current))
    calibration = calibrate_drift(past, DAILY)
    points = drift_points(calibration, DAILY, now, per_year=PER_YEAR, model="")
    return [one.unit for one in points if one.statistic is not None and one.statistic > one.line]


def _profiles(references, frame):
    for day, rows in frame.groupby("as_of"):
        table = pa.Table.from_pandas(rows, preserve_index=False)
        features, predictions = (profile_batch(reference, table) for reference in references)
        yield day, WindowProfile(features=features, predictions=predictions)


def _performance(reference, current):
    past, now = (list(_figures(frame)) for frame in (reference, current))
    calibration = calibrate_performance(past, DAILY, together=TOGETHER)
    points = performance_points(
        calibration, DAILY, now, per_year=PER_YEAR, model="", benchmark={}, degraded_after=TOGETHER
    )
    return [one.unit for one in points if one.statistic is not None and one.statistic > one.line]


def _figures(frame):
    for day, rows in frame[frame["late"].notna()].groupby("as_of"):
        truth, score = rows["late"].to_numpy(bool), rows["score"].to_numpy()
        found = {"bias": float(truth.mean() - score.mean()), "brier": brier_score_loss(truth, score)}
        if 0 < truth.sum() < len(truth):
            found["roc_auc"] = roc_auc_score(truth, score)
        yield WindowFigures(day, len(rows), found)
