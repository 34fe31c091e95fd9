"""The published rows of a window, each with what came true of it, by key.

Memory is bounded by the columns that are needed: of each published row the hash of its key, its prediction and a number
for the value of each slice; of each label its key and its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core import layout
from tasks.core.errors import LakeError, LamplighterError
from tasks.core.rows.digest import Hashes, hash_rows
from tasks.core.rows.meeting import missing
from tasks.core.rows.newest import index_in
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.pairing import published_bounds, read_rows, snapshot_rows
from tasks.core.runs.run import load_manifest
from tasks.core.runs.showing import Showing
from tasks.core.storage import Folder
from tasks.core.storage.tables import TableReader

MISSING = "(missing)"
_LONGEST_VALUE = 80
_BATCH_ROWS = 1 << 17
_AT_ONCE = 500_000  # Labels.

Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Wanted:
    """Which columns: the keys, the one that is held against the labels, the target, and those that tell slices apart."""

    keys: Sequence[str]
    output: str
    target: str
    slices: Sequence[str] = ()


@dataclass(frozen=True)
class Sliced:
    """A column's values as text, and for each published row the number of its own."""

    names: list[str]
    codes: Codes


@dataclass(frozen=True)
class Joined:
    """The published rows in their order.

    `places` is the place of each row's key among the labels, or -1. A row is `without` a label where that is null, or no
    number; `unmatched` labels have the key of no row.
    """

    predicted: pa.ChunkedArray[Any]
    labels: pa.ChunkedArray[Any]
    places: npt.NDArray[np.int64]
    is_labelled: Mask
    without: Mask
    unmatched: int
    slices: dict[str, Sliced] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return len(self.places)

    @property
    def truth(self) -> pa.ChunkedArray[Any]:
        """The labels of the rows that have one, in the order of the rows."""
        return self.labels.take(pa.array(self.places[self.is_labelled], pa.int64()))

    @property
    def predicted_where_labelled(self) -> pa.ChunkedArray[Any]:
        return self.predicted.filter(pa.array(self.is_labelled))


def join(lake: Folder, workspace: str, seen: Showing, wanted: Wanted, labels: pa.Table) -> Joined:
    """The rows of the run that a window shows, with their labels; LakeError where its file is gone or broken, or was
    published under other names.
    """
    slices = wanted.slices
    with lake.parquet(f"{seen.folder}/{layout.part(seen.run_id)}") as file:
        there = set(file.schema_arrow.names)
        _check_columns(seen, there, wanted)
        hashes, predicted, sliced = _read(file, wanted, [name for name in slices if name in there])
    others = [name for name in slices if name not in there]
    from_snapshot, notes = _of_snapshot(lake, workspace, seen, wanted.keys, others)
    places = places_of(hashes, hash_rows(labels, wanted.keys))
    met = places >= 0
    is_known = np.append(~missing(labels[wanted.target]), False)
    is_labelled = is_known[places]
    found = sliced | from_snapshot
    return Joined(
        predicted=predicted,
        labels=labels[wanted.target],
        places=places,
        is_labelled=is_labelled,
        without=met & ~is_labelled,
        unmatched=len(labels) - int(met.sum()),
        slices={name: found[name] for name in slices if name in found},
        notes=notes,
    )


