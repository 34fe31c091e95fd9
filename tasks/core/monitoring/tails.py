"""How high the highest value of a block may be while nothing has changed, from the few blocks that are known.

The highest values of whole blocks, one a block, do not overlap. Their upper half over its lower end (the median) is
taken as exponential: peaks over a threshold with shape 0 (J. Pickands, Ann. Statist. 3, 1975; S. Coles, 'An
Introduction to Statistical Modeling of Extreme Values', Springer 2001, chapter 4). A shape cannot be told from a dozen
values, so none is fitted; that the mean excess itself is known from so few is allowed for.

What these values are told in, the middle and the spread of each figure, is taken from the same blocks, and is no better
known. So they count for half: in simulated worlds in which nothing changes, half a year of days known, a line made as if
the scales were given was passed 1.4 to 1.7 times as often as it said, and one that is made so 1.1 to 1.4 times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from tasks.core.monitoring.records import Rate, Tail

_OUTSIDE = 0.05
_COUNTS_FOR = 0.5


def fit(maxima: Sequence[float], blocks_a_year: float, *, blocks: int | None = None) -> Tail:
    """The tail of the highest values of blocks; ValueError where there is none.

    `blocks` is how many of them do not overlap, where they slide; none given: all. So many values, and no more, count
    for what is known of the tail.
    """
    values = np.sort(np.asarray(maxima, np.float64))
    if not len(values):
        raise ValueError("a tail needs the highest value of one block at least")
    middle, whole = float(np.median(values)), len(values) if blocks is None else blocks
    over = values[values > middle] - middle
    return Tail(
        middle=middle,
        spread=float(over.mean()) if len(over) else 0.0,
        excesses=max(len(over) * whole // len(values), 1) if len(over) else 0,
        highest=float(values[-1]),
        blocks=whole,
        blocks_a_year=blocks_a_year,
    )


def line_of(tail: Tail, per_year: float) -> float:
    """What the highest values of at most so many blocks a year are beyond, and at least the highest seen.

    The predictive quantile of an exponential whose mean is known from n excesses alone: with the prior 1 / mean it is
    a Lomax (Pareto II) of shape n and scale n times their mean, and so further out than the exponential's own
    (J. Aitchison and I. R. Dunsmore, 'Statistical Prediction Analysis', Cambridge 1975, section 2.4). n is half of them.
    """
    if not tail.excesses or not tail.spread:
        return tail.highest
    share = min(per_year / _beyond_middle(tail), 1.0)
    known_from = _COUNTS_FOR * tail.excesses
    reach = stats.lomax.isf(share, known_from, loc=tail.middle, scale=known_from * tail.spread)
    return max(float(reach), tail.highest)


def rate_of(tail: Tail, per_year: float) -> Rate:
    """What the line of a budget really promises: less than was asked for where the highest seen is the line."""
    return rate_at(tail, line_of(tail, per_year))


def rate_at(tail: Tail, line: float) -> Rate:
    """Blocks a year whose highest value is beyond a line, by the Lomax; the interval from that of the mean excess.

    2 n mean / true mean is chi-squared with 2 n degrees of freedom (B. Epstein and M. Sobel, JASA 48, 1953). Where no
    value stands out of the rest the rate is at most 3 in as many years as were seen (the rule of three).
    """
    if not tail.excesses or not tail.spread:
        return Rate(per_year=0.0, low=0.0, high=-math.log(_OUTSIDE) * tail.blocks_a_year / max(tail.blocks, 1))
    over, often = max(line - tail.middle, 0.0), _beyond_middle(tail)
    known_from = _COUNTS_FOR * tail.excesses
    freedom = 2 * known_from
    means = [freedom * tail.spread / stats.chi2.ppf(share, freedom) for share in (1 - _OUTSIDE / 2, _OUTSIDE / 2)]
    low, high = (float(often * stats.expon.sf(over, scale=mean)) for mean in means)
    usual = float(often * stats.lomax.sf(over, known_from, scale=known_from * tail.spread))
    # Of one or two values the Lomax is beyond that interval of the mean.
    return Rate(per_year=usual, low=min(low, usual), high=max(high, usual))


def _beyond_middle(tail: Tail) -> float:
    """Blocks a year whose highest value is beyond the middle: half of them, or fewer where values are equal."""
    return tail.blocks_a_year * tail.excesses / tail.blocks
