"""A world for promotions: a job with labels, and six versions of its model, of which each is wanting in its own way."""

import sqlite3

import numpy as np
import pandas as pd

from flows.promote import promote
from tasks.core.definitions.modelling import Prediction
from tasks.core.models.model_version import TrainingRecord
from tasks.core.models.registry import Registry
from tests.flows.conftest import LABELS, QUERY, World, as_table, logistic_model, make_project, register

HOT = "<b>hot</b>"
DAYS, A_DAY = [f"2024-05-{day:02d}" for day in range(1, 12)], 250
FEATURES = {"kind": "string", "x": "float64", "y": "float64"}
OUTPUTS = {"probability": Prediction.model_validate({"method": "predict_proba", "class": True})}
PRODUCTION, BETTER, WORSE, WORSE_IF_HOT, HAS_SEEN_THEM, SLOW = 2, 3, 4, 5, 6, 7
JUDGED = {"first": DAYS[1], "last": DAYS[-1]}


def some_days(random):
    """The true reason is x; the first day is for training, the other ten are judged."""
    count = len(DAYS) * A_DAY
    x, y = random.normal(size=(2, count))
    at = [pd.Timestamp(DAYS[row // A_DAY], tz="UTC") + pd.Timedelta(minutes=row % A_DAY) for row in range(count)]
    kind = random.choice([HOT, "cold"], count)
    return pd.DataFrame({"sensor": [f"s{row:05d}" for row in range(count)], "at": at, "kind": kind, "x": x, "y": y})


def with_interactions():
    """A logistic regression that may believe one thing of what is hot, and another of what is not."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    columns, regression = (step for _, step in logistic_model().steps)
    return make_pipeline(columns, PolynomialFeatures(interaction_only=True), regression)


def forest():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline

    return make_pipeline(logistic_model().steps[0][1], RandomForestClassifier(800, max_depth=3, random_state=0))


def make_graded(folder) -> World:
    """A job with labels and six versions: production goes by y more than by x, which is what matters."""
    world = make_project(folder)
    rows = some_days(np.random.default_rng(8))
    happened = rows["x"] + 0.5 * np.random.default_rng(9).normal(size=len(rows)) > 0
    told = rows.assign(at=rows["at"].dt.strftime("%Y-%m-%d %H:%M:%S"), hot=happened.astype(int))
    with sqlite3.connect(world.folder / "warehouse.sqlite") as database:
        told[["sensor", "at", "kind", "x", "y"]].to_sql("readings", database, index=False)
        told[["sensor", "at", "hot"]].to_sql("outcomes", database, index=False)
    database.close()
    world.change_job(
        source={"type": "sql", "driver": "sqlite", "uri": "warehouse.sqlite", "query": QUERY},
        labels=LABELS,
        output__columns={"probability": {"method": "predict_proba", "class": True}},
        promotion={
            "windows": JUDGED,
            "may_lose": 0.02,
            "slices": {"kind": 0.05},
            "calibration_may_lose": 0.2,
            "speed_at_least": 0.3,
        },
    )
    sample = rows[:A_DAY]
    x, y, is_hot = (sample[name].to_numpy() for name in ("x", "y", "kind"))
    beliefs = [
        (logistic_model(), x + 2 * y > 0, DAYS[0]),
        (logistic_model(), x > 0, DAYS[0]),
        (logistic_model(), x + 9 * y > 0, DAYS[0]),
        (with_interactions(), np.where(is_hot == HOT, y, x) > 0, DAYS[0]),
        (logistic_model(), x > 0, DAYS[4]),
        (forest(), x > 0, DAYS[0]),
    ]
    for model, target, last in beliefs:
        training = TrainingRecord(pointer="a test", digest="0", first=DAYS[0], last=last)
        register(
            world.lake, "readings", model, FEATURES, OUTPUTS, as_table(sample), target, training=training, alias=None
        )
    registry = Registry(world.lake)
    at = registry.history("readings")[0].at
    registry.set_alias("readings", "production", PRODUCTION, at=at, actor="test", reason="a test")
    return world


def aliases(world):
    return Registry(world.lake).aliases("readings")


def last_event(world):
    return Registry(world.lake).history("readings")[-1]


def checks(verdict):
    """The outcome of each check by its name."""
    return {f"{one['check']} {one.get('what', '')}".strip(): one["outcome"] for one in verdict["checks"]}


def promoted(world, version, **options):
    return promote("readings", version, "it is better", **options, return_state=True)
