"""Which rows of one snapshot are not those of another, by key and exactly, within a bound of memory.

A row is a record of 40 bytes: the hash of its key, that of its values, and +1 or -1 for the side it is on. Equal rows of
both sides cancel. What is left of a key on the two sides pairs as changed rows; what has no partner was added or removed.
Where the records do not fit, they are spilled into as many scratch files as their number asks for, first by key and
values, so that equal rows meet, then what is left by key alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.rows.digest import hash_rows
from tasks.core.storage import Folder, Lake

Records = npt.NDArray[np.uint64]  # Of shape (n, 5): key, key, row, row, count; a count below 0 in two's complement.

_RECORD_BYTES, _LEFT_BYTES = 40, 32


@dataclass(frozen=True)
class Changes:
    """Rows that only the new snapshot has, that only the old one has, and that both have with other values."""

    added: int
    removed: int
    changed: int


@dataclass(frozen=True)
class Side:
    """A snapshot's file, and how many rows it holds."""

    folder: Folder
    key: str
    rows: int


def count_changes(
    old: Side,
    new: Side,
    keys: Sequence[str],
    columns: Sequence[str],
    *,
    lake: Lake,
    scratch: str,
    memory_bytes: int = 256 * 1024 * 1024,
) -> Changes:
    """Compares the given columns, which both must have; NaN equals NaN, and a missing key is a key as any other.

    Uses at most about `memory_bytes` beyond a batch of rows. `scratch` is a folder of the lake that nothing else uses:
    emptied at the start, removed at the end.
    """
    # A quarter: the rest is for what sorting needs.
    parts = max(1, -(-(old.rows + new.rows) * _RECORD_BYTES * 4 // memory_bytes))
    with _Parts(lake, f"{scratch}/rows", parts) as rows, _Parts(lake, f"{scratch}/keys", parts) as left:
        for side, sign in ((old, -1), (new, 1)):
            for records in _records(side, keys, columns, sign):
                rows.add(records, records[:, 0] ^ records[:, 2])
        for records in rows.all(_RECORD_BYTES // 8):
            of_keys = _left_of_keys(records)
            left.add(of_keys, of_keys[:, 0])
        return _sum(_paired(records) for records in left.all(_LEFT_BYTES // 8))


class _Parts:
    """Records by the remainder of a hash: one part is held in memory, several are scratch files, read one at a time."""

    def __init__(self, lake: Lake, folder: str, count: int) -> None:
        self._lake, self._folder, self._count = lake, folder, count
        self._held: list[Records] = []

    def __enter__(self) -> Self:
        self._lake.remove(self._folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._lake.remove(self._folder)

    def add(self, records: Records, hashes: npt.NDArray[np.uint64]) -> None:
        if self._count == 1:
            self._held.append(records)
            return
        parts = hashes % np.uint64(self._count)
        order = np.argsort(parts, kind="stable")
        ends = np.searchsorted(parts[order], np.arange(self._count), side="right")
        for part, picked in enumerate(np.split(order, ends[:-1])):
            if len(picked):
                self._lake.append(f"{self._folder}/{part:06d}", records[picked].tobytes())

    def all(self, width: int) -> Iterator[Records]:
        if self._count == 1:
            held, self._held = self._held, []
            yield np.concatenate(held) if held else np.empty((0, width), np.uint64)
        for name in self._lake.names(self._folder):
            key = f"{self._folder}/{name}"
            yield np.frombuffer(self._lake.read_bytes(key), np.uint64).reshape(-1, width)
            self._lake.remove(key)


def _records(side: Side, keys: Sequence[str], columns: Sequence[str], sign: int) -> Iterator[Records]:
    values = [name for name in columns if name not in keys]
    with side.folder.parquet(side.key) as file:
        for group in range(file.num_row_groups):
            batch = file.read_row_group(group, columns=[*keys, *values])
            records: Records = np.empty((batch.num_rows, 5), np.uint64)
            records[:, 0:2], records[:, 2:4] = hash_rows(batch, keys), hash_rows(batch, values)
            records[:, 4] = np.int64(sign).astype(np.uint64)
            yield _summed(records)


def _summed(records: Records) -> Records:
    """One record for equal rows, with the sum of their counts; none where they cancel."""
    ordered = _ordered(records, 4)
    begins = _begins(ordered[:, :4])
    sums = np.add.reduceat(ordered[:, 4], begins) if len(begins) else ordered[:, 4]
    distinct: Records = ordered[begins]
    distinct[:, 4] = sums
    remaining: Records = distinct[sums != 0]
    return remaining


def _left_of_keys(records: Records) -> Records:
    """Of each key how many rows are left on the old side and on the new, after equal ones have cancelled."""
    left = _ordered(_summed(records), 2)
    counts = left[:, 4].astype(np.int64)  # Of 64 bits to 64 bits: what stood for -1 is -1 again.
    begins = _begins(left[:, :2])
    of_keys: Records = np.empty((len(begins), 4), np.uint64)
    of_keys[:, :2] = left[begins, :2]
    for place, on_side in ((2, np.maximum(-counts, 0)), (3, np.maximum(counts, 0))):
        of_keys[:, place] = np.add.reduceat(on_side, begins) if len(begins) else 0
    return of_keys


def _paired(of_keys: Records) -> Changes:
    ordered = _ordered(of_keys, 2)
    begins = _begins(ordered[:, :2])
    if not len(begins):
        return Changes(0, 0, 0)
    old, new = (np.add.reduceat(ordered[:, place], begins) for place in (2, 3))
    changed = np.minimum(old, new)
    return Changes(int((new - changed).sum()), int((old - changed).sum()), int(changed.sum()))


def _ordered(records: Records, width: int) -> Records:
    """The records in such an order that those with the same first columns stand together."""
    mixed = np.bitwise_xor.reduce(records[:, :width:2], axis=1)
    order = np.argsort(mixed)
    mixed = mixed[order]
    ordered: Records = records[order]
    differ = (ordered[1:, :width] != ordered[:-1, :width]).any(axis=1)
    if (differ & (mixed[1:] == mixed[:-1])).any():
        # Two of them share 64 bits by chance, and may stand between each other.
        ordered = records[np.lexsort(records[:, :width].T)]
    return ordered


def _begins(ordered: Records) -> npt.NDArray[np.intp]:
    """Where a run of equal rows begins, among rows of which equal ones stand together."""
    if not len(ordered):
        return np.empty(0, np.intp)
    differs = (ordered[1:] != ordered[:-1]).any(axis=1)
    return np.concatenate(([0], np.flatnonzero(differs) + 1))


def _sum(found: Iterator[Changes]) -> Changes:
    added = removed = changed = 0
    for one in found:
        added, removed, changed = added + one.added, removed + one.removed, changed + one.changed
    return Changes(added, removed, changed)


def common_columns(old: pa.Schema, new: pa.Schema) -> tuple[list[str], list[str]]:
    """The columns that both have in one type, in the new order; and the others of either, sorted."""
    common = [field.name for field in new if field.name in old.names and old.field(field.name).type == field.type]
    return common, sorted({*old.names, *new.names} - set(common))
