"""performance/<job>/as_of=.../labels_as_of=<day>/: the figures of a window, long, as they were known on a day.

One file, `part-<run_id>.parquet`, of the run whose rows it is of. A day has a file where the labels had changed, or the
run that readers saw; what is known on a day is the newest until then. The file's metadata holds the window's record.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.window import Window
from tasks.core.errors import DefinitionError, LakeError
from tasks.core.monitoring.records import WindowPerformance
from tasks.core.performance import putting
from tasks.core.performance.figures import Figure
from tasks.core.performance.pulling import is_final, looks_of
from tasks.core.records import parse_record, said_by_file
from tasks.core.rows.contract import INSTANT
from tasks.core.runs.showing import showing
from tasks.core.storage import Folder, Lake

_FIELDS: list[pa.Field[Any]] = [
    pa.field("window_start", INSTANT),
    pa.field("model_version", pa.string()),
    pa.field("run_id", pa.string()),
    pa.field("slice", pa.string()),
    pa.field("slice_value", pa.string()),
    pa.field("metric", pa.string()),
    pa.field("value", pa.float64()),
    pa.field("low", pa.float64()),
    pa.field("high", pa.float64()),
    pa.field("rows_labelled", pa.int64()),
    pa.field("benchmark", pa.float64()),
    pa.field("benchmark_low", pa.float64()),
    pa.field("benchmark_high", pa.float64()),
]
PERFORMANCE_SCHEMA = pa.schema(_FIELDS)
_LAST_DAY = "9999-12-31"


@dataclass(frozen=True)
class Measured:
    """A window's record as a file holds it, and of which labels it is."""

    found: WindowPerformance
    labels_digest: str


def keep(
    lake: Lake, job: Job, window: Window, found: WindowPerformance, figures: Sequence[Figure], labels_digest: str
) -> None:
    """Puts a window's figures in place as of the day of the record. Whoever calls holds the monitor's lock of the job."""
    folder = layout.performance(job.job, found.as_of, found.labels_as_of)
    says = {
        "job": job.job,
        "as_of": found.as_of,
        "labels_as_of": found.labels_as_of,
        "run_id": found.run_id,
        "model": found.model,
        "labels_digest": labels_digest,
    }
    metadata = {"lamplighter": json.dumps(says, sort_keys=True), putting.RECORD: found.model_dump_json()}
    putting.put(lake, job.job, folder, layout.part(found.run_id), table_of(window, found, figures), metadata)


def table_of(window: Window, found: WindowPerformance, figures: Sequence[Figure]) -> pa.Table:
    """The figures in PERFORMANCE_SCHEMA, a row each."""
    beside = [one.benchmark for one in figures]
    columns: dict[str, Any] = {
        "window_start": pa.repeat(pa.scalar(window.start, INSTANT), len(figures)),
        "model_version": [found.model] * len(figures),
        "run_id": [found.run_id] * len(figures),
        "slice": [one.slice for one in figures],
        "slice_value": [one.value for one in figures],
        "metric": [one.metric for one in figures],
        "value": [one.found.value for one in figures],
        "low": [one.found.low for one in figures],
        "high": [one.found.high for one in figures],
        "rows_labelled": [one.labelled for one in figures],
        "benchmark": [one and one.value for one in beside],
        "benchmark_low": [one and one.low for one in beside],
        "benchmark_high": [one and one.high for one in beside],
    }
    return pa.table(columns, schema=PERFORMANCE_SCHEMA)


# --- Reading


def of_window(lake: Folder, job: Job, as_of: str, *, until_day: str) -> WindowPerformance | None:
    """What was known by the end of a day of the run that readers see; None where no label was due, or none is seen."""
    seen = showing(lake, job.job, as_of)
    if seen is None:
        return None
    for day in putting.days(lake, layout.PERFORMANCE, job.job, as_of, until=until_day):
        if putting.name_in(lake, layout.performance(job.job, as_of, day)) == seen.run_id:
            return _with_looks(lake, job, read(lake, job.job, as_of, day).found, until_day)
    return None


def of_windows(lake: Folder, job: Job, *, until_day: str) -> list[WindowPerformance]:
    """The same of every window that has any, in the order of time."""
    names = lake.names(layout.table(layout.PERFORMANCE, job.job))
    labels = [name.removeprefix("as_of=") for name in names if name.startswith("as_of=")]
    found = (of_window(lake, job, label, until_day=until_day) for label in labels)
    return [one for one in found if one is not None]


def as_labels_arrived(lake: Folder, job: Job, as_of: str) -> list[WindowPerformance]:
    """All that is kept of a window, the oldest first: of each day on which labels had changed, or the run."""
    found = []
    for day in reversed(putting.days(lake, layout.PERFORMANCE, job.job, as_of, until=_LAST_DAY)):
        # What cannot be read is made anew by a look at its day, and hides no other.
        with suppress(LakeError):
            found.append(_with_looks(lake, job, read(lake, job.job, as_of, day).found, day))
    return found


def newest(lake: Folder, job: str, as_of: str, *, until_day: str) -> Measured | None:
    """What was measured last until a day, of whichever run; None where nothing was, or where it cannot be read."""
    for day in putting.days(lake, layout.PERFORMANCE, job, as_of, until=until_day):
        try:
            return read(lake, job, as_of, day)
        except LakeError:
            # It is measured again, and put in its place.
            return None
    return None


def read(lake: Folder, job: str, as_of: str, day: str) -> Measured:
    """The record of a day's file; LakeCorrupt where it has none."""
    folder = layout.performance(job, as_of, day)
    key = f"{folder}/{layout.part(putting.name_in(lake, folder) or '')}"
    with lake.parquet(key) as file:
        kept = (file.metadata.metadata or {}).get(putting.RECORD.encode(), b"")
    wrong = f"{lake.address(key)} has no record of a window's performance in its metadata"
    step = f"remove {lake.address(folder)}, and lamplighter monitor {job}"
    found = parse_record(kept, WindowPerformance, wrong, next_step=step)
    return Measured(found, str(said_by_file(lake, key).get("labels_digest", "")))


def _with_looks(lake: Folder, job: Job, found: WindowPerformance, until_day: str) -> WindowPerformance:
    """With what changes without the figures: when labels were last looked for, and whether that was the last time."""
    looks = looks_of(lake, job.job, found.as_of)
    last = max((one.day for one in looks.looks if one.day <= until_day), default="")
    if job.labels is None:
        return found.model_copy(update={"looked_for": last})
    try:
        ended = is_final(job.labels, job.window.parse(found.as_of), looks, until_day=until_day)
    except DefinitionError:
        # A window of before the job's windows were others.
        ended = True
    return found.model_copy(update={"looked_for": last, "is_final": ended})
