"""How far a window lies from the reference: merged from the batches' profiles, for the manifest and for the page."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.core.profiles.comparison import compare
from tasks.core.profiles.figures import Distribution, Figures
from tasks.core.profiles.profile import (
    BatchProfile,
    CategoryCounts,
    CategoryReference,
    NumericCounts,
    NumericReference,
    ReferenceProfile,
    empty,
    merge,
    moments,
)
from tasks.core.profiles.quantiles import quantiles
from tasks.core.runs.manifest import FeatureDriftRecord, PredictionSummary

Role = Literal["feature", "prediction"]


@dataclass(frozen=True)
class Observed:
    """A window's profile beside the reference that gave it its bins."""

    role: Role
    reference: ReferenceProfile
    profile: BatchProfile


def observe(role: Role, reference: ReferenceProfile, batches: Sequence[BatchProfile]) -> Observed:
    """The batches' profiles as one, whatever their number and order."""
    whole = empty(reference)
    for batch in batches:
        whole = merge(whole, batch)
    return Observed(role, reference, whole)


def drift_records(observed: Observed) -> tuple[FeatureDriftRecord, ...]:
    """Each column's distance from the reference; none of a window in which no row was scored."""
    if not observed.profile.rows:
        return ()
    return tuple(
        FeatureDriftRecord(
            column=one.column,
            psi=one.psi,
            jensen_shannon=one.jensen_shannon,
            kolmogorov_smirnov=one.kolmogorov_smirnov,
            wasserstein=one.wasserstein,
            chi_squared=one.chi_squared,
            cramers_v=one.cramers_v,
            missing_share_reference=one.missing_share_reference,
            missing_share=one.missing_share_observed,
            new_category_share=one.new_category_share,
        )
        for one in compare(observed.reference, observed.profile)
    )


def prediction_summaries(observed: Observed) -> dict[str, PredictionSummary]:
    """Mean, extremes and quantiles of each prediction that is a number."""
    found = {}
    for name, reference in observed.reference.columns.items():
        counts = observed.profile.columns[name]
        if isinstance(reference, NumericReference) and isinstance(counts, NumericCounts):
            known = moments(reference, counts)
            found[name] = PredictionSummary(
                mean=known[0] if known else None,
                minimum=counts.min,
                maximum=counts.max,
                quantiles=quantiles(reference, counts),
            )
    return found


def figures(observed: Sequence[Observed]) -> Figures:
    """What the page draws: the shares of each bin, today and in the reference."""
    return Figures(distributions=tuple(one for each in observed if each.profile.rows for one in _distributions(each)))


def side_by_side(one: Observed, other: Observed) -> tuple[Distribution, ...]:
    """Two profiles that were counted in the same bins, the other as the reference of the one."""
    if not one.profile.rows:
        return ()
    return tuple(
        drawn.model_copy(update={"reference": beside.observed, "reference_missing": beside.observed_missing})
        for drawn, beside in zip(_distributions(one), _distributions(other), strict=True)
    )


def _distributions(observed: Observed) -> list[Distribution]:
    drawn = []
    for name, reference in observed.reference.columns.items():
        if reference.kind == "opaque":
            continue
        counts = observed.profile.columns[name]
        drawn.append(
            Distribution(
                column=name,
                role=observed.role,
                kind=reference.kind,
                labels=_labels(reference),
                edges=reference.edges if isinstance(reference, NumericReference) else None,
                observed=_shares(counts, observed.profile.rows),
                observed_missing=_share(counts.missing, observed.profile.rows),
                reference=_shares(reference, observed.reference.rows),
                reference_missing=_share(reference.missing, observed.reference.rows),
            )
        )
    return drawn


def _shares(
    counted: NumericReference | CategoryReference | NumericCounts | CategoryCounts, rows: int
) -> tuple[float, ...]:
    return tuple(_share(count, rows) for count in counted.counts)


def _share(count: int, rows: int) -> float:
    return count / rows if rows else 0.0


def _labels(reference: NumericReference | CategoryReference) -> tuple[str, ...]:
    """The names of the bins, in the order of their counts."""
    if isinstance(reference, CategoryReference):
        return (*reference.values, "other", "new")
    edges = [_edge(reference, edge) for edge in reference.edges]
    if not edges:
        return ("all",) * len(reference.counts)
    # A value that several quantiles share has a bin of its own, which ends at the next larger float.
    between = [low if low == high else f"{low} to {high}" for low, high in itertools.pairwise(edges)]
    return (f"below {edges[0]}", *between, f"from {edges[-1]}")


def _edge(reference: NumericReference, edge: float) -> str:
    if reference.kind == "datetime":
        return f"{dt.datetime.fromtimestamp(edge / 1e6, dt.UTC):%Y-%m-%d %H:%M}"
    return f"{edge:.6g}"
