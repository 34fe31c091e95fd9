"""Which published row is which row of the snapshot, by key: for whoever scores the same rows again.

Publishing keeps the order of the snapshot, and of a key one row. So the published rows of a batch stand together, and
follow those of the batch before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.errors import LakeCorrupt
from tasks.core.rows import rejects, snapshot
from tasks.core.rows.digest import Hashes, hash_rows
from tasks.core.runs.manifest import SnapshotRecord
from tasks.core.storage import Folder

Rows = npt.NDArray[np.int64]
Bounds = tuple[int, int]


def published_bounds(
    lake: Folder, published: str, workspace: str, record: SnapshotRecord, keys: Sequence[str]
) -> list[Bounds]:
    """For each batch of a snapshot, the first of its rows in the published file, and the row after its last.

    LakeCorrupt unless every published row is one of the snapshot's.
    """
    bounds, end = [], 0
    with lake.parquet(published) as file:
        rows = file.metadata.num_rows
        for batch in range(record.batches):
            candidates, _ = unrepeated(lake, workspace, record, batch, keys)
            first = end
            following = read_rows(file, (first, min(first + len(candidates), rows)), keys)
            end += _length_of_ascent(_places(candidates, following))
            bounds.append((first, end))
    if end != rows:
        raise LakeCorrupt(
            f"{lake.address(published)} has {rows:,} rows, and the {end + 1:,}th is not where the snapshot of its run has it",
            state="both were left as they are",
            next_step="restore the file from a backup, or score the window again",
        )
    return bounds


def snapshot_rows(
    lake: Folder,
    workspace: str,
    record: SnapshotRecord,
    batch: int,
    keys: Sequence[str],
    published: pa.Table,
    columns: Sequence[str],
) -> tuple[pa.Table, Rows]:
    """The rows of a batch that were published, in the order of `published`: those columns, and their positions."""
    candidates, positions = unrepeated(lake, workspace, record, batch, keys)
    rows = positions[_places(candidates, published.select(list(keys)))]
    first, _ = snapshot.batch_bounds(record, batch)
    return snapshot.read_batch(lake, workspace, batch, columns).take(rows - first), rows


def read_rows(file: pq.ParquetFile, bounds: Bounds, columns: Sequence[str] | None = None) -> pa.Table:
    """Some rows of a file; only the row groups that hold any are read."""
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    starts = np.cumsum([0, *sizes])
    first, end = bounds
    groups = [g for g, start in enumerate(starts[:-1].tolist()) if start < end and start + sizes[g] > first]
    wanted = list(columns) if columns is not None else None
    table = file.read_row_groups(groups, columns=wanted).select(wanted or file.schema_arrow.names)
    return table.slice(first - int(starts[groups[0]]) if groups else 0, end - first)


def unrepeated(
    lake: Folder, workspace: str, record: SnapshotRecord, batch: int, keys: Sequence[str]
) -> tuple[pa.Table, Rows]:
    """The keys of a batch, without the rows that repeat an earlier one; and the rows' positions in the snapshot."""
    first, end = snapshot.batch_bounds(record, batch)
    repeated = rejects.read_between(lake, f"{workspace}/{rejects.DUPLICATES}", first, end, rejects.DUPLICATES_SCHEMA)[
        "row"
    ].to_numpy()
    positions = np.delete(np.arange(first, end), repeated - first)
    table = snapshot.read_batch(lake, workspace, batch, keys).select(list(keys))
    return (table.take(positions - first) if len(repeated) else table), positions


def _places(candidates: pa.Table, wanted: pa.Table) -> Rows:
    """Of each wanted key its place among the candidates, or -1."""
    if candidates.equals(wanted):
        # Nothing was taken out of the batch: so it is with most, and hashing costs more than the rest together.
        return np.arange(len(wanted))
    found: Any = pc.index_in(as_binary(hash_rows(wanted)), value_set=as_binary(hash_rows(candidates)))
    places: Rows = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return places


def as_binary(hashes: Hashes) -> Any:
    """Hashes of rows as an Arrow array, in which one can be looked up."""
    return pa.Array.from_buffers(pa.binary(16), len(hashes), [None, pa.py_buffer(hashes.tobytes())])


def _length_of_ascent(places: Rows) -> int:
    """How many places from the first on are known, and each behind the one before."""
    breaks = np.flatnonzero((places < 0) | (np.diff(places, prepend=-1) <= 0))
    return int(breaks[0]) if len(breaks) else len(places)
