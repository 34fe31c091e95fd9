"""What monitoring knows of one window, for its page: what it was estimated to be worth, what it was, and its data's drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.monitoring.records import Alarm, ColumnDrift, DriftPoint, Monitored, WindowPerformance
from tasks.core.pages import wording
from tasks.core.pages.drift_view import GROUP_NAMES
from tasks.core.pages.estimate_view import muted
from tasks.core.pages.heat_map import farthest, in_words, shade
from tasks.core.pages.inputs import WindowMonitoring, WindowPage
from tasks.core.pages.monitoring_view import KINDS, span
from tasks.core.pages.performance_view import NOTHING, benchmark_of, interval_words, metric_name
from tasks.core.pages.verdicts import Tone
from tasks.core.runs.manifest import Interval

MOST_DAYS, MOST_METRICS, MOST_MOVED = 20, 6, 8


@dataclass(frozen=True)
class EstimateLine:
    """A metric: what it was estimated to be, what it was in truth, and what the version was worth at registration."""

    metric: str
    estimate: str
    truth: str
    benchmark: str
    words: str
    tone: Tone


@dataclass(frozen=True)
class AsOf:
    """What was known of the window on one day."""

    performance: WindowPerformance
    share: float
    figures: tuple[str, ...]
    bias: str
    state: str


@dataclass(frozen=True)
class Moved:
    """A column that lies far from what is usual."""

    column: str
    words: str
    z: str
    shade: int
    explains: bool


@dataclass(frozen=True)
class AlarmMark:
    """An alarm during which the window lies."""

    words: str
    tone: Tone
    span: str
    reason: str


@dataclass(frozen=True)
class Section:
    """The window's part of monitoring; each sentence stands where there is nothing to show."""

    alarms: tuple[AlarmMark, ...]
    has_estimates: bool
    estimates: tuple[EstimateLine, ...]
    metrics: tuple[str, ...]
    days: tuple[AsOf, ...]
    days_count: int
    labels: str
    drift: str
    moved: tuple[Moved, ...]


def section(page: WindowPage) -> Section | None:
    """None for a window of a job that is not monitored, and for one of which nothing is known."""
    known = page.monitoring
    if known is None or page.manifest.is_dry_run:
        return None
    performances = sorted(known.performances, key=lambda one: one.labels_as_of, reverse=True)
    newest = performances[0] if performances else None
    monitored = known.monitored
    estimated = dict(newest.estimates) if newest and newest.estimates else page.manifest.estimates
    metrics = _metrics(performances, estimated)
    # In a table with a line a day there is room for one.
    realised = [one for one in metrics if any(one in each.metrics for each in performances)][:1]
    point = _point(monitored, known.unit)
    return Section(
        alarms=tuple(_mark(one) for one in _alarms(monitored, known.unit)),
        has_estimates=bool(estimated),
        estimates=tuple(_estimate(one, estimated, newest, page, monitored) for one in metrics),
        metrics=tuple(metric_name(one) for one in realised),
        days=tuple(_as_of(one, realised) for one in performances[:MOST_DAYS]),
        days_count=len(performances),
        labels=_labels(known, newest),
        drift=drift_sentence(monitored, point),
        moved=tuple(_moved(one) for one in farthest(point.columns if point else (), MOST_MOVED) if shade(one.z)),
    )


def drift_sentence(monitored: Monitored | None, point: DriftPoint | None) -> str:
    """The statistic of the block that ends with the window, against its line."""
    if monitored is None:
        return "The data were not held against what is usual: the job is not monitored yet."
    if point is None:
        return "The data were not held against what is usual yet."
    if point.statistic is None:
        return "Too little of the block that ends here is known to hold its data against what is usual."
    told = f"The data of the block that ends here: statistic {wording.number(point.statistic)}"
    if point.line is None:
        return f"{told}; there is no line to hold it against."
    side = "beyond" if point.statistic > point.line else "below"
    return f"{told}, {side} the line of {wording.number(point.line)}; {wording.plural(point.rows, 'row')} of {wording.plural(point.windows, 'window')}."


def _metrics(performances: Sequence[WindowPerformance], estimated: dict[str, Interval]) -> list[str]:
    known = dict.fromkeys([*(metric for one in performances for metric in one.metrics), *estimated])
    return list(known)[:MOST_METRICS]


def _estimate(
    metric: str,
    estimated: dict[str, Interval],
    newest: WindowPerformance | None,
    page: WindowPage,
    monitored: Monitored | None,
) -> EstimateLine:
    estimate = estimated.get(metric, NOTHING)
    truth = newest.metrics.get(metric, NOTHING) if newest else NOTHING
    model = newest.model if newest else f"{page.manifest.model.name}/{page.manifest.model.version:04d}"
    benchmark = benchmark_of(monitored, model, metric) if monitored else NOTHING
    is_muted = monitored is not None and muted(monitored, metric) is not None
    words, tone = _how_it_did(estimate, truth, is_muted=is_muted)
    return EstimateLine(metric_name(metric), _said(estimate), _said(truth), _said(benchmark), words, tone)


def _how_it_did(estimate: Interval, truth: Interval, *, is_muted: bool) -> tuple[str, Tone]:
    if is_muted and estimate.value is not None:
        return "muted", "warn"
    if estimate.low is None or estimate.high is None or truth.value is None:
        return "", "idle"
    if estimate.low <= truth.value <= estimate.high:
        return "truth inside", "good"
    return "truth outside", "warn"


def _said(figure: Interval) -> str:
    return wording.UNKNOWN if figure.value is None else interval_words(figure)


def _as_of(one: WindowPerformance, metrics: Sequence[str]) -> AsOf:
    bias = wording.signed(one.bias.value)
    if one.bias.low is not None and one.bias.high is not None:
        bias = f"{bias} ({wording.signed(one.bias.low)} to {wording.signed(one.bias.high)})"
    state = "final" if one.is_final else "may change"
    figures = tuple(_said(one.metrics.get(metric, NOTHING)) for metric in metrics)
    return AsOf(one, one.label_share, figures, bias, state)


def _labels(known: WindowMonitoring, newest: WindowPerformance | None) -> str:
    if newest is None:
        return "No label of this window has come yet." if known.has_labels else "The job has no query for labels."
    told = f"{wording.share(newest.label_share)} of labels, as of {wording.cut(newest.labels_as_of, 40)}"
    without, awaited = newest.without_label, newest.awaited
    parts = [
        f"{wording.plural(without, 'row')} will have none" if without else "",
        f"{wording.plural(awaited, 'row')} {'never came' if newest.is_final else 'awaited'}" if awaited else "",
    ]
    return f"{'; '.join([told, *filter(None, parts)])}."


def _point(monitored: Monitored | None, unit: str) -> DriftPoint | None:
    return next((one for one in monitored.drift if one.unit == unit), None) if monitored else None


def _alarms(monitored: Monitored | None, unit: str) -> list[Alarm]:
    if monitored is None:
        return []
    return [one for one in monitored.alarms if one.onset <= unit and (one.until is None or unit <= one.until)]


def _mark(alarm: Alarm) -> AlarmMark:
    _, words, tone = KINDS[alarm.kind]
    return AlarmMark(words, tone, span(alarm), alarm.reason)


def _moved(one: ColumnDrift) -> Moved:
    name = one.column or GROUP_NAMES[one.component]
    return Moved(name, in_words(one), f"{one.z:.1f}", shade(one.z), one.explains)
