"""What a model takes: the columns that it names itself or, where it names none, those of the sample that it can score."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import DefinitionError
from tasks.core.models.model_version import InputSchema
from tasks.core.models.prediction import Elsewhere, LoadedModel, PredictRaised, input_frame
from tasks.core.models.registering.categories import with_known_categories
from tasks.core.models.registering.given import NOTHING, Given, raised
from tasks.core.models.registering.sample import typed

_TRIED_ROWS = 100
_UNNAMED = re.compile(r"Column_\d+")


def work_out_inputs(opened: LoadedModel, given: Given) -> tuple[InputSchema, pa.Table, tuple[str, ...]]:
    """The model's columns in its order, the sample's rows of them, and what is to be said of where they come from."""
    inputs, rows, remarks = _worked_out(opened, given)
    inputs, said = with_known_categories(opened.estimator, inputs, is_behind_adapter=bool(given.adapter))
    return inputs, rows, (*remarks, *said)


def _worked_out(opened: LoadedModel, given: Given) -> tuple[InputSchema, pa.Table, tuple[str, ...]]:
    if given.adapter:
        names, remark = _offered(given)
        return *typed(given.sample, names, given.job), (f"the adapter is given {_listed(names)}", *remark)
    named = _named_by(opened.estimator, given)
    if named is None:
        return _tried(opened, given)
    names = _needed(named, given)
    _check_target(names, given)
    without = [name for name in named if name not in names]
    remark = (f"the model was fitted on these columns as well, and is given none of them: {_listed(without)}",)
    return *typed(given.sample, names, given.job), remark if without else ()


def _needed(named: list[str], given: Given) -> list[str]:
    """All that it was fitted on; with --input fewer, as of a pipeline that picks some. Scoring shows whether they do."""
    if strange := [name for name in given.inputs if name not in named]:
        raise DefinitionError(
            f"the model says itself which columns it takes: {_listed(named)}; --input names {_listed(strange)}",
            state=NOTHING,
            next_step="leave --input out; or, of a model that picks its columns out of these, name those that it picks",
        )
    return [name for name in named if name in given.inputs] if given.inputs else named


def _check_target(names: list[str], given: Given) -> None:
    labels = given.job.labels if given.job else None
    targets = {given.target, labels.target if labels else ""}
    there = [name for name in names if name in targets]
    if not there:
        return
    others = [f"--input {shlex.quote(name)}" for name in names if _is_had(name, given) and name not in targets]
    raise DefinitionError(
        f"the model was fitted on a frame with the target '{there[0]}' in it, which no row has when it is scored",
        state=NOTHING,
        next_step=f"if it does not use it, say which columns it takes: {' '.join(others) or '--input NAME'}; else fit it without, "
        "and save it again; or give it a frame with such a column by --adapter module:function",
    )


def _is_had(name: str, given: Given) -> bool:
    return name in given.sample.columns and (given.job is None or name in given.job.columns)


def _named_by(estimator: Any, given: Given) -> list[str] | None:
    """The names that the model was fitted on, as the sample writes them; None where it does not say."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        names = _names_of_booster(estimator)
    if names is None:
        return None
    names = list(map(str, names))
    there = set(given.sample.columns)
    if _are_numbers(names) and not there.issuperset(names):
        return None
    # LightGBM writes 'air temp' as 'air_temp'.
    written = {re.sub(r"\s", "_", name): name for name in given.sample.columns}
    return [name if name in there else written.get(name, name) for name in names]


def _are_numbers(names: list[str]) -> bool:
    """What LightGBM calls the columns of an array, or of a frame that was made of one."""
    return all(_UNNAMED.fullmatch(name) for name in names) or names == [str(number) for number in range(len(names))]


def _names_of_booster(estimator: Any) -> list[str] | None:
    """Of a bare lightgbm.Booster."""
    names = getattr(estimator, "feature_name", None)
    if isinstance(estimator, Elsewhere) or not callable(names):
        return None
    return list(names())


