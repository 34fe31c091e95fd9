"""The heat map of drift, feature by unit: which column moved, when, and in what way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.core.monitoring.records import ColumnDrift, Monitored
from tasks.core.pages import wording
from tasks.core.pages.broad import WIDTH, Axis
from tasks.core.pages.charts import Box, bars_path, finite, groups
from tasks.core.pages.drift_view import GROUP_NAMES

MOST_COLUMNS, MOST_FEATURES = 120, 40
TALL = 16.0
# Where a shade begins, in spreads beyond the middle of ordinary blocks' highest. What lies below the first is usual.
STEPS = (1.0, 2.0, 4.0, 8.0)
_TOLD = 2  # From this shade on a cell says what it is to whoever points at it; more would make the page heavy.


@dataclass(frozen=True)
class Cell:
    """A cell that stands out, and the page it leads to."""

    box: Box
    shade: int
    href: str | None


@dataclass(frozen=True)
class Row:
    """A feature, or a group of figures: quiet cells as one path a shade, and those that stand out."""

    label: str
    quiet: tuple[tuple[int, str], ...]
    cells: tuple[Cell, ...]
    now: str


@dataclass(frozen=True)
class HeatMap:
    """The groups that decide, then the features, the one that moved most first."""

    groups: tuple[Row, ...]
    rows: tuple[Row, ...]
    features_count: int
    units_a_column: int
    sentence: str


@dataclass(frozen=True)
class _Found:
    """A value of a row at a unit, with what it is in words."""

    z: float
    words: str
    unit: str


def heat_map(monitored: Monitored, axis: Axis) -> HeatMap | None:
    """The map; None where nothing is known of any column."""
    places = {unit: i for i, unit in enumerate(axis.units)}
    by_group: dict[str, dict[int, _Found]] = {}
    by_column: dict[str, dict[int, _Found]] = {}
    for point in monitored.drift:
        if (place := places.get(point.unit)) is None:
            continue
        for group, value in point.groups.items():
            by_group.setdefault(GROUP_NAMES[group], {})[place] = _Found(value, "", point.unit)
        for column, found in _farthest(point.columns).items():
            by_column.setdefault(column, {})[place] = _Found(found.z, in_words(found), point.unit)
    if not by_group and not by_column:
        return None
    ranked = sorted(by_column.items(), key=lambda item: (-_highest(item[1].values()), item[0]))
    order = [name for name in GROUP_NAMES.values() if name in by_group]
    return HeatMap(
        groups=tuple(_row(name, by_group[name], axis) for name in order),
        rows=tuple(_row(name, found, axis) for name, found in ranked[:MOST_FEATURES]),
        features_count=len(ranked),
        units_a_column=_units_a_column(axis),
        sentence=_sentence(ranked),
    )


def in_words(found: ColumnDrift) -> str:
    """What has moved of a column: missing 12 % against 2 %; new categories 0.30 %; distribution 0.21 away."""
    shares = f"{wording.share(found.observed)} against {wording.share(found.reference)}"
    if found.component == "missing":
        return f"missing {shares}"
    if found.component == "new_categories":
        return f"new categories {wording.share(found.value if found.observed is None else found.observed)}"
    if found.component == "volume":
        return "rows"
    return f"distribution {wording.number(found.value)} away"


def farthest(columns: Iterable[ColumnDrift], most: int) -> list[ColumnDrift]:
    """The figures that are farthest from what is usual, those that explain it first; of each column only one."""
    known = list(_farthest(columns).values())
    return sorted(known, key=lambda one: (not one.explains, -one.z, one.column))[:most]


def shade(z: float) -> int:
    """0 for what is usual, to 4."""
    return sum(z > step for step in STEPS)


def _farthest(columns: Iterable[ColumnDrift]) -> dict[str, ColumnDrift]:
    """Of each column the figure that is farthest out; the volume has a row among the groups."""
    found: dict[str, ColumnDrift] = {}
    for one in columns:
        if one.component != "volume" and finite(one.z) is not None:
            known = found.get(one.column)
            found[one.column] = one if known is None or one.z > known.z else known
    return found


def _row(label: str, found: dict[int, _Found], axis: Axis) -> Row:
    quiet: dict[int, list[Box]] = {}
    cells = []
    for part in groups(len(axis.units), MOST_COLUMNS):
        known = [found[i] for i in range(part.start, part.stop) if i in found]
        if not known:
            continue
        worst = max(known, key=lambda one: one.z)
        box = Box(part.start * axis.step, 0, (part.stop - part.start) * axis.step, TALL, _title(label, worst))
        level = shade(worst.z)
        if level < _TOLD:
            quiet.setdefault(level, []).append(box)
        else:
            cells.append(Cell(box, level, axis.hrefs[axis.units.index(worst.unit)]))
    last = found[max(found)]
    return Row(
        label=label,
        quiet=tuple((level, bars_path(_merged(boxes))) for level, boxes in sorted(quiet.items())),
        cells=tuple(cells),
        now=f"{last.z:.1f}" if shade(last.z) else "",
    )


def _merged(boxes: Sequence[Box]) -> list[Box]:
    """Neighbours as one box, so that no seam shows between them."""
    merged: list[Box] = []
    for one in boxes:
        if merged and abs(merged[-1].x + merged[-1].width - one.x) < WIDTH * 1e-6:
            merged[-1] = Box(merged[-1].x, 0, merged[-1].width + one.width, TALL)
        else:
            merged.append(one)
    return merged


def _title(label: str, found: _Found) -> str:
    words = f": {found.words}" if found.words else ""
    return f"{wording.cut(label, 60)}, {wording.cut(found.unit, 40)}: {found.z:.1f}{words}"


def _highest(found: Iterable[_Found]) -> float:
    return max((one.z for one in found), default=0.0)


def _units_a_column(axis: Axis) -> int:
    parts = groups(len(axis.units), MOST_COLUMNS)
    return parts[0].stop - parts[0].start if parts else 1


def _sentence(ranked: Sequence[tuple[str, dict[int, _Found]]]) -> str:
    """Which column is farthest out in the newest block."""
    newest = max((max(found) for _, found in ranked), default=None)
    now = (
        [(found[newest].z, name, found[newest]) for name, found in ranked if newest in found]
        if newest is not None
        else []
    )
    beyond = sorted((one for one in now if shade(one[0])), key=lambda one: -one[0])
    if not beyond:
        return "In the newest block every feature is about as usual."
    told = ", ".join(f"{wording.cut(name, 40)} ({found.words})" for _, name, found in beyond[:3])
    return f"In the newest block {told} lie{'s' if len(beyond) == 1 else ''} farthest from what is usual."
