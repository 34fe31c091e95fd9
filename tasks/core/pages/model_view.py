"""The page of one model: which version was production when, who moved it and why, and what each version was worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.core.models.model_events import Reign, recalled_in, reigns
from tasks.core.models.model_version import Event, ModelVersion
from tasks.core.monitoring.records import Calibration
from tasks.core.pages import environment, wording

MOST_VERSIONS = MOST_REIGNS = 200
_MOST_METRICS = 4


@dataclass(frozen=True)
class ModelPage:
    """All that the page of one model shows: its versions with their benchmarks by number, and the events around it."""

    model: str
    versions: Sequence[ModelVersion]
    benchmarks: Mapping[int, Mapping[str, Any]]
    events: Sequence[Event]
    home_href: str | None = None
    calibrations: Mapping[int, Calibration | None] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionLine:
    """One version in the table."""

    version: ModelVersion
    words: str
    tone: str
    metrics: tuple[str, ...]
    on: str
    alarms: str


@dataclass(frozen=True)
class ReignLine:
    """One reign in the table; `href` is the page of the gate's verdict, where there is one."""

    reign: Reign
    ended: str
    href: str | None


def render_model(page: ModelPage) -> str:
    """The page of a model: its aliases in one line, who moved them when and why, and its versions, the newest first."""
    events = list(page.events)
    told = reigns(events)
    now = {one.alias: one for one in told if one.ended is None}
    versions = sorted(page.versions, key=lambda one: one.version, reverse=True)
    return environment.render(
        "model.html.jinja",
        page=page,
        production=now.get("production"),
        others=[one for alias, one in sorted(now.items()) if alias != "production"],
        tone="good" if "production" in now else "stop",
        reigns=[ReignLine(one, _ended(one), _verdict_page(one.began)) for one in told[:MOST_REIGNS]],
        reigns_count=len(told),
        recalls=sorted(recalled_in(events).values(), key=lambda one: one.sequence, reverse=True),
        versions=[_line(one, page, now) for one in versions[:MOST_VERSIONS]],
        versions_count=len(versions),
    )


def _line(version: ModelVersion, page: ModelPage, now: Mapping[str, Reign]) -> VersionLine:
    aliases = sorted(alias for alias, reign in now.items() if reign.version == version.version)
    recalled = version.version in recalled_in(list(page.events))
    benchmark = page.benchmarks.get(version.version, {})
    return VersionLine(
        version=version,
        words="recalled" if recalled else ", ".join(aliases) or "registered",
        tone="bad" if recalled else "good" if aliases else "idle",
        metrics=tuple(_metric(one) for one in _records(benchmark.get("metrics"))[:_MOST_METRICS]),
        on=_rows(benchmark),
        alarms=_alarms(page.calibrations.get(version.version)),
    )


def _metric(metric: Mapping[str, Any]) -> str:
    value = f"{metric.get('name', '')} {wording.fixed(_number(metric.get('value')))}"
    low, high = _number(metric.get("low")), _number(metric.get("high"))
    return value if low is None or high is None else f"{value} ({wording.fixed(low)} to {wording.fixed(high)})"


def _rows(benchmark: Mapping[str, Any]) -> str:
    rows = _number(benchmark.get("rows"))
    if rows is None:
        return ""
    span = " to ".join(str(benchmark[key]) for key in ("first", "last") if benchmark.get(key))
    told = ", ".join(filter(None, [span, str(benchmark.get("note") or "")]))
    return f"{wording.count(rows)} rows{f', {told}' if told else ''}"


def _alarms(calibration: Calibration | None) -> str:
    """Of which the monitor's alarms have a stated rate, and on what past; else why none has."""
    if calibration is None:
        return "not calibrated: registered before there was a monitor"
    named = {"data": calibration.drift, "performance": calibration.performance}
    if not (known := [name for name, one in named.items() if one]):
        return next(iter(calibration.lacks), "not calibrated")
    span = f"{wording.plural(calibration.units, calibration.unit)}, {calibration.first} to {calibration.last}"
    return f"of {' and '.join(known)}, calibrated on {span}"


def _ended(reign: Reign) -> str:
    """What ended a reign, in words."""
    event = reign.ended
    if event is None:
        return ""
    if event.action == "recall":
        return f"recalled by {event.actor}: {event.reason}"
    return f"version {event.version} followed" if event.action == "set_alias" else f"taken away by {event.actor}"


def _verdict_page(event: Event) -> str | None:
    """The page of the gate that let this change pass, beside the model's own."""
    page = event.evidence.get("page")
    return page.rpartition("/")[2] if isinstance(page, str) and page else None


def _records(found: object) -> list[Mapping[str, Any]]:
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _number(found: object) -> float | None:
    return float(found) if isinstance(found, int | float) else None
