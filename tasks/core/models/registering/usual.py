"""What is usual of a version, from its past: its data by unit, how each window went, and how far both go by themselves."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import Prediction
from tasks.core.definitions.window import WindowSpec
from tasks.core.estimation.estimator import Known
from tasks.core.estimation.estimator import fit as fit_estimator
from tasks.core.models.gate import evaluation
from tasks.core.models.gate.metrics import OF_NUMBERS, Rows
from tasks.core.models.model_version import Signature, Usual
from tasks.core.models.registering.past import OwnPast, Past
from tasks.core.monitoring.observed import Observed, References, of_profiles
from tasks.core.monitoring.records import Calibration, DriftCalibration
from tasks.core.monitoring.rhythm import rhythm_of, unit_of
from tasks.core.profiles.profile import ReferenceProfile, WindowProfile, empty, profile_batch

if TYPE_CHECKING:
    from tasks.core.monitoring.performance_series import WindowFigures

_YEAR_DAYS = 365
_COLUMNS: dict[str, pa.DataType] = {
    "as_of": pa.string(),
    "unit": pa.string(),
    "labelled": pa.int64(),
    "figure": pa.string(),
    "value": pa.float64(),
}


@dataclass(frozen=True)
class History:
    """What is known of the past: its rows as scored, and every window that it has, also those without a row.

    `past` None: `why` says why there is none, in a sentence. `is_whole` is false where rows may be a part of their windows.
    """

    past: Past | None
    why: str = ""
    windows: tuple[str, ...] = ()
    is_whole: bool = True


@dataclass(frozen=True)
class Made:
    """The version that the past is told of: its references, its signature, and rows that it was held against."""

    references: References
    signature: Signature
    is_classifier: bool
    benchmark: Known | None = None
    own: OwnPast | None = None


def usual_of(history: History, made: Made, job: Job | None) -> Usual:
    """All that a version keeps of its past. What cannot be told is left out, and the calibration's `lacks` say why."""
    past = history.past if job else None
    known = _known_of(past, history, made, job)
    if made.benchmark is None:
        return known
    estimator = fit_estimator(past, made.benchmark, made.signature, is_classifier=made.is_classifier)
    return replace(known, estimator=estimator.record, loss_model=estimator.loss_model)


def _known_of(past: Past | None, history: History, made: Made, job: Job | None) -> Usual:
    if job is None:
        return Usual(Calibration(lacks=(history.why,)))
    if past is None:
        rhythm = rhythm_of(job.window)
        return Usual(Calibration(unit=rhythm.unit, units_a_block=rhythm.units_a_block, lacks=(history.why,)))
    observed = observed_of(past, history.windows, job.window, made.references)
    figures = figures_of(past, made, job.window)
    return Usual(
        _calibrated(observed, [one for _, one in figures], history, job, made),
        null_windows=observed.to_table(),
        null_performance=figures_table(figures),
    )


def observed_of(past: Past, windows: Sequence[str], spec: WindowSpec, references: References) -> Observed:
    """The rows of each unit, counted in the bins of the version's references as each run will count its own."""
    of_features, of_predictions = references
    labels, starts = _starts(past.windows)
    # A unit at once: of windows of minutes there are thousands.
    units, firsts = _starts(np.array([unit_of(spec, as_of) for as_of in labels]))
    profiles = [
        (
            unit,
            WindowProfile(
                features=profile_batch(of_features, past.table[place]),
                predictions=profile_batch(of_predictions, past.outputs[place]),
            ),
        )
        for unit, place in _places(units, starts[firsts], len(past.windows))
    ]
    observed = of_profiles(references, profiles, units=[unit_of(spec, as_of) for as_of in windows])
    held = Counter(unit_of(spec, as_of) for as_of in {*labels, *windows})
    observed = replace(observed, windows=np.array([held[unit] for unit in observed.units], np.int64))
    return _beside_own(observed, past, dict(zip(units, starts[firsts].tolist(), strict=True)), of_predictions)


def _beside_own(observed: Observed, past: Past, firsts: dict[str, int], reference: ReferenceProfile) -> Observed:
    """With what the model that scored a unit makes of the rest: that of another has steps and a level of its own."""
    if not past.own:
        return observed
    profiles = [profile_batch(reference, one.outputs) for one in past.own]
    by_unit = [profiles[past.folds[firsts[unit]]] if unit in firsts else empty(reference) for unit in observed.units]
    return observed.beside(by_unit)


def figures_of(past: Past, made: Made, spec: WindowSpec) -> list[tuple[str, WindowFigures]]:
    """By window with labelled rows: the metrics of the first output, and `bias`, mean truth less mean prediction.

    The bias is less that of the same model over the other folds, where the version's own is known to be told from.
    """
    from tasks.core.monitoring.performance_series import WindowFigures  # noqa: PLC0415 - heavy, with scipy's statistics

    name, output = next(iter(made.signature.outputs.items()))
    predicted = past.outputs[name].to_numpy()
    found = []
    labels, starts = _starts(past.windows)
    for as_of, place in _places(labels, starts, len(past.windows)):
        is_labelled = past.is_labelled[place]
        if labelled := int(is_labelled.sum()):
            truth, scores = past.truth[place][is_labelled], predicted[place][is_labelled]
            figures = dict(_figures(output, truth, scores, is_classifier=made.is_classifier))
            if "bias" in figures and _usual_bias(past, made) is not None:
                figures["bias"] -= past.own[past.folds[place.start]].bias or 0.0
            found.append((as_of, WindowFigures(unit_of(spec, as_of), labelled, figures)))
    return found


