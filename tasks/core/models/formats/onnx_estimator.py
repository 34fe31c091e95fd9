"""An ONNX model with the methods of a scikit-learn estimator: what its inputs take, and what its outputs mean.

Inputs are one tensor of rows x columns, in the order of the input schema, or one tensor a column, by name. What is
missing is NaN in a tensor of floats and '' in one of text; in a tensor of whole numbers or of booleans nothing may be
missing. In a tensor of numbers a category is its code: its place among the known ones from 0, and -1 where it is none.

Outputs are a value a row, or a label and values, or values alone. Values are probabilities only where the file says so:
by the names of classes in it, or by a softmax (of one value a row: a sigmoid) that makes them. Nothing is guessed, and
values that do not sum to 1 are refused. All other matrices are what `transform` returns.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.core.models.formats.onnx_file import OnnxFile
from tasks.core.models.formats.refusals import unreadable

# By name: the package is an extra, and what is missing is said by get_format.
_runtime: Any = importlib.import_module("onnxruntime")
_KINDS = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
    "tensor(string)": "str",
}
_MATRIX = 2  # Dimensions.
_SUM_IS_1 = 1e-3
_HALF = 0.5
_BINARY = 2  # Classes.


@dataclass(frozen=True)
class Input:
    """One tensor that the model takes."""

    name: str
    kind: str
    rank: int
    columns: int | None


@dataclass(frozen=True)
class Meaning:
    """Which output is the label, which holds the values, and of which classes these are the probabilities."""

    label: str | None
    values: str | None
    classes: tuple[Any, ...] | None


class OnnxModel:
    """Predicts one value a row; a matrix of values is what it transforms to."""

    def __init__(self, file: OnnxFile, session: Any, meaning: Meaning) -> None:
        self._file = file
        self._session = session
        self._meaning = meaning
        self._inputs = _inputs(session)

    def __reduce__(self) -> tuple[Any, ...]:
        return estimator, (self._file,)

    def __getattr__(self, name: str) -> Any:
        # There only where the model has it: callers ask by hasattr.
        if name == "transform" and self._meaning.values is not None and self._meaning.classes is None:
            return self._transform
        if name == "feature_names_in_" and (names := self._names()):
            return np.array(names, dtype=object)
        if name == "n_features_in_" and (count := len(self._names()) or self._inputs[0].columns):
            return count
        raise AttributeError(f"{type(self).__name__} has no {name}")

    def predict(self, frame: Any) -> npt.NDArray[Any]:
        return _column(self._run(frame, self._meaning.label or self._meaning.values))

    def _transform(self, frame: Any) -> npt.NDArray[Any]:
        return np.asarray(self._run(frame, self._meaning.values))

    def _run(self, frame: Any, output: str | None) -> Any:
        (found,) = self._session.run([output], self._feeds(frame))
        return found

    def _names(self) -> list[str]:
        """The names of the columns, where the file has any: its metadata's, or of one tensor a column."""
        return self._file.features or ([each.name for each in self._inputs] if len(self._inputs) > 1 else [])

    def _feeds(self, frame: Any) -> dict[str, npt.NDArray[Any]]:
        columns = _columns_of(frame)
        self._check_columns(frame, len(columns))
        if len(self._inputs) > 1:
            return {each.name: _values(frame[each.name], each) for each in self._inputs}
        (one,) = self._inputs
        return {one.name: np.concatenate([_values(column, one) for column in columns], axis=one.rank - 1)}

    def _check_columns(self, frame: Any, count: int) -> None:
        names = self._names()
        found = list(getattr(frame, "columns", ()))
        if len(self._inputs) > 1 and sorted(found) != sorted(names):
            raise ValueError(f"the model takes the columns {names}, and is given {found or 'a bare array'}")
        if len(self._inputs) == 1 and found and names and found != names:
            raise ValueError(f"the model takes the columns {names}, in this order, and is given {found}")
        if count != getattr(self, "n_features_in_", count):
            raise ValueError(f"the model takes {self.n_features_in_} columns, and is given {count}")


