"""Which rows of a snapshot have a key that stands there more than once, found within a bound of memory.

Records of 40 bytes (key hash, row hash, ordinal) are held until a quarter of the bound is full, then spilled into
scratch files by the first bits of the key's hash, so that a key's records meet in one file, which is resolved by
itself. One key in millions of rows would not be parted by any bits: so, before each spill, a key keeps two records at
most, its first and the first that differs from it. The others are written aside as followers of the first, whose fate
they share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from tasks.core.rows.digest import Hashes
from tasks.core.storage import Lake

Ordinals = npt.NDArray[np.int64]
Records = npt.NDArray[np.uint64]  # Of shape (n, 5), in the order of ordinals within a key.

_KEY, _ROW, _ORDINAL = slice(0, 2), slice(2, 4), 4
_RECORD_BYTES, _FOLLOWER_BYTES = 40, 16
_PART_BITS = 6
_DEEPEST = 64 // _PART_BITS - 1


@dataclass(frozen=True)
class Duplicates:
    """Ordinals, each sorted, of rows whose key is not theirs alone."""

    repeated: Ordinals  # Equal to an earlier row, as are all rows of that key: that one is kept, these are not.
    conflicting: Ordinals  # Every row of a key that stands on at least two different rows.


class DuplicateFinder:
    """Takes the hashes of a snapshot batch by batch, in its order, and finds the rows with a key in common.

    Uses at most about `memory_bytes`, and 16 bytes more for each row that it reports. `scratch` is a folder of the
    lake that nothing else uses: emptied at the start, removed at the end.
    """

    def __init__(self, lake: Lake, scratch: str, *, memory_bytes: int = 256 * 1024 * 1024) -> None:
        self._lake = lake
        self._scratch = scratch
        # A quarter: the rest is for what sorting needs, and pages not touched cost nothing.
        self._capacity = max(memory_bytes // 4 // _RECORD_BYTES, 16)
        self._held: Records = np.empty((self._capacity, 5), np.uint64)
        self._held_rows = 0
        self._seen_rows = 0
        self._has_spilled = False
        self.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def discard(self) -> None:
        """Removes the scratch files: what a killed run left, or this one."""
        self._lake.remove(self._scratch)

    def add(self, key_hashes: Hashes, row_hashes: Hashes, null_keys: npt.NDArray[np.bool_] | None = None) -> None:
        """The next rows, with hashes of shape (n, 2). Those that `null_keys` marks are counted, and never reported."""
        rows = len(key_hashes)
        if len(row_hashes) != rows or (null_keys is not None and len(null_keys) != rows):
            raise ValueError("key_hashes, row_hashes and null_keys are not of one length")
        taken = np.arange(rows) if null_keys is None else np.flatnonzero(~null_keys)
        while len(taken):
            if self._held_rows == self._capacity:
                self._spill()
            now, taken = np.split(taken, [self._capacity - self._held_rows])
            room = self._held[self._held_rows : self._held_rows + len(now)]
            room[:, _KEY], room[:, _ROW] = key_hashes[now], row_hashes[now]
            room[:, _ORDINAL] = self._seen_rows + now
            self._held_rows += len(now)
        self._seen_rows += rows

    def finish(self) -> Duplicates:
        """What was found among all rows added; the scratch files are removed."""
        try:
            if not self._has_spilled:
                return _duplicates([_resolved(self._held[: self._held_rows])])
            self._spill()
            self._held = np.empty((0, 5), np.uint64)
            return self._finish_spilled()
        finally:
            self.discard()

    def _spill(self) -> None:
        self._has_spilled = True
        kept, followers = _reduced(self._held[: self._held_rows])
        if len(followers):
            self._lake.append(f"{self._scratch}/followers", followers.tobytes())
        self._part(kept, f"{self._scratch}/parts", depth=0)
        self._held_rows = 0

    def _part(self, records: Records, folder: str, depth: int) -> None:
        """Appends each record to the file that the next bits of its key's hash name."""
        shift = np.uint64(64 - _PART_BITS * (depth + 1))
        parts = ((records[:, 0] >> shift) & np.uint64((1 << _PART_BITS) - 1)).astype(np.uint8)
        order = np.argsort(parts, kind="stable")
        ends = np.cumsum(np.bincount(parts, minlength=1 << _PART_BITS))
        for part, picked in enumerate(np.split(order, ends[:-1])):
            if len(picked):
                self._lake.append(f"{folder}/{part:02d}", records[picked].tobytes())

    def _finish_spilled(self) -> Duplicates:
        found = list(self._resolve_parts(f"{self._scratch}/parts", depth=1))
        in_conflict = np.sort(np.concatenate([conflicting for _, conflicting in found]))
        return _duplicates([*found, *self._resolve_followers(in_conflict)])

    def _resolve_parts(self, folder: str, depth: int) -> Iterator[tuple[Ordinals, Ordinals]]:
        for name in self._lake.names(folder):
            key = f"{folder}/{name}"
            if depth > _DEEPEST or self._lake.size_bytes(key) <= self._capacity * _RECORD_BYTES:
                yield _resolved(np.frombuffer(self._lake.read_bytes(key), np.uint64).reshape(-1, 5))
                continue
            for records in self._blocks(key, _RECORD_BYTES):
                self._part(records, f"{key}-parts", depth)
            self._lake.remove(key)
            yield from self._resolve_parts(f"{key}-parts", depth + 1)

    def _resolve_followers(self, in_conflict: Ordinals) -> Iterator[tuple[Ordinals, Ordinals]]:
        key = f"{self._scratch}/followers"
        if not self._lake.exists(key):
            return
        for pairs in self._blocks(key, _FOLLOWER_BYTES):
            leaders, ordinals = pairs.astype(np.int64).T
            conflicting = _is_among(leaders, in_conflict)
            yield ordinals[~conflicting], ordinals[conflicting]

    def _blocks(self, key: str, record_bytes: int) -> Iterator[npt.NDArray[np.uint64]]:
        start, size = 0, self._capacity * record_bytes
        while block := self._lake.read_range(key, start, size):
            yield np.frombuffer(block, np.uint64).reshape(-1, record_bytes // 8)
            start += size


def _duplicates(found: list[tuple[Ordinals, Ordinals]]) -> Duplicates:
    repeated, conflicting = (np.concatenate(ordinals) for ordinals in zip(*found, strict=True))
    repeated.sort()
    conflicting.sort()
    return Duplicates(repeated, conflicting)


def _resolved(records: Records) -> tuple[Ordinals, Ordinals]:
    """The repeated and the conflicting ordinals among records that hold all there is of their keys."""
    order, first = _grouped(records)
    differs = _differs(records, order, first)
    ordinals = records[order, _ORDINAL].astype(np.int64)
    in_conflict = np.zeros(len(order), bool)
    in_conflict[first[differs]] = True
    conflicting = in_conflict[first]
    is_later = first != np.arange(len(first))
    return ordinals[is_later & ~conflicting], ordinals[conflicting]


def _reduced(records: Records) -> tuple[Records, npt.NDArray[np.uint64]]:
    """At most two records of a key, its first and the first that differs; and the others, as (first, ordinal)."""
    order, first = _grouped(records)
    different = np.flatnonzero(_differs(records, order, first))
    _, positions = np.unique(first[different], return_index=True)
    is_kept = first == np.arange(len(first))
    is_kept[different[positions]] = True
    if is_kept.all():
        return records, np.empty((0, 2), np.uint64)
    ordinals = records[order, _ORDINAL]
    followers = np.column_stack([ordinals[first], ordinals])[~is_kept]
    return np.delete(records, order[~is_kept], axis=0), followers


def _grouped(records: Records) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The indices of records whose key may recur, sorted by key then ordinal; and for each where its key begins."""
    half = records[:, 0]
    ordered = np.sort(half)
    recurring = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    picked = np.flatnonzero(_is_among(half, recurring))
    keys = records[picked, _KEY]
    order = np.lexsort(keys.T)  # Stable, so ordinals stay in order.
    keys = keys[order]
    begins = np.ones(len(keys), bool)
    begins[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    first = np.maximum.accumulate(np.where(begins, np.arange(len(keys)), 0))
    return picked[order], first


def _differs(records: Records, order: npt.NDArray[np.intp], first: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Whether a record's row is not that of the first record with its key."""
    rows = records[order, _ROW]
    differs: npt.NDArray[np.bool_] = (rows != rows[first]).any(axis=1)
    return differs


def _is_among(values: npt.NDArray[np.generic], known: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Whether each value is among the known ones, which are sorted."""
    if not len(known):
        return np.zeros(len(values), bool)
    nearest = np.minimum(np.searchsorted(known, values), len(known) - 1)
    found: npt.NDArray[np.bool_] = known[nearest] == values
    return found
