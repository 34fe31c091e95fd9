"""What a published column is held against: labels and predictions in the same terms, and the metrics that suit them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.definitions.modelling import Prediction
from tasks.core.models.gate import evaluation, metrics
from tasks.core.models.gate.metrics import MetricKind
from tasks.core.rows.conversions import kind_of, plain
from tasks.core.rows.meeting import as_floats, bring, meet

_CLASSES = ("bool", "string")


@dataclass(frozen=True)
class Held:
    """Of the labelled rows: what came true and what was predicted, as numbers.

    `in_one_unit`: the two are of one scale, so their means can be compared. `why` says why there is no metric.
    """

    truth: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    kinds: Mapping[str, MetricKind]
    is_probability: bool = False
    in_one_unit: bool = False
    why: str = ""


def hold(output: Prediction, labels: Any, predicted: Any, *, is_classifier: bool) -> Held:
    """Labels of another type than the output's meet it in a common one, as 1 meets true; where there is none, no metric."""
    labels, predicted = (_one(column) for column in (labels, predicted))
    if output.method == "predict":
        return _of_classes(labels, predicted) if is_classifier else _of_numbers(output, labels, predicted)
    wanted = output.class_ if output.class_ is not None else True
    if output.class_ is None and not (output.method == "decision_function" and pa.types.is_boolean(labels.type)):
        return _none(f"no metric is known of {output.method} and labels of type {labels.type}")
    met = meet(labels, pa.array([wanted]))
    if met is None:
        return _none(f"labels of type {labels.type} cannot be held against the class {wanted!r}")
    if len(labels) and (met[0].lost.all() or met[1].lost.any()):
        # 'yes' and 'no' beside true: all would count as untrue.
        return _none(f"no label is of a kind with the class {wanted!r}: {labels[0].as_py()!r}, say, is {labels.type}")
    truth = np.asarray(_numpy(met[0].column) == met[1].column[0].as_py(), dtype=bool) & ~met[0].lost
    asked = output.model_copy(update={"class_": True})
    target = evaluation.target_of(asked, truth, is_classifier=is_classifier)
    return Held(
        target.truth,
        as_floats(predicted),
        target.metrics,
        is_probability=target.is_probability,
        in_one_unit=target.is_probability,
    )


def predicts_classes(output: Prediction, labels: pa.DataType, benchmark: set[str]) -> bool:
    """Whether the output names classes: as the version's benchmark has it, or without one as the types do."""
    if known := benchmark & (metrics.OF_CLASSES.keys() | metrics.OF_NUMBERS.keys()):
        return bool(known & metrics.OF_CLASSES.keys())
    return output.type in _CLASSES or kind_of(labels) in _CLASSES


def _of_classes(labels: Any, predicted: Any) -> Held:
    """Classes as numbers: a metric asks only whether two are the same."""
    met = meet(labels, predicted)
    if met is None:
        return _none(f"labels of type {labels.type} cannot be held against classes of type {predicted.type}")
    both: Any = pa.concat_arrays([one.column for one in met]).dictionary_encode(null_encoding="encode")
    codes = both.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    truth, theirs = codes[: len(labels)], codes[len(labels) :]
    # A value that has no place in the common type is a class that nobody predicts.
    truth = np.where(met[0].lost, len(both.dictionary), truth)
    theirs = np.where(met[1].lost, len(both.dictionary) + 1, theirs)
    return Held(truth, theirs, metrics.OF_CLASSES)


def _of_numbers(output: Prediction, labels: Any, predicted: Any) -> Held:
    truth = bring(labels, pa.float64())
    if truth.lost.any() or kind_of(predicted.type) == "string":
        return _none(f"labels of type {labels.type} cannot be held against numbers of type {output.type}")
    found = as_floats(truth.column)
    if not np.isfinite(found).all():
        return _none("a label is infinite")
    return Held(found, as_floats(predicted), metrics.OF_NUMBERS, in_one_unit=True)


def _none(why: str) -> Held:
    return Held(np.empty(0), np.empty(0), {}, why=why)


def _one(column: Any) -> Any:
    return plain(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)


def _numpy(column: Any) -> npt.NDArray[Any]:
    found: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    return found
