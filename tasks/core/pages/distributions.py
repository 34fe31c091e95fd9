"""A column's distribution as a chart: today's against the reference's, with a heading that says what is seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.pages.charts import Histogram, RowChart, groups, histogram, row_chart
from tasks.core.pages.wording import cut, points, share
from tasks.core.profiles.figures import Distribution
from tasks.core.runs.manifest import FeatureDriftRecord

_MOST_BINS, _MOST_CATEGORIES = 50, 12
_LABEL = 17  # Characters that fit beside a bar.
_HUNDREDS = 100
_ALIKE = 0.02  # Of all rows: a bin that moved by less is not worth a heading.


@dataclass(frozen=True)
class Figure:
    """One drawn column."""

    column: str
    anchor: str
    heading: str
    note: str
    kind: str
    chart: Histogram | RowChart
    has_reference: bool
    drift: FeatureDriftRecord | None


@dataclass(frozen=True)
class Sides:
    """What the bars and the outline are, in words that follow a share."""

    bars: str = "in this window"
    outline: str = "in the reference"


_WINDOW_AND_REFERENCE = Sides()


@dataclass(frozen=True)
class _Bin:
    label: str
    today: float
    reference: float | None


def draw(
    distribution: Distribution,
    anchor: str,
    drift: FeatureDriftRecord | None = None,
    sides: Sides = _WINDOW_AND_REFERENCE,
) -> Figure | None:
    """The figure of a column; None where its bins and its shares do not fit together."""
    bins = _bins(distribution)
    if not bins:
        return None
    as_rows = distribution.kind in ("categorical", "boolean")
    chart, note = (_rows if as_rows else _slots)(bins, distribution, sides)
    return Figure(
        column=distribution.column,
        anchor=anchor,
        heading=what_is_seen(distribution, sides),
        note=note,
        kind="rows" if as_rows else "histogram",
        chart=chart,
        has_reference=distribution.reference is not None,
        drift=drift,
    )


def what_is_seen(distribution: Distribution, sides: Sides = _WINDOW_AND_REFERENCE) -> str:
    """One sentence: which bin moved most, if any did."""
    bins = [*_bins(distribution), *_missing(distribution)]
    if not any(one.today for one in bins):
        return "No rows in this window"
    if distribution.reference is None:
        most = max(bins, key=lambda one: one.today)
        return f"Most in {_quoted(most.label)}: {share(most.today)}"
    moved = max(bins, key=lambda one: abs(one.today - (one.reference or 0.0)))
    before = moved.reference or 0.0
    if abs(moved.today - before) < _ALIKE:
        return f"As {sides.outline}: no bin differs by more than {points(moved.today - before)}"
    more = "More" if moved.today > before else "Fewer"
    return f"{more} in {_quoted(moved.label)}: {share(moved.today)} against {share(before)}"


def _quoted(label: str) -> str:
    return f"'{cut(label, 40)}'" if label != "missing" else "missing"


def _bins(distribution: Distribution) -> list[_Bin]:
    """The bins with their shares; none where the lengths do not agree."""
    labels, today, reference = distribution.labels, distribution.observed, distribution.reference
    if len(labels) != len(today) or (reference is not None and len(reference) != len(labels)):
        return []
    others: Sequence[float | None] = [None] * len(labels) if reference is None else [_clean(v) for v in reference]
    return [_Bin(label, _clean(v), other) for label, v, other in zip(labels, today, others, strict=True)]


def _missing(distribution: Distribution) -> list[_Bin]:
    """The missing values as a bin, where there are any on either side."""
    today, reference = _clean(distribution.observed_missing), _clean(distribution.reference_missing)
    if not today and not reference:
        return []
    return [_Bin("missing", today, None if distribution.reference is None else reference)]


def _clean(value: float | None) -> float:
    return min(value, 1.0) if value is not None and math.isfinite(value) and value > 0 else 0.0


def _title(one: _Bin, sides: Sides) -> str:
    against = "" if one.reference is None else f", {share(one.reference)} {sides.outline}"
    return f"{cut(one.label, 120)}: {share(one.today)} {sides.bars}{against}"


def _slots(bins: list[_Bin], distribution: Distribution, sides: Sides) -> tuple[Histogram, str]:
    parts = groups(len(bins), _MOST_BINS)
    merged = [_merge(bins[part], _joined(bins[part])) for part in parts]
    missing = next(iter(_missing(distribution)), None)
    shown = [*merged, *([missing] if missing else [])]
    chart = histogram(
        [_title(one, sides) for one in shown],
        [one.today for one in merged],
        None if distribution.reference is None else [one.reference or 0.0 for one in merged],
        _boundaries(distribution, parts),
        None if missing is None else (missing.today, missing.reference),
    )
    size = parts[0].stop - parts[0].start
    return chart, f"{size} neighbouring bins are drawn as one." if size > 1 else ""


def _joined(bins: list[_Bin]) -> str:
    return bins[0].label if len(bins) == 1 else f"{bins[0].label} to {bins[-1].label}"


def _merge(bins: list[_Bin], label: str) -> _Bin:
    without = all(one.reference is None for one in bins)
    return _Bin(label, sum(b.today for b in bins), None if without else sum(b.reference or 0.0 for b in bins))


def _boundaries(distribution: Distribution, parts: list[slice]) -> list[tuple[int, str]]:
    """Where on the axis a value is written: at the edge that two bins share; without edges, the first and last label."""
    edges, bins = distribution.edges, len(distribution.labels)
    starts = {part.start: position for position, part in enumerate(parts)} | {bins: len(parts)}
    # With the unbounded ends left out the first edge is the right side of bin 0; with bounds it is its left side.
    shift = {bins - 1: 1, bins + 1: 0}.get(len(edges or ()))
    if edges is None or shift is None or distribution.kind == "datetime":
        return [(position, cut(distribution.labels[part.start], 12)) for position, part in enumerate(parts)]
    places = [(i + shift, edge) for i, edge in enumerate(edges) if math.isfinite(edge)]
    return [(starts[place], edge_label(edge)) for place, edge in places if place in starts]


def edge_label(edge: float) -> str:
    """A bin's edge in few characters: 0.25, 17, 1013.2, 1.2M."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e5, "k")):
        if abs(edge) >= limit:
            return f"{edge / (1e3 if unit == 'k' else limit):.3g}{unit}"
    if edge == int(edge):
        return f"{edge:.0f}"
    return f"{edge:.5g}" if abs(edge) >= _HUNDREDS else f"{edge:.3g}"


def _rows(bins: list[_Bin], distribution: Distribution, sides: Sides) -> tuple[RowChart, str]:
    """The categories in their order, less those that nobody has on either side; of many the largest."""
    bins = [one for one in bins if one.today or one.reference] or bins
    shown, note = bins, ""
    if len(bins) > _MOST_CATEGORIES:
        ranked = sorted(bins, key=lambda one: max(one.today, one.reference or 0.0), reverse=True)
        kept, rest = ranked[:_MOST_CATEGORIES], ranked[_MOST_CATEGORIES:]
        # Not as a bar: all the others together would press those that are named flat.
        shown, note = (
            kept,
            f"The {_MOST_CATEGORIES} largest of {len(bins):,} categories; {_title(_merge(rest, 'the others'), sides)}.",
        )
    shown = [*shown, *_missing(distribution)]
    chart = row_chart(
        [cut(one.label, _LABEL) or "(empty)" for one in shown],
        [_title(one, sides) for one in shown],
        [one.today for one in shown],
        None if distribution.reference is None else [one.reference or 0.0 for one in shown],
    )
    return chart, note
