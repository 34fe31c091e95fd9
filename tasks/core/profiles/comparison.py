"""How far what was observed lies from a reference, column by column. Figures only: what is an alarm is not said here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

from tasks.core.profiles.profile import (
    BatchProfile,
    CategoryCounts,
    CategoryReference,
    NumericCounts,
    NumericReference,
    ReferenceProfile,
    moments,
)

SMOOTHING = 0.5


@dataclass(frozen=True)
class FeatureDrift:
    """One column, observed against its reference. None: it cannot be said, for want of rows or of such a figure.

    Kolmogorov-Smirnov and Wasserstein are of numbers, chi-squared and Cramér's V of categories. Shares of new categories
    and of values outside the range of the reference are of the values that are not missing.
    """

    column: str
    kind: str
    rows: int
    psi: float | None
    jensen_shannon: float | None
    kolmogorov_smirnov: float | None
    wasserstein: float | None
    chi_squared: float | None
    cramers_v: float | None
    missing_share_reference: float | None
    missing_share_observed: float | None
    missing_change: float | None
    new_category_share: float | None
    new_categories: tuple[str, ...]
    outside_range_share: float | None
    mean_reference: float | None
    mean_observed: float | None
    std_reference: float | None
    std_observed: float | None


def compare(reference: ReferenceProfile, observed: BatchProfile) -> list[FeatureDrift]:
    """Every column of the reference, in its order; ValueError where other bins were counted in."""
    if observed.reference != reference.digest:
        raise ValueError("this profile was counted in the bins of another reference")
    return [_compare_column(name, reference, observed) for name in reference.columns]


def psi(expected_counts: Sequence[int], observed_counts: Sequence[int]) -> float | None:
    """Population stability index: the sum over bins of (q - p) ln(q / p), p expected and q observed shares.

    N. Siddiqi, 'Credit Risk Scorecards' (Wiley 2006); it is Jeffreys' divergence, KL(p, q) + KL(q, p).
    SMOOTHING is added to each count before shares are taken, so that an empty bin leaves it finite. With nothing
    changed it is of the size (bins - 1) (1/n + 1/m) for n and m rows: B. Yurdakul, 'Statistical Properties of
    Population Stability Index' (Western Michigan University 2018). None where one side has no rows.
    """
    if not sum(expected_counts) or not sum(observed_counts):
        return None
    p, q = _smoothed_shares(expected_counts), _smoothed_shares(observed_counts)
    return float(np.sum(rel_entr(p, q) + rel_entr(q, p)))


def jensen_shannon(expected_counts: Sequence[int], observed_counts: Sequence[int]) -> float | None:
    """Jensen-Shannon distance to base 2: 0 for equal shares, 1 for shares that have no bin in common.

    The square root of J. Lin's divergence (IEEE Trans. Inf. Theory 37, 1991), which is a metric (Endres and
    Schindelin, ibid. 49, 2003). Without smoothing. None where one side has no rows.
    """
    if not sum(expected_counts) or not sum(observed_counts):
        return None
    with np.errstate(invalid="ignore"):  # Of shares almost equal, rounding may ask for the root of -1e-17.
        distance = float(jensenshannon(expected_counts, observed_counts, base=2))
    return 0.0 if np.isnan(distance) else distance


def kolmogorov_smirnov(expected_counts: Sequence[int], observed_counts: Sequence[int]) -> float | None:
    """The largest difference between the two cumulative distributions, at the edges of ordered bins: 0 to 1.

    N. Smirnov, 'Table for Estimating the Goodness of Fit of Empirical Distributions', Ann. Math. Stat. 19 (1948). On bins
    it is never above that of the values themselves: W. Conover, 'A Kolmogorov Goodness-of-Fit Test for Discontinuous
    Distributions', JASA 67 (1972). None where one side has no rows.
    """
    if not sum(expected_counts) or not sum(observed_counts):
        return None
    apart = np.cumsum(_shares(expected_counts)) - np.cumsum(_shares(observed_counts))
    return float(np.abs(apart[:-1]).max(initial=0.0))


def wasserstein(expected_counts: Sequence[int], observed_counts: Sequence[int]) -> float | None:
    """How far values have moved on average, as a share of the reference's rows that they pass: 0 to 1/2.

    The 1-Wasserstein distance (A. Ramdas, N. Garcia and M. Cuturi, 'On Wasserstein Two-Sample Testing and Related Families
    of Nonparametric Tests', Entropy 19, 2017) on the scale of the reference's own distribution, each bin at its mid-rank,
    the ridit of I. Bross ('How to Use Ridit Analysis', Biometrics 14, 1958): in the column's own unit, one outlier that
    widens the last bin would outweigh all else. None where one side has no rows.
    """
    from scipy.stats import wasserstein_distance  # noqa: PLC0415 - heavy

    if not sum(expected_counts) or not sum(observed_counts):
        return None
    p, q = _shares(expected_counts), _shares(observed_counts)
    mid_ranks = np.cumsum(p) - p / 2
    return float(wasserstein_distance(mid_ranks, mid_ranks, p, q))


def chi_squared(expected_counts: Sequence[int], observed_counts: Sequence[int]) -> tuple[float, float] | None:
    """Pearson's statistic of two samples by category, and its size whatever the rows: Cramér's V, 0 to 1.

    K. Pearson, 'On the Probability that Two Independent Distributions of Frequency Are Really Samples from the Same
    Population', Biometrika 8 (1911), without a correction for continuity; H. Cramér, 'Mathematical Methods of
    Statistics' (Princeton 1946). No p-value: with rows enough, every difference has a small one. None where one side
    has no rows.
    """
    from scipy.stats import chi2_contingency  # noqa: PLC0415 - heavy

    if not sum(expected_counts) or not sum(observed_counts):
        return None
    table = np.array([expected_counts, observed_counts], np.int64)
    table = table[:, table.any(axis=0)]
    if table.shape[1] == 1:
        return 0.0, 0.0
    statistic = float(chi2_contingency(table, correction=False).statistic)
    return statistic, math.sqrt(statistic / float(table.sum()))  # Two rows: one less is one.


def missing_change(reference: tuple[int, int], observed: tuple[int, int]) -> float | None:
    """The share missing, observed less reference, each given as (missing, rows). None where one side has no rows."""
    before, after = _share(*reference), _share(*observed)
    return None if before is None or after is None else after - before


def _compare_column(name: str, reference: ReferenceProfile, observed: BatchProfile) -> FeatureDrift:
    column, counts = reference.columns[name], observed.columns[name]
    present = sum(counts.counts)
    outside, means, stds = _numeric_figures(column, counts)
    new, new_categories = _new_categories(column, counts)
    is_number, is_category = isinstance(column, NumericReference), column.kind in ("categorical", "boolean")
    categories = chi_squared(column.counts, counts.counts) if is_category else None
    return FeatureDrift(
        column=name,
        kind=column.kind,
        rows=observed.rows,
        psi=psi(column.counts, counts.counts),
        jensen_shannon=jensen_shannon(column.counts, counts.counts),
        kolmogorov_smirnov=kolmogorov_smirnov(column.counts, counts.counts) if is_number else None,
        wasserstein=wasserstein(column.counts, counts.counts) if is_number else None,
        chi_squared=categories[0] if categories else None,
        cramers_v=categories[1] if categories else None,
        missing_share_reference=_share(column.missing, reference.rows),
        missing_share_observed=_share(counts.missing, observed.rows),
        missing_change=missing_change((column.missing, reference.rows), (counts.missing, observed.rows)),
        new_category_share=None if new is None else _share(new, present),
        new_categories=new_categories,
        outside_range_share=None if outside is None else _share(outside, present),
        mean_reference=means[0],
        mean_observed=means[1],
        std_reference=stds[0],
        std_observed=stds[1],
    )


_Pair = tuple[float | None, float | None]


def _numeric_figures(column: object, counts: object) -> tuple[int | None, _Pair, _Pair]:
    if not isinstance(column, NumericReference) or not isinstance(counts, NumericCounts):
        return None, (None, None), (None, None)
    mean, std = moments(column, counts) or (None, None)
    # Without edges the reference had no value, and so no range.
    outside = counts.counts[0] + counts.counts[-1] if column.edges else None
    return outside, (column.mean, mean), (column.std, std)


def _new_categories(column: object, counts: object) -> tuple[int | None, tuple[str, ...]]:
    if not isinstance(column, CategoryReference) or not isinstance(counts, CategoryCounts) or not column.knows_all:
        return None, ()
    return counts.counts[-1], counts.new_values


def _smoothed_shares(counts: Sequence[int]) -> npt.NDArray[np.float64]:
    return _shares(np.asarray(counts, np.float64) + SMOOTHING)


def _shares(counts: npt.ArrayLike) -> npt.NDArray[np.float64]:
    weights = np.asarray(counts, np.float64)
    shares: npt.NDArray[np.float64] = weights / weights.sum()
    return shares


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
