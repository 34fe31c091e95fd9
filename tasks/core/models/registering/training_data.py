"""Labelled rows of past windows: the features of the job's own query, joined by key to what came true."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from tasks.core.definitions.binds import binds_of
from tasks.core.definitions.column_types import parse_type
from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import Labels, WindowRange
from tasks.core.definitions.project import Definition
from tasks.core.definitions.source import SqlSource
from tasks.core.definitions.window import Window
from tasks.core.errors import DefinitionError, SourceError
from tasks.core.rows.conform import Rejections, conform
from tasks.core.rows.digest import RowDigest, hash_rows
from tasks.core.source import BlockReader, open_source
from tasks.core.storage import Folder

_BATCH_ROWS = 100_000
# The stubs of pyarrow.compute know few of the shapes that its functions take.
pc: Any = pyarrow.compute


@dataclass(frozen=True)
class Labelled:
    """Rows with a label, sorted by key (of snapshots: within each window), and the truth of each."""

    job: Job
    span: WindowRange
    table: pa.Table
    truth: npt.NDArray[Any]
    without_label: int
    # How many rows each window has: of snapshots the rows have no time that would say it.
    spans: tuple[tuple[str, int], ...]

    @cached_property
    def windows(self) -> npt.NDArray[Any]:
        """The label of each row's window."""
        if self.job.event_time is None:
            return np.repeat([as_of for as_of, _ in self.spans], [rows for _, rows in self.spans])
        return window_labels(self.job, self.table[self.job.event_time])

    @property
    def digest(self) -> str:
        """Of the rows and their labels, in any order."""
        return RowDigest.of(hash_rows(self.table)).hex


def window_labels(job: Job, event_times: pa.ChunkedArray[Any]) -> npt.NDArray[Any]:
    """The label of the window in which each instant lies."""
    instants, places = np.unique(event_times.cast(pa.int64()).to_numpy(), return_inverse=True)
    moments = [dt.datetime.fromtimestamp(instant / 1e6, dt.UTC) for instant in instants.tolist()]
    return np.array([job.window.containing(moment).as_of for moment in moments])[places]


@dataclass(frozen=True)
class WindowRows:
    """All rows of some windows as scoring takes them: window by window, in each sorted by key, with its label or null."""

    job: Job
    labels: Labels
    span: WindowRange
    parts: tuple[tuple[str, pa.Table], ...]
    labels_found: int

    @property
    def table(self) -> pa.Table:
        return pa.concat_tables([part for _, part in self.parts])

    @property
    def windows(self) -> npt.NDArray[Any]:
        """The label of each row's window."""
        return np.repeat([as_of for as_of, _ in self.parts], [len(part) for _, part in self.parts])

    @property
    def labelled(self) -> Labelled:
        """The rows that have a label; SourceError where none has."""
        target = self.labels.target
        parts = [part.filter(part[target].is_valid()) for _, part in self.parts]
        joined, pulled = pa.concat_tables(parts), sum(len(part) for _, part in self.parts)
        if not len(joined):
            raise SourceError(
                f"no row of {self.job.job} from {self.span.first} to {self.span.last} has a label: {pulled:,} rows and "
                f"{self.labels_found:,} labels share no key",
                next_step="see whether the labels' query gives the keys in the same types and zones as the source's",
            )
        if self.job.window.kind == "interval":
            joined = _sorted(self.job, joined)
        return Labelled(
            job=self.job,
            span=self.span,
            table=joined,
            truth=joined[target].to_numpy(zero_copy_only=False),
            without_label=pulled - len(joined),
            spans=tuple((as_of, len(part)) for (as_of, _), part in zip(self.parts, parts, strict=True)),
        )


def labelled_rows(
    definition: Definition,
    project: Folder,
    windows: WindowRange,
    read_block: BlockReader,
    check_labels: Callable[[pa.Table], None],
) -> Labelled:
    """All rows of these windows that have a label. Rows without one (a cancelled flight) are counted and left out.

    Raises what `window_rows` does, and SourceError where no row has a label.
    """
    return window_rows(definition, project, windows, read_block, check_labels).labelled


