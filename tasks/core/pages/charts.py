"""The geometry of the charts: scales, ticks, bars and path strings. The templates only write down what is made here.

All charts are 340 units wide, so that their text is of one size and still legible on a narrow phone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.core.pages.wording import number, share

WIDTH = 340
# What differs by less is one value to the eye; what is larger cannot be told from infinity in a chart.
_FLAT, _LARGEST = 1e-9, 1e300
_MOST_DOTS, _LETTER = 60, 11
_CHARACTER = 6.1  # About the width of a character of the axis labels, in the chart's units.


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where, and what is written there."""

    at: float
    label: str


@dataclass(frozen=True)
class Box:
    """A rectangle, and what it says to whoever points at it."""

    x: float
    y: float
    width: float
    height: float
    title: str = ""


@dataclass(frozen=True)
class Scale:
    """Maps values in [low, high] to [start, end], in a straight line."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        return self.start if span == 0 else self.start + (value - self.low) / span * (self.end - self.start)


@dataclass(frozen=True)
class Frame:
    """The area inside the axes."""

    height: float
    left: float = 42
    right: float = WIDTH - 8
    top: float = 18
    bottom: float = 0

    @property
    def width(self) -> float:
        return self.right - self.left


@dataclass(frozen=True)
class Axes:
    """What every chart has: its height, its area, and the marks on both axes."""

    frame: Frame
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Histogram:
    """Today's shares as bars and the reference's as an outline, in slots of equal width."""

    axes: Axes
    bars: str
    outline: str
    slots: tuple[Box, ...]
    unit_at: float
    missing_at: float | None


@dataclass(frozen=True)
class Row:
    """A category: its bar of today, and the mark of the reference."""

    label: str
    y: float
    bar: Box
    reference_at: float | None
    value: str


@dataclass(frozen=True)
class RowChart:
    """Categories one below the other."""

    axes: Axes
    rows: tuple[Row, ...]
    row_height: float


@dataclass(frozen=True)
class Trend:
    """A line over windows: broken where a value is not known, a dot where it stands alone."""

    axes: Axes
    line: str
    dots: tuple[tuple[float, float], ...]
    limit_at: float | None
    limit_label_at: float
    slots: tuple[Box, ...]


@dataclass(frozen=True)
class Stack:
    """Bars over windows, each cut into parts: one path a part."""

    axes: Axes
    parts: tuple[str, ...]
    slots: tuple[Box, ...]


def finite(value: float | None) -> float | None:
    """The value, or None for what cannot be drawn."""
    return value if value is not None and abs(value) <= _LARGEST else None


def nice_ticks(low: float, high: float, about: int = 4) -> tuple[float, ...]:
    """Round values, evenly spaced, that enclose [low, high]: steps of 1, 2, 2.5 or 5 times a power of ten."""
    if high - low <= max(_FLAT * max(abs(low), abs(high)), 1 / _LARGEST):
        low, high = (low - abs(low) / 2, low + abs(low) / 2) if abs(low) > 1 / _LARGEST else (0.0, 1.0)
    rough = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(float(f"{k * step:.12g}") for k in range(first, last + 1))


def groups(length: int, at_most: int) -> list[slice]:
    """Cuts a row of `length` things into at most `at_most` neighbours of one size; the last may be smaller."""
    size = max(1, math.ceil(length / at_most))
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def thin_labels(ticks: Sequence[Tick], *, character: float = _CHARACTER) -> tuple[Tick, ...]:
    """Every k-th tick, with the smallest k at which no two labels touch."""
    for step in range(1, len(ticks) + 1):
        kept = ticks[::step]
        if all(
            _room(one, other) > (len(one.label) + len(other.label) + 2) / 2 * character for one, other in _pairs(kept)
        ):
            return tuple(kept)
    return tuple(ticks[:1])


def line_path(points: Sequence[tuple[float, float] | None]) -> str:
    """A polyline, lifted where a point is None."""
    path, pen_down = [], False
    for point in points:
        if point is not None:
            path.append(f"{'L' if pen_down else 'M'}{_at(*point)}")
        pen_down = point is not None
    return "".join(path)


def bars_path(boxes: Sequence[Box]) -> str:
    """All rectangles as one path; those without height are left out."""
    return "".join(f"M{_at(b.x, b.y)}h{_n(b.width)}v{_n(b.height)}h{_n(-b.width)}z" for b in boxes if b.height > 0)


def histogram(
    titles: Sequence[str],
    observed: Sequence[float],
    reference: Sequence[float] | None,
    boundaries: Sequence[tuple[int, str]],
    missing: tuple[float, float | None] | None = None,
) -> Histogram:
    """Slots of equal width, one a bin; `boundaries` are labels at the left of a slot, by its position.

    `missing` is today's and the reference's share of missing values; it stands apart, at the right.
    """
    values, others = list(observed), None if reference is None else list(reference)
    frame = Frame(height=182, bottom=148)
    slot = frame.width / (len(values) + (1.5 if missing else 0) or 1)
    lefts = [frame.left + i * slot for i in range(len(values))]
    if missing:
        lefts.append(frame.right - slot)
        values.append(missing[0])
        if others is not None:
            others.append(missing[1] or 0.0)
    ticks, scale = _vertical(frame, [0.0, *values, *(others or [])])
    bars = [
        Box(x + slot * 0.06, scale(v), slot * 0.88, frame.bottom - scale(v)) for x, v in zip(lefts, values, strict=True)
    ]
    return Histogram(
        axes=Axes(
            frame,
            thin_labels([Tick(frame.left + i * slot, label) for i, label in boundaries]),
            tuple(Tick(scale(t), share_tick(t, ticks)) for t in ticks),
        ),
        bars=bars_path(bars),
        outline=_outline(lefts, slot, [scale(v) for v in others], frame.bottom, apart=bool(missing)) if others else "",
        slots=tuple(Box(x, frame.top, slot, frame.bottom - frame.top, t) for x, t in zip(lefts, titles, strict=True)),
        unit_at=(frame.left + lefts[len(titles) - 1 - bool(missing)] + slot) / 2,
        missing_at=frame.right + 8 if missing else None,
    )


def row_chart(
    labels: Sequence[str], titles: Sequence[str], observed: Sequence[float], reference: Sequence[float] | None
) -> RowChart:
    """One category a row, with the share of today as a bar and the reference's as a mark across it."""
    row_height, top = 17.0, 4.0
    bottom = top + row_height * len(labels)
    frame = Frame(height=bottom + 34, left=112, right=WIDTH - 50, top=top, bottom=bottom)
    ticks = nice_ticks(0.0, max([*observed, *(reference or []), 1e-6]), 3)
    scale = Scale(0.0, ticks[-1], frame.left, frame.right)
    rows = tuple(
        Row(
            label=label,
            y=top + i * row_height,
            bar=Box(frame.left, top + i * row_height + 3, scale(value) - frame.left, row_height - 6, title),
            reference_at=None if reference is None else scale(reference[i]),
            value=share(value),
        )
        for i, (label, title, value) in enumerate(zip(labels, titles, observed, strict=True))
    )
    marks = thin_labels([Tick(scale(t), share_tick(t, ticks)) for t in ticks])
    return RowChart(Axes(frame, marks, ()), rows, row_height)


