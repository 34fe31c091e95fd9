"""Alarms: what the monitor has found of a job, told as events, once an episode."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.events import EPISODES
from tasks.core.monitoring import ledger
from tasks.core.monitoring.records import Alarm, DriftPoint, Monitored, PerformancePoint, Rate, WindowPerformance
from tasks.core.records import Record
from tasks.core.storage import Lake
from tasks.orchestration import events

Point = TypeVar("Point", DriftPoint, PerformancePoint, WindowPerformance)
VERDICTS: dict[Literal["drifted", "degraded", "labels_late"], str] = {
    "drifted": "the data have drifted",
    "degraded": "the performance is degraded",
    "labels_late": "labels are late",
}
_MOST_NAMED = 10  # Columns, and windows, of an event.


def tell_alarms(lake: Lake, job: Job, found: Monitored) -> list[Alarm]:
    """Sends an event of each episode that is news; those which were sent. Who calls it holds the job's monitor lock.

    Noted only when a server has taken it that stays, so that an alarm which nobody heard is told at the next look.
    """
    sent = []
    for alarm in ledger.untold(lake, job, found):
        if not _tell(lake, job, found, alarm):
            continue
        sent.append(alarm)
        if events.has_server():
            ledger.remember_told(lake, found, alarm)
    return sent


def _tell(lake: Lake, job: Job, found: Monitored, alarm: Alarm) -> bool:
    return events.tell(
        EPISODES[alarm.kind],
        job.job,
        alarm.onset,
        owner=job.owner,
        payload=payload_of(lake, job, found, alarm),
        event_id=ledger.event_id(lake, job.job, alarm),
    )


def payload_of(lake: Lake, job: Job, found: Monitored, alarm: Alarm) -> dict[str, Any]:
    """What an event of an episode says: what those of windows say, and the figures. `as_of` is its first unit."""
    rate = _rate(found, alarm)
    said = _plain(alarm, exclude={"kind", "onset", "reason", "next_step"})
    return {
        **said,
        "job": job.job,
        "as_of": alarm.onset,
        "verdict": VERDICTS[alarm.kind],
        "reason": f"{alarm.reason} {_in_words(rate)}".strip(),
        "next_step": _next_step(job, alarm),
        "readers_see": "what was published; an alarm of the monitor takes nothing back",
        "report": lake.address(layout.index_page(job.job)),
        "owner": job.owner,
        "looked_at": found.as_of,
        "rate": _plain(rate) if rate else None,
        "figures": _figures(found, alarm),
    }


def _rate(found: Monitored, alarm: Alarm) -> Rate | None:
    """What the line promises that it is beyond; none where there is no line, or it is that of another version."""
    if alarm.kind == "labels_late" or alarm.line is None or alarm.model != found.model:
        return None
    return found.rates.get(alarm.kind)


def _in_words(rate: Rate | None) -> str:
    if rate is None:
        return ""
    return (
        f"While nothing changes, such alarms come at a rate of {rate.per_year:.2g} a year "
        f"(95 % interval {rate.low:.2g} to {rate.high:.2g})."
    )


def _plain(record: Record, **which: Any) -> dict[str, Any]:
    """As JSON has it, which knows no infinity: what is no number is none."""
    plain: dict[str, Any] = json.loads(record.model_dump_json(**which))
    return plain


def _next_step(job: Job, alarm: Alarm) -> str:
    """The alarm's own words; where the job says so, also that `train` is started of itself, by an automation."""
    step = alarm.next_step or f"lamplighter monitor {job.job}"
    if alarm.kind not in job.monitor.retrain:
        return step
    return (
        f"{step}; `train` is started of itself, and promotes nothing: lamplighter promote {job.model.name} --version N "
        "--reason WHY"
    )


def _figures(found: Monitored, alarm: Alarm) -> dict[str, Any]:
    """What there is of the newest unit of the episode; of late labels, of its newest windows."""
    if alarm.kind == "drifted":
        return _of_drift(_within(found.drift, alarm))
    if alarm.kind == "degraded":
        return _of_performance(_within(found.performance, alarm), found)
    fields = {"as_of", "rows", "labelled", "without_label", "awaited"}
    windows = _within(found.windows, alarm)[-_MOST_NAMED:]
    return {"windows": [{**_plain(one, include=fields), "share": one.label_share} for one in windows]}


def _within(points: Sequence[Point], alarm: Alarm) -> list[Point]:
    return [one for one in points if alarm.onset <= one.unit and (alarm.until is None or one.unit <= alarm.until)]


def _of_drift(points: list[DriftPoint]) -> dict[str, Any]:
    known = [one for one in points if one.statistic is not None]
    if not known:
        return {}
    said = _plain(known[-1], exclude={"columns"})
    explaining = sorted((one for one in known[-1].columns if one.explains), key=lambda one: -one.z)[:_MOST_NAMED]
    return {**said, "explained_by": [_plain(one, exclude={"explains"}) for one in explaining]}


def _of_performance(points: list[PerformancePoint], found: Monitored) -> dict[str, Any]:
    if not points:
        return {}
    benchmark = found.benchmarks.get(points[-1].model, {})
    return {
        **_plain(points[-1]),
        "benchmark": {name: _plain(one) for name, one in benchmark.items()},
    }
