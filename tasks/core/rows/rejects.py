"""Rows that a stage took out, kept as small Parquet files beside the snapshot, and read back a batch at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.rows.reasons import REASON_TYPE, REJECTS_SCHEMA
from tasks.core.storage import Folder, Lake

PULLED = "rejects.parquet"
VALIDATED_WHOLE = "validated/whole.parquet"
DUPLICATES = "duplicates.parquet"
DUPLICATES_SCHEMA = pa.schema([pa.field("row", pa.int64(), nullable=False)])

Rows = npt.NDArray[np.int64]


def validated(batch: int) -> str:
    return f"validated/{batch:06d}.parquet"


def scored(batch: int) -> str:
    return f"batches/{batch:06d}.rejects.parquet"


def write_rejects(lake: Lake, key: str, records: pa.Table) -> None:
    with lake.parquet_writer(key, REJECTS_SCHEMA) as writer:
        writer.write_table(records)


@dataclass(frozen=True)
class TakenOut:
    """Of one batch: the rows that repeat another, and the records of all other rows that some stage took out."""

    first: int
    end: int
    repeated: Rows
    records: pa.Table

    @property
    def quarantined(self) -> Rows:
        """The distinct rows that have a reason, sorted; one that repeats another has none of its own."""
        return np.setdiff1d(_rows_in(self.records), self.repeated, assume_unique=True)

    @property
    def remaining(self) -> Rows:
        """The rows that nobody took out, sorted."""
        keep = np.ones(self.end - self.first, dtype=bool)
        keep[self.repeated - self.first] = False
        keep[_rows_in(self.records) - self.first] = False
        return np.flatnonzero(keep).astype(np.int64) + self.first

    def reasons_by_row(self) -> pa.ListArray[Any]:
        """For each row of `quarantined`, in that order, the list of all its reasons."""
        table = self._records_of_quarantined()
        table = table.take(pc.sort_indices(table["row"]))
        starts = np.unique(table["row"].to_numpy(), return_index=True)[1]
        reasons = pa.concat_arrays([*table["reason"].chunks, pa.array([], REASON_TYPE)])
        return pa.ListArray.from_arrays(pa.array([*starts, len(table)], pa.int32()), reasons)

    def count_by_reason(self) -> Counter[str]:
        """Rows by reason, such as `expect_column_values_to_be_between(wind_speed)`; a row may have several."""
        table = self._records_of_quarantined()
        counted: Counter[str] = Counter()
        records = zip(table["row"].to_pylist(), table["reason"].to_pylist(), strict=True)
        counted.update(reason for _, reason in {(row, label(reason or {})) for row, reason in records})
        return counted

    def _records_of_quarantined(self) -> pa.Table:
        repeats = pc.is_in(self.records["row"], pa.array(self.repeated, pa.int64()))
        return self.records.filter(pc.invert(repeats))


def read_taken_out_by_pull(lake: Folder, workspace: str, bounds: tuple[int, int]) -> TakenOut:
    """What the pull has taken out of the rows within these bounds: what validation need not look at."""
    return _read_taken_out(lake, workspace, bounds, (PULLED,))


def read_taken_out_before_scoring(lake: Folder, workspace: str, batch: int, bounds: tuple[int, int]) -> TakenOut:
    """What scoring need not look at. Its own rejects may be there too, of an attempt that was killed: they say nothing."""
    return _read_taken_out(lake, workspace, bounds, (PULLED, VALIDATED_WHOLE, validated(batch)))


def read_taken_out(lake: Folder, workspace: str, batch: int, bounds: tuple[int, int]) -> TakenOut:
    """What all stages so far have taken out of one batch."""
    return _read_taken_out(lake, workspace, bounds, (PULLED, VALIDATED_WHOLE, validated(batch), scored(batch)))


def _read_taken_out(lake: Folder, workspace: str, bounds: tuple[int, int], names: Sequence[str]) -> TakenOut:
    first, end = bounds
    records = [read_between(lake, f"{workspace}/{name}", first, end, REJECTS_SCHEMA) for name in names]
    repeated = read_between(lake, f"{workspace}/{DUPLICATES}", first, end, DUPLICATES_SCHEMA)
    return TakenOut(first, end, _rows_in(repeated), pa.concat_tables(records))


def read_between(lake: Folder, key: str, first: int, end: int, schema: pa.Schema) -> pa.Table:
    """The records of rows in `[first, end)`, by the file's own statistics; a file that is not there holds none."""
    if not lake.exists(key):
        return schema.empty_table()
    with lake.parquet(key) as file:
        groups = [group for group in range(file.num_row_groups) if _may_hold(file, group, first, end)]
        table = file.read_row_groups(groups).cast(schema) if groups else schema.empty_table()
    row = table["row"].to_numpy()
    return table.filter((row >= first) & (row < end))


def total_count_by_reason(batches: Sequence[TakenOut]) -> dict[str, int]:
    """Rows by reason over several batches, most frequent first."""
    return dict(sum((batch.count_by_reason() for batch in batches), Counter()).most_common())


def _rows_in(table: pa.Table) -> Rows:
    return np.unique(table["row"].to_numpy()).astype(np.int64)


def label(reason: dict[str, Any]) -> str:
    """What a reason is counted under."""
    return f"{reason['rule']}({reason['column']})" if reason["column"] else str(reason["rule"])


def _may_hold(file: pq.ParquetFile, group: int, first: int, end: int) -> bool:
    statistics = file.metadata.row_group(group).column(0).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    lowest: Any = statistics.min
    highest: Any = statistics.max
    return bool(lowest < end and highest >= first)
