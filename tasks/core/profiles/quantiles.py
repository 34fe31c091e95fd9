"""Quantiles of what was observed, from its counts in bins: good enough to draw, and exact under any split into batches."""

from __future__ import annotations

import numpy as np

from tasks.core.profiles.profile import NumericCounts, NumericReference

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def quantiles(
    reference: NumericReference, observed: NumericCounts, levels: tuple[float, ...] = LEVELS
) -> tuple[float, ...] | None:
    """One value a level, values taken as spread evenly within their bin; None where there is no finite value.

    The ends of the outer bins are the least and the largest finite value observed; what is infinite counts with them.
    """
    if observed.min is None or observed.max is None:
        return None
    bounds = np.clip([observed.min, *reference.edges, observed.max], observed.min, observed.max)
    counts = np.asarray(observed.counts)
    has_rows = counts > 0
    lows, highs, counts = bounds[:-1][has_rows], bounds[1:][has_rows], counts[has_rows]
    ends = np.cumsum(counts)
    ranks = np.asarray(levels) * ends[-1]
    bins = np.minimum(np.searchsorted(ends, ranks), len(ends) - 1)
    within = 1 - (ends[bins] - ranks) / counts[bins]
    values = lows[bins] * (1 - within) + highs[bins] * within
    found: list[float] = np.clip(values, lows[bins], highs[bins]).tolist()
    return tuple(found)
