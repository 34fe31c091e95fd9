"""Labels of a published window: when they are due, how they are pulled, and how they are kept as they were pulled.

    labels/<job>/as_of=.../labels_as_of=<day>/part-<digest>.parquet    the keys and the target, one row a key
    labels/.looked/<job>/as_of=....json                                the looks for them, changed or not

A look is met by the instants of the job's `labels`: due at the window's end plus `delay`, and again after each of
`revisit`. One pull meets every instant that has passed. Labels are kept only when they have changed.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.binds import binds_of
from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import Labels
from tasks.core.definitions.project import Definition
from tasks.core.definitions.schedule import length
from tasks.core.definitions.window import Window
from tasks.core.errors import DefinitionError, LakeError
from tasks.core.models.registering.training_data import label_schema, one_label, read_window
from tasks.core.performance import putting
from tasks.core.records import Record, read_beside
from tasks.core.rows.conform import Rejections
from tasks.core.rows.digest import RowDigest, hash_rows
from tasks.core.rows.newest import index_in
from tasks.core.runs.showing import showing, shown_labels
from tasks.core.source import BlockReader
from tasks.core.storage import Folder, Lake

_NOTES = b"notes"


class Look(Record):
    """That labels were pulled: the day of the look, and its instant."""

    day: str
    at: dt.datetime


class Looks(Record):
    """All looks for a window's labels, in the order of time."""

    looks: tuple[Look, ...] = ()


@dataclass(frozen=True)
class Due:
    """A published window that is to be measured: with labels pulled anew, or because its rows are another run's now."""

    window: Window
    run_id: str
    pull: bool


@dataclass(frozen=True)
class Kept:
    """A window's labels as they were pulled on a day."""

    day: str
    digest: str
    key: str


def due(lake: Folder, definition: Definition, *, now: dt.datetime, day: str) -> list[Due]:
    """The windows that a look at the instant `now`, of this day, has to measure, in the order of time.

    None of a job without labels. Looks may come in any order of days: a look at an earlier one pulls again.
    """
    job = definition.job
    if job.labels is None:
        return []
    # Labels sort as their windows do, and of a window that is yet to end no label is due.
    last = job.window.containing(now).as_of
    found = (_due(lake, definition, label, now, day) for label in shown_labels(lake, job.job) if label <= last)
    return [one for one in found if one is not None]


def _due(lake: Folder, definition: Definition, label: str, now: dt.datetime, day: str) -> Due | None:
    job, labels = definition.job, definition.job.labels
    try:
        window = job.window.parse(label)
    except DefinitionError:
        # Of windows that the job had before its windows were others.
        return None
    seen = showing(lake, job.job, label)
    passed = [at for at in instants(labels, window) if at <= now] if labels else []
    if seen is None or not passed:
        return None
    pull = not any(passed[-1] <= one.at <= now for one in looks_of(lake, job.job, label).looks)
    if pull:
        return Due(window, seen.run_id, pull=True)
    if _measured_last(lake, job.job, label, day) == seen.run_id:
        return None
    # Of a query without binds only the labels of the rows that were published then were kept.
    kept = newest_labels(lake, job.job, label, until_day=day)
    return Due(window, seen.run_id, pull=not (_has_binds(definition) and kept is not None and _is_whole(lake, kept)))


def _measured_last(lake: Folder, job: str, as_of: str, day: str) -> str | None:
    """The run whose rows were measured last until a day; None where that cannot be read, and is to be done again."""
    days = putting.days(lake, layout.PERFORMANCE, job, as_of, until=day)
    folder = layout.performance(job, as_of, days[0]) if days else ""
    return putting.name_in(lake, folder) if days and putting.can_be_read(lake, folder, putting.RECORD) else None


def instants(labels: Labels, window: Window) -> list[dt.datetime]:
    """When a window's labels are pulled, in the order of time; they are final after the last."""
    first = window.end + length(labels.delay)
    return sorted({first, *(first + length(later) for later in labels.revisit)})


def is_final(labels: Labels, window: Window, looks: Looks, *, until_day: str) -> bool:
    """Whether labels were pulled at or after the last instant, as far as a day knows."""
    last = instants(labels, window)[-1]
    return any(one.at >= last and one.day <= until_day for one in looks.looks)


# --- Pulling


def labels_of(
    definition: Definition,
    project: Folder,
    window: Window,
    read_block: BlockReader,
    check_labels: Callable[[pa.Table], None] | None = None,
) -> pa.Table:
    """The keys and the target that the labels' query gives for a window, one row a key; a label of null is none.

    `check_labels` is given them first, and raises where they are not fit for use. DefinitionError where a key has labels
    that differ; SourceError where they cannot be read. What of them could not be used, the table's metadata says.
    """
    job, labels = definition.job, definition.job.labels
    if labels is None or definition.labels_query is None:
        raise DefinitionError(f"the job '{job.job}' has no labels", next_step="add 'labels' to its YAML")
    query, schema = definition.labels_query, label_schema(job, labels)
    unused = _Unused()
    found = read_window(job, project, query, schema, window, read_block, unread=unused.add)
    # Of none that has come yet a suite has nothing to say.
    if check_labels and len(found):
        check_labels(found)
    return _saying(one_label(job, labels, found), unused.sentences(found, job.keys))


