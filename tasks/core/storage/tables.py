"""Parquet files of the lake, read and written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.storage.system import lake_errors, make_file


class TableReader(pq.ParquetFile):
    """An open Parquet file. A page that turns out to be broken later is the lake's error too."""

    def __init__(self, path: Path | str, file: Any = None) -> None:
        """Of the file at a path, or of an open one that is called so."""
        self._path = path
        super().__init__(path if file is None else file, memory_map=False, page_checksum_verification=True)

    def read(self, *args: Any, **kwargs: Any) -> pa.Table:
        with lake_errors("read", self._path):
            return super().read(*args, **kwargs)

    def read_row_group(self, *args: Any, **kwargs: Any) -> pa.Table:
        with lake_errors("read", self._path):
            return super().read_row_group(*args, **kwargs)

    def read_row_groups(self, *args: Any, **kwargs: Any) -> pa.Table:
        with lake_errors("read", self._path):
            return super().read_row_groups(*args, **kwargs)

    def iter_batches(self, *args: Any, **kwargs: Any) -> Iterator[pa.RecordBatch]:
        batches = super().iter_batches(*args, **kwargs)
        while True:
            # What whoever takes the batches raises is not the lake's.
            with lake_errors("read", self._path):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


class TableWriter:
    """A Parquet file on its way: its own errors are the lake's, those of whoever fills it pass unchanged."""

    def __init__(
        self, hidden: Any, target: Path | str, schema: pa.Schema, repeating: Sequence[str] | None = None
    ) -> None:
        """`hidden` is the path of a file to make, or an open file. `repeating`: the columns that get a dictionary, else all."""
        self._target = target
        # The stubs know of no list.
        dictionary: Any = True if repeating is None else list(repeating)
        with lake_errors("write", target):
            if isinstance(hidden, Path):
                make_file(hidden)
            # Checksums, because a bit that flips in a page may still decode, to another number.
            self._writer = pq.ParquetWriter(
                hidden,
                schema,
                compression="zstd",
                version="2.6",
                store_schema=True,
                write_page_checksum=True,
                use_dictionary=dictionary,
            )

    def write_table(self, table: pa.Table, row_group_size: int | None = None) -> None:
        with lake_errors("write", self._target):
            self._writer.write_table(table, row_group_size)

    def close(self, metadata: Mapping[str, str]) -> None:
        """Ends the file, with this key-value metadata."""
        with lake_errors("write", self._target):
            if metadata:
                self._writer.add_key_value_metadata(dict(metadata))
            self._writer.close()

    def abandon(self) -> None:
        """Lets go of the file; one that was closed stays as it is."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()
