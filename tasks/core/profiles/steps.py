"""Sums of floats that come out the same in any order, because they are sums of whole numbers.

A value counts as whole steps from a centre. A step is a power of two, about a millionth of a standard deviation that
is known before; where a value lies over 2^31 steps away, steps are coarser, by 2^16 as often as it needs, which keeps
its distance to five digits. Each value is rounded by itself, so sums are exact under any split and order. The idea is
that of reproducible summation on a fixed grid (Demmel and Nguyen, 'Fast Reproducible Floating-Point Summation', 2013).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_STEP_BITS = 20
_TIER_BITS = 16
_MOST_STEPS = 2.0**31
_MOST_SQUARES = 2.0**62  # Their sum is an int64.
_HALF_BITS = 16
_LEAST_EXPONENT = -1000  # Of a step; its inverse is a float.
_BLOCK_ROWS = 1 << 14  # Stays in a core's cache; and sums of products of two halves stay below 2^53.
_ROOT_BITS = 128


class Steps(NamedTuple):
    """The sums of steps, and of their squares."""

    steps: int
    squares: int


def deviations(finite: Floats) -> tuple[float | None, float | None]:
    """Mean and standard deviation (divisor n); scaled by a power of two, so that nothing overflows."""
    if not len(finite):
        return None, None
    exponent = math.frexp(float(np.abs(finite).max()))[1]
    scaled = np.ldexp(finite, -exponent)
    return math.ldexp(float(scaled.mean()), exponent), math.ldexp(float(scaled.std()), exponent)


def sum_steps(finite: Floats, scale: tuple[float, float]) -> Steps:
    """The sums over finite values of their steps, on the scale of a mean and a standard deviation."""
    steps = squares = 0
    with np.errstate(over="ignore", invalid="ignore"):  # What overflows is far away, and takes coarser steps.
        for start in range(0, len(finite), _BLOCK_ROWS):
            found = _sum_block(finite[start : start + _BLOCK_ROWS], scale[0], _exponent(scale))
            steps, squares = steps + found.steps, squares + found.squares
    return Steps(steps, squares)


def unscaled_moments(
    total: Steps, count: int, scale: tuple[float, float], limits: tuple[float, float]
) -> tuple[float, float]:
    """Mean and standard deviation of `count` values between the limits, of which these are the sums."""
    step = Fraction(2) ** _exponent(scale)
    low, high = Fraction(limits[0]), Fraction(limits[1])
    mean = Fraction(scale[0]) + step * total.steps / count
    variance = step**2 * (Fraction(total.squares, count) - Fraction(total.steps, count) ** 2)
    # Steps are rounded, so the figures may lie a little beyond what is possible: half the range, for a deviation.
    return float(min(max(mean, low), high)), float(min(_root(variance), (high - low) / 2))


def _exponent(scale: tuple[float, float]) -> int:
    """That of two in a step. Of a constant column, which has no deviation, the value itself gives the scale."""
    mean, std = scale
    return max(math.frexp(std or abs(mean) or 1.0)[1] - _STEP_BITS, _LEAST_EXPONENT)


def _sum_block(values: Floats, centre: float, exponent: int) -> Steps:
    inverse = math.ldexp(1.0, -exponent)
    whole = values * inverse
    whole -= centre * inverse
    np.rint(whole, out=whole)
    fits = np.abs(whole) < _MOST_STEPS
    if fits.all():
        return _sum_whole(whole)
    near = _sum_whole(whole[fits])
    far = _sum_block(values[~fits], centre, exponent + _TIER_BITS)
    return Steps(near.steps + (far.steps << _TIER_BITS), near.squares + (far.squares << 2 * _TIER_BITS))


def _sum_whole(whole: Floats) -> Steps:
    """Exact: whole numbers are summed as such while their squares fit, else by halves of which sums stay below 2^53."""
    furthest = max(float(whole.max(initial=0.0)), -float(whole.min(initial=0.0)))
    if furthest * furthest * len(whole) < _MOST_SQUARES:
        exact = whole.astype(np.int64)
        return Steps(int(exact.sum()), _dot(exact, exact))
    upper = np.rint(whole * 2.0**-_HALF_BITS)
    lower = whole - upper * 2.0**_HALF_BITS
    squares = (_dot(upper, upper) << 2 * _HALF_BITS) + (_dot(upper, lower) << _HALF_BITS + 1) + _dot(lower, lower)
    return Steps(int(whole.sum()), squares)


def _dot(one: Any, other: Any) -> int:
    # Not np.dot: BLAS may start threads for it.
    return int(np.einsum("i,i->", one, other))


def _root(value: Fraction) -> Fraction:
    """The square root to at least 60 bits, of a fraction beyond what a float holds too."""
    digits = value.numerator.bit_length() - value.denominator.bit_length()
    shift = max(_ROOT_BITS - digits, 0) // 2
    return Fraction(math.isqrt((value.numerator << 2 * shift) // value.denominator), 1 << shift)