def trend(
    labels: Sequence[str],
    values: Sequence[float | None],
    titles: Sequence[str],
    *,
    from_zero: bool = True,
    limit: float | None = None,
    as_share: bool = False,
) -> Trend:
    """A line over windows, of values that are finite or None; `limit` is a line across."""
    frame = Frame(height=150, top=8, bottom=116, right=WIDTH - 32)
    known = [v for v in values if v is not None]
    ticks, scale = _vertical(frame, [*([0.0] if from_zero else []), *known, *([] if limit is None else [limit])])
    limit_at = None if limit is None else scale(limit)
    slot = frame.width / max(len(values), 1)
    places = [None if v is None else (frame.left + (i + 0.5) * slot, scale(v)) for i, v in enumerate(values)]
    return Trend(
        axes=Axes(
            frame,
            _label_ticks(frame, labels),
            tuple(Tick(scale(t), share_tick(t, ticks) if as_share else number(t)) for t in ticks),
        ),
        line=line_path(places),
        dots=tuple(place for place in places if place is not None) if len(values) <= _MOST_DOTS else _lonely(places),
        limit_at=limit_at,
        limit_label_at=_beside(limit_at, frame),
        slots=_slots(frame, titles),
    )


def stack(labels: Sequence[str], parts: Sequence[Sequence[float]], titles: Sequence[str]) -> Stack:
    """Bars of parts over windows: `parts[p][i]` is the size of part p in window i; the first part is at the bottom."""
    frame = Frame(height=150, top=8, bottom=116, right=WIDTH - 32)
    totals = [sum(column) for column in zip(*parts, strict=True)]
    ticks, scale = _vertical(frame, [0.0, *totals])
    slot = frame.width / max(len(totals), 1)
    below, paths = [0.0] * len(totals), []
    for part in parts:
        boxes = [
            Box(frame.left + (i + 0.1) * slot, scale(low + size), slot * 0.8, scale(low) - scale(low + size))
            for i, (low, size) in enumerate(zip(below, part, strict=True))
        ]
        paths.append(bars_path(boxes))
        below = [low + size for low, size in zip(below, part, strict=True)]
    axes = Axes(frame, _label_ticks(frame, labels), tuple(Tick(scale(t), number(t)) for t in ticks))
    return Stack(axes, tuple(paths), _slots(frame, titles))