# -- of a model that does not name its columns --------------------------------------------------------------------------


def _tried(opened: LoadedModel, given: Given) -> tuple[InputSchema, pa.Table, tuple[str, ...]]:
    """The first choice of columns, as a frame or as an array, that the model scores."""
    count, left_out = _count_of(opened.estimator), _offered(given)[1]
    choices = [typed(given.sample, names, given.job) for names in _choices(given, count)]
    first: Exception | None = None
    # A model that knows how many columns there were, and not their names, was fitted on an array; one that knows numbers
    # as names on a frame.
    of_array = count is not None and getattr(opened.estimator, "feature_names_in_", None) is None
    for container in ("numpy", "pandas") if of_array else ("pandas", "numpy"):
        for schema, rows in choices:
            inputs = schema.model_copy(update={"container": _possible(container, schema)})
            error = _why_not(opened, given, inputs, rows)
            if error is None:
                return inputs, rows, (*_said(inputs, given), *left_out)
            first = first or error
    told = PredictRaised(first or "nothing was tried").message
    raise raised(PredictRaised("; ".join([told, *left_out])), given, opened.estimator) from first


def _possible(container: str, inputs: InputSchema) -> str:
    return "pandas" if any(column.encoding == "category" for column in inputs.columns) else container


def _said(inputs: InputSchema, given: Given) -> tuple[str, ...]:
    if given.inputs:
        return ()
    said = f"the model does not name its columns: they are the sample's, in its order: {', '.join(inputs.names)}"
    # An array has no names, and so no columns too many.
    return (
        said if inputs.container == "numpy" else f"{said}. If it needs fewer, --input NAME says which, once for each",
    )


def _count_of(estimator: Any) -> int | None:
    count = getattr(estimator, "n_features_in_", None)
    if count is None and not isinstance(estimator, Elsewhere) and callable(getattr(estimator, "num_feature", None)):
        count = estimator.num_feature()
    return count


def _choices(given: Given, count: int | None) -> list[list[str]]:
    """The sample's columns without what names or dates a row and, should the model not score these, all of them."""
    every = _offered(given)[0]
    of_job = {*given.job.keys, given.job.event_time} if given.job and not given.inputs else set()
    choices = [one for one in ([name for name in every if name not in of_job], every) if one]
    fitting = [one for one in choices if count in (len(one), None)]
    if not fitting:
        shown = choices[0] if choices else []
        raise DefinitionError(
            f"the model takes {count} columns and does not say which; the sample has {len(shown)}: {', '.join(shown)}",
            state=NOTHING,
            next_step="say which by --input NAME, once for each, in the order in which it was fitted; or give a sample of "
            "the model's columns alone, in this order, and the target",
        )
    return fitting[:1] if fitting[0] == fitting[-1] else fitting


def _offered(given: Given) -> tuple[list[str], tuple[str, ...]]:
    """All of the sample that can be inputs, and which others are left out: those that a run would not have."""
    if given.inputs:
        return list(given.inputs), ()
    names = [name for name in given.sample.columns if name != given.target]
    if given.job is None:
        return names, ()
    undeclared = [name for name in names if name not in given.job.columns]
    left_out = f"the sample has columns that the job {given.job.job} does not declare: {_listed(undeclared)}"
    return [name for name in names if name in given.job.columns], (left_out,) if undeclared else ()


def _why_not(opened: LoadedModel, given: Given, inputs: InputSchema, rows: pa.Table) -> Exception | None:
    """What the model raises on some rows; None where it scores them, or where that shows only later."""
    outputs = given.job.output.columns if given.job else {"any": Prediction()}
    method = None if isinstance(opened.estimator, Elsewhere) else next(iter(outputs.values())).method
    score = getattr(opened.estimator, method, None) if method else None
    if score is None:
        return None
    try:
        score(input_frame(rows.slice(0, _TRIED_ROWS), inputs))
    except Exception as error:  # noqa: BLE001 - another choice is tried, or it is told
        return error
    return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "no column"
