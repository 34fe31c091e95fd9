"""How good a model is on labelled rows: the field's metrics, with intervals in which whole windows are the unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

_RESAMPLES = 200
_INTERVAL = (2.5, 97.5)


class Metric(BaseModel):
    """One metric with its 95 % interval, from a bootstrap over whole windows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float
    low: float
    high: float


class Benchmark(BaseModel):
    """What a version was worth when it was registered: what production is held against."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: tuple[Metric, ...]
    first: str
    last: str
    rows: int
    rows_without_label: int


Score = Callable[[npt.NDArray[Any], npt.NDArray[Any]], float]


def binary_metrics() -> dict[str, Score]:
    """Of a label (0 or 1) and the probability of 1; scikit-learn's own."""
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score  # noqa: PLC0415

    return {
        "roc_auc": roc_auc_score,
        "average_precision": average_precision_score,
        "log_loss": log_loss,
        "brier": brier_score_loss,
    }


def regression_metrics() -> dict[str, Score]:
    """Of a value and its prediction; scikit-learn's own."""
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error  # noqa: PLC0415

    return {"rmse": root_mean_squared_error, "mae": mean_absolute_error, "r2": r2_score}


def class_metrics() -> dict[str, Score]:
    """Of a class and the predicted class; scikit-learn's own."""
    from sklearn.metrics import accuracy_score, f1_score  # noqa: PLC0415

    return {"accuracy": accuracy_score, "f1_macro": lambda true, found: float(f1_score(true, found, average="macro"))}


def measure(
    scores: dict[str, Score], truth: npt.NDArray[Any], predicted: npt.NDArray[Any], blocks: npt.NDArray[Any]
) -> tuple[Metric, ...]:
    """Each score with its 95 % percentile interval. Rows of one block (a day, say) are drawn together: errors within a
    day go together, and an interval from single rows would be too narrow (Künsch 1989, the block bootstrap).
    """
    members = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    random = np.random.default_rng(0)
    draws = [
        np.concatenate([members[one] for one in random.integers(0, len(members), len(members))])
        for _ in range(_RESAMPLES)
    ]
    return tuple(_with_interval(name, score, truth, predicted, draws) for name, score in scores.items())


def _with_interval(
    name: str, score: Score, truth: npt.NDArray[Any], predicted: npt.NDArray[Any], draws: list[npt.NDArray[np.intp]]
) -> Metric:
    # A draw in which every label is the same has no ROC; it says nothing about the spread.
    usable = [draw for draw in draws if len(np.unique(truth[draw])) > 1]
    found = [score(truth[draw], predicted[draw]) for draw in usable]
    low, high = np.percentile(found, _INTERVAL) if found else (np.nan, np.nan)
    return Metric(name=name, value=float(score(truth, predicted)), low=float(low), high=float(high))