def notes_in(labels: pa.Table) -> tuple[str, ...]:
    """What of the labels could not be used when they were pulled, in sentences."""
    said = (labels.schema.metadata or {}).get(_NOTES, b"[]")
    return tuple(json.loads(said))


class _Unused:
    """Counts the values that are not of their column's type."""

    def __init__(self) -> None:
        self._values = 0
        self._example = ""

    def add(self, rejections: Rejections) -> None:
        self._example = self._example or f"{rejections[0][1].column} = {rejections[0][1].value}"
        self._values += len(rejections)

    def sentences(self, found: pa.Table, keys: Sequence[str]) -> list[str]:
        lacking = np.logical_or.reduce([found[key].is_null().to_numpy() for key in keys])
        said = []
        if self._values:
            said.append(
                f"{self._values:,} values of the labels are not of their column's type, such as {self._example}, and count "
                "as none: see labels.type in the job's YAML"
            )
        if count := int(lacking.sum()):
            said.append(f"{count:,} labels lack a part of their key ({', '.join(keys)}), and are of no row")
        return said


def _saying(labels: pa.Table, sentences: list[str]) -> pa.Table:
    kept = {} if not sentences else {_NOTES: json.dumps(sentences).encode()}
    return labels.replace_schema_metadata(kept or None)


# --- Keeping


def keep_labels(lake: Lake, definition: Definition, due_now: Due, pulled: pa.Table, *, day: str) -> Kept:
    """Keeps the labels of a window as of a day, unless they are those that were kept last. Whoever calls has the lock.

    Of a query without binds, which gives every window's labels each time, those of the published rows.
    """
    job, as_of = definition.job, due_now.window.as_of
    if not _has_binds(definition):
        pulled = _of_published(lake, job, due_now, pulled)
    digest = RowDigest.of(hash_rows(pulled)).hex
    before = newest_labels(lake, job.job, as_of, until_day=day)
    if before is not None and before.digest == digest and _is_whole(lake, before):
        return before
    folder = layout.labels(job.job, as_of, day)
    says = {"job": job.job, "as_of": as_of, "labels_as_of": day, "digest": digest}
    putting.put(lake, job.job, folder, layout.part(digest), pulled, {"lamplighter": json.dumps(says, sort_keys=True)})
    return Kept(day, digest, f"{folder}/{layout.part(digest)}")


def newest_labels(lake: Folder, job: str, as_of: str, *, until_day: str, before: bool = False) -> Kept | None:
    """The labels of a window as they were last kept until a day; with `before`, without that day. None: never pulled."""
    for day in putting.days(lake, layout.LABELS, job, as_of, until=until_day, before=before):
        folder = layout.labels(job, as_of, day)
        if digest := putting.name_in(lake, folder):
            return Kept(day, digest, f"{folder}/{layout.part(digest)}")
    return None


def _is_whole(lake: Folder, kept: Kept) -> bool:
    return putting.can_be_read(lake, kept.key.rpartition("/")[0], "lamplighter")


def looks_of(lake: Folder, job: str, as_of: str) -> Looks:
    """When the labels of a window were looked for; a record that cannot be read is none: they are pulled once more."""
    key = layout.labels_looked_for(job, as_of)
    with suppress(LakeError):
        return read_beside(lake, key, Looks, wrong="is not when labels were looked for") or Looks()
    return Looks()


def note_look(lake: Lake, job: str, as_of: str, look: Look) -> None:
    """Records that labels were pulled: last of all, so that what was killed is done again."""
    known = looks_of(lake, job, as_of).looks
    if look in known:
        return
    looks = Looks(looks=tuple(sorted({*known, look}, key=lambda one: (one.at, one.day))))
    lake.write_bytes(layout.labels_looked_for(job, as_of), looks.model_dump_json(indent=2).encode() + b"\n")


def _has_binds(definition: Definition) -> bool:
    return bool(binds_of(definition.labels_query or ""))


def _of_published(lake: Folder, job: Job, due_now: Due, pulled: pa.Table) -> pa.Table:
    seen = showing(lake, job.job, due_now.window.as_of)
    if seen is None:
        return pulled.slice(0, 0)
    with lake.parquet(f"{seen.folder}/{layout.part(seen.run_id)}") as file:
        keys = [hash_rows(batch, job.keys) for batch in file.iter_batches(columns=list(job.keys))]
    published = np.concatenate(keys) if keys else np.empty((0, 2), np.uint64)
    return pulled.filter(pa.array(index_in(hash_rows(pulled, job.keys), published) >= 0))
