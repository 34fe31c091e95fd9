"""The geometry of broad charts: panels over one row of units, as wide as the page.

What is drawn is stretched to the width there is, in a box of 1000 by 100; words stand beside it, so that they are of one
size on any screen. Strokes and dots keep their shape, for they do not scale.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.core.pages.charts import Box, Scale, finite, groups, nice_ticks, share_tick
from tasks.core.pages.wording import cut, number

WIDTH, HEIGHT = 1000.0, 100.0
_TOP, _BOTTOM = 6.0, 98.0
MOST_HITS, _MOST_TICKS, _FEW_UNITS, _MOST_MARKS = 120, 7, 62, 12
_NEAR_END = 4.0  # Per cent of the width: a label so near to an end is set within it.

Values = Sequence[float | None]


@dataclass(frozen=True)
class Mark:
    """A word at a place on an axis, in per cent; `side` is the edge of the word that stands there."""

    at: float
    label: str
    side: str = "middle"
    is_minor: bool = False


@dataclass(frozen=True)
class Layer:
    """A path and the class that says how it is drawn."""

    kind: str
    path: str


@dataclass(frozen=True)
class Hit:
    """Where a pointer finds the figures of some units, and the page it leads to."""

    x: float
    width: float
    title: str
    href: str | None


@dataclass(frozen=True)
class Spell:
    """Neighbouring units that are shaded, from the first to the last, by their numbers."""

    first: int
    last: int
    title: str = ""


@dataclass(frozen=True)
class Axis:
    """The units that all panels of a section share, with the pages they lead to and where another version begins."""

    units: tuple[str, ...]
    hrefs: tuple[str | None, ...]
    versions: tuple[tuple[int, str], ...] = ()

    @property
    def step(self) -> float:
        return WIDTH / max(len(self.units), 1)

    def center(self, unit: int) -> float:
        return (unit + 0.5) * self.step

    def ticks(self) -> tuple[Mark, ...]:
        """The months where there are many days; else evenly spaced units, half of them left out on narrow screens."""
        return _months(self) or _evenly(self)

    def marks(self) -> tuple[Mark, ...]:
        """Where another version begins to score."""
        return tuple(
            Mark(unit * self.step / WIDTH * 100, cut(name, 24), "start") for unit, name in self.versions[:_MOST_MARKS]
        )


@dataclass(frozen=True)
class Panel:
    """A drawn panel; `tall` is its height in pixels."""

    id: str
    title: str
    heading: str
    tall: int
    layers: tuple[Layer, ...]
    hits: tuple[Hit, ...]
    y_ticks: tuple[Mark, ...] = ()
    notes: tuple[Mark, ...] = ()
    shades: tuple[Box, ...] = ()
    x_ticks: tuple[Mark, ...] = ()
    marks: tuple[Mark, ...] = ()
    legend: tuple[tuple[str, str], ...] = ()
    under: str = ""


@dataclass(frozen=True)
class Upright:
    """The vertical scale of a panel, with the values that its axis names."""

    scale: Scale
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """The height of a value; what lies beyond the axis is drawn at its end."""
        return min(max(self.scale(value), 0.0), HEIGHT)

    def marks(self, write: Callable[[float], str] | None = None, *, as_share: bool = False) -> tuple[Mark, ...]:
        wording = write or (lambda value: share_tick(value, self.ticks) if as_share else number(value))
        return tuple(Mark(self(tick), wording(tick)) for tick in self.ticks)


def upright(values: Sequence[float | None], *, about: int = 3, from_zero: bool = False) -> Upright:
    """A scale with round ends around all values that can be drawn."""
    known = [value for one in values if (value := finite(one)) is not None]
    known += [0.0] if from_zero or not known else []
    ticks = nice_ticks(min(known), max(known), about)
    return Upright(Scale(ticks[0], ticks[-1], _BOTTOM, _TOP), ticks)


def line(axis: Axis, values: Values, y: Upright) -> str:
    """A line through the middles of the units, lifted where a value is not known; one alone is a dot."""
    path, places = [], [finite(value) for value in values]
    for unit, value in enumerate(places):
        if value is None:
            continue
        pen_down = unit > 0 and places[unit - 1] is not None
        is_alone = not pen_down and (unit + 1 == len(places) or places[unit + 1] is None)
        path.append(f"{'L' if pen_down else 'M'}{_at(axis.center(unit), y(value))}{'h.01' if is_alone else ''}")
    return "".join(path)


def level(axis: Axis, values: Values, y: Upright) -> str:
    """A staircase: each unit has its value over its whole width."""
    path, before = [], None
    for unit, value in enumerate(map(finite, values)):
        if value is not None and value == before:
            path.append(f"h{_n(axis.step)}")
        elif value is not None:
            path.append(f"M{_at(unit * axis.step, y(value))}h{_n(axis.step)}")
        before = value
    return "".join(path)


def dots(axis: Axis, values: Values, y: Upright) -> str:
    """A dot a unit: a line of hardly any length with round ends."""
    known = [(unit, value) for unit, one in enumerate(values) if (value := finite(one)) is not None]
    return "".join(f"M{_at(axis.center(unit), y(value))}h.01" for unit, value in known)


def whiskers(axis: Axis, lows: Values, highs: Values, y: Upright) -> str:
    """An upright line a unit, from low to high."""
    return "".join(
        f"M{_at(axis.center(unit), y(low))}V{_n(y(high))}" for unit, low, high in _both(lows, highs) if low != high
    )


def band(axis: Axis, lows: Values, highs: Values, y: Upright) -> str:
    """A band from low to high, each unit over its whole width: one outline for each run of units, so that no seam shows."""
    runs: list[list[tuple[int, float, float]]] = []
    for unit, low, high in _both(lows, highs):
        if runs and runs[-1][-1][0] == unit - 1:
            runs[-1].append((unit, low, high))
        else:
            runs.append([(unit, low, high)])
    return "".join(_outline(axis, run, y) for run in runs)


def stacked(axis: Axis, parts: Sequence[Values], y: Upright) -> tuple[str, ...]:
    """Parts upon one another, one path a part, the first part at the bottom; a unit without a part has a gap in it."""
    below, paths = [0.0] * len(axis.units), []
    for part in parts:
        sizes = [finite(size) for size in part]
        tops = [low + size if size else None for low, size in zip(below, sizes, strict=True)]
        paths.append(band(axis, below, tops, y))
        below = [low + (size or 0.0) for low, size in zip(below, sizes, strict=True)]
    return tuple(paths)


def shades(axis: Axis, spells: Sequence[Spell]) -> tuple[Box, ...]:
    """The shaded stretches of a panel."""
    return tuple(
        Box(one.first * axis.step, 0, (one.last + 1 - one.first) * axis.step, HEIGHT, one.title) for one in spells
    )


def hits(axis: Axis, titles: Sequence[str]) -> tuple[Hit, ...]:
    """One a unit; of many, one a group, which says the figures of each and leads to the newest that has a page."""
    found = []
    for part in groups(len(axis.units), MOST_HITS):
        hrefs = [href for href in axis.hrefs[part] if href]
        words = "\n".join(title for title in titles[part] if title)
        found.append(
            Hit(part.start * axis.step, (part.stop - part.start) * axis.step, words, hrefs[-1] if hrefs else None)
        )
    return tuple(found)


def _both(lows: Values, highs: Values) -> list[tuple[int, float, float]]:
    return [
        (unit, low, high)
        for unit, (one, other) in enumerate(zip(lows, highs, strict=True))
        if (low := finite(one)) is not None and (high := finite(other)) is not None
    ]


def _outline(axis: Axis, run: Sequence[tuple[int, float, float]], y: Upright) -> str:
    """Along the highs to the right, and along the lows back; each height is written once."""
    there, back = [], []
    for i, (unit, low, high) in enumerate(run):
        right = _n((unit + 1) * axis.step)
        rises = i == 0 or high != run[i - 1][2]
        there.append(f"{f'V{_n(y(high))}' if rises else ''}H{right}")
        left = _n(unit * axis.step)
        falls = i + 1 == len(run) or low != run[i + 1][1]
        back.append(f"{f'V{_n(y(low))}' if falls else ''}H{left}")
    first, low, _ = run[0]
    return f"M{_at(first * axis.step, y(low))}{''.join(there)}{''.join(reversed(back))}z"


def _months(axis: Axis) -> tuple[Mark, ...]:
    """The first day of each month; nothing where the units are not days, or few."""
    try:
        days = [dt.date.fromisoformat(unit) for unit in axis.units]
    except ValueError:
        return ()
    if len(days) < _FEW_UNITS:
        return ()
    starts = [unit for unit, day in enumerate(days) if unit == 0 or day.month != days[unit - 1].month]
    marks = []
    for position, unit in enumerate(starts):
        day = days[unit]
        with_year = position == 0 or day.month == 1
        at = unit * axis.step / WIDTH * 100
        # A month of which only its end is shown has no room for its name.
        if position + 1 < len(starts) and starts[position + 1] - unit < len(days) * 0.07:
            continue
        marks.append(Mark(at, f"{day:%b %Y}" if with_year else f"{day:%b}", "start", is_minor=position % 2 == 1))
    return tuple(marks)


def _evenly(axis: Axis) -> tuple[Mark, ...]:
    last = len(axis.units) - 1
    if last < 0:
        return ()
    amount = min(_MOST_TICKS, last + 1)
    places = sorted({last - round(i * last / max(amount - 1, 1)) for i in range(amount)})
    return tuple(_tick(axis, unit, is_minor=(len(places) - 1 - i) % 2 == 1) for i, unit in enumerate(places))


def _tick(axis: Axis, unit: int, *, is_minor: bool) -> Mark:
    at = axis.center(unit) / WIDTH * 100
    side = "start" if at < _NEAR_END else "end" if at > 100 - _NEAR_END else "middle"
    return Mark(at, cut(axis.units[unit], 16), side, is_minor)


def _at(x: float, y: float) -> str:
    return f"{_n(x)} {_n(y)}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