def window_rows(
    definition: Definition,
    project: Folder,
    windows: WindowRange,
    read_block: BlockReader,
    check_labels: Callable[[pa.Table], None],
) -> WindowRows:
    """All rows of these windows, each with its label, or null where it has none. Every window is read once.

    `check_labels` is given the labels before they are used, and raises where they are not fit for it. DefinitionError
    where a key has labels that differ, or where more rows than scoring would let pass share a key and differ.
    """
    job, labels = definition.job, definition.job.labels
    if labels is None or definition.labels_query is None:
        raise DefinitionError(f"the job '{job.job}' has no labels to train on", next_step="add 'labels' to its YAML")
    every = list(job.window.between(windows.first, windows.last))
    if not every:
        raise DefinitionError(f"there is no window from {windows.first} to {windows.last}")
    source = _Source(job, project, read_block)
    features = _as_scored(job, source.each_window(definition.query or "", job.arrow_schema, every))
    found = source.each_window(definition.labels_query, label_schema(job, labels), every)
    check_labels(pa.concat_tables(found))
    truth = [one_label(job, labels, one.filter(one[labels.target].is_valid())) for one in found]
    # Of a query without binds one table is every window's.
    features, truth = (tables * (len(every) // len(tables)) for tables in (features, truth))
    # Window by window: a key names a row in its window, and may come back in the next.
    parts = [_joined(job, labels, *pair) for pair in zip(features, truth, strict=True)]
    return WindowRows(
        job=job,
        labels=labels,
        span=windows,
        parts=tuple((span.as_of, part) for span, part in zip(every, parts, strict=True)),
        labels_found=sum(map(len, truth)),
    )


def _joined(job: Job, labels: Labels, features: pa.Table, truth: pa.Table) -> pa.Table:
    """The rows with their labels, or null. Only hashes of keys and row numbers are joined: Arrow joins no lists."""
    pairs = _keyed(job, features).join(
        _keyed(job, truth), ["low", "high"], join_type="left outer", right_suffix="_there"
    )
    met: pa.Table = features.take(pairs["row"])
    return _sorted(job, met.append_column(labels.target, truth[labels.target].take(pairs["row_there"])))


def _sorted(job: Job, rows: pa.Table) -> pa.Table:
    return rows.sort_by([(key, "ascending") for key in job.keys])


# --- A key is one row's


def _as_scored(job: Job, windows: list[pa.Table]) -> list[pa.Table]:
    """The rows that scoring takes: of equal rows one, and none of those that share a key and differ."""
    parted = [_by_key(job, rows) for rows in windows]
    apart = [found for found in parted if found.apart]
    left_out, rows = sum(found.apart for found in apart), sum(map(len, windows))
    if left_out > job.limits.quarantine_share * rows:
        raise DefinitionError(
            f"{left_out:,} of {rows:,} rows of {job.job} share their key with a row of the same window that is "
            f"different, such as {apart[0].example}; scoring leaves such rows out, and so does training",
            next_step="add to 'keys' what tells the rows apart, or let the query give each key once",
        )
    return [found.kept for found in parted]


def one_label(job: Job, labels: Labels, found: pa.Table) -> pa.Table:
    """One row a key: its label, or null for a key that is given without one. Rows that lack a key are left out.

    DefinitionError where a key has labels that differ.
    """
    is_known = found[labels.target].is_valid()
    known = _by_key(job, found.filter(is_known))
    if known.apart:
        raise DefinitionError(
            f"{known.example} has labels that differ: which '{labels.target}' of it is true cannot be told",
            next_step="let the labels' query give each key of a window once, in the window of its row",
        )
    without = _by_key(job, found.filter(pc.invert(is_known))).kept
    if not len(without):
        return known.kept
    alone = _keyed(job, without).join(_keyed(job, known.kept), ["low", "high"], join_type="left anti")
    return pa.concat_tables([known.kept, without.take(alone["row"].combine_chunks().sort())])


@dataclass(frozen=True)
class _ByKey:
    """One row of each key; and how many share their key with a row that differs, with such a key in words."""

    kept: pa.Table
    apart: int = 0
    example: str = ""


def _by_key(job: Job, rows: pa.Table) -> _ByKey:
    """Rows that lack a key are left out: nothing can be told by it."""
    lacking = np.logical_or.reduce([rows[key].is_null().to_numpy() for key in job.keys])
    rows = rows.filter(pa.array(~lacking)) if lacking.any() else rows
    keyed = _keyed(job, rows)
    if len(keyed.group_by(["low", "high"]).aggregate([])) == len(rows):
        return _ByKey(rows)
    keyed = keyed.append_column("whole", pa.array(hash_rows(rows)[:, 0]))
    grouped = keyed.group_by(["low", "high"])
    keys = grouped.aggregate([("row", "min"), ("row", "count"), ("whole", "min"), ("whole", "max")]).sort_by("row_min")
    is_one = pc.equal(keys["whole_min"], keys["whole_max"])
    kept, apart = keys.filter(is_one), keys.filter(pc.invert(is_one))
    first = rows.take(apart["row_min"][:1]).select(list(job.keys)).to_pylist()
    example = ", ".join(f"{key} = {value}" for one in first for key, value in one.items())
    return _ByKey(rows.take(kept["row_min"]), pc.sum(apart["row_count"]).as_py() or 0, example)


def _keyed(job: Job, rows: pa.Table) -> pa.Table:
    hashes = hash_rows(rows, job.keys)
    columns = (hashes[:, 0], hashes[:, 1], np.arange(len(rows)))
    return pa.table([pa.array(column) for column in columns], names=["low", "high", "row"])


# --- Reading


def read_window(
    job: Job,
    project: Folder,
    query: str,
    schema: pa.Schema,
    window: Window,
    read_block: BlockReader,
    *,
    unread: Callable[[Rejections], None] | None = None,
) -> pa.Table:
    """What a query of the job's source gives for one window, read as scoring reads it, in the types of the schema.

    `unread` is told of values that cannot have these types: they are null.
    """
    return _Source(job, project, read_block, unread).each_window(query, schema, [window])[0]


@dataclass(frozen=True)
class _Source:
    job: Job
    project: Folder
    read_block: BlockReader
    unread: Callable[[Rejections], None] | None = None

    def each_window(self, query: str, schema: pa.Schema, windows: list[Window]) -> list[pa.Table]:
        """A table for each window, read by itself as scoring reads it: what a query groups or looks up may hang on its binds.

        A query without binds gives the same for all, and is read once; without an event time it is one table.
        """
        event_time = self.job.event_time if self.job.event_time in schema.names else None
        if binds_of(query):
            return [_inside(self._read(query, schema, event_time, window), event_time, window) for window in windows]
        whole = self._read(query, schema, event_time, windows[0])
        return [_inside(whole, event_time, window) for window in windows] if event_time else [whole]

    def _read(self, query: str, schema: pa.Schema, event_time: str | None, window: Window) -> pa.Table:
        rows = 0
        batches = []
        with open_source(
            self.job.source,
            window=window,
            known_at=self.job.known_at(window),
            event_time=event_time,
            columns=schema,
            project=self.project,
            query=query,
            batch_rows=_BATCH_ROWS,
            read_block=self.read_block,
        ) as found:
            for batch in found:
                typed, rejections = conform(batch, schema, rows)
                if self.unread and rejections:
                    self.unread(rejections)
                rows += typed.num_rows
                batches.append(typed)
        return pa.Table.from_batches(batches, schema)


def _inside(rows: pa.Table, event_time: str | None, span: Window) -> pa.Table:
    """The rows whose event time lies in the span: scoring takes no others, and the next one's query may give them too."""
    if event_time is None:
        return rows
    times = rows[event_time]
    return rows.filter(pc.and_(pc.greater_equal(times, span.start), pc.less(times, span.end)))


def label_schema(job: Job, labels: Labels) -> pa.Schema:
    """The columns of the labels' query: the job's keys, and the target."""
    if not isinstance(job.source, SqlSource):
        raise DefinitionError(f"the job '{job.job}' reads files; labels are read from a source of type sql")
    keys = [job.arrow_schema.field(key) for key in job.keys]
    return pa.schema([*keys, pa.field(labels.target, parse_type(labels.type))])
