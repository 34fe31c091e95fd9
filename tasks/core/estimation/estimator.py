"""What a model version keeps so that its performance on new rows can be estimated, and the estimate with its interval.

Of a probability or a score of one class against the rest it is CBPE, of a predicted number DLE, of all else there is none.
The interval is as wide as past windows say: each estimated out of sample, and held against its truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from tasks.core.definitions.modelling import Prediction
from tasks.core.estimation import cbpe, conformal, dle
from tasks.core.estimation.past_errors import errors_of, sampled
from tasks.core.estimation.ways import Cbpe, Dle, Learned, LearnedCbpe, LearnedDle, Rows, Way
from tasks.core.models.gate import evaluation
from tasks.core.models.model_version import Signature
from tasks.core.models.registering.past import Past
from tasks.core.records import Record
from tasks.core.runs.manifest import Interval

_FEWEST_ROWS = 50
_LONGEST = 200  # Of an error's text.
_BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("roc_auc", "average_precision", "mean_truth", "brier"), (0.0, 1.0)),
    **dict.fromkeys(("log_loss", "mae", "rmse"), (0.0, np.inf)),
}


class PerformanceEstimator(Record):
    """estimator.json of a version."""

    version: Literal[1] = 1
    method: Literal["cbpe", "dle", "none"]
    column: Annotated[str, Field(description="The published column whose performance is estimated.")]
    metrics: tuple[str, ...] = ()
    probabilities: cbpe.ProbabilityMap | None = None
    columns: Annotated[tuple[dle.LossColumn, ...], Field(description="What losses are told from, in order.")] = ()
    half_widths: dict[str, float] = Field(
        default_factory=dict, description="Of the 95 % interval of a window, by metric."
    )
    windows: Annotated[int, Field(description="Past windows that the width is made of.")] = 0
    rows: Annotated[int, Field(description="Rows that the map, or the model of losses, is made of.")] = 0
    assumptions: Annotated[tuple[str, ...], Field(description="Sentences.")] = ()
    lacks: Annotated[tuple[str, ...], Field(description="Sentences: what cannot be estimated, and why.")] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """The model's inputs that an estimate needs beside the predictions."""
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True)
class Known:
    """Rows with what a model that had not seen them made of them, and what came true: no label is missing."""

    table: pa.Table
    outputs: pa.Table
    truth: npt.NDArray[Any]


@dataclass(frozen=True)
class Fitted:
    """What a version keeps; `loss_model` is the file of the model of losses, where there is one."""

    kept: PerformanceEstimator
    loss_model: bytes | None = None

    @property
    def record(self) -> dict[str, Any]:
        """As JSON takes it."""
        return self.kept.model_dump(mode="json")


def fit(past: Past | None, benchmark: Known, signature: Signature, *, is_classifier: bool) -> Fitted:
    """The estimator of the first output column, from the benchmark's rows and, for its interval, from past windows.

    `past` None, or of fewer than 19 windows: estimates without an interval. Nothing is raised: of what cannot be
    estimated, for whatever reason, `lacks` says so.
    """
    column, output = next(iter(signature.outputs.items()))
    try:
        way = way_of(output, benchmark.truth, is_classifier=is_classifier)
        if isinstance(way, str):
            return _none(column, way)
        if len(benchmark.truth) < _FEWEST_ROWS:
            few = f"{len(benchmark.truth)} labelled rows, and {_FEWEST_ROWS} are needed"
            return _none(column, f"No performance is estimated before labels: the benchmark has {few}.")
        return _fitted(way, past, benchmark, signature)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever is strange about the rows, the version itself is sound
        said = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
        return _none(column, f"No performance is estimated before labels: no estimator could be made ({said}).")


def _fitted(way: Way, past: Past | None, benchmark: Known, signature: Signature) -> Fitted:
    column, output = next(iter(signature.outputs.items()))
    # A map of scores needs nothing but these.
    names = signature.inputs.names if isinstance(way, Dle) else []
    is_labelled = np.ones(len(benchmark.truth), dtype=np.bool_)
    rows = sampled(_rows(output, names, column, benchmark.table, benchmark.outputs, benchmark.truth, is_labelled))
    errors: dict[str, tuple[float, ...]] = {}
    if past is not None:
        before = _rows(output, names, column, past.table, past.outputs, past.truth, past.is_labelled)
        errors = errors_of(way, before, past.windows, past.folds)
    widths = {name: conformal.half_width(found) for name, found in errors.items()}
    return _kept(
        way.learn(rows),
        column=column,
        metrics=way.metrics,
        half_widths={name: width for name, width in widths.items() if width is not None},
        windows=max(map(len, errors.values()), default=0),
        rows=len(rows),
        assumptions=_assumptions(past),
        lacks=_lacks(way.metrics, widths),
    )


