"""What a model's method returned, whatever kind of thing it is: as an array, in the order in which rows and classes were given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.core.errors import ModelBlocked

_MOST_NAMED = 5


def as_array(returned: Any) -> npt.NDArray[Any]:
    """Dense; what lies under a mask is no prediction, and comes as None."""
    if np.ma.is_masked(returned):
        values = returned.data.astype(object)
        values[np.ma.getmaskarray(returned)] = None
        return np.asarray(values)
    return np.asarray(returned.toarray() if hasattr(returned, "toarray") else returned)


def classes_of(estimator: Any) -> tuple[Any, ...] | None:
    """Its classes; None of one that has no single list of them."""
    try:
        found = np.asarray(estimator.classes_)
    except Exception:  # noqa: BLE001 - it may be a property of any model's own
        return None
    return tuple(found.tolist()) if found.ndim == 1 else None


def refuse_reordered(frame: Any, who: str, classes: Sequence[Any] | None) -> None:
    """ModelBlocked for a pandas object whose labels say that its rows or classes come in another order than is asked for."""
    index, columns = np.asarray(frame.index), list(getattr(frame, "columns", ()))
    given = np.arange(len(index))
    if index.dtype.kind in "iu" and (index != given).any() and (np.sort(index) == given).all():
        what = f"its rows come in another order than they were given: by their index {few(index.tolist())}"
    elif classes and columns != list(classes) and set(columns) == set(classes):
        what = f"its columns are named {few(columns)}, and its classes are {few(classes)}"
    else:
        return
    raise ModelBlocked(
        f"{who}: {what}",
        state="nothing of this batch was published",
        next_step="mend the model, or give an output adapter that puts them in order",
    )


def few(values: Sequence[Any]) -> str:
    """The first values of a list, as a person reads it."""
    shown = ", ".join(repr(value) for value in values[:_MOST_NAMED])
    return f"[{shown}, ...]" if len(values) > _MOST_NAMED else f"[{shown}]"
