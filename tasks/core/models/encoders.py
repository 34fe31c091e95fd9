"""scikit-learn's encoders of text, given each distinct value once: they look at every row in Python, and a batch has few values.

What an encoder makes of a value depends on that value alone. So its own code sees the distinct ones, whatever it does with
what is missing, rare or unknown, and what it made of each is laid out over the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_METHOD = "_transform"
_WRAPPERS = ("FrozenEstimator", "TransformedTargetRegressor")
_FEWEST_ROWS = 1000
# Of the rows; with more distinct values there is nothing to win.
_LARGEST_SHARE = 0.25


class OnDistinct:
    """Stands for the method of an encoder that makes codes and a mask of a frame."""

    def __init__(self, encoder: Any) -> None:
        self._original = getattr(encoder, _METHOD)

    def __call__(self, frame: Any, *rest: Any, **named: Any) -> Any:
        """As the method: two arrays, a row a row and a column a column. What is no frame of text goes its usual way."""
        found = _distinct(frame)
        if found is None:
            return self._original(frame, *rest, **named)
        small, places = found
        made = self._original(small, *rest, **named)
        columns = range(len(places))
        return tuple(np.column_stack([array[places[each], each] for each in columns]) for array in made)


def quicken(model: Any) -> None:
    """Lets the encoders of text in a pipeline look at distinct values alone. What it is not sure of it leaves as it is."""
    for encoder in _encoders(model):
        if callable(getattr(encoder, _METHOD, None)) and hasattr(encoder, "categories_"):
            vars(encoder)[_METHOD] = OnDistinct(encoder)


def _distinct(frame: Any) -> tuple[Any, list[npt.NDArray[np.int64]]] | None:
    """A short frame with every value of each column, and where each row's value stands in it."""
    if type(frame).__module__.partition(".")[0] != "pandas" or getattr(frame, "ndim", 0) != 2:  # noqa: PLR2004
        return None
    if len(frame) < _FEWEST_ROWS or not frame.shape[1] or any(str(kind) != "str" for kind in frame.dtypes):
        return None
    places, firsts = [], []
    for column in range(frame.shape[1]):
        codes = _codes(frame.iloc[:, column])
        first = np.zeros(int(codes.max()) + 1, np.int64)
        # Of those that stand in one place the last is kept: backwards, that is the first.
        first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
        places.append(codes)
        firsts.append(first)
    longest = max(map(len, firsts))
    if longest > _LARGEST_SHARE * len(frame):
        return None
    # Those that have fewer values repeat one.
    rows = [np.concatenate([first, np.full(longest - len(first), first[0])]) for first in firsts]
    small = {
        name: frame.iloc[row, place].array for place, (name, row) in enumerate(zip(frame.columns, rows, strict=True))
    }
    return type(frame)(small), places


def _codes(column: Any) -> npt.NDArray[np.int64]:
    """A number for each distinct value, what is missing among them."""
    values: Any = pa.array(column, from_pandas=True)
    encoded = (values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values).dictionary_encode("encode")
    codes: npt.NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _encoders(model: Any) -> Iterator[Any]:
    """The encoders in a model of scikit-learn's own, through its pipelines and transformers of columns."""
    kind = type(model)
    if not kind.__module__.startswith("sklearn."):
        return
    if kind.__name__ in ("OneHotEncoder", "OrdinalEncoder"):
        yield model
    for one in _inside(model, kind.__name__):
        yield from _encoders(one)


def _inside(model: Any, kind: str) -> list[Any]:
    if kind == "Pipeline":
        return [step for _, step in model.steps]
    if kind in ("ColumnTransformer", "FeatureUnion"):
        fitted = getattr(model, "transformers_", None) or model.transformer_list
        return [each[1] for each in fitted]
    if kind == "CalibratedClassifierCV":
        return [one.estimator for one in model.calibrated_classifiers_]
    return [getattr(model, name) for name in ("estimator", "regressor_") if kind in _WRAPPERS and hasattr(model, name)]
