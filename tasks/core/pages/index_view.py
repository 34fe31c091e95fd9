"""The index of one job, with trends over its windows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.core.pages import audit_view, environment, monitoring_view, reading, verdicts, wording
from tasks.core.pages.charts import Box, Stack, Trend, finite, groups, stack, trend
from tasks.core.pages.inputs import IndexPage, WindowPoint
from tasks.core.pages.window_view import MOST_COLUMNS

MOST_WINDOWS, MOST_MARKS = 200, 120
_FATES = ("scored", "quarantined", "duplicates", "undecided")


@dataclass(frozen=True)
class Drawn:
    """A chart with its words."""

    id: str
    title: str
    heading: str
    chart: Trend | Stack
    is_stack: bool = False
    limit_label: str = ""


@dataclass(frozen=True)
class Cell:
    """A mark in the strip of verdicts."""

    box: Box
    tone: str


@dataclass(frozen=True)
class Line:
    """A window in the table."""

    point: WindowPoint
    words: str
    tone: str


@dataclass(frozen=True)
class _Measure:
    """A figure that is drawn over windows: how it is read off a point, and how a group of windows is reduced to one."""

    id: str
    title: str
    read: Callable[[WindowPoint], float | None]
    write: Callable[[float | None], str]
    reduce: Callable[[Sequence[float]], float]
    from_zero: bool = True
    as_share: bool = False
    limit: float | None = None


def render_index(page: IndexPage) -> str:
    """The page of one job: its state in one line, trends over its windows, and the newest of them in a table."""
    points = sorted(page.points, key=lambda one: one.as_of)
    all_windows = max(page.windows_count or 0, len(points))
    newest = points[::-1][:MOST_WINDOWS]
    last = points[-1] if points else None
    words = _words(last) if last else "No window yet"
    return environment.render(
        "index.html.jinja",
        page=page,
        words=words,
        head=monitoring_view.head(last, words, page.monitored),
        monitoring=monitoring_view.section(page, points),
        audit=audit_view.line(page.audit),
        last=last,
        status=status(points, all_windows),
        strip=_strip(points),
        drawn=_drawn(points, page),
        fates=_FATES,
        lines=[Line(one, _words(one), verdicts.tone(one.verdict)) for one in newest],
        windows_count=len(points),
        all_windows=all_windows,
        windows_per_mark=math.ceil(len(points) / MOST_MARKS),
        most_windows=MOST_WINDOWS,
        columns=page.columns[:MOST_COLUMNS],
        columns_count=len(page.columns),
        snippets=reading.whole_table(page.table, is_delta=page.is_delta),
        other_snippets=reading.other_tables(page.table, page.others, is_delta=page.is_delta),
    )


def _words(point: WindowPoint) -> str:
    return verdicts.words_of(point.verdict, shadow=point.shadow)


def status(points: Sequence[WindowPoint], all_windows: int) -> str:
    """The windows by their verdict, in one sentence."""
    if not points:
        return "No window was run yet."
    counts = Counter(one.verdict for one in points)
    order = verdicts.WORST_FIRST[::-1]
    parts = [
        f"{wording.count(counts[verdict])} {verdicts.words(verdict).lower()}" for verdict in order if counts[verdict]
    ]
    which = f"The newest {wording.count(len(points))} of " if all_windows > len(points) else ""
    return f"{which}{wording.plural(all_windows, 'window')}: {', '.join(parts)}."


def _strip(points: Sequence[WindowPoint]) -> list[Cell]:
    """One mark a window, or a group of windows, in the colour of the worst."""
    parts = groups(len(points), MOST_MARKS)
    width = 400 / max(len(parts), 1)
    return [
        Cell(
            Box(
                i * width,
                0,
                max(width - 1, width * 0.8),
                20,
                f"{_name(points[part])}: {verdicts.words(_worst(points[part])).lower()}",
            ),
            verdicts.tone(_worst(points[part])),
        )
        for i, part in enumerate(parts)
    ]


def _worst(points: Sequence[WindowPoint]) -> verdicts.Shown | None:
    return verdicts.worst([one.verdict for one in points])


def _name(points: Sequence[WindowPoint]) -> str:
    first, last = wording.cut(points[0].as_of, 40), wording.cut(points[-1].as_of, 40)
    return first if len(points) == 1 else f"{first} to {last}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _measures(page: IndexPage) -> tuple[_Measure, ...]:
    quarantine = _Measure(
        "quarantine",
        "Share in quarantine",
        lambda one: one.rows.quarantine_share if one.rows.pulled else None,
        wording.share,
        max,
        as_share=True,
        limit=finite(page.quarantine_limit),
    )
    prediction = _Measure(
        "mean",
        f"Mean {wording.cut(page.prediction_name, 60)}",
        lambda one: one.mean_prediction,
        wording.figure,
        _mean,
        from_zero=False,
    )
    drift = _Measure("psi", "Largest PSI of any feature", lambda one: one.biggest_psi, wording.figure, max)
    time = _Measure("seconds", "Time of a run, in seconds", lambda one: one.seconds, wording.seconds, max)
    return quarantine, prediction, drift, time


def _drawn(points: Sequence[WindowPoint], page: IndexPage) -> list[Drawn]:
    """The charts; none while there is no window."""
    if not points:
        return []
    return [_rows_drawn(points), *(_draw(measure, points) for measure in _measures(page))]


def _draw(measure: _Measure, points: Sequence[WindowPoint]) -> Drawn:
    parts = [points[part] for part in groups(len(points), MOST_MARKS)]
    known = [[v for one in part if (v := finite(measure.read(one))) is not None] for part in parts]
    values = [measure.reduce(some) if some else None for some in known]
    titles = [f"{_name(part)}: {measure.write(v)}" for part, v in zip(parts, values, strict=True)]
    limit = measure.limit if measure.limit is not None and _is_near(measure.limit, values) else None
    return Drawn(
        id=measure.id,
        title=measure.title,
        heading=_heading(measure, points),
        chart=trend(
            [wording.cut(part[0].as_of, 16) for part in parts],
            values,
            titles,
            from_zero=measure.from_zero,
            limit=limit,
            as_share=measure.as_share,
        ),
        limit_label=f"limit {wording.share(limit)}",
    )


def _is_near(limit: float, values: Sequence[float | None]) -> bool:
    """Whether a limit can be drawn without pressing the line flat."""
    highest = max((v for v in values if v is not None), default=0.0)
    return limit <= max(highest * 8, 0.05)


def _heading(measure: _Measure, points: Sequence[WindowPoint]) -> str:
    """The last window's figure, and the highest and lowest of those before."""
    value = measure.read(points[-1])
    last = "none in the last window" if value is None else f"{measure.write(value)} in the last window"
    before = [(v, one.as_of) for one in points[:-1] if (v := finite(measure.read(one))) is not None]
    if not before:
        return last
    highest, when = max(before)
    if measure.from_zero:
        return f"{last}; before, at most {measure.write(highest)} ({wording.cut(when, 20)})"
    return f"{last}; before, {measure.write(min(before)[0])} to {measure.write(highest)}"


