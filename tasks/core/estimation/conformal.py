"""How far an estimate may be off: as far as those of past windows were, whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

NOMINAL = 0.95
# Of fewer windows no error is so large that 95 % of the next ones are smaller.
FEWEST_WINDOWS = math.ceil(NOMINAL / (1 - NOMINAL) - 1e-9)


def half_width(errors: Sequence[float]) -> float | None:
    """The error that the next window's stays below, 95 times in 100; None of fewer than 19 windows.

    Split conformal prediction with the absolute residual as score: its ceil((n + 1) 0.95)-th smallest value (Angelopoulos
    and Bates 2023, A Gentle Introduction to Conformal Prediction, section 2.3.2 and equation 1). It holds for windows that
    are exchangeable with these. It promises nothing of a single window, and nothing where the concept drifts.
    """
    if len(errors) < FEWEST_WINDOWS:
        return None
    place = math.ceil((len(errors) + 1) * NOMINAL - 1e-9)
    return float(np.sort(np.abs(errors))[place - 1])
