"""From a fitted scikit-learn model to ONNX, by skl2onnx: one tensor a column, and the classes by name in the metadata."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.core.errors import ModelBlocked
from tasks.core.models.formats.onnx_estimator import estimator
from tasks.core.models.formats.onnx_file import OnnxFile
from tasks.core.models.model_version import InputColumn, InputSchema

Tensors = list[tuple[str, Any]]
_TEXT, _WHOLE, _NUMBER = "StringTensorType", "Int64TensorType", "FloatTensorType"
_KEPT = "nothing was registered in this format"
_TAKES_ONE_INPUT = "InvalidInputLengthException"  # skl2onnx of a step that takes a matrix.


def converted(model: Any, inputs: InputSchema | None) -> bytes:
    """The model as an ONNX file that onnxruntime takes; ModelBlocked with the converter's own words where it cannot be.

    It takes one tensor a column or, where its first step takes a matrix whole, one tensor and the columns' names.
    """
    if inputs is None:
        raise _refused(model, "the types of its columns are not given")
    problems = []
    for tensors in [_by_column, _as_matrix] if inputs.container == "pandas" else [_as_matrix]:
        try:
            data = _converted(model, inputs, tensors)
            estimator(OnnxFile(data))
        except Exception as error:  # noqa: BLE001 - whatever it was, there may be another way; the problem is told
            problems.append(error)
        else:
            return data
    # Of a model that takes no matrix, what went wrong with the columns is of interest, and the other way round.
    told = problems[-1] if type(problems[0]).__name__ == _TAKES_ONE_INPUT else problems[0]
    raise _refused(model, _root(told)) from told


def _converted(model: Any, inputs: InputSchema, tensors: Callable[[InputSchema], Tensors]) -> bytes:
    # Without its 'zip map' probabilities come as one matrix, and not as a dictionary a row.
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    made_of = tensors(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of the converter's own making.
        made = importlib.import_module("skl2onnx").to_onnx(model, initial_types=made_of, options=options)
    notes = {"classes": np.asarray(model.classes_).tolist()} if options else {}
    if inputs.container == "pandas" and len(made_of) == 1:
        notes["features"] = inputs.names
    for key, value in notes.items():
        made.metadata_props.add(key=key, value=json.dumps(value))
    return bytes(made.SerializeToString(deterministic=True))


def _by_column(inputs: InputSchema) -> Tensors:
    return [(column.name, _kind(_tensor(column))([None, 1])) for column in inputs.columns]


def _as_matrix(inputs: InputSchema) -> Tensors:
    is_text = {_tensor(column) == _TEXT for column in inputs.columns}
    if len(is_text) > 1:
        raise ValueError("it takes text and numbers in one matrix, and ONNX has no such tensor")
    return [("columns", _kind(_TEXT if is_text == {True} else _NUMBER)([None, len(inputs.columns)]))]


def _kind(name: str) -> Any:
    return getattr(importlib.import_module("skl2onnx.common.data_types"), name)


def _tensor(column: InputColumn) -> str:
    """The kind of tensor that a column becomes: numbers float32, as onnxruntime has few operators for float64 (and
    skl2onnx may look for the float64 threshold of a tree for ever). As the model gets them, see input_frame.
    """
    if pa.types.is_string(column.arrow_type):
        return _TEXT
    if pa.types.is_temporal(column.arrow_type):
        raise ValueError(f"'{column.name}' is {column.type}, and ONNX has no such tensor")
    return _WHOLE if pa.types.is_integer(column.arrow_type) and not column.nullable else _NUMBER


def _root(error: BaseException) -> str:
    """What went wrong at first, in one line: what was made of it later repeats the whole model."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _refused(model: Any, why: str) -> ModelBlocked:
    return ModelBlocked(
        f"the {type(model).__name__} cannot be converted to ONNX: {why[:400]}",
        state=_KEPT,
        next_step="keep the format that it came in, or train a model that skl2onnx knows",
    )