def places_of(published: Hashes, labels: Hashes) -> npt.NDArray[np.int64]:
    """Of each published key its place among the labels, or -1. Of many labels a part at a time, by their hash: what finds
    a key takes some hundred bytes a label.
    """
    parts = np.uint64(len(labels) // _AT_ONCE + 1)
    if parts == 1:
        return index_in(published, labels)
    places = np.full(len(published), -1, np.int64)
    of, of_labels = published[:, 0] % parts, labels[:, 0] % parts
    for part in range(int(parts)):
        here, there = np.flatnonzero(of == part), np.flatnonzero(of_labels == part)
        found = index_in(published[here], labels[there])
        places[here[found >= 0]] = there[found[found >= 0]]
    return places


def _check_columns(seen: Showing, there: set[str], wanted: Wanted) -> None:
    lacking = [name for name in (*wanted.keys, wanted.output) if name not in there]
    if lacking:
        raise LakeError(
            f"the rows of run {seen.run_id} were published without {', '.join(map(repr, lacking))}, which the job names now",
            state="they stand as they were",
            next_step="lamplighter backfill, with --rescore, publishes them under the names of now",
        )


def _read(
    file: TableReader, wanted: Wanted, slices: Sequence[str]
) -> tuple[Hashes, pa.ChunkedArray[Any], dict[str, Sliced]]:
    """Of a published file the hashes of the keys, the predictions, and the slices."""
    hashes: list[Hashes] = []
    predicted: list[Any] = []
    coded = {name: _Coding() for name in slices}
    output = wanted.output
    for batch in file.iter_batches(_BATCH_ROWS, columns=list(dict.fromkeys([*wanted.keys, output, *slices]))):
        hashes.append(hash_rows(batch, wanted.keys))
        predicted.append(batch[output])
        for name, coding in coded.items():
            coding.add(batch[name])
    kind = file.schema_arrow.field(output).type
    every = np.concatenate(hashes) if hashes else np.empty((0, 2), np.uint64)
    return every, pa.chunked_array(predicted, kind), {name: one.sliced for name, one in coded.items()}


class _Coding:
    """Numbers the values of a column as they come: the distinct ones are held, and a number a row."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._codes: list[Codes] = []

    def add(self, values: Any) -> None:
        encoded = values.dictionary_encode(null_encoding="encode")
        texts = [_as_text(one) for one in encoded.dictionary.to_pylist()]
        numbers = np.array([self._known.setdefault(text, len(self._known)) for text in texts], np.int32)
        self._codes.append(numbers[encoded.indices.to_numpy(zero_copy_only=False)])

    @property
    def sliced(self) -> Sliced:
        return Sliced(list(self._known), np.concatenate(self._codes) if self._codes else np.empty(0, np.int32))


def _as_text(value: object) -> str:
    return MISSING if value is None else str(value)[:_LONGEST_VALUE]


def _of_snapshot(
    lake: Folder, workspace: str, seen: Showing, keys: Sequence[str], names: Sequence[str]
) -> tuple[dict[str, Sliced], tuple[str, ...]]:
    """Columns that are not published, from the run's snapshot; where that is gone, a sentence for each."""
    if not names:
        return {}, ()
    try:
        manifest = load_manifest(lake, workspace)
        coded = {name: _Coding() for name in names}
        for table in _snapshot_tables(lake, manifest, seen, keys, names):
            for name, coding in coded.items():
                coding.add(table[name].combine_chunks())
        return {name: one.sliced for name, one in coded.items()}, ()
    except (LamplighterError, KeyError) as error:
        why = error.failed if isinstance(error, LamplighterError) else "it has no such column"
        listed = ", ".join(names)
        return {}, (f"not told apart by {listed}: not published, and the run's snapshot cannot be read: {why}",)


def _snapshot_tables(
    lake: Folder, manifest: Manifest, seen: Showing, keys: Sequence[str], names: Sequence[str]
) -> Iterator[pa.Table]:
    """The snapshot's rows that were published, batch by batch, in the order of the published file."""
    if manifest.snapshot is None:
        raise LakeError("the run has no snapshot")
    published = f"{seen.folder}/{layout.part(seen.run_id)}"
    bounds = published_bounds(lake, published, manifest.workspace, manifest.snapshot, keys)
    with lake.parquet(published) as file:
        for batch, bound in enumerate(bounds):
            rows = read_rows(file, bound, keys)
            yield snapshot_rows(lake, manifest.workspace, manifest.snapshot, batch, keys, rows, names)[0]
