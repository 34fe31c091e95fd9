"""What a model is worth on the sample that it was registered with: the metrics of training, on rows that it may have seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import DefinitionError
from tasks.core.models.gate import evaluation
from tasks.core.models.prediction import LoadedModel, predicts_classes
from tasks.core.models.registering.sample import Sample, column_of, in_type
from tasks.core.models.registering.training_data import window_labels
from tasks.core.rows.conversions import plain

_NOTE = "on the sample that was given at registration, which the model may have seen"
_BINARY = 2  # Classes.


def benchmark_on(
    sample: Sample, target: str, job: Job | None, loaded: LoadedModel, outputs: pa.Table
) -> evaluation.Benchmark:
    """The metrics on the sample's rows that have a label. Windows are the unit where the sample tells them, else rows."""
    labels = plain(column_of(sample, target, "the target"))
    name, output = next(iter(loaded.version.outputs.items()))
    is_known = labels.is_valid().to_numpy(zero_copy_only=False)
    truth = labels.drop_null().to_numpy(zero_copy_only=False)
    is_classifier = predicts_classes(loaded, output)
    if problem := _problem(output, truth, classes_of(loaded.estimator) if is_classifier else []):
        raise _tells_nothing(sample, target, problem)
    try:
        held_against = evaluation.target_of(output, truth, is_classifier=is_classifier)
    except ValueError as error:
        raise _tells_nothing(sample, target, f"holds {labels.type}, and the model predicts a number") from error
    windows = _windows(sample, job, len(labels))[is_known]
    between = sorted({*windows.tolist()} - {""}) if windows.dtype.kind == "U" else []
    return evaluation.Benchmark(
        metrics=evaluation.measure(
            held_against.metrics, held_against.truth, outputs[name].to_numpy()[is_known], windows
        ),
        first=between[0] if between else "",
        last=between[-1] if between else "",
        rows=len(truth),
        rows_without_label=len(labels) - len(truth),
        note=_NOTE,
    )


def classes_of(estimator: Any) -> list[Any]:
    """The classes as a job can name them; none of a model that has no list of them."""
    classes = getattr(estimator, "classes_", None)
    if classes is None or np.ndim(classes) != 1:
        return []
    found = np.asarray(classes).tolist()
    return [int(each) if isinstance(each, float) and each.is_integer() else each for each in found]


def _problem(output: Prediction, truth: npt.NDArray[Any], classes: list[Any]) -> str:
    """Why these labels cannot be held against the output; empty where they can."""
    if not len(truth):
        return "has no value in any row"
    found = list(dict.fromkeys(truth.tolist()))
    shown = ", ".join(repr(each) for each in found[:5])
    if output.method == "predict_proba" and len(np.unique(truth == output.class_)) < _BINARY:
        return f"holds {shown}, and must hold the class {output.class_!r} in some rows and not in others"
    if classes and not set(found) & set(classes):
        return f"holds {shown}, and the model's classes are {', '.join(repr(each) for each in classes[:5])}"
    return ""


def _tells_nothing(sample: Sample, target: str, what: str) -> DefinitionError:
    return DefinitionError(
        f"{sample.path}: the target '{target}' {what}",
        state="nothing was registered",
        next_step="name another --target, or leave it out: the version then has no benchmark",
    )


def event_times_in(sample: Sample, job: Job | None) -> pa.Array[Any] | None:
    """When each row of the sample was, in the job's type; None where it does not tell."""
    if job is None or job.event_time not in sample.columns:
        return None
    field = job.arrow_schema.field(str(job.event_time))
    return in_type(sample, column_of(sample, field.name, "the event time"), field)


def _windows(sample: Sample, job: Job | None, rows: int) -> npt.NDArray[Any]:
    """Of each row its window, '' of one that lacks its time; or its number where the sample does not tell when it was."""
    times = event_times_in(sample, job)
    if job is None or times is None or times.null_count == rows:
        return np.arange(rows)
    known: Any = times.drop_null()
    labels = window_labels(job, pa.chunked_array([known]))
    windows = np.full(rows, "", labels.dtype)
    windows[times.is_valid().to_numpy(zero_copy_only=False)] = labels
    return windows
