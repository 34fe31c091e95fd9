r"""Rows from Parquet or CSV files, on this machine or in an object store, one file after the other in the order of names.

A folder is read with all that is below it, but for names that begin with '.' or '_'. Every file must have the declared
columns; with `partitioning: hive` those of its path (`day=2013-07-01`) count, as text. Of an interval window the rows
inside it are read, and those whose event time is missing or cannot be read: pull rejects these, so that they are counted.
CSV is read as text, for the declared types to decide. An empty field without quotes is missing; in a column that is not
declared as text so are NA, N/A, NULL and \N.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet as pq

from tasks.core.definitions.source import FilesSource
from tasks.core.definitions.window import Window
from tasks.core.errors import DefinitionError, SourceError
from tasks.core.rows.conform import check_columns, convert
from tasks.core.settings import prepare_object_store
from tasks.core.source.local import local_path
from tasks.core.source.problems import guarded, problem
from tasks.core.storage import Folder

# The stubs of pyarrow know its functions for arrays of one type each, and columns here are of any.
pc: Any = pyarrow.compute
Batches = Iterator[pa.RecordBatch]

_URI = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")
_SECRET_IN_URI = re.compile(r"://[^/]*:[^/]*@|secret|password|token", re.IGNORECASE)
_HIVE = re.compile(r"([^/=]+)=([^/]*)/")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_CSV_MISSING = pa.array(["NA", "N/A", "NULL", "null", "\\N"])
_CSV_BLOCK_BYTES = 4 << 20
_TOO_LONG = "straddles two block boundaries"
_MOST_OF_A_LINE = 64 << 10
_EVENT_TIME = pa.timestamp("us", tz="UTC")
_PASSING_ERRORS = {
    errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH,
    errno.EPIPE, errno.EAGAIN, errno.EINTR, errno.ESTALE,
}  # fmt: skip
_PASSING_WORDS = re.compile(
    r"NETWORK_CONNECTION|curlCode|timed? ?out|connection (refused|reset|closed)|SLOW_DOWN|SlowDown|THROTTL|"
    r"SERVICE_UNAVAILABLE|INTERNAL_FAILURE|HTTP (429|5\d\d)|response code:? (429|5\d\d)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Place:
    """Where the files are: a file system, a path in it, and how a person names it."""

    system: pyarrow.fs.FileSystem
    path: str
    shown: str


@dataclass(frozen=True)
class _Request:
    """What is read of each file."""

    source: FilesSource
    columns: pa.Schema
    event_time: str | None
    window: Window
    batch_rows: int
    naive_zone: str | None
    may_lack: Collection[str]

    @property
    def filters(self) -> bool:
        return self.event_time is not None and self.window.start < self.window.end


@contextlib.contextmanager
def open_files(
    source: FilesSource,
    window: Window,
    columns: pa.Schema,
    *,
    event_time: str | None,
    project: Folder,
    batch_rows: int,
    naive_zone: str | None = None,
    may_lack: Collection[str] = (),
) -> Iterator[tuple[list[str], Batches]]:
    """The names of the files' columns, and the rows of all files: the declared columns alone.

    The names are the first file's; those that only later files have join them as these are opened.
    """
    place = _place(source.path, project)
    files = _files(place)
    request = _Request(source, columns, event_time, window, batch_rows, naive_zone, may_lack)
    open_file = _open_parquet if source.format == "parquet" else _open_csv
    names, first = open_file(place, files[0], request)
    yield names, _rows_of_all(names, first, lambda path: open_file(place, path, request), files[1:])


def first_line(path: str, project: Folder) -> str:
    """Of the first file, unpacked where its name says that it is packed: its first line, up to 64 KiB of it."""
    place = _place(path, project)
    (first, *_) = _files(place)

    def read() -> bytes:
        with place.system.open_input_stream(first) as stream:
            return bytes(stream.read(_MOST_OF_A_LINE))

    lines = _guarded(first, read).decode("utf-8-sig", errors="replace").splitlines()
    return lines[0] if lines else ""


def _rows_of_all(
    names: list[str], first: Batches, open_other: Callable[[str], tuple[list[str], Batches]], others: list[str]
) -> Batches:
    yield from first
    for path in others:
        found, batches = open_other(path)
        names += [name for name in found if name not in names]
        yield from batches


# --- Which files


def _place(path: str, project: Folder) -> _Place:
    if not _URI.match(path):
        found = local_path(project, path)
        return _Place(pyarrow.fs.LocalFileSystem(), found, found)
    if _SECRET_IN_URI.search(path):
        # The value is not repeated: it would end in logs.
        raise DefinitionError(
            "the job's source.path holds a secret",
            state="nothing was started",
            next_step="take it out; an object store's keys come from the environment",
        )
    prepare_object_store()
    system, inside = _guarded(path, lambda: pyarrow.fs.FileSystem.from_uri(path))
    return _Place(system, inside, path)


def _files(place: _Place) -> list[str]:
    """Every file to read, in the order of names."""
    info = _guarded(place.shown, lambda: place.system.get_file_info(place.path))
    if info.type == pyarrow.fs.FileType.NotFound:
        raise problem(f"there is no {place.shown}", next_step="put the files there, or mend source.path in the job")
    if info.type == pyarrow.fs.FileType.File:
        return [place.path]
    below = pyarrow.fs.FileSelector(place.path, recursive=True)
    found = _guarded(place.shown, lambda: place.system.get_file_info(below))
    files = sorted(one.path for one in found if one.is_file and not _is_hidden(one.path, place.path))
    if not files:
        raise problem(
            f"there is no file in {place.shown}", next_step="put the files there, or mend source.path in the job"
        )
    return files


def _is_hidden(path: str, folder: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.removeprefix(folder).strip("/").split("/"))


def _from_path(path: str, place: _Place, request: _Request) -> dict[str, str | None]:
    """The values that a Hive-partitioned file has by its path, of declared columns."""
    if request.source.partitioning is None:
        return {}
    found = {unquote(name): unquote(value) for name, value in _HIVE.findall(path.removeprefix(place.path).lstrip("/"))}
    return {
        name: None if value == _HIVE_NULL else value for name, value in found.items() if name in request.columns.names
    }


# --- One file


def _open_parquet(place: _Place, path: str, request: _Request) -> tuple[list[str], Batches]:
    found = _guarded(path, lambda: pq.read_schema(path, filesystem=place.system))
    constants = _from_path(path, place, request)
    names = [*found.names, *(name for name in constants if name not in found.names)]
    check_columns(names, request.columns.names, where=path, may_lack=request.may_lack)
    # A dataset takes no name twice, not even of columns that nobody asks for.
    asked = set(request.columns.names)
    asked_for = pa.schema([field for field in found if field.name in asked])

    def dataset() -> Any:
        return pyarrow.dataset.dataset(path, schema=asked_for, filesystem=place.system, format="parquet")

    opened = _guarded(path, dataset)
    pushed = _pushed_down(opened.schema, request)
    there = set(opened.schema.names)
    wanted = [name for name in request.columns.names if name in there]

    def scan() -> Batches:
        return _row_groups(opened, place, path, pushed, wanted, request.batch_rows)

    batches = _with_constants(_each(path, scan), constants)
    return names, batches if pushed is not None else _inside_window(batches, request)


def _row_groups(opened: Any, place: _Place, path: str, pushed: Any, wanted: list[str], batch_rows: int) -> Batches:
    """The rows of the row groups that may hold the window's, as they are asked for.

    A dataset's scanner would read ahead of whoever is slower, and in the end hold the whole file.
    """
    for fragment in opened.get_fragments(filter=pushed):
        groups = [group.id for part in fragment.split_by_row_group(pushed) for group in part.row_groups]
        with place.system.open_input_file(path) as opened_file, pq.ParquetFile(opened_file, pre_buffer=False) as file:
            for together in _read_together(groups, opened.schema):
                for batch in file.iter_batches(batch_rows, row_groups=together, columns=wanted):
                    kept = pa.Table.from_batches([_without_views(batch)])
                    yield from (kept if pushed is None else kept.filter(pushed)).to_batches()


def _read_together(groups: list[int], schema: pa.Schema) -> list[list[int]]:
    """All row groups at once; but Arrow cannot join lists of coded values that lie in several."""
    coded = any(_has_coded_items(field.type) for field in schema)
    return [[group] for group in groups] if coded else [groups]


def _has_coded_items(kind: Any) -> bool:
    items = [kind.field(place).type for place in range(kind.num_fields)] if pa.types.is_nested(kind) else []
    return any(pa.types.is_dictionary(item) or _has_coded_items(item) for item in items)


def _without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Text and bytes in the layout that Arrow can pick rows of: of views it cannot."""
    plain = pa.schema([field.with_type(_without_view(field.type)) for field in batch.schema])
    return batch if plain.equals(batch.schema) else batch.cast(plain)


