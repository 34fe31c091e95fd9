"""monitoring/<job>/as_of=<day>/: what one look at a job has found, kept, so that it can be read again as it was.

    part-<digest>.parquet    the figures, long: for people's own dashboards
    _monitored.json          all that was found, as a record: what the pages and the alarms are made of

The folder is replaced in one step, so a look that was killed leaves the one before it. A look that finds the same again
changes nothing.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from tasks.core import layout
from tasks.core.monitoring.records import DriftPoint, Monitored, PerformancePoint, WindowPerformance
from tasks.core.records import read_beside
from tasks.core.rows.contract import INSTANT
from tasks.core.runs.manifest import Interval
from tasks.core.storage import ABANDONED_SECONDS, Folder, Lake

_FIELDS: list[pa.Field[Any]] = [
    pa.field("looked_at", INSTANT),
    pa.field("unit", pa.date32()),
    pa.field("of", pa.string()),
    pa.field("metric", pa.string()),
    pa.field("subject", pa.string()),
    pa.field("value", pa.float64()),
    pa.field("low", pa.float64()),
    pa.field("high", pa.float64()),
    pa.field("model_version", pa.string()),
]
MONITORING_SCHEMA = pa.schema(_FIELDS)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Row(NamedTuple):
    """A figure: of 'drift', 'performance', a 'window' or an 'alarm'; `subject` is its column, group or window, or ''."""

    unit: str
    of: str
    metric: str
    subject: str
    value: float
    model: str
    low: float | None = None
    high: float | None = None


def keep(lake: Lake, found: Monitored) -> bool:
    """Puts a look in the place of the one of its day; whether anything has changed. Whoever calls holds the job's lock."""
    end_what_was_killed(lake, found.job)
    data = found.model_dump_json().encode() + b"\n"
    folder, name = layout.monitoring(found.job, found.as_of), layout.part(hashlib.sha256(data).hexdigest()[:16])
    if lake.exists(f"{folder}/{name}") and lake.read_bytes(f"{folder}/{layout.MONITORED}") == data:
        return False
    staged = _staged(found.job, found.as_of)
    with lake.parquet_writer(f"{staged}/{name}", MONITORING_SCHEMA, metadata=_metadata(found)) as writer:
        writer.write_table(table_of(found))
    lake.write_bytes(f"{staged}/{layout.MONITORED}", data)
    # What is replaced is left to the next look to remove: a reader may be listing it.
    lake.swap(staged, folder)
    return True


def end_what_was_killed(lake: Lake, job: str) -> None:
    """Takes away what a killed look has left; one that was half put in place is put there."""
    scratch = layout.monitoring_scratch(job)
    for day in {name.removesuffix(".old") for name in lake.names(scratch)}:
        lake.mend_swap(_staged(job, day), layout.monitoring(job, day))
    lake.sweep(scratch)
    # Of late windows others tell in the same folder.
    for folder in (layout.alarms(job), layout.labels_looks(job)):
        lake.sweep(folder, idle_seconds=ABANDONED_SECONDS)
    _clear(lake, job)


def days_looked_at(lake: Folder, job: str) -> list[str]:
    """The days of which a look is kept, in the order of time."""
    names = lake.names(layout.table(layout.MONITORING, job))
    days = (name.removeprefix("as_of=") for name in names if name.startswith("as_of="))
    return [day for day in days if _DAY.fullmatch(day)]


def monitored(lake: Folder, job: str, as_of: str) -> Monitored | None:
    """The look of a day; None where nobody looked. LakeCorrupt where it cannot be read."""
    return read_beside(
        lake,
        f"{layout.monitoring(job, as_of)}/{layout.MONITORED}",
        Monitored,
        wrong="is not what a look at a job leaves",
        state="it was left as it is",
        next_step=f"lamplighter monitor {job} --as-of {as_of}, which makes it anew",
    )


def newest_monitored(lake: Folder, job: str) -> Monitored | None:
    """The look of the last day that anybody looked at; None where nobody ever did."""
    days = days_looked_at(lake, job)
    return monitored(lake, job, days[-1]) if days else None


def table_of(found: Monitored) -> pa.Table:
    """The figures of a look in MONITORING_SCHEMA, a row each; a figure that there is not has no row."""
    rows = list(_rows(found))
    columns: dict[str, Any] = {
        "looked_at": pa.repeat(pa.scalar(found.at, INSTANT), len(rows)),
        "unit": [dt.date.fromisoformat(row.unit) for row in rows],
        "of": [row.of for row in rows],
        "metric": [row.metric for row in rows],
        "subject": [row.subject for row in rows],
        "value": [row.value for row in rows],
        "low": [row.low for row in rows],
        "high": [row.high for row in rows],
        "model_version": [row.model for row in rows],
    }
    return pa.table(columns, schema=MONITORING_SCHEMA)


def _rows(found: Monitored) -> Iterator[Row]:
    for drift in found.drift:
        yield from _of_drift(drift)
    for performance in found.performance:
        yield from _of_performance(performance)
    for window in found.windows:
        yield from _of_window(window)
    for alarm in found.alarms:
        # How far beyond its line, or 1 of an alarm that is of no line.
        value = 1.0 if alarm.statistic is None else alarm.statistic
        yield Row(alarm.onset, "alarm", alarm.kind, alarm.until or "", value, alarm.model)


def _of_drift(point: DriftPoint) -> Iterator[Row]:
    yield from _of_line(point, "drift")
    for group, value in point.groups.items():
        yield Row(point.unit, "drift", "group", group, value, point.model)
    for one in point.columns:
        yield Row(point.unit, "drift", one.component, one.column, one.value, point.model)
        yield Row(point.unit, "drift", f"{one.component}_z", one.column, one.z, point.model)


def _of_performance(point: PerformancePoint) -> Iterator[Row]:
    yield from _of_line(point, "performance")
    yield Row(point.unit, "performance", "rows_labelled", "", float(point.labelled), point.model)
    for name, value in point.figures.items():
        yield Row(point.unit, "performance", name, "", value, point.model)
    for name, value in point.z.items():
        yield Row(point.unit, "performance", f"{name}_z", "", value, point.model)


def _of_line(point: DriftPoint | PerformancePoint, of: str) -> Iterator[Row]:
    for metric in ("statistic", "line"):
        value: float | None = getattr(point, metric)
        if value is not None:
            yield Row(point.unit, of, metric, "", value, point.model)


def _of_window(window: WindowPerformance) -> Iterator[Row]:
    for name in ("rows", "labelled", "without_label", "awaited", "corrected", "label_share"):
        yield Row(window.unit, "window", name, window.as_of, float(getattr(window, name)), window.model)
    known = {**window.metrics, "bias": window.bias}
    known |= {f"estimated_{name}": one for name, one in window.estimates.items()}
    for name, one in known.items():
        yield from _of_interval(window, name, one)


def _of_interval(window: WindowPerformance, name: str, found: Interval) -> Iterator[Row]:
    if found.value is not None:
        yield Row(window.unit, "window", name, window.as_of, found.value, window.model, found.low, found.high)


def _metadata(found: Monitored) -> dict[str, str]:
    """As every published file has it: what says where it comes from."""
    says = {"job": found.job, "as_of": found.as_of, "looked_at": found.at.isoformat(), "model": found.model}
    return {"lamplighter": json.dumps(says)}


def _staged(job: str, as_of: str) -> str:
    return f"{layout.monitoring_scratch(job)}/{as_of}"


def _clear(lake: Lake, job: str) -> None:
    scratch = layout.monitoring_scratch(job)
    if lake.exists(scratch):
        lake.remove(scratch)
