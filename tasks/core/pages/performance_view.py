"""What the model has been worth, as labels came: each metric against its benchmark, the bias, and how complete labels are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.core.monitoring.records import Monitored, PerformancePoint, WindowPerformance
from tasks.core.pages import broad, wording
from tasks.core.pages.broad import Axis, Layer, Mark, Panel
from tasks.core.pages.charts import Scale
from tasks.core.pages.time_axis import spells
from tasks.core.runs.manifest import Interval

MOST_METRICS = 5
NOTHING = Interval(value=None)
# How the field writes them; others are written as they are named.
_NAMES = {
    "roc_auc": "ROC AUC",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "f1_macro": "Macro F1",
}
_PREFERRED = ("roc_auc", "average_precision", "brier", "log_loss", "rmse", "mae", "r2", "f1_macro", "accuracy")
_TALL, _LOW, _STRIP = 190, 120, 54


@dataclass(frozen=True)
class OfUnit:
    """A figure of one unit: of its window, or of its windows together, and then without an interval."""

    figure: Interval
    rows: int
    labelled: int


def metric_name(metric: str) -> str:
    """A metric as people write it: roc_auc is ROC AUC."""
    return wording.cut(_NAMES.get(metric, metric.replace("_", " ").capitalize()), 60)


def metrics_of(monitored: Monitored, main: str = "") -> list[str]:
    """The metrics that are known of any window, the main one first."""
    known = dict.fromkeys(metric for one in monitored.windows for metric in one.metrics)
    order = [main, *_PREFERRED, *known]
    return list(dict.fromkeys(metric for metric in order if metric in known))


def interval_words(figure: Interval) -> str:
    """0.731 (0.721 to 0.742)."""
    value = wording.fixed(figure.value)
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({wording.fixed(figure.low)} to {wording.fixed(figure.high)})"


def block_word(monitored: Monitored) -> str:
    """What a block of units is called: a week, or a unit that is longer."""
    calibration = monitored.calibration
    if calibration is None or calibration.unit in ("day", "week"):
        return "week"
    return calibration.unit


def panels(monitored: Monitored, axis: Axis, main: str = "") -> list[Panel]:
    """The main metric, the bias, the labels, then the other metrics; none while no label has come."""
    metrics = metrics_of(monitored, main)
    drawn = [_of_metric(monitored, axis, metric, 0, tall=_TALL) for metric in metrics[:1]]
    if any(one.bias.value is not None for one in monitored.windows):
        drawn.append(_of_bias(monitored, axis))
    if monitored.windows:
        drawn.append(_of_labels(monitored, axis))
    return drawn


def other_panels(monitored: Monitored, axis: Axis, main: str = "") -> list[Panel]:
    """The metrics that are not the main one."""
    metrics = metrics_of(monitored, main)[:MOST_METRICS]
    return [_of_metric(monitored, axis, one, i, tall=_LOW) for i, one in enumerate(metrics) if i]


def by_unit(windows: Iterable[WindowPerformance], read: Callable[[WindowPerformance], Interval]) -> dict[str, OfUnit]:
    """A figure by unit, weighted by the rows that are labelled."""
    found: dict[str, list[WindowPerformance]] = defaultdict(list)
    for one in windows:
        found[one.unit].append(one)
    return {unit: _together(some, read) for unit, some in found.items()}


def benchmark_of(monitored: Monitored, model: str, metric: str) -> Interval:
    """What the version was worth when it was registered."""
    return monitored.benchmarks.get(model, {}).get(metric, NOTHING)


def label_share(windows: Sequence[WindowPerformance]) -> float | None:
    """The share of rows that have a label; None of no rows."""
    rows = sum(one.rows for one in windows)
    return sum(one.labelled for one in windows) / rows if rows else None


def newest_labels(windows: Sequence[WindowPerformance]) -> str:
    """The day of the newest labels; '' where there are none."""
    return max((one.labels_as_of for one in windows), default="")


def _together(windows: list[WindowPerformance], read: Callable[[WindowPerformance], Interval]) -> OfUnit:
    rows, labelled = sum(one.rows for one in windows), sum(one.labelled for one in windows)
    if len(windows) == 1:
        return OfUnit(read(windows[0]), rows, labelled)
    known = [(value, one.labelled) for one in windows if (value := read(one).value) is not None]
    weight = sum(weight for _, weight in known)
    mean = sum(value * part for value, part in known) / weight if weight else None
    return OfUnit(Interval(value=mean), rows, labelled)


def _of_metric(monitored: Monitored, axis: Axis, metric: str, number: int, *, tall: int) -> Panel:
    of_units = by_unit(monitored.windows, lambda one: one.metrics.get(metric, NOTHING))
    windows = [of_units.get(unit) for unit in axis.units]
    blocks = _of_blocks(monitored.performance, axis, metric)
    models = _models(monitored)
    against = [benchmark_of(monitored, models.get(unit, ""), metric) for unit in axis.units]
    lows, highs = [one.low for one in against], [one.high for one in against]
    values = [one.figure.value if one else None for one in windows]
    y = broad.upright([*values, *blocks, *lows, *highs, *(one.value for one in against)])
    layers = [
        Layer("benchmark-band", broad.band(axis, lows, highs, y)),
        Layer("benchmark-line", broad.level(axis, [one.value for one in against], y)),
        *_figure_layers(axis, windows, blocks, y),
    ]
    return Panel(
        id=f"metric-{number}",
        title=metric_name(metric),
        heading=metric_heading(monitored, metric),
        tall=tall,
        layers=tuple(one for one in layers if one.path),
        hits=broad.hits(
            axis, [_said(u, w, b, wording.fixed) for u, w, b in zip(axis.units, windows, blocks, strict=True)]
        ),
        y_ticks=y.marks(),
        shades=broad.shades(axis, spells(axis, monitored.alarms, "degraded")),
        x_ticks=axis.ticks(),
        marks=axis.marks(),
        legend=_legend(monitored, blocks, has_benchmark=any(one.low is not None for one in against)),
    )


def _of_bias(monitored: Monitored, axis: Axis) -> Panel:
    of_units = by_unit(monitored.windows, lambda one: one.bias)
    windows = [of_units.get(unit) for unit in axis.units]
    blocks = _of_blocks(monitored.performance, axis, "bias")
    of_versions = {one.unit: one.usual_bias for one in monitored.performance}
    usual = [of_versions.get(unit) for unit in axis.units]
    y = broad.upright([0.0, *(one.figure.value if one else None for one in windows), *blocks, *usual])
    layers = [
        Layer("zero", f"M0 {y(0.0):.1f}H{broad.WIDTH:.0f}"),
        Layer("benchmark-line", broad.level(axis, usual, y)),
        *_figure_layers(axis, windows, blocks, y),
    ]
    return Panel(
        id="bias",
        title="Truth less prediction",
        heading=_bias_heading(monitored, blocks, windows),
        tall=_LOW,
        layers=tuple(one for one in layers if one.path),
        hits=broad.hits(
            axis, [_said(u, w, b, wording.signed) for u, w, b in zip(axis.units, windows, blocks, strict=True)]
        ),
        y_ticks=y.marks(),
        shades=broad.shades(axis, spells(axis, monitored.alarms, "degraded")),
        x_ticks=axis.ticks(),
        marks=axis.marks(),
    )


def _figure_layers(axis: Axis, windows: Sequence[OfUnit | None], blocks: broad.Values, y: broad.Upright) -> list[Layer]:
    """Each window as a dot with its interval, and the mean of the block that ends there as a line."""
    figures = [one.figure if one else NOTHING for one in windows]
    return [
        Layer("whisker", broad.whiskers(axis, [one.low for one in figures], [one.high for one in figures], y)),
        Layer("dots", broad.dots(axis, [one.value for one in figures], y)),
        Layer("line", broad.line(axis, blocks, y)),
    ]


def _of_labels(monitored: Monitored, axis: Axis) -> Panel:
    of_units: dict[str, list[WindowPerformance]] = defaultdict(list)
    for one in monitored.windows:
        of_units[one.unit].append(one)
    some = [of_units.get(unit, []) for unit in axis.units]
    parts = [
        [_part(windows, read) for windows in some]
        for read in (
            lambda one: one.labelled,
            lambda one: one.without_label,
            lambda one: one.awaited,
        )
    ]
    y = broad.Upright(Scale(0.0, 1.0, broad.HEIGHT, 0.0), (0.0, 1.0))
    kinds = ("labelled", "without", "awaited")
    layers = [Layer(kind, path) for kind, path in zip(kinds, broad.stacked(axis, parts, y), strict=True) if path]
    return Panel(
        id="labels",
        title="Labels",
        heading=labels_sentence(monitored),
        tall=_STRIP,
        layers=tuple(layers),
        hits=broad.hits(axis, [_labels_said(unit, one) for unit, one in zip(axis.units, some, strict=True)]),
        y_ticks=(Mark(0.0, "100 %"), Mark(broad.HEIGHT, "0 %")),
        shades=broad.shades(axis, spells(axis, monitored.alarms, "labels_late")),
        x_ticks=axis.ticks(),
        legend=(
            ("labelled", "has a label"),
            ("without", "has none, and never will"),
            ("awaited", "awaited, or never came"),
        ),
    )


def labels_sentence(monitored: Monitored) -> str:
    """How complete the labels of all windows shown are, and as of when."""
    windows = monitored.windows
    share = label_share(windows)
    if share is None:
        return "no label has come yet"
    told = f"{wording.share(share)} of labels, as of {wording.cut(newest_labels(windows), 40)}"
    without, awaited = sum(one.without_label for one in windows), sum(one.awaited for one in windows)
    corrected = sum(one.corrected for one in windows)
    more = [
        f"{wording.plural(without, 'row')} will have none" if without else "",
        f"{wording.plural(awaited, 'row')} awaited or never came" if awaited else "",
        f"{wording.plural(corrected, 'label')} corrected since" if corrected else "",
    ]
    return "; ".join([told, *filter(None, more)])


def _part(windows: Sequence[WindowPerformance], read: Callable[[WindowPerformance], int]) -> float | None:
    rows = sum(one.rows for one in windows)
    return sum(map(read, windows)) / rows if rows else None


def _labels_said(unit: str, windows: Sequence[WindowPerformance]) -> str:
    if not windows:
        return f"{wording.cut(unit, 40)}: no labels yet"
    labelled, rows = sum(one.labelled for one in windows), sum(one.rows for one in windows)
    state = "final" if all(one.is_final for one in windows) else "may still change"
    return (
        f"{wording.cut(unit, 40)}: {wording.share(labelled / rows if rows else None)} of {wording.plural(rows, 'row')} "
        f"have labels as of {wording.cut(newest_labels(windows), 40)}, {state}"
    )


def metric_heading(monitored: Monitored, metric: str) -> str:
    """The newest figure of a metric, beside the benchmark of the version that it is of."""
    newest = next((one for one in monitored.performance[::-1] if one.figures.get(metric) is not None), None)
    if newest is not None:
        model, unit = newest.model, wording.cut(newest.unit, 40)
        told = f"{wording.fixed(newest.figures[metric])} over the {block_word(monitored)} to {unit}"
    else:
        windows = [one for one in monitored.windows if one.metrics.get(metric, NOTHING).value is not None]
        last = max(windows, key=lambda one: (one.unit, one.as_of), default=None)
        if last is None:
            return "not known yet"
        model, told = last.model, f"{interval_words(last.metrics[metric])} in {wording.cut(last.as_of, 40)}"
    benchmark = benchmark_of(monitored, model, metric)
    if benchmark.value is None:
        return f"{told}; there is no benchmark"
    return f"{told}; the benchmark is {interval_words(benchmark)}"


def _bias_heading(monitored: Monitored, blocks: broad.Values, windows: Sequence[OfUnit | None]) -> str:
    of_blocks = next((value for value in reversed(blocks) if value is not None), None)
    of_windows = next((one.figure.value for one in reversed(windows) if one and one.figure.value is not None), None)
    value = of_windows if of_blocks is None else of_blocks
    if value is None:
        return "not known yet"
    which = "in the newest window with labels" if of_blocks is None else f"over the newest {block_word(monitored)}"
    means = "less" if value < 0 else "more"
    told = f"{wording.signed(value)} {which}: {means} came true than was predicted" if value else f"0 {which}"
    usual = next((one.usual_bias for one in monitored.performance[::-1] if one.usual_bias is not None), None)
    return told if usual is None else f"{told}; of this version {wording.signed(usual)} is usual"


def _said(unit: str, window: OfUnit | None, block: float | None, write: Callable[[float | None], str]) -> str:
    if window is None and block is None:
        return f"{wording.cut(unit, 40)}: no labels yet"
    figure = window.figure if window else NOTHING
    ends = "" if figure.low is None or figure.high is None else f" ({write(figure.low)} to {write(figure.high)})"
    labels = f"; labels of {wording.share(window.labelled / window.rows)}" if window and window.rows else ""
    mean = f"; mean of the block that ends here {write(block)}" if block is not None else ""
    return f"{wording.cut(unit, 40)}: {write(figure.value)}{ends}{mean}{labels}"


def _of_blocks(points: Sequence[PerformancePoint], axis: Axis, figure: str) -> list[float | None]:
    known = {one.unit: one.figures.get(figure) for one in points}
    return [known.get(unit) for unit in axis.units]


def _models(monitored: Monitored) -> Mapping[str, str]:
    of_blocks = {one.unit: one.model for one in monitored.performance}
    return of_blocks | {one.unit: one.model for one in monitored.windows}


def _legend(monitored: Monitored, blocks: broad.Values, *, has_benchmark: bool) -> tuple[tuple[str, str], ...]:
    of_block = (("line", f"mean of a {block_word(monitored)}"),) if any(one is not None for one in blocks) else ()
    of_benchmark = (("benchmark-band", "the benchmark's 95 % interval"),) if has_benchmark else ()
    return (("dots", "a window, with its 95 % interval"), *of_block, *of_benchmark)
