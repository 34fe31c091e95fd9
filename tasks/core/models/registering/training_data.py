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
from tasks.core.rows.conform import conform
from tasks.core.rows.digest import RowDigest, hash_rows
from tasks.core.source import BlockReader, open_source
from tasks.core.storage import Folder

_BATCH_ROWS = 100_000
# What is not the same for windows that follow each other, and so not for a query over all of them.
_OF_ONE_WINDOW = {"as_of", "known_at"}
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
    # How many rows each span has: of snapshots, whose rows have no time, each span is a window.
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


def labelled_rows(
    definition: Definition,
    project: Folder,
    windows: WindowRange,
    read_block: BlockReader,
    check_labels: Callable[[pa.Table], None],
) -> Labelled:
    """All rows of these windows that have a label. Rows without one (a cancelled flight) are counted and left out.

    `check_labels` is given the labels before they are used, and raises where they are not fit for it.
    """
    job, labels = definition.job, definition.job.labels
    if labels is None or definition.labels_query is None:
        raise DefinitionError(f"the job '{job.job}' has no labels to train on", next_step="add 'labels' to its YAML")
    spans = _spans(definition, windows)
    features = [_read(job, definition.query, job.arrow_schema, project, span, read_block) for span in spans]
    truth_schema = label_schema(job, labels)
    truth = [_read(job, definition.labels_query, truth_schema, project, span, read_block) for span in spans]
    check_labels(pa.concat_tables(truth))
    truth = [one.filter(one[labels.target].is_valid()) for one in truth]
    # One by one: the same keys come back in every snapshot.
    parts = [_joined(job, *pair) for pair in zip(features, truth, strict=True)]
    joined, pulled = pa.concat_tables(parts), sum(map(len, features))
    if job.window.kind == "interval":
        joined = _sorted(job, joined)
    if not len(joined):
        raise SourceError(
            f"no row of {job.job} from {windows.first} to {windows.last} has a label: {pulled:,} rows and "
            f"{sum(map(len, truth)):,} labels share no key",
            next_step="see whether the labels' query gives the keys in the same types and zones as the source's",
        )
    return Labelled(
        job=job,
        span=windows,
        table=joined,
        truth=joined[labels.target].to_numpy(zero_copy_only=False),
        without_label=pulled - len(joined),
        spans=tuple((span.as_of, len(part)) for span, part in zip(spans, parts, strict=True)),
    )


def _joined(job: Job, features: pa.Table, truth: pa.Table) -> pa.Table:
    joined: pa.Table = features.join(truth, list(job.keys), join_type="inner")
    return _sorted(job, joined)


def _sorted(job: Job, rows: pa.Table) -> pa.Table:
    return rows.sort_by([(key, "ascending") for key in job.keys])


def _spans(definition: Definition, windows: WindowRange) -> list[Window]:
    """Intervals that follow each other are one query, unless it binds what each has of its own; snapshots are each their own."""
    job = definition.job
    every = list(job.window.between(windows.first, windows.last))
    if not every:
        raise DefinitionError(f"there is no window from {windows.first} to {windows.last}")
    bound = binds_of(definition.query or "") | binds_of(definition.labels_query or "")
    if job.window.kind == "snapshot" or bound & _OF_ONE_WINDOW:
        return every
    return [Window(every[0].as_of, every[0].start, every[-1].end)]


def _read(
    job: Job, query: str | None, schema: pa.Schema, project: Folder, span: Window, read_block: BlockReader
) -> pa.Table:
    event_time = job.event_time if job.event_time in schema.names else None
    rows = 0
    batches = []
    with open_source(
        job.source,
        window=span,
        known_at=job.known_at(span),
        event_time=event_time,
        columns=schema,
        project=project,
        query=query,
        batch_rows=_BATCH_ROWS,
        read_block=read_block,
    ) as found:
        for batch in found:
            typed, _ = conform(batch, schema, rows)
            rows += typed.num_rows
            batches.append(typed)
    return _inside(pa.Table.from_batches(batches, schema), event_time, span)


def _inside(rows: pa.Table, event_time: str | None, span: Window) -> pa.Table:
    """The rows whose event time lies in the span: scoring takes no others, and the next span's query may give them too."""
    if event_time is None or span.start == span.end:
        return rows
    times = rows[event_time]
    return rows.filter(pc.and_(pc.greater_equal(times, span.start), pc.less(times, span.end)))


def label_schema(job: Job, labels: Labels) -> pa.Schema:
    """The columns of the labels' query: the job's keys, and the target."""
    if not isinstance(job.source, SqlSource):
        raise DefinitionError(f"the job '{job.job}' reads files; labels are read from a source of type sql")
    keys = [job.arrow_schema.field(key) for key in job.keys]
    return pa.schema([*keys, pa.field(labels.target, parse_type(labels.type))])
