"""Whether something is wrong with a job, what, since when, and what to do: the head of its index, and its alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.monitoring.records import Alarm, Monitored, Rate
from tasks.core.pages import drift_view, estimate_view, heat_map, performance_view, verdicts, wording
from tasks.core.pages.broad import Mark, Panel
from tasks.core.pages.inputs import IndexPage, WindowPoint
from tasks.core.pages.performance_view import metric_name
from tasks.core.pages.time_axis import axis_of
from tasks.core.pages.verdicts import Piece, Tone

MOST_ALARMS, MOST_NOTES = 30, 20
_NEWEST = 28  # Windows with labels that the share of labels in the head is of.
KINDS: dict[str, tuple[str, str, Tone]] = {
    "drifted": ("The data have drifted", "data drifted", "stop"),
    "degraded": ("Performance has degraded", "performance degraded", "bad"),
    "labels_late": ("Labels are late", "labels late", "warn"),
}
_GRAVEST: tuple[Tone, ...] = ("bad", "stop", "warn", "idle", "good")


@dataclass(frozen=True)
class Head:
    """The state of a job in one line, in the tone of its gravest trouble."""

    words: str
    since: str
    tone: Tone
    is_alarm: bool


@dataclass(frozen=True)
class Tile:
    """One thing that is watched: how it stands, in two or three words and then in a sentence."""

    name: str
    words: str
    tone: Tone
    detail: str
    href: str


@dataclass(frozen=True)
class AlarmLine:
    """An alarm as it is listed."""

    alarm: Alarm
    words: str
    tone: Tone
    span: str
    next_step: tuple[Piece, ...]


@dataclass(frozen=True)
class RateLine:
    """What a line promises."""

    name: str
    rate: Rate


@dataclass(frozen=True)
class Absent:
    """What cannot be shown, in one sentence for each section; '' where it can."""

    performance: str = ""
    estimates: str = ""
    data: str = ""


@dataclass(frozen=True)
class Section:
    """All that the index shows of monitoring; of a job that was never looked at, its scores alone."""

    scores: Panel | None
    tiles: tuple[Tile, ...] = ()
    looked: str = ""
    open_alarms: tuple[AlarmLine, ...] = ()
    past_alarms: tuple[AlarmLine, ...] = ()
    past_count: int = 0
    performance: tuple[Panel, ...] = ()
    other_metrics: tuple[Panel, ...] = ()
    estimates: tuple[Panel, ...] = ()
    records: tuple[estimate_view.RecordLine, ...] = ()
    statistic: Panel | None = None
    heat: heat_map.HeatMap | None = None
    ticks: tuple[Mark, ...] = ()
    rates: tuple[RateLine, ...] = ()
    absent: Absent = Absent()
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def head(last: WindowPoint | None, words: str, monitored: Monitored | None) -> Head:
    """An alarm that is open comes first, unless the newest run itself was blocked or failed."""
    tone = verdicts.tone(last.verdict) if last else "idle"
    told = f"{words}: {wording.cut(last.as_of, 40)}" if last else words
    alarms = monitored.open_alarms if monitored else ()
    if not alarms or tone in ("stop", "bad"):
        return Head(told, "", tone, is_alarm=False)
    gravest = min((KINDS[one.kind][2] for one in alarms), key=_GRAVEST.index)
    since = wording.cut(min(one.onset for one in alarms), 40)
    if len(alarms) == 1:
        return Head(f"{KINDS[alarms[0].kind][0]} since", since, gravest, is_alarm=True)
    return Head(f"{wording.count(len(alarms))} alarms are open, the first since", since, gravest, is_alarm=True)


def section(page: IndexPage, points: Sequence[WindowPoint]) -> Section:
    """The parts of the index that are of monitoring; what there is not is said in one sentence."""
    monitored, main = page.monitored, page.main_metric
    axis = axis_of(monitored, points)
    scores = drift_view.scores_panel(points, axis, page.prediction_name, monitored)
    if monitored is None:
        return Section(scores)
    estimates = estimate_view.panels(monitored, axis, points, main)
    past = [one for one in monitored.alarms if one.until is not None][::-1]
    return Section(
        tiles=_tiles(page, monitored, points),
        open_alarms=tuple(_line(one) for one in open_alarms(monitored)[:MOST_ALARMS]),
        past_alarms=tuple(_line(one) for one in past[:MOST_ALARMS]),
        past_count=len(past),
        performance=tuple(performance_view.panels(monitored, axis, main)),
        other_metrics=tuple(performance_view.other_panels(monitored, axis, main)),
        estimates=tuple(estimates),
        records=tuple(estimate_view.record_lines(monitored)),
        statistic=drift_view.statistic_panel(monitored, axis),
        heat=heat_map.heat_map(monitored, axis),
        scores=scores,
        rates=rate_lines(monitored),
        looked=_looked(monitored, points),
        ticks=axis.ticks(),
        absent=_absent(page, monitored, has_estimates=bool(estimates)),
        assumptions=monitored.calibration.assumptions[:MOST_NOTES] if monitored.calibration else (),
        notes=monitored.notes[:MOST_NOTES],
    )


def rate_lines(monitored: Monitored) -> tuple[RateLine, ...]:
    """What the lines promise, of the data and of the performance."""
    names = {"drifted": "data", "degraded": "performance"}
    return tuple(RateLine(names[cause], rate) for cause, rate in monitored.rates.items())


def rate_sentence(name: str, rate: Rate) -> str:
    """How many alarms a year a line raises while nothing has changed."""
    low, high = wording.rough(rate.low), wording.rough(rate.high)
    return f"{name}: {wording.rough(rate.per_year)} a year ({low} to {high})"


def tiles_of(monitored: Monitored, *, has_labels: bool = True, main: str = "") -> tuple[Tile, ...]:
    """What is watched of the data, the performance and the labels."""
    return (
        _data(monitored),
        _performance(monitored, main, has_labels=has_labels),
        _labels(monitored, has_labels=has_labels),
    )


def calibration_lack(monitored: Monitored, of: str) -> str:
    """Why there is no line for the data or the performance, in a sentence."""
    if monitored.calibration is None:
        return "This version was registered before alarms were calibrated; train it again to have them."
    named = [one for one in monitored.calibration.lacks if of in one.lower()]
    return next(iter(named or monitored.calibration.lacks), f"No line for the {of} is kept with this version.")


def _tiles(page: IndexPage, monitored: Monitored, points: Sequence[WindowPoint]) -> tuple[Tile, ...]:
    found = tiles_of(monitored, has_labels=page.has_labels, main=page.main_metric)
    estimate = _estimate(monitored, points, page.main_metric)
    return (*found, estimate) if estimate else found


def _data(monitored: Monitored) -> Tile:
    alarm = _open(monitored, "drifted")
    now = drift_view.standing(monitored.drift)
    said = drift_view.statistic_sentence(monitored) if now else ""
    if alarm:
        return Tile("Data", "Drifted", "stop", f"since {wording.cut(alarm.onset, 40)}; now {said}", "#data")
    if now is None or now.point.line is None:
        has_line = monitored.calibration is not None and monitored.calibration.drift is not None
        why = "No block of windows has enough rows yet." if has_line else calibration_lack(monitored, "data")
        return Tile("Data", "Not known yet" if has_line else "Not calibrated", "idle", why, "#data")
    farthest = max(now.point.groups.items(), key=lambda item: item[1], default=None)
    if now.is_beyond or (farthest and farthest[1] > now.point.line):
        # One unit is no alarm: the statistic is the lowest of as many as must be beyond in a row.
        name = f"{drift_view.GROUP_NAMES[farthest[0]].lower()} {wording.number(farthest[1])}" if farthest else said
        return Tile(
            "Data",
            "Beyond the line",
            "warn",
            f"{name} in {wording.cut(now.point.unit, 40)}: an alarm if it lasts",
            "#data",
        )
    return Tile("Data", "As usual", "good", said, "#data")


def _performance(monitored: Monitored, main: str, *, has_labels: bool) -> Tile:
    alarm = _open(monitored, "degraded")
    metrics = performance_view.metrics_of(monitored, main)
    if not metrics:
        why = "No label has come yet." if has_labels else "The job has no query for labels."
        return Tile("Performance", "No labels yet" if has_labels else "Not known", "idle", why, "#performance")
    said = f"{metric_name(metrics[0])} {performance_view.metric_heading(monitored, metrics[0])}"
    if alarm:
        return Tile("Performance", "Degraded", "bad", f"since {wording.cut(alarm.onset, 40)}: {said}", "#performance")
    point = next((one for one in monitored.performance[::-1] if one.statistic is not None), None)
    if point is None or point.line is None:
        is_worse = bool(monitored.performance and monitored.performance[-1].worse_than_benchmark)
        words: tuple[str, Tone] = ("Worse than the benchmark", "warn") if is_worse else ("No alarm", "good")
        return Tile("Performance", *words, said, "#performance")
    if max(point.statistic or 0.0, *point.z.values(), 0.0) > point.line:
        return Tile("Performance", "Beyond the line", "warn", f"{said}; an alarm if it lasts", "#performance")
    return Tile("Performance", "As usual", "good", said, "#performance")


def _labels(monitored: Monitored, *, has_labels: bool) -> Tile:
    alarm = _open(monitored, "labels_late")
    newest = sorted(monitored.windows, key=lambda one: (one.unit, one.as_of))[-_NEWEST:]
    share = performance_view.label_share(newest)
    if alarm:
        said = f"since {wording.cut(alarm.onset, 40)}: {wording.cut(alarm.reason, 200)}"
        return Tile("Labels", "Late", "warn", said, "#performance")
    if share is None:
        why = "None has come yet." if has_labels else "The job has no query for labels."
        return Tile("Labels", "None yet" if has_labels else "None", "idle", why, "#performance")
    which = f"of the newest {wording.plural(len(newest), 'window')} that had labels due, to {wording.cut(newest[-1].as_of, 40)}"
    as_of = wording.cut(performance_view.newest_labels(newest), 40)
    return Tile("Labels", f"{wording.share(share)} have come", "good", f"{which}; as of {as_of}", "#performance")


def _estimate(monitored: Monitored, points: Sequence[WindowPoint], main: str) -> Tile | None:
    found = estimate_view.newest(monitored, points, main)
    if found is None:
        return None
    said = f"{performance_view.interval_words(found.estimate)} for {wording.cut(found.as_of, 40)}"
    name = "Estimate before labels"
    if found.is_muted:
        return Tile(name, "Muted", "warn", f"{said}, but such estimates have been wrong", "#estimates")
    return Tile(name, f"{metric_name(found.metric)} {wording.fixed(found.estimate.value)}", "idle", said, "#estimates")


def open_alarms(monitored: Monitored) -> list[Alarm]:
    """Those that last, the gravest first."""
    return sorted(monitored.open_alarms, key=lambda one: (_GRAVEST.index(KINDS[one.kind][2]), one.onset))


def _open(monitored: Monitored, kind: str) -> Alarm | None:
    return next((one for one in monitored.open_alarms if one.kind == kind), None)


def span(alarm: Alarm) -> str:
    """From when to when an alarm lasted."""
    onset = wording.cut(alarm.onset, 40)
    if alarm.until is None:
        return f"since {onset}"
    return onset if alarm.until == alarm.onset else f"{onset} to {wording.cut(alarm.until, 40)}"


def _line(alarm: Alarm) -> AlarmLine:
    _, words, tone = KINDS[alarm.kind]
    return AlarmLine(
        alarm,
        words,
        tone if alarm.until is None else "idle",
        span(alarm),
        verdicts.pieces(verdicts.capitalised(alarm.next_step)),
    )


def _looked(monitored: Monitored, points: Sequence[WindowPoint]) -> str:
    """Of when all this is, and whether newer windows wait to be looked at."""
    told = f"As of {wording.cut(monitored.as_of, 40)}, looked at {wording.instant(monitored.at)}"
    newer = sum((one.unit or one.as_of) > monitored.as_of for one in points)
    return f"{told}; {wording.plural(newer, 'newer window')} not looked at yet." if newer else f"{told}."


def _absent(page: IndexPage, monitored: Monitored, *, has_estimates: bool) -> Absent:
    return Absent(
        performance=_no_performance(page, monitored),
        data=_no_drift(monitored),
        estimates=""
        if has_estimates
        else "Nothing was estimated before labels came of the windows shown: each one's page says why.",
    )


def _no_performance(page: IndexPage, monitored: Monitored) -> str:
    if not monitored.windows and page.has_labels:
        return "No label has come yet, so nothing can be said of the performance."
    if not monitored.windows:
        return "The job has no query for labels, so nothing can be said of its performance."
    if monitored.calibration is None or monitored.calibration.performance is None:
        return f"Its alarm is not calibrated. {calibration_lack(monitored, 'performance')}"
    return ""


def _no_drift(monitored: Monitored) -> str:
    if monitored.calibration is None or monitored.calibration.drift is None:
        return f"Alarms of the data are not calibrated. {calibration_lack(monitored, 'data')}"
    if drift_view.standing(monitored.drift) is None:
        return "No block of windows has enough rows yet to be held against what is usual."
    return ""