def _without_view(kind: Any) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_without_view(kind.value_type)))
    unchanged: pa.DataType = kind
    return unchanged


def _pushed_down(schema: pa.Schema, request: _Request) -> Any:
    """The window as a filter that skips row groups, where the file's own type is an instant."""
    if not request.filters or request.event_time not in schema.names:
        return None
    kind: Any = schema.field(request.event_time).type
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        return None
    time = pyarrow.dataset.field(request.event_time)
    start, end = (pa.scalar(moment, kind) for moment in (request.window.start, request.window.end))
    return ((time >= start) & (time < end)) | time.is_null()


def _open_csv(place: _Place, path: str, request: _Request) -> tuple[list[str], Batches]:
    header: list[str] = _guarded(path, lambda: _csv_names(place, path))
    constants = _from_path(path, place, request)
    names = [*header, *(name for name in constants if name not in header)]
    check_columns(names, request.columns.names, where=path, may_lack=request.may_lack)
    wanted = [name for name in request.columns.names if name in header]

    def scan() -> Batches:
        return _csv_rows(place, path, wanted)

    missing = (_without_missing(batch, request.columns) for batch in _each(path, scan))
    sliced = (part for batch in missing for part in _sliced(batch, request.batch_rows))
    return names, _inside_window(_with_constants(sliced, constants), request)


