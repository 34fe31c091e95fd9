"""A table that somebody else has made, in Parquet or CSV: a file or a folder, where the person who names it stands."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from pydantic import ValidationError

from tasks.core.definitions.source import FilesSource
from tasks.core.definitions.window import Window
from tasks.core.errors import DefinitionError, SchemaBlocked, SourceError
from tasks.core.rows.comparing import Batches, Rows
from tasks.core.source.files import first_line, open_files
from tasks.core.storage import Folder

Format = Literal["parquet", "csv"]
_CSV = (".csv", ".csv.gz", ".csv.zst", ".csv.bz2")
_BATCH_ROWS = 100_000
_NOTHING = "nothing was compared"
_LONGEST = 300


@dataclass(frozen=True)
class TheirTable:
    """Where it lies, its format, and the names of its columns."""

    source: FilesSource
    window: Window
    names: tuple[str, ...]

    @property
    def path(self) -> str:
        return self.source.path

    def rows(self, types: Mapping[str, pa.DataType]) -> Rows:
        """The columns named, with the types in which they lie there; what is text there is read as these types have it."""
        declared = pa.schema(list(types.items()))
        with self._open(declared) as batches:
            first = next(batches, None)
        # Of a table without rows nothing is known, and nothing needs to be.
        found = {name: first.schema.field(name).type if first is not None else pa.null() for name in types}
        return Rows(pa.schema(list(found.items())), lambda names: self._open(declared, names))

    @contextlib.contextmanager
    def _open(self, declared: pa.Schema, names: Sequence[str] | None = None) -> Iterator[Batches]:
        wanted = declared if names is None else pa.schema([declared.field(name) for name in names])
        with _told(self.path), _opened(self.source, self.window, wanted) as (_, batches):
            yield _each(self.path, batches)


def find_table(path: str, window: Window) -> TheirTable:
    """The table at a path, which is relative to the current folder, or at a URI; DefinitionError where there is none."""
    place = path if "://" in path else str(_resolved(path))
    try:
        source = FilesSource(type="files", path=place, format=_format(place), retries=0)
    except ValidationError as error:
        raise DefinitionError(
            f"--against: {error.errors()[0]['msg'].removeprefix('Value error, ')}", state=_NOTHING
        ) from None
    if source.format == "csv":
        _refuse_other_separator(place)
    with _told(place), _opened(source, window, pa.schema([])) as (names, _):
        return TheirTable(source, window, tuple(names))


def _refuse_other_separator(path: str) -> None:
    """By the header, before rows are read: a decimal comma would part them in two."""
    with _told(path):
        header = first_line(path, Folder("/"))
    if "," not in header and (other := re.search(r"[;\t|]", header)):
        raise DefinitionError(
            f"{path} has one column, '{_printable(header)}': its values are parted by {other[0]!r}, and those of CSV are by commas",
            state=_NOTHING,
            next_step="write it with commas and with decimal points, or as Parquet",
        )


def _opened(
    source: FilesSource, window: Window, columns: pa.Schema
) -> contextlib.AbstractContextManager[tuple[list[str], Batches]]:
    return open_files(source, window, columns, event_time=None, project=Folder("/"), batch_rows=_BATCH_ROWS)


def _resolved(path: str) -> str:
    try:
        return str(Folder(path).root.resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise DefinitionError(f"--against '{path}' is no path: {error}", state=_NOTHING) from error


def _format(path: str) -> Format:
    """By the ending; of a folder by those of its files."""
    names = [path, *(Folder(path).files() if "://" not in path else [])]
    csv, parquet = (any(name.lower().endswith(ending) for name in names) for ending in (_CSV, ".parquet"))
    if csv and parquet:
        raise DefinitionError(
            f"{path} holds CSV and Parquet files", state=_NOTHING, next_step="name the one that is to be compared"
        )
    return "csv" if csv else "parquet"


def _each(path: str, batches: Batches) -> Batches:
    with _told(path):
        yield from batches


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """What is wrong with the files is no fault of the job's source, of which the door to files speaks."""
    try:
        yield
    except SourceError as error:
        raise DefinitionError(
            f"--against cannot be read: {_printable(error.failed)}",
            state=_NOTHING,
            next_step=f"give Parquet, or CSV whose name ends in {', '.join(_CSV)}: a file, or a folder of files with the same "
            f"columns. Looked for in {path}",
        ) from error
    except SchemaBlocked as error:
        raise DefinitionError(
            f"--against cannot be read: {error.failed}",
            state=_NOTHING,
            next_step="give files that all have the columns which are compared, each once",
        ) from error


def _printable(message: str) -> str:
    """What a reader says of a file that is not what its name says may hold the file's bytes."""
    text = "".join(sign if sign.isprintable() else "?" for sign in message)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
