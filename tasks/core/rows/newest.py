"""Of many rows with keys, those that are the newest of their keys: which row of which file, by hashes of the keys alone.

A row is a record of 32 bytes: the hash of its key, its rank (the newer, the higher), its file and its place in the file.
While they are sorted it is some 100; no row's values are held.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.rows.digest import Hashes

Places: TypeAlias = npt.NDArray[np.int64]
Ranks: TypeAlias = npt.NDArray[np.int32]

_SETTLE_ROWS = 1 << 20
_NO_SOURCE = -(1 << 31)
_PLACE_BITS = 40  # A million million rows; ranks have the rest.
_RECORD = np.dtype([("low", "<u8"), ("high", "<u8"), ("rank", "<i4"), ("source", "<i4"), ("place", "<i8")])
Records: TypeAlias = npt.NDArray[Any]


class Newest:
    """Takes rows in any order; of rows with one key the one with the highest rank stays."""

    def __init__(self) -> None:
        self._settled: Records = np.empty(0, _RECORD)
        self._pending: list[Records] = []
        self._pending_rows = 0

    def add(self, hashes: Hashes, ranks: Ranks | int, source: int, places: Places) -> None:
        """Rows of a file by their key's hash, of shape (n, 2), their rank and their place in it."""
        records = np.empty(len(hashes), _RECORD)
        records["low"], records["high"] = hashes[:, 0], hashes[:, 1]
        records["rank"], records["source"], records["place"] = ranks, source, places
        self._pending.append(records)
        self._pending_rows += len(records)
        # As many at once as are settled: each record is sorted a few times, however many files there are.
        if self._pending_rows > max(_SETTLE_ROWS, len(self._settled)):
            self.settle()

    def settle(self) -> int:
        """Lets go of all rows but the newest of each key; how many those are."""
        if self._pending:
            records = np.concatenate([self._settled, *self._pending])
            self._pending, self._pending_rows = [], 0
            self._settled = records[_newest_of(records)]
        return len(self._settled)

    @property
    def at_least(self) -> int:
        """How many keys there are for certain, without any work."""
        return len(self._settled)

    def ranks_of(self, hashes: Hashes) -> Ranks:
        """The rank of each key, -1 of one that no row has."""
        self.settle()
        mine = np.stack([self._settled["low"], self._settled["high"]], axis=1)
        found = index_in(hashes, mine)
        ranks = np.append(self._settled["rank"], np.int32(-1))
        return ranks[found].astype(np.int32)

    def places_by_source(self) -> dict[int, Places]:
        """Of each file that has any, the places of the rows that stay, in their order."""
        self.settle()
        order = np.lexsort((self._settled["place"], self._settled["source"]))
        sources, places = self._settled["source"][order], self._settled["place"][order]
        if not len(places):
            return {}
        starts = np.flatnonzero(np.diff(sources, prepend=_NO_SOURCE))
        return {int(sources[start]): some for start, some in zip(starts, np.split(places, starts[1:]), strict=True)}


def _newest_of(records: Records) -> Places:
    """Of each key the place of one record, of the highest rank."""
    if not len(records):
        return np.empty(0, np.int64)
    order = np.argsort(records["low"])
    low, high = records["low"][order], records["high"][order]
    is_other = low[1:] != low[:-1]
    if (high[1:] != high[:-1])[~is_other].any():
        # Two keys with one half of their hashes: as good as never.
        order = np.lexsort((records["low"], records["high"]))
        low, high = records["low"][order], records["high"][order]
        is_other = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    starts = np.flatnonzero(np.concatenate([[True], is_other]))
    # The rank and, below it, the place in this order, in one number: its maximum names the record.
    ranked = (records["rank"][order].astype(np.int64) << _PLACE_BITS) | np.arange(len(order))
    newest: Places = order[np.maximum.reduceat(ranked, starts) & ((1 << _PLACE_BITS) - 1)]
    return newest


def index_in(wanted: Hashes, known: Hashes) -> Places:
    """Of each hash its place among the known ones, or -1."""
    found: Any = pc.index_in(_as_binary(wanted), value_set=_as_binary(known))
    places: Places = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return places


def _as_binary(hashes: Hashes) -> Any:
    data = pa.py_buffer(np.ascontiguousarray(hashes, np.uint64).tobytes())
    return pa.Array.from_buffers(pa.binary(16), len(hashes), [None, data])
