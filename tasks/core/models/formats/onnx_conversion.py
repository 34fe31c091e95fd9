"""From a fitted scikit-learn model to ONNX, by skl2onnx: one tensor a column, and the classes by name in the metadata."""

from __future__ import annotations

import importlib
import json
import warnings
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.core.errors import ModelBlocked
from tasks.core.models.formats.onnx_estimator import estimator
from tasks.core.models.formats.onnx_file import OnnxFile
from tasks.core.models.model_version import InputColumn, InputSchema

_KEPT = "nothing was registered in this format"
_TAKES_ONE_INPUT = "InvalidInputLengthException"  # skl2onnx of a step that takes a matrix.


def converted(model: Any, inputs: InputSchema | None) -> bytes:
    """The model as an ONNX file that onnxruntime takes; ModelBlocked with the converter's own words where it cannot be.

    It takes one tensor a column or, where its first step takes a matrix whole, one tensor and the columns' names.
    Numbers are float64 where onnxruntime has all operators for that, else float32.
    """
    skl2onnx = importlib.import_module("skl2onnx")
    if inputs is None:
        raise _refused(model, "the types of its columns are not given")
    layouts = [_by_column, _as_matrix] if inputs.container == "pandas" else [_as_matrix]
    problems = []
    for layout in layouts:
        for floats in ("DoubleTensorType", "FloatTensorType"):
            try:
                data = _converted(skl2onnx, model, layout(skl2onnx.common.data_types, inputs, floats), inputs)
                estimator(OnnxFile(data))
            except Exception as error:  # noqa: BLE001 - whatever it was, there may be another way; the problem is told
                problems.append(error)
            else:
                return data
    # Of one that takes no matrix, what went wrong with the columns is of interest, and the other way round.
    told = problems[-1] if type(problems[1]).__name__ == _TAKES_ONE_INPUT else problems[1]
    raise _refused(model, _root(told)) from told


def _converted(skl2onnx: Any, model: Any, tensors: list[tuple[str, Any]], inputs: InputSchema) -> bytes:
    # Without its 'zip map' probabilities come as one matrix, and not as a dictionary a row.
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of the converter's own making.
        made = skl2onnx.to_onnx(model, initial_types=tensors, options=options)
    notes = {"classes": np.asarray(model.classes_).tolist()} if options else {}
    if inputs.container == "pandas" and len(tensors) == 1:
        notes["features"] = inputs.names
    for key, value in notes.items():
        made.metadata_props.add(key=key, value=json.dumps(value))
    return bytes(made.SerializeToString(deterministic=True))


def _by_column(types: Any, inputs: InputSchema, floats: str) -> list[tuple[str, Any]]:
    return [(column.name, getattr(types, _tensor(column) or floats)([None, 1])) for column in inputs.columns]


def _as_matrix(types: Any, inputs: InputSchema, floats: str) -> list[tuple[str, Any]]:
    is_text = {_tensor(column) == "StringTensorType" for column in inputs.columns}
    if len(is_text) > 1:
        raise ValueError("it takes text and numbers in one matrix, and ONNX has no such tensor")
    return [
        ("columns", getattr(types, "StringTensorType" if is_text == {True} else floats)([None, len(inputs.columns)]))
    ]


def _tensor(column: InputColumn) -> str | None:
    """The tensor of a column that is no float to the model; as in tasks.core.models.prediction.input_frame."""
    if pa.types.is_string(column.arrow_type):
        return "StringTensorType"
    if pa.types.is_temporal(column.arrow_type):
        raise ValueError(f"'{column.name}' is {column.type}, and ONNX has no such tensor")
    whole = pa.types.is_integer(column.arrow_type) and not column.nullable
    return "Int64TensorType" if whole else None


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
