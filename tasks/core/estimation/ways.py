"""The two ways to estimate, alike to whoever uses them: learn from rows whose truth is known, then say what to expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.estimation import cbpe, dle

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Scored rows: the features, what was predicted, and what came true as 0, 1 or a number; NaN where that is not known."""

    features: pa.Table
    predicted: Floats
    truth: Floats

    def __len__(self) -> int:
        return len(self.predicted)

    def take(self, places: npt.NDArray[np.intp]) -> Rows:
        return Rows(self.features.take(places), self.predicted[places], self.truth[places])

    @property
    def labelled(self) -> Rows:
        return self.take(np.flatnonzero(~np.isnan(self.truth)))


@dataclass(frozen=True)
class LearnedCbpe:
    """A map from scores to probabilities, and the metrics that are asked for."""

    probabilities: cbpe.ProbabilityMap
    metrics: tuple[str, ...]

    def expected(self, rows: Rows) -> dict[str, float]:
        return cbpe.expected(rows.predicted, self.probabilities.of(rows.predicted), self.metrics)


@dataclass(frozen=True)
class Cbpe:
    """For a probability or a score of one class against the rest."""

    metrics: tuple[str, ...]

    def learn(self, rows: Rows) -> LearnedCbpe:
        return LearnedCbpe(cbpe.fit_map(rows.predicted, rows.truth), self.metrics)

    def realised(self, rows: Rows) -> dict[str, float]:
        # A truth that is known is a probability of 0 or 1.
        return cbpe.expected(rows.predicted, rows.truth, self.metrics)


@dataclass(frozen=True)
class LearnedDle:
    """Models of the losses, and how they take the features."""

    columns: tuple[dle.LossColumn, ...]
    models: dict[str, Any]

    def expected(self, rows: Rows) -> dict[str, float]:
        return dle.expected(self.models, self.columns, rows.features, rows.predicted)


@dataclass(frozen=True)
class Dle:
    """For a number."""

    metrics: tuple[str, ...] = dle.METRICS

    def learn(self, rows: Rows) -> LearnedDle:
        columns = dle.columns_of(rows.features)
        return LearnedDle(columns, dle.fit_losses(columns, rows.features, rows.predicted, rows.truth))

    def realised(self, rows: Rows) -> dict[str, float]:
        return dle.realised(rows.predicted, rows.truth)


# `learn` and `realised` take rows that all have a truth; `expected` any, and gives {} of no rows.
Way = Cbpe | Dle
Learned = LearnedCbpe | LearnedDle