def estimate(
    kept: PerformanceEstimator, outputs: pa.Table, features: pa.Table | None = None, loss_model: bytes | None = None
) -> dict[str, Interval]:
    """Each metric of these rows, as they were scored, with its 95 % interval for a window; {} of no rows.

    `features` are the columns that `kept.features` names, which DLE needs, as it needs the file of its model.
    """
    learned = _learned(kept, loss_model)
    if learned is None or not len(outputs):
        return {}
    predicted = outputs[kept.column].to_numpy().astype(np.float64)
    rows = Rows(features if features is not None else outputs.select([]), predicted, np.full(len(predicted), np.nan))
    return {name: _interval(kept, name, value) for name, value in learned.expected(rows).items()}


def way_of(output: Prediction, truth: npt.NDArray[Any], *, is_classifier: bool) -> Way | str:
    """How the performance of an output is estimated; else the sentence that says why it is not."""
    target = evaluation.target_of(output, truth, is_classifier=is_classifier)
    if target.is_probability:
        return Cbpe(cbpe.OF_PROBABILITIES)
    if "roc_auc" in target.metrics:
        return Cbpe(cbpe.OF_SCORES)
    if "rmse" in target.metrics:
        return Dle()
    what = "a class without its probability" if target.metrics else f"what {output.method} returns"
    return f"No performance is estimated before labels of {what}: it is of probabilities, scores and numbers."


def _rows(
    output: Prediction,
    inputs: list[str],
    column: str,
    table: pa.Table,
    outputs: pa.Table,
    truth: npt.NDArray[Any],
    is_labelled: npt.NDArray[np.bool_],
) -> Rows:
    came_true = np.full(len(table), np.nan)
    labels = truth[is_labelled]
    # Where rows without a label are among them, the labels may come as objects.
    plain = np.array(labels.tolist()) if labels.dtype == np.object_ else labels
    came_true[is_labelled] = evaluation.target_of(output, plain, is_classifier=False).truth
    return Rows(table.select(inputs), outputs[column].to_numpy().astype(np.float64), came_true)


def _none(column: str, why: str) -> Fitted:
    return Fitted(PerformanceEstimator(method="none", column=column, lacks=(why,)))


def _kept(learned: Learned, **parts: Any) -> Fitted:
    if isinstance(learned, LearnedDle):
        return Fitted(PerformanceEstimator(method="dle", columns=learned.columns, **parts), dle.dump(learned.models))
    return Fitted(PerformanceEstimator(method="cbpe", probabilities=learned.probabilities, **parts))


def _learned(kept: PerformanceEstimator, loss_model: bytes | None) -> Learned | None:
    if kept.probabilities is not None:
        return LearnedCbpe(kept.probabilities, kept.metrics)
    return None if loss_model is None else LearnedDle(kept.columns, dle.load(loss_model))


def _interval(kept: PerformanceEstimator, name: str, value: float) -> Interval:
    if not np.isfinite(value):
        return Interval(value=None)
    width, (least, most) = kept.half_widths.get(name), _BOUNDS[name]
    if width is None:
        return Interval(value=value)
    return Interval(value=value, low=max(value - width, least), high=min(value + width, most))


def _assumptions(past: Past | None) -> tuple[str, ...]:
    found = [
        "Estimates take what inputs and scores say of the truth to be as it was: they see no drift of the concept."
    ]
    if past is not None:
        found.append("Their intervals are of single windows, and take those to come to be like those of the past.")
    if past is not None and not past.is_out_of_sample:
        found.append("The model may have seen the rows of its past: then the intervals are too narrow.")
    return tuple(found)


def _lacks(metrics: tuple[str, ...], widths: dict[str, float | None]) -> tuple[str, ...]:
    without = [name for name in metrics if widths.get(name) is None]
    if not without:
        return ()
    of = "" if len(without) == len(metrics) else f" of {', '.join(without)}"
    few = f"fewer than {conformal.FEWEST_WINDOWS} past windows tell how far they may be off"
    return (f"The estimates{of} have no interval: {few}.",)
