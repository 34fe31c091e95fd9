"""What a metric was estimated to be before there were labels, against the truth that came, and how far that can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.core.monitoring.records import EstimateRecord, Monitored
from tasks.core.pages import broad, wording
from tasks.core.pages.broad import Axis, Layer, Panel
from tasks.core.pages.inputs import WindowPoint
from tasks.core.pages.performance_view import NOTHING, by_unit, interval_words, metric_name
from tasks.core.pages.time_axis import version_word
from tasks.core.pages.verdicts import Tone
from tasks.core.runs.manifest import Interval

MOST_ESTIMATES, MOST_RECORDS = 3, 20
_TALL = 150


@dataclass(frozen=True)
class RecordLine:
    """How the estimates of one metric by one version have done, as a line of a table."""

    record: EstimateRecord
    metric: str
    version: str
    words: str
    tone: Tone


@dataclass(frozen=True)
class Newest:
    """The estimate of the newest window that has one."""

    as_of: str
    metric: str
    estimate: Interval
    is_muted: bool


def record_lines(monitored: Monitored) -> list[RecordLine]:
    """The record of every metric and version, those of the newest version first."""
    ranked = sorted(monitored.estimates, key=lambda one: one.model != monitored.model)
    return [
        RecordLine(one, metric_name(one.metric), version_word(one.model), *_standing(one))
        for one in ranked[:MOST_RECORDS]
    ]


def muted(monitored: Monitored, metric: str) -> EstimateRecord | None:
    """The record that mutes a metric's estimates by the version that scores now."""
    return next(
        (one for one in monitored.estimates if one.metric == metric and one.model == monitored.model and one.muted),
        None,
    )


def newest(monitored: Monitored, points: Sequence[WindowPoint], main: str = "") -> Newest | None:
    """What is estimated of the newest window: of the main metric, or else of the first."""
    known = estimates_by_window(monitored, points)
    for as_of in sorted(known, reverse=True):
        metrics = metrics_of(known, main)
        metric = next((one for one in metrics if known[as_of].get(one, NOTHING).value is not None), None)
        if metric:
            return Newest(as_of, metric, known[as_of][metric], muted(monitored, metric) is not None)
    return None


def estimates_by_window(monitored: Monitored, points: Sequence[WindowPoint]) -> dict[str, Mapping[str, Interval]]:
    """By window: of the runs themselves, and where their labels have come, as they were looked at."""
    of_points = {one.as_of: one.estimates for one in points if one.estimates}
    return of_points | {one.as_of: one.estimates for one in monitored.windows if one.estimates}


def metrics_of(known: Mapping[str, Mapping[str, Interval]], main: str = "") -> list[str]:
    """The metrics that are estimated of any window, the main one first."""
    metrics = dict.fromkeys(metric for one in known.values() for metric in one)
    return list(dict.fromkeys(one for one in (main, "roc_auc", *metrics) if one in metrics))


def panels(monitored: Monitored, axis: Axis, points: Sequence[WindowPoint], main: str = "") -> list[Panel]:
    """One panel a metric, the main one first: the estimate with its interval, and the truth as dots."""
    known = estimates_by_window(monitored, points)
    of_units = _by_unit(monitored, points, known)
    realised = {metric for one in monitored.windows for metric in one.metrics}
    # What labels were never held against, though they came, is no metric to look at.
    metrics = [one for one in metrics_of(known, main) if one in realised or not realised][:MOST_ESTIMATES]
    return [_panel(monitored, axis, metric, number, of_units) for number, metric in enumerate(metrics)]


def _by_unit(
    monitored: Monitored, points: Sequence[WindowPoint], known: Mapping[str, Mapping[str, Interval]]
) -> dict[str, Mapping[str, Interval]]:
    """By unit: of several windows in one unit, those of the last."""
    units = {one.as_of: one.unit or one.as_of for one in points} | {one.as_of: one.unit for one in monitored.windows}
    return {units.get(as_of, as_of): known[as_of] for as_of in sorted(known)}


def _panel(
    monitored: Monitored, axis: Axis, metric: str, number: int, by_unit_known: Mapping[str, Mapping[str, Interval]]
) -> Panel:
    estimates = [by_unit_known.get(unit, {}).get(metric, NOTHING) for unit in axis.units]
    truth = by_unit(monitored.windows, lambda one: one.metrics.get(metric, NOTHING))
    truths = [truth[unit].figure.value if unit in truth else None for unit in axis.units]
    lows, highs = [one.low for one in estimates], [one.high for one in estimates]
    y = broad.upright([*lows, *highs, *truths, *(one.value for one in estimates)])
    is_muted = muted(monitored, metric) is not None
    kind = "muted" if is_muted else "estimate"
    layers = [
        Layer(f"{kind}-band", broad.band(axis, lows, highs, y)),
        Layer(f"{kind}-line", broad.line(axis, [one.value for one in estimates], y)),
        Layer("truth", broad.dots(axis, truths, y)),
    ]
    said = [_said(u, e, t) for u, e, t in zip(axis.units, estimates, truths, strict=True)]
    return Panel(
        id=f"estimate-{number}",
        title=f"{metric_name(metric)}, estimated before labels{': muted' if is_muted else ''}",
        heading=_heading(axis, estimates, truths),
        tall=_TALL,
        layers=tuple(one for one in layers if one.path),
        hits=broad.hits(axis, said),
        y_ticks=y.marks(),
        x_ticks=axis.ticks(),
        marks=axis.marks(),
        legend=(
            (f"{kind}-band", "the estimate's 95 % interval"),
            (f"{kind}-line", "the estimate"),
            ("truth", "the truth, once labels came"),
        ),
    )


def _heading(axis: Axis, estimates: Sequence[Interval], truths: broad.Values) -> str:
    """The newest estimate, and whether its truth is known already."""
    last = next((i for i in reversed(range(len(estimates))) if estimates[i].value is not None), None)
    if last is None:
        return "none yet"
    told = f"{interval_words(estimates[last])} for {wording.cut(axis.units[last], 40)}"
    if truths[last] is None:
        return f"{told}, whose labels have not come"
    return f"{told}; in truth {wording.fixed(truths[last])}"


def _said(unit: str, estimate: Interval, truth: float | None) -> str:
    name = wording.cut(unit, 40)
    if estimate.value is None and truth is None:
        return f"{name}: not estimated"
    told = f"estimated {interval_words(estimate)}" if estimate.value is not None else "not estimated"
    return f"{name}: {told}; {'no labels yet' if truth is None else f'in truth {wording.fixed(truth)}'}"


def _standing(record: EstimateRecord) -> tuple[str, Tone]:
    if record.muted:
        return "muted", "stop"
    return ("not judged yet", "idle") if record.p_value is None else ("holds", "good")


def record_sentence(record: EstimateRecord) -> str:
    """How often the truth lay in the interval, and how often it should have."""
    least = wording.share(record.nominal)
    told = f"the truth lay in the interval in {wording.count(record.inside)} of {wording.plural(record.compared, 'window')}"
    return f"{told}, where {least} of them should"
