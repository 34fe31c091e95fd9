"""What has moved in the data: the one statistic that decides, the heat map that explains it, and the scores over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.monitoring.records import Component, DriftPoint, Monitored
from tasks.core.pages import broad, wording
from tasks.core.pages.broad import Axis, Layer, Mark, Panel
from tasks.core.pages.charts import finite
from tasks.core.pages.inputs import WindowPoint
from tasks.core.pages.performance_view import block_word
from tasks.core.pages.time_axis import spells

GROUP_NAMES: dict[Component, str] = {
    "volume": "Volume",
    "missing": "Missing values",
    "new_categories": "New categories",
    "scores": "Scores",
    "features": "Shape of features",
}
_TALL, _FAN = 170, 150
_HEADROOM = 4.0  # Lines: what lies farther out is drawn at the top, or the line would lie on the floor.
_MEDIAN, _ROOM = 2, 1.2


@dataclass(frozen=True)
class Standing:
    """The newest point that has a statistic: on which side of the line, and since when."""

    point: DriftPoint
    is_beyond: bool
    since: str


def standing(points: Sequence[DriftPoint]) -> Standing | None:
    """Where the data stand now; None where no block had enough of its units."""
    known = [one for one in points if one.statistic is not None]
    if not known:
        return None
    side, since = _is_beyond(known[-1]), known[-1].unit
    for one in known[::-1]:
        if _is_beyond(one) != side:
            break
        since = one.unit
    return Standing(known[-1], side, since)


def statistic_panel(monitored: Monitored, axis: Axis) -> Panel | None:
    """The statistic of the job against its line; None where there is none."""
    by_unit = {one.unit: one for one in monitored.drift}
    points = [by_unit.get(unit) for unit in axis.units]
    values = [one.statistic if one else None for one in points]
    lines = [one.line if one else None for one in points]
    if not any(value is not None for value in values):
        return None
    highest = max((line for line in lines if line is not None), default=None)
    top = highest * _HEADROOM if highest and highest > 0 else None
    shown = [value if top is None or value is None else min(value, top) for value in values]
    # The line is to have room above it for its name.
    y = broad.upright([0.0, *shown, *lines, *([highest * _ROOM] if highest else [])])
    beyond = [s if one and _is_beyond(one) else None for s, one in zip(shown, points, strict=True)]
    layers = [
        Layer("limit", broad.level(axis, lines, y)),
        Layer("line", broad.line(axis, shown, y)),
        Layer("beyond", broad.dots(axis, beyond, y)),
    ]
    is_cut = top is not None and any(value is not None and value > top for value in values)
    return Panel(
        id="statistic",
        title="How far the data lie from what is usual",
        heading=statistic_sentence(monitored),
        tall=_TALL,
        layers=tuple(one for one in layers if one.path),
        hits=broad.hits(axis, [_said(unit, one) for unit, one in zip(axis.units, points, strict=True)]),
        y_ticks=y.marks(),
        notes=_line_note(lines, y),
        shades=broad.shades(axis, spells(axis, monitored.alarms, "drifted")),
        x_ticks=axis.ticks(),
        marks=axis.marks(),
        legend=(
            ("line", f"the statistic of the {block_word(monitored)} that ends there"),
            ("limit", "the line of an alarm"),
            ("beyond", "beyond it"),
        ),
        under=f"What is beyond {wording.number(top)} is drawn there; point at it for its figure." if is_cut else "",
    )


def scores_panel(points: Sequence[WindowPoint], axis: Axis, name: str, monitored: Monitored | None) -> Panel | None:
    """The distribution of the first prediction over time: its median, and where half and nine tenths of it lie."""
    by_href = {one.href: one for one in points if one.quantiles}
    some = [by_href.get(href) if href else None for href in axis.hrefs]
    found = [one.quantiles if one and one.quantiles else (None,) * 5 for one in some]
    if not any(one[_MEDIAN] is not None for one in found):
        return None
    columns = [[one[level] for one in found] for level in range(5)]
    means = [one.mean_prediction if one else None for one in some]
    y = broad.upright([value for column in columns for value in column])
    layers = [
        Layer("fan-wide", broad.band(axis, columns[0], columns[4], y)),
        Layer("fan-half", broad.band(axis, columns[1], columns[3], y)),
        Layer("line", broad.line(axis, columns[_MEDIAN], y)),
        Layer("mean", broad.line(axis, means, y)),
    ]
    last = next(one for one in reversed(some) if one is not None)
    return Panel(
        id="scores",
        title=f"{wording.cut(name, 60)} over time",
        heading=_scores_heading(last),
        tall=_FAN,
        layers=tuple(one for one in layers if one.path),
        hits=broad.hits(axis, [_scores_said(unit, one) for unit, one in zip(axis.units, some, strict=True)]),
        y_ticks=y.marks(),
        shades=broad.shades(axis, spells(axis, monitored.alarms, "drifted")) if monitored else (),
        x_ticks=axis.ticks(),
        marks=axis.marks(),
        legend=(
            ("fan-wide", "90 % of the rows"),
            ("fan-half", "half of them"),
            ("line", "the median"),
            ("mean", "the mean"),
        ),
    )


def groups_said(point: DriftPoint) -> str:
    """The groups of a block, the farthest first."""
    ranked = sorted(point.groups.items(), key=lambda item: -item[1])
    return ", ".join(f"{GROUP_NAMES[name].lower()} {wording.number(value)}" for name, value in ranked)


def _is_beyond(point: DriftPoint) -> bool:
    return point.statistic is not None and point.line is not None and point.statistic > point.line


def statistic_sentence(monitored: Monitored) -> str:
    """The newest statistic, and on which side of its line it is."""
    now = standing(monitored.drift)
    if now is None:
        return "not known yet"
    side = "beyond" if now.is_beyond else "below"
    block = block_word(monitored)
    told = f"{wording.number(now.point.statistic)} over the {block} to {wording.cut(now.point.unit, 40)}"
    if now.point.line is None:
        return told
    return f"{told}, {side} the line of {wording.number(now.point.line)}"


def _said(unit: str, point: DriftPoint | None) -> str:
    name = wording.cut(unit, 40)
    if point is None or point.statistic is None:
        return f"{name}: too little to say"
    return f"{name}: {wording.number(point.statistic)} (line {wording.number(point.line)}): {groups_said(point)}"


def _line_note(lines: broad.Values, y: broad.Upright) -> tuple[Mark, ...]:
    last = next((value for one in reversed(lines) if (value := finite(one)) is not None), None)
    return () if last is None else (Mark(y(last), f"line {wording.number(last)}", "end"),)


def _scores_heading(point: WindowPoint) -> str:
    assert point.quantiles is not None  # noqa: S101 - narrowing
    low, _, median, _, high = map(wording.figure, point.quantiles)
    return f"median {median} in {wording.cut(point.as_of, 40)}, and nine of ten rows from {low} to {high}"


def _scores_said(unit: str, point: WindowPoint | None) -> str:
    if point is None or point.quantiles is None:
        return f"{wording.cut(unit, 40)}: no scores"
    low, lower, median, upper, high = map(wording.figure, point.quantiles)
    return f"{wording.cut(unit, 40)}: 5 % below {low}, 25 % below {lower}, median {median}, 75 % below {upper}, 95 % below {high}"