def _csv_names(place: _Place, path: str) -> list[str]:
    with place.system.open_input_stream(path) as stream, _csv(stream, None) as reader:
        return list(reader.schema.names)


def _csv_rows(place: _Place, path: str, wanted: list[str]) -> Batches:
    with place.system.open_input_stream(path) as stream, _csv(stream, wanted) as reader:
        yield from reader


def _csv(stream: Any, wanted: list[str] | None) -> Any:
    """A reader of text; without `wanted`, one that is asked for its header."""
    return pyarrow.csv.open_csv(
        stream,
        read_options=pyarrow.csv.ReadOptions(block_size=_CSV_BLOCK_BYTES),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            # What is not UTF-8 costs its own row, in conform.
            check_utf8=False,
            column_types=dict.fromkeys(wanted or [], pa.string()),
            include_columns=wanted,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _without_missing(batch: pa.RecordBatch, columns: pa.Schema) -> pa.RecordBatch:
    """Spellings of a missing value become null where they cannot be a text."""
    arrays = [
        column
        if pa.types.is_string(columns.field(name).type)
        else pc.if_else(pc.is_in(column, _CSV_MISSING), None, column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


# --- Batches


def _sliced(batch: pa.RecordBatch, rows: int) -> Batches:
    return (batch.slice(first, rows) for first in range(0, batch.num_rows, rows))


def _with_constants(batches: Batches, constants: dict[str, str | None]) -> Batches:
    for batch in batches:
        for name, value in constants.items():
            if name not in batch.schema.names:
                batch = batch.append_column(name, pa.array([value] * batch.num_rows, pa.string()))  # noqa: PLW2901
        yield batch


def _inside_window(batches: Batches, request: _Request) -> Batches:
    """The rows of the window, and those whose event time is missing or cannot be read."""
    if not request.filters:
        return batches
    field = pa.field(str(request.event_time), _EVENT_TIME)
    return (batch.filter(_is_inside(batch, field, request)) for batch in batches)


def _is_inside(batch: pa.RecordBatch, field: pa.Field[Any], request: _Request) -> Any:
    times, _ = convert(batch.column(field.name), field, naive_zone=request.naive_zone)
    start, end = (pa.scalar(moment, _EVENT_TIME) for moment in (request.window.start, request.window.end))
    inside = pc.and_(pc.greater_equal(times, start), pc.less(times, end))
    return pc.fill_null(inside, True)


def _each(path: str, scan: Callable[[], Batches]) -> Batches:
    """The batches that have rows; what goes wrong with one is told with the file's name."""
    batches = _guarded(path, scan)
    while (batch := _guarded(path, lambda: next(batches, None))) is not None:
        if batch.num_rows:
            yield batch


def _guarded(path: str, call: Callable[[], Any]) -> Any:
    return guarded(call, (pa.ArrowException, OSError, ValueError), lambda error: _explain(path, error))


def _explain(path: str, error: Exception) -> SourceError:
    message = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if _TOO_LONG in message:
        return problem(
            f"could not read {path}: a row does not end within {_CSV_BLOCK_BYTES >> 20} MiB",
            next_step="close the quote that is left open, or give rows that are as long as Parquet",
        )
    passing = getattr(error, "errno", None) in _PASSING_ERRORS or bool(_PASSING_WORDS.search(message))
    return problem(
        f"could not read {path}: {message}",
        transient=passing,
        next_step="" if passing else "put a whole file in its place, or mend the job's source",
    )
