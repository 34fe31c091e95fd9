"""Direct loss estimation: how large the errors of a model of numbers are, told from its inputs by a second model.

NannyML's DLE (https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html): a regression from the
features and the prediction to the loss of each row, whose mean is the metric. As CBPE it sees covariate shift, and is
blind to concept drift.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from tasks.core.models.formats import get_format
from tasks.core.records import Record

Floats = npt.NDArray[np.float64]
# The stubs of pyarrow.compute know few of the shapes that its functions take.
pc: Any = pyarrow.compute

METRICS = ("mae", "rmse")
_FORMAT = "joblib"
# The trees bin a column into 255 values at the most.
_MOST_CATEGORIES = 200
_LOSSES = ("absolute", "squared")


class LossColumn(Record):
    """A column that the losses are told from: a number, or one of these texts."""

    name: str
    categories: tuple[str, ...] | None = None


def columns_of(table: pa.Table) -> tuple[LossColumn, ...]:
    """How each column of the features is taken, as known from these rows: of texts the most frequent."""
    return tuple(LossColumn(name=name, categories=_categories(table[name])) for name in table.column_names)


def fit_losses(columns: tuple[LossColumn, ...], table: pa.Table, predicted: Floats, truth: Floats) -> dict[str, Any]:
    """A model of the absolute and one of the squared error of a row: the same ones for the same rows."""
    from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - heavy

    inputs, errors = _matrix(columns, table, predicted), np.abs(truth - predicted)
    texts = [place for place, column in enumerate(columns) if column.categories is not None]
    losses = dict(zip(_LOSSES, (errors, errors**2), strict=True))
    return {
        name: HistGradientBoostingRegressor(
            max_leaf_nodes=15, categorical_features=texts, early_stopping=False, random_state=0
        ).fit(inputs, loss)
        for name, loss in losses.items()
    }


def expected(
    models: dict[str, Any], columns: tuple[LossColumn, ...], table: pa.Table, predicted: Floats
) -> dict[str, float]:
    """The mean absolute error, and the root of the mean squared one, that are to be expected of these rows."""
    if not len(predicted):
        return {}
    inputs = _matrix(columns, table, predicted)
    # No loss is negative, whatever trees add up to.
    absolute, squared = (float(np.maximum(models[name].predict(inputs), 0).mean()) for name in _LOSSES)
    return {"mae": absolute, "rmse": float(np.sqrt(squared))}


def realised(predicted: Floats, truth: Floats) -> dict[str, float]:
    from sklearn import metrics  # noqa: PLC0415 - heavy

    return {
        "mae": float(metrics.mean_absolute_error(truth, predicted)),
        "rmse": float(metrics.root_mean_squared_error(truth, predicted)),
    }


def dump(models: dict[str, Any]) -> bytes:
    return get_format(_FORMAT).dump(models)


def load(data: bytes) -> dict[str, Any]:
    """Through the allow-list that every model's file passes, with nothing added to it."""
    models: dict[str, Any] = get_format(_FORMAT).load(data, ())
    return models


def _matrix(columns: tuple[LossColumn, ...], table: pa.Table, predicted: Floats) -> Floats:
    """Rows x features and, last, the prediction; NaN for what is missing, and for a text that was not known."""
    return np.column_stack([*(_values(table[column.name], column.categories) for column in columns), predicted])


def _categories(values: pa.ChunkedArray[Any]) -> tuple[str, ...] | None:
    if not _is_text(values.type):
        return None
    counts = [(-one["counts"], one["values"]) for one in pc.value_counts(values.drop_null()).to_pylist()]
    return tuple(text for _, text in sorted(counts)[:_MOST_CATEGORIES])


def _values(values: pa.ChunkedArray[Any], categories: tuple[str, ...] | None) -> Floats:
    if categories is not None:
        known = pa.array(categories, values.type)
        values = pc.index_in(values, value_set=known, skip_nulls=True)
    elif pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("us")).cast(pa.int64())
    elif pa.types.is_temporal(values.type):
        values = values.cast(pa.int64())
    numbers: Floats = values.cast(pa.float64(), safe=False).to_numpy()
    return numbers


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
