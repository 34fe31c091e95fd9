"""Which values of a category a model knows: those that it has kept of its fit or, where it has not, the sample's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tasks.core.errors import DefinitionError
from tasks.core.models.model_version import InputColumn, InputSchema

_LONGEST_LIST = 10


def categories_kept(estimator: Any) -> list[list[Any]]:
    """The values of each pandas category that LightGBM was fitted on, alone or at a pipeline's end; else none."""
    last = estimator.steps[-1][-1] if _is_pipeline(estimator) else estimator
    booster = getattr(last, "_Booster", None) or last
    return list(getattr(booster, "pandas_categorical", None) or ())


def with_known_categories(
    estimator: Any, inputs: InputSchema, *, is_behind_adapter: bool
) -> tuple[InputSchema, tuple[str, ...]]:
    """The inputs with the categories of the model's fit, where it has kept them, and what is to be said.

    A sample that was cut out of the training data may have fewer of them, and the others would be scored as missing.
    DefinitionError where the sample has none of a column's.
    """
    ours = [column for column in inputs.columns if column.encoding == "category"]
    kept = categories_kept(estimator)
    if len(kept) != len(ours):
        return inputs, tuple(_others_are_missing(column) for column in ours)
    # What stands before the model may make other categories of them.
    is_direct = not is_behind_adapter and not _is_pipeline(estimator)
    known = {
        column.name: _known(column, values, is_direct=is_direct) for column, values in zip(ours, kept, strict=True)
    }
    columns = tuple(known[column.name][0] if column.name in known else column for column in inputs.columns)
    return inputs.model_copy(update={"columns": columns}), tuple(said for _, said in known.values() if said)


def _known(column: InputColumn, kept: Sequence[Any], *, is_direct: bool) -> tuple[InputColumn, str]:
    found = column.categories or ()
    unknown = [value for value in found if value not in kept]
    if unknown and not is_direct:
        return column, _others_are_missing(column)
    if len(unknown) == len(found):
        raise DefinitionError(
            f"the model was fitted on the category '{column.name}' of {_listed(kept)}, and the sample has {_listed(found)}",
            state="nothing was registered",
            next_step="give a sample with the values of the fit, written alike and of the same type",
        )
    of_fit = column.model_copy(update={"categories": tuple(kept)})
    if not unknown:
        return of_fit, ""
    return of_fit, f"{column.name}: the model does not know {_listed(unknown)} of the sample, and scores it as missing"


def _is_pipeline(estimator: Any) -> bool:
    return bool(getattr(estimator, "steps", None))


def _others_are_missing(column: InputColumn) -> str:
    return f"{column.name}: other values than {_listed(column.categories or ())} count as missing"


def _listed(values: Collection[Any]) -> str:
    shown = ", ".join(map(str, list(values)[:_LONGEST_LIST]))
    return f"{shown} and {len(values) - _LONGEST_LIST} more" if len(values) > _LONGEST_LIST else shown
