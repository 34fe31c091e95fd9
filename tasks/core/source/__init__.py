"""The one door to a job's source: whatever it is, a stream of Arrow batches comes out.

Batches are as the driver gives them: their types are the source's and may differ from batch to batch, and so may their
length, up to `batch_rows`. `tasks.core.rows.conform` brings them to the declared types, and `rebatch` to equal length after.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack

import pyarrow as pa

from tasks.core.definitions.binds import bound_values
from tasks.core.definitions.project import Definition
from tasks.core.definitions.source import FilesSource, SqlSource
from tasks.core.definitions.window import Window
from tasks.core.rows.conform import check_columns, extra_columns
from tasks.core.source.address import BlockReader
from tasks.core.source.files import open_files
from tasks.core.source.problems import SourceUnavailable, retry
from tasks.core.source.sql import open_sql
from tasks.core.storage import Folder

__all__ = ["BlockReader", "SourceUnavailable", "Stream", "ask", "open_source", "open_window", "rebatch", "retry"]


class Stream(Iterator[pa.RecordBatch]):
    """The batches of a source, in order; `names` are its columns so far, `extra` those that the job does not declare."""

    def __init__(self, batches: Iterator[pa.RecordBatch], names: Sequence[str], declared: Sequence[str]) -> None:
        self._batches = batches
        self._declared = declared
        self.names = names

    @property
    def extra(self) -> tuple[str, ...]:
        return extra_columns(self.names, self._declared)

    def __next__(self) -> pa.RecordBatch:
        return next(self._batches)


@contextlib.contextmanager
def open_source(
    source: SqlSource | FilesSource,
    *,
    query: str | None,
    window: Window,
    known_at: dt.datetime,
    columns: pa.Schema,
    event_time: str | None,
    project: Folder,
    batch_rows: int,
    read_block: BlockReader | None = None,
    naive_zone: str | None = None,
    may_lack: Collection[str] = (),
) -> Iterator[Stream]:
    """The rows of a window, as a stream; closed, and its transaction rolled back, with the block.

    `known_at` is what the query's :known_at stands for: Job.known_at. Files have no binds.
    Transient errors are retried until the first batch is there. After that they are raised as SourceUnavailable: rows
    were handed out already, and only the caller can begin again. Other errors: SourceError, SchemaBlocked where a
    declared column is missing that `may_lack` does not name, DefinitionError where the job or the installation lacks
    something.
    """

    def opened() -> AbstractContextManager[tuple[list[str], Iterator[pa.RecordBatch]]]:
        if isinstance(source, FilesSource):
            return open_files(
                source,
                window,
                columns,
                event_time=event_time,
                project=project,
                batch_rows=batch_rows,
                naive_zone=naive_zone,
                may_lack=may_lack,
            )
        bound = bound_values(window, known_at)
        return open_sql(
            source, query or "", bound, columns, project=project, batch_rows=batch_rows, read_block=read_block
        )

    def first_batch() -> tuple[ExitStack, Stream]:
        with ExitStack() as trial:
            names, batches = trial.enter_context(opened())
            check_columns(names, columns.names, may_lack=may_lack)
            first = list(itertools.islice(batches, 1))
            return trial.pop_all(), Stream(itertools.chain(first, batches), names, columns.names)

    held, stream = retry(first_batch, source.retries)
    with held:
        yield stream


def open_window(
    definition: Definition,
    window: Window,
    *,
    project: Folder,
    read_block: BlockReader | None = None,
    known_at: dt.datetime | None = None,
) -> AbstractContextManager[Stream]:
    """A window of a job, as its run pulls it; `known_at` is another instant than the job's. As open_source."""
    job = definition.job
    return open_source(
        job.source,
        query=definition.query,
        window=window,
        known_at=known_at or job.known_at(window),
        columns=job.arrow_schema,
        event_time=job.event_time,
        project=project,
        batch_rows=job.rows_at_once,
        read_block=read_block,
        may_lack=job.may_lack,
    )


def ask(
    source: SqlSource,
    query: str,
    *,
    window: Window,
    known_at: dt.datetime,
    project: Folder,
    read_block: BlockReader | None = None,
) -> object:
    """The first value of the first row that a query gives, None where it gives no row; same address and binds as the source's.

    Errors as open_source has them; transient ones are retried.
    """

    def asked() -> object:
        bound = bound_values(window, known_at)
        opened = open_sql(source, query, bound, None, project=project, batch_rows=1, read_block=read_block)
        with opened as (_, batches):
            rows = next((batch for batch in batches if batch.num_rows), None)
            return rows.column(0)[0].as_py() if rows is not None and rows.num_columns else None

    return retry(asked, source.retries)


def rebatch(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows of one schema, in batches of exactly so many rows; the last may be shorter, and none is empty."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= rows:
            whole = _joined(waiting)
            yield whole.slice(0, rows)
            count -= rows
            waiting = [whole.slice(rows)]
    if count:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
