"""The figures of a run that a report draws and the metrics table keeps, beside the manifest's."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Distribution(BaseModel):
    """Of one column: the share of rows in each bin or category, in this window and in the reference.

    `labels` name the bins in order; `edges` (one more than the bins between them, unbounded ends left out) are given for
    numbers. Shares are of all rows, a missing value counts in `missing` alone, and each side sums to 1 with its missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    role: Literal["feature", "prediction"]
    kind: Literal["numeric", "categorical", "boolean", "datetime"]
    labels: tuple[str, ...]
    edges: tuple[float, ...] | None = None
    observed: tuple[float, ...]
    observed_missing: float
    reference: tuple[float, ...] | None = None
    reference_missing: float | None = None


class Figures(BaseModel):
    """All that the page of a window draws and its manifest does not hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distributions: tuple[Distribution, ...] = ()