def share_tick(value: float, ticks: Sequence[float]) -> str:
    """A share on an axis, with as many decimals as the axis needs."""
    step = (ticks[1] - ticks[0]) * 100 if len(ticks) > 1 else 1.0
    decimals = max(0, math.ceil(-math.log10(step) - 1e-9)) if step > 0 else 0
    if round(step, decimals) != round(step, 9):
        decimals += 1
    return f"{value * 100:.{decimals}f} %"


def _vertical(frame: Frame, values: Sequence[float]) -> tuple[tuple[float, ...], Scale]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    ticks = nice_ticks(low, high)
    return ticks, Scale(ticks[0], ticks[-1], frame.bottom, frame.top)


def _outline(lefts: Sequence[float], slot: float, tops: Sequence[float], bottom: float, *, apart: bool) -> str:
    """A staircase over neighbouring slots, down to the axis at both ends; the missing values' slot by itself."""
    together = list(zip(lefts, tops, strict=True))
    runs = [together[:-1], together[-1:]] if apart else [together]
    return "".join(_staircase(run, slot, bottom) for run in runs if run)


def _staircase(run: Sequence[tuple[float, float]], slot: float, bottom: float) -> str:
    steps = "".join(f"V{_n(top)}H{_n(left + slot)}" for left, top in run)
    return f"M{_at(run[0][0], bottom)}{steps}V{_n(bottom)}"


def _label_ticks(frame: Frame, labels: Sequence[str]) -> tuple[Tick, ...]:
    """Labels below the slots, as many as fit: the last always, and none that would stick out of the chart."""
    slot = frame.width / max(len(labels), 1)
    ticks = [Tick(frame.left + (i + 0.5) * slot, label) for i, label in enumerate(labels)]
    kept = thin_labels(ticks[::-1])[::-1]
    return tuple(t for t in kept if t.at - len(t.label) * _CHARACTER / 2 >= 0) or kept[-1:]


def _slots(frame: Frame, titles: Sequence[str]) -> tuple[Box, ...]:
    slot = frame.width / max(len(titles), 1)
    return tuple(Box(frame.left + i * slot, frame.top, slot, frame.bottom - frame.top, t) for i, t in enumerate(titles))


def _lonely(places: Sequence[tuple[float, float] | None]) -> tuple[tuple[float, float], ...]:
    """The points without a neighbour, which a line alone would not show."""
    padded = [None, *places, None]
    return tuple(
        here
        for before, here, after in zip(padded, padded[1:], padded[2:], strict=False)
        if here is not None and before is None and after is None
    )


def _pairs(ticks: Sequence[Tick]) -> Iterator[tuple[Tick, Tick]]:
    return itertools.pairwise(ticks)


def _room(one: Tick, other: Tick) -> float:
    return abs(other.at - one.at)


def _beside(line_at: float | None, frame: Frame) -> float:
    """Where a line's label stands: above it, or below where there is no room above."""
    above = (line_at or 0.0) - 4
    return above if above >= frame.top + _LETTER else above + _LETTER + 6


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _at(x: float, y: float) -> str:
    return f"{_n(x)} {_n(y)}"