class OnnxClassifier(OnnxModel):
    """Predicts a class a row, with the probability of each."""

    @property
    def classes_(self) -> npt.NDArray[Any]:
        return np.array(self._meaning.classes)

    def predict(self, frame: Any) -> npt.NDArray[Any]:
        if self._meaning.label is not None:
            labels = _column(self._run(frame, self._meaning.label))
            return labels.astype(bool if self.classes_.dtype == bool else labels.dtype)
        probabilities = self.predict_proba(frame)
        chosen = probabilities.argmax(axis=1) if probabilities.shape[1] > _BINARY else probabilities[:, 1] > _HALF
        found: npt.NDArray[Any] = self.classes_[chosen.astype(int)]
        return found

    def predict_proba(self, frame: Any) -> npt.NDArray[Any]:
        classes = self._meaning.classes or ()
        found = self._run(frame, self._meaning.values)
        if isinstance(found, list):
            return np.array([[row[name] for name in classes] for row in found])
        values: npt.NDArray[Any] = found.reshape(len(found), -1)
        if values.shape[1] == 1 and len(classes) == _BINARY:
            values = np.column_stack([1 - values[:, 0], values[:, 0]])
        if values.shape[1] != len(classes):
            raise ValueError(f"'{self._meaning.values}' has {values.shape[1]} columns for {len(classes)} classes")
        _check_probabilities(str(self._meaning.values), values)
        return values


def estimator(file: OnnxFile) -> OnnxModel:
    """The model of a checked file; ModelBlocked where onnxruntime cannot run it, or no use can be made of its outputs."""
    session = _session(file.data)
    meaning = _meaning(file, session.get_outputs())
    return (OnnxModel if meaning.classes is None else OnnxClassifier)(file, session, meaning)


def _session(data: bytes) -> Any:
    options = _runtime.SessionOptions()
    # One thread, whatever the machine: with more, sums of floats come in another order, and so out as another number.
    # The shards of a window run side by side in processes of their own.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    # These bytes were checked as ONNX: they are not to be taken for onnxruntime's other format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return _runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise unreadable("onnx", " ".join(str(error).split())[:300]) from error


# -- inputs ---------------------------------------------------------------------------------------------------------


def _inputs(session: Any) -> list[Input]:
    found = [_input(each) for each in session.get_inputs()]
    if len(found) > 1 and (wide := [each.name for each in found if each.columns not in (1, None)]):
        raise unreadable(
            "onnx", f"it has {len(found)} inputs, and {wide} take several columns; of several, each must take one"
        )
    return found


def _input(found: Any) -> Input:
    shape = list(found.shape)
    if found.type not in _KINDS or not 1 <= len(shape) <= _MATRIX:
        raise unreadable(
            "onnx",
            f"its input '{found.name}' is a {found.type} of shape {shape}, and rows of columns are what there is",
        )
    if isinstance(shape[0], int):
        raise unreadable(
            "onnx",
            f"its input '{found.name}' is made for exactly {shape[0]} rows; export it with a first dimension that is "
            "left open (torch.onnx.export: dynamic_shapes)",
        )
    columns = 1 if len(shape) < _MATRIX else shape[1]
    return Input(found.name, _KINDS[found.type], len(shape), columns if isinstance(columns, int) else None)


def _columns_of(frame: Any) -> Sequence[Any]:
    if hasattr(frame, "iloc"):
        return [frame.iloc[:, place] for place in range(frame.shape[1])]
    return list(np.asarray(frame).T)


def _values(column: Any, wanted: Input) -> npt.NDArray[Any]:
    """One column as a tensor of the kind that the input takes; ValueError for a value that would not be the same."""
    name = getattr(column, "name", None) or wanted.name
    values = _text(column, name) if wanted.kind == "str" else _numbers(column, name, wanted.kind)
    return values.reshape((-1, 1) if wanted.rank == _MATRIX else (-1,))