def _usual_bias(past: Past, made: Made) -> float | None:
    """The version's own; None where it or that of a fold's model is not known."""
    is_known = past.own and all(one.bias is not None for one in past.own)
    return made.own.bias if made.own and is_known else None


def figures_table(figures: Iterable[tuple[str, WindowFigures]]) -> pa.Table:
    """null_performance.parquet: a row a window and figure."""
    rows = [
        {"as_of": as_of, "unit": one.unit, "labelled": one.labelled, "figure": name, "value": value}
        for as_of, one in figures
        for name, value in one.figures.items()
    ]
    return pa.Table.from_pylist(rows, pa.schema(_COLUMNS))


def figures_from(table: pa.Table) -> list[WindowFigures]:
    """What figures_table has written, with its rows in any order."""
    from tasks.core.monitoring.performance_series import WindowFigures  # noqa: PLC0415 - heavy, with scipy's statistics

    found: dict[tuple[str, str, int], dict[str, float]] = {}
    for row in table.to_pylist():
        found.setdefault((row["as_of"], row["unit"], row["labelled"]), {})[row["figure"]] = row["value"]
    return [WindowFigures(unit, labelled, found[as_of, unit, labelled]) for as_of, unit, labelled in sorted(found)]


def _starts(values: npt.NDArray[Any]) -> tuple[list[str], npt.NDArray[np.intp]]:
    """Each value of those that stand together, and the place of its first."""
    if not len(values):
        return [], np.zeros(0, np.intp)
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    return [str(value) for value in values[starts]], starts


def _places(names: list[str], starts: npt.NDArray[np.intp], end: int) -> Iterator[tuple[str, slice]]:
    bounds = [*starts.tolist(), end]
    yield from zip(names, itertools.starmap(slice, itertools.pairwise(bounds)), strict=True)


def _figures(output: Prediction, truth: Any, predicted: Any, *, is_classifier: bool) -> Iterator[tuple[str, float]]:
    target = evaluation.target_of(output, truth, is_classifier=is_classifier)
    rows = Rows(target.truth, predicted, np.zeros(len(truth), np.intp), 1)
    for name, kind in target.metrics.items():
        value = evaluation.figure(kind.prepare(rows), 1)
        if value is not None:
            yield name, value
    if target.is_probability or target.metrics is OF_NUMBERS:
        yield "bias", float(target.truth.mean() - predicted.mean())


def _calibrated(
    observed: Observed, figures: Sequence[WindowFigures], history: History, job: Job, made: Made
) -> Calibration:
    from tasks.core.monitoring import drift, performance_series  # noqa: PLC0415 - heavy, with scipy's statistics

    rhythm, past = rhythm_of(job.window), history.past
    usual_bias = (past and _usual_bias(past, made)) or 0.0
    own = profile_batch(made.references[1], made.own.outputs) if made.own else None
    of_drift = drift.calibrate_drift(observed, rhythm, own_scores=own)
    together = rhythm.degraded_after(job.monitor.degraded_after)
    of_performance = performance_series.calibrate_performance(
        list(figures), rhythm, together=together, usual_bias=usual_bias
    )
    lacks = (
        drift.drift_lacks(observed, rhythm),
        performance_series.performance_lacks(list(figures), rhythm, together=together),
    )
    if of_drift and not history.is_whole:
        of_drift = _without_volume(of_drift)
    return Calibration(
        unit=rhythm.unit,
        units_a_block=rhythm.units_a_block,
        first=observed.units[0] if observed.units else "",
        last=observed.units[-1] if observed.units else "",
        units=len(observed.units),
        drift=of_drift,
        performance=of_performance,
        assumptions=tuple(_assumptions(observed, history)),
        lacks=tuple(filter(None, lacks)),
    )


def _without_volume(calibration: DriftCalibration) -> DriftCalibration:
    figures = {name: scale for name, scale in calibration.figures.items() if name != "volume"}
    groups = {group: scale for group, scale in calibration.groups.items() if group != "volume"}
    return calibration.model_copy(update={"figures": figures, "groups": groups})


def _assumptions(observed: Observed, history: History) -> Iterator[str]:
    past = history.past
    if past is None or not observed.units:
        return
    first, last = observed.units[0], observed.units[-1]
    yield f"All that happened from {first} to {last} is usual, and the source gives these windows now as they were scored."
    if (np.datetime64(last) - np.datetime64(first)).astype(int) < _YEAR_DAYS - 1:
        yield "It is less than a year: what another season brings counts as a change."
    if past.is_out_of_sample:
        parts = len(np.unique(past.folds))
        yield (
            f"Each row was scored by a model that was made as the version was, without its own part of the past, of "
            f"{parts}: the version itself has learnt from other rows, and may score a little better or worse."
        )
    else:
        yield "The version may have learnt from these rows: on others it may do worse, and be told of more often."
    yield (
        "Weeks are alike but for chance: where days hang together for long, a window has few rows, or the past is short, "
        "alarms come more often than stated, up to the upper end of the interval."
    )
    if not history.is_whole:
        yield "They may be a sample of their windows: that a window has few rows or many is not watched."