def _rows_drawn(points: Sequence[WindowPoint]) -> Drawn:
    parts = [points[part] for part in groups(len(points), MOST_MARKS)]
    means = [[_mean([_fates(one)[fate] for one in part]) for part in parts] for fate in range(len(_FATES))]
    pulled = [one.rows.pulled for one in points]
    before = f"; before, {wording.count(min(pulled[:-1]))} to {wording.count(max(pulled[:-1]))}" if pulled[:-1] else ""
    return Drawn(
        id="rows",
        title="Rows by fate",
        heading=f"{wording.count(pulled[-1])} pulled in the last window{before}",
        chart=stack(
            [wording.cut(part[0].as_of, 16) for part in parts],
            means,
            [f"{_name(part)}: {_fates_in_words(part)}" for part in parts],
        ),
        is_stack=True,
    )


def _fates(point: WindowPoint) -> tuple[float, float, float, float]:
    rows = point.rows
    undecided = max(rows.pulled - rows.scored - rows.quarantined - rows.duplicates, 0)
    return float(rows.scored), float(rows.quarantined), float(rows.duplicates), float(undecided)


def _fates_in_words(part: Sequence[WindowPoint]) -> str:
    amounts = [_mean([_fates(one)[fate] for one in part]) for fate in range(len(_FATES))]
    named = zip(amounts, ("scored", "in quarantine", "duplicates", "without a fate"), strict=True)
    return ", ".join(f"{wording.count(amount)} {name}" for amount, name in named if amount) or "no rows"