def _text(column: Any, name: str) -> npt.NDArray[Any]:
    import pandas as pd  # noqa: PLC0415 - heavy

    values = np.asarray(column, dtype=object)
    missing = pd.isna(values)
    if any(not isinstance(value, str) for value in values[~missing]):
        raise ValueError(f"input '{name}' is no text, and the model takes text there")
    return np.where(missing, "", values)


def _numbers(column: Any, name: str, kind: str) -> npt.NDArray[Any]:
    codes = getattr(getattr(column, "cat", None), "codes", None)
    values = np.asarray(column if codes is None else codes)
    if values.dtype == object:
        values = np.array([np.nan if value is None else value for value in values])
    if values.dtype.kind not in "biuf":
        raise ValueError(f"input '{name}' is {values.dtype}, and the model takes numbers there")
    with np.errstate(over="ignore", invalid="ignore"):
        made = values.astype(kind)
    if made.dtype.kind == "f":
        lost = np.isinf(made) & ~np.isinf(values)
    else:
        lost = (made.astype(values.dtype) != values) | ((values < 0) & (made.dtype.kind == "u"))
    if lost.any():
        raise ValueError(f"input '{name}' is {values[lost][0]} in a row, and the model takes {kind} there")
    return made


# -- outputs --------------------------------------------------------------------------------------------------------


def _meaning(file: OnnxFile, outputs: Sequence[Any]) -> Meaning:
    labels = [each for each in outputs if _KINDS.get(each.type, "")[:3] in ("int", "uin", "str", "boo")]
    values = [each for each in outputs if each not in labels]
    if len(labels) > 1 or len(values) > 1 or any(not _is_values(each) for each in values):
        shown = ", ".join(f"'{each.name}' ({each.type}, {each.shape})" for each in outputs)
        raise unreadable("onnx", f"its outputs are {shown}; one of values, one of labels, or both can be made use of")
    label = labels[0].name if labels else None
    if not values:
        return Meaning(label, None, None)
    return Meaning(label, values[0].name, _classes(file, values[0], label))


def _is_values(output: Any) -> bool:
    return output.type in _KINDS or output.type.startswith("seq(map(")


def _classes(file: OnnxFile, output: Any, label: str | None) -> tuple[Any, ...] | None:
    """The classes whose probabilities an output holds, as the file itself says; None where it does not.

    0 to k-1 are the classes of a softmax that comes without a label: beside one, they may be called anything.
    """
    if file.classes or output.type.startswith("seq("):
        return file.classes or file.zipped_classes(output.name)
    if label is not None:
        return file.classes_of_label(label)
    node = file.made_by(output.name)
    width = output.shape[1] if len(output.shape) == _MATRIX else 1
    if node is None or not isinstance(width, int):
        return None
    is_softmax = node.op_type == "Softmax" and width > 1 and _over_columns(node)
    is_sigmoid = node.op_type == "Sigmoid" and width == 1
    return tuple(range(max(width, _BINARY))) if is_softmax or is_sigmoid else None


def _over_columns(node: Any) -> bool:
    return all(attribute.i in (1, -1) for attribute in node.attribute if attribute.name == "axis")


def _column(values: Any) -> npt.NDArray[Any]:
    found = np.asarray(values)
    return found[:, 0] if found.ndim == _MATRIX and found.shape[1] == 1 else found


def _check_probabilities(output: str, values: npt.NDArray[Any]) -> None:
    wrong = (values < -_SUM_IS_1) | (values > 1 + _SUM_IS_1)
    sums = values.sum(axis=1)
    if wrong.any() or (np.abs(sums - 1) > _SUM_IS_1).any():
        row = int(np.argmax(wrong.any(axis=1) | (np.abs(sums - 1) > _SUM_IS_1)))
        raise ValueError(
            f"'{output}' holds no probabilities: row {row} is {values[row].tolist()}, with the sum {sums[row]:g}; "
            "the softmax must be a part of the graph"
        )
