"""How an estimator is made and fitted, and its probabilities put right: once for a version, once a fold of its past."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from tasks.core.errors import DefinitionError
from tasks.core.own_code import NotImportable, named


def make_estimator(reference: str) -> Any:
    """The estimator that a factory, given as module:function, makes."""
    try:
        factory: Callable[[], Any] = named(reference)
    except NotImportable as error:
        raise DefinitionError(
            f"training.estimator '{reference}' cannot be imported: {error}",
            next_step="give module:function of a function without arguments that returns an estimator",
        ) from error
    return factory()


def calibrated(fitted: Any, frame: Any, truth: npt.NDArray[Any]) -> Any:
    """The fitted model with its probabilities put right on other rows, by isotonic regression (Zadrozny and Elkan 2002)."""
    from sklearn.calibration import CalibratedClassifierCV  # noqa: PLC0415 - heavy
    from sklearn.frozen import FrozenEstimator  # noqa: PLC0415 - heavy

    return CalibratedClassifierCV(FrozenEstimator(fitted), method="isotonic").fit(frame, truth)
