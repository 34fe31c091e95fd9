"""Confidence-based performance estimation: what a classifier's metrics are if its probabilities, put right, hold.

NannyML's CBPE (https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html; Kivimäki, Białek,
Nurminen and Kuberski 2024, Confidence-based Estimators for Predictive Performance in Model Monitoring, arXiv:2407.08649).
It sees covariate shift. It is blind to concept drift: then the probability of an outcome is no more what it was.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tasks.core.records import Record

Floats = npt.NDArray[np.float64]

OF_SCORES = ("roc_auc", "average_precision", "mean_truth")
OF_PROBABILITIES = (*OF_SCORES, "log_loss", "brier")


class ProbabilityMap(Record):
    """From a score to the probability that it came true: linear between these points, and level beyond them."""

    scores: Annotated[tuple[float, ...], Field(min_length=1)]
    probabilities: Annotated[tuple[float, ...], Field(min_length=1)]

    def of(self, scores: Floats) -> Floats:
        return np.interp(scores, self.scores, self.probabilities)


def fit_map(scores: Floats, truth: Floats) -> ProbabilityMap:
    """Of a truth of 0 and 1. The monotone map that fits best: isotonic regression (Zadrozny and Elkan 2002, Transforming Classifier Scores into
    Accurate Multiclass Probability Estimates; how far probabilities can be off without it: Guo et al. 2017, On
    Calibration of Modern Neural Networks).
    """
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - heavy

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, truth)
    return ProbabilityMap(
        scores=tuple(fitted.X_thresholds_.tolist()), probabilities=tuple(fitted.y_thresholds_.tolist())
    )


def expected(scores: Floats, probabilities: Floats, names: tuple[str, ...]) -> dict[str, float]:
    """Each metric of rows that came true with these probabilities: every row counts twice, as true with its probability
    and as untrue with the rest. With probabilities of 0 and 1 alone it is the very metric. No ROC of one class.
    """
    if not len(scores):
        return {}
    from sklearn import metrics  # noqa: PLC0415 - heavy

    both = np.repeat(np.array([1, 0], dtype=np.int8), len(scores))
    weights = np.concatenate([probabilities, 1 - probabilities])
    counted = weights > 0
    truth, scored, weights = both[counted], np.tile(scores, 2)[counted], weights[counted]
    if not 0 < truth.mean() < 1:
        names = tuple(name for name in names if name not in ("roc_auc", "average_precision"))
    of = {
        "roc_auc": lambda: metrics.roc_auc_score(truth, scored, sample_weight=weights),
        "average_precision": lambda: metrics.average_precision_score(truth, scored, sample_weight=weights),
        "log_loss": lambda: metrics.log_loss(truth, scored, sample_weight=weights, labels=[0, 1]),
        "brier": lambda: metrics.brier_score_loss(truth, scored, sample_weight=weights, pos_label=1),
        "mean_truth": lambda: np.average(truth, weights=weights),
    }
    return {name: float(of[name]()) for name in names}
