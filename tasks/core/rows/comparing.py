"""Two tables held against each other, row by row, whose rows are told by a key: what only one has, and what differs.

Memory: of a part of the rows at a time, those columns that are compared, and 16 bytes a row for the hash of its key; in
all about `memory_bytes`. Where the two tables are larger, both are read as many times as that asks for, and each time the
rows of another part are kept, by the hashes of their keys.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.definitions.column_types import type_name
from tasks.core.errors import DefinitionError
from tasks.core.rows.conversions import CannotConvert, plain
from tasks.core.rows.differing import ColumnTally, Values, column_tally, shown_row
from tasks.core.rows.digest import Hashes, hash_rows
from tasks.core.rows.meeting import Mask, bring, meeting_type, missing
from tasks.core.storage import Folder

Batches = Iterator[pa.RecordBatch]
Ordinals = npt.NDArray[np.intp]

_MEMORY_BYTES = 512 * 1024 * 1024
_BATCH_ROWS = 100_000
_KEPT_OF_A_KEY = 2
_MOST_PARTS = 1 << 20  # A batch of the smallest bound has fewer rows.


@dataclass(frozen=True)
class Rows:
    """One of the two tables: its columns, and its batches of the named columns, as often as they are asked for."""

    schema: pa.Schema
    read: Callable[[Sequence[str]], contextlib.AbstractContextManager[Batches]]


def rows_in(folder: Folder, key: str) -> Rows:
    """The rows of a Parquet file."""

    @contextlib.contextmanager
    def read(names: Sequence[str]) -> Iterator[Batches]:
        with folder.parquet(key) as file:
            yield file.iter_batches(_BATCH_ROWS, columns=list(names))

    with folder.parquet(key) as file:
        return Rows(file.schema_arrow, read)


@dataclass(frozen=True)
class Pair:
    """A column of ours, and the one of theirs that means the same."""

    ours: str
    theirs: str


@dataclass(frozen=True)
class SideCounts:
    """Of one table: all its rows, those that only it has, those whose key is missing, and those whose key is not theirs alone.

    A key that either table has twice cannot be paired: its rows are left out on both sides. `unlike`: of each key column
    that has them, its type in which both sides meet, and in how many rows it holds what cannot be of that type.
    """

    rows: int = 0
    alone: int = 0
    without_key: int = 0
    repeated: int = 0
    examples: tuple[Values, ...] = ()
    unlike: tuple[tuple[str, str, int], ...] = ()

    @property
    def unpaired(self) -> int:
        """The rows that no row of the other side stands beside: nothing is said of their values."""
        return self.alone + self.without_key + self.repeated

    def plus(self, other: SideCounts, most: int) -> SideCounts:
        return SideCounts(
            self.rows + other.rows,
            self.alone + other.alone,
            self.without_key + other.without_key,
            self.repeated + other.repeated,
            (*self.examples, *other.examples)[:most],
            # They are counted with all rows, by whoever sees these first.
            self.unlike or other.unlike,
        )


@dataclass(frozen=True)
class Comparison:
    """What was found: rows = alone + without_key + repeated + equal + different, on either side."""

    ours: SideCounts
    theirs: SideCounts
    equal: int
    different: int
    columns: tuple[ColumnTally, ...]

    @property
    def pairs(self) -> int:
        """The rows that both have."""
        return self.equal + self.different

    @property
    def is_same(self) -> bool:
        """Whether every row has a counterpart that is equal to it."""
        return not (self.ours.unpaired or self.theirs.unpaired or self.different)


def compare_rows(
    ours: Rows,
    theirs: Rows,
    keys: Sequence[Pair],
    columns: Sequence[Pair],
    *,
    tolerance: float = 0.0,
    examples: int = 5,
    memory_bytes: int = _MEMORY_BYTES,
) -> Comparison:
    """Aligns the rows by key and compares the columns. DefinitionError where a pair of keys can never be equal.

    Columns of types that cannot meet are told as such, and nothing is said of their values.
    """
    kinds = [_key_type(ours.schema, theirs.schema, key) for key in keys]
    sides = (
        _Side(ours, [key.ours for key in keys], kinds, [one.ours for one in columns]),
        _Side(theirs, [key.theirs for key in keys], kinds, [one.theirs for one in columns]),
    )
    # A sixth: the rest is for what aligning needs.
    work = _Work(sides, list(columns), tolerance, examples, memory_bytes // 6)
    found = work.part(1, 0)
    while work.waiting:
        found = _plus(found, work.part(*work.waiting.pop()), examples)
    return found


def _plus(one: Comparison, other: Comparison, most: int) -> Comparison:
    return Comparison(
        one.ours.plus(other.ours, most),
        one.theirs.plus(other.theirs, most),
        one.equal + other.equal,
        one.different + other.different,
        tuple(here.plus(there, most) for here, there in zip(one.columns, other.columns, strict=True)),
    )


def _key_type(ours: pa.Schema, theirs: pa.Schema, key: Pair) -> pa.DataType:
    here, there = ours.field(key.ours).type, theirs.field(key.theirs).type
    kind = meeting_type(here, there, as_key=True)
    if kind is None:
        raise DefinitionError(
            f"the rows cannot be told by '{key.ours}': it is {type_name(here)} here, and '{key.theirs}' is "
            f"{type_name(there)} there, which are never equal",
            state="nothing was compared",
            next_step="name another column by --on, or convert the one there",
        )
    return kind


# --- One side


@dataclass(frozen=True)
class _Side:
    table: Rows
    keys: list[str]
    kinds: list[pa.DataType]
    columns: list[str]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys([*self.keys, *self.columns]))

    def batches(self) -> Iterator[tuple[pa.RecordBatch, Hashes, Mask, Ordinals]]:
        """Each batch of these columns in their plain types, with the hashes of its keys, and which of these are missing.

        And of each key column how many values cannot be brought to the type in which both sides meet.
        """
        with self.table.read(self.names) as batches:
            for batch in batches:
                unwrapped = _unwrapped(batch.select(self.names))
                hashes, unlike = self._hashes(unwrapped)
                yield unwrapped, hashes, self._missing(unwrapped), unlike

    def _hashes(self, batch: pa.RecordBatch) -> tuple[Hashes, Ordinals]:
        brought = [bring(batch.column(name), kind) for name, kind in zip(self.keys, self.kinds, strict=True)]
        hashes = hash_rows(pa.table([one.column for one in brought], names=[str(n) for n in range(len(brought))]))
        lost = np.logical_or.reduce([one.lost for one in brought])
        if lost.any():
            # A value that cannot be one of the other side's is still a key of its own.
            hashes[lost] = hash_rows(batch, self.keys)[lost] + np.uint64(1)
        return hashes, np.array([one.lost.sum() for one in brought])

    def _missing(self, batch: pa.RecordBatch) -> Mask:
        found: Mask = np.logical_or.reduce([missing(batch.column(name)) for name in self.keys])
        return found


def _unwrapped(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = []
    for column in batch.columns:
        with contextlib.suppress(CannotConvert):
            column = plain(column)  # noqa: PLW2901
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


@dataclass
class _Gathered:
    """The rows of one side that belong to a part; of a key that is there often two, and how many more there were."""

    hashes: list[Hashes] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)
    more: list[tuple[Hashes, Ordinals]] = field(default_factory=list)
    bytes: int = 0
    rows: int = 0
    without_key: int = 0
    unlike: Ordinals | None = None

    def add(self, hashes: Hashes, table: pa.Table) -> None:
        self.hashes.append(hashes)
        self.tables.append(table)
        self.bytes += table.nbytes + hashes.nbytes

    def count(self, rows: int, absent: Mask, unlike: Ordinals) -> None:
        self.rows += rows
        self.without_key += int(absent.sum())
        self.unlike = unlike if self.unlike is None else self.unlike + unlike

    def keep(self, modulus: int, remainder: int) -> None:
        """Lets go of what does not belong to this part."""
        held, self.hashes, self.tables, self.bytes = list(zip(self.hashes, self.tables, strict=True)), [], [], 0
        for hashes, table in held:
            here = _belongs(hashes, modulus, remainder)
            self.add(hashes[here], table.filter(pa.array(here)))
        parted = [(keys, counts, _belongs(keys, modulus, remainder)) for keys, counts in self.more]
        self.more = [(keys[here], counts[here]) for keys, counts, here in parted]

    def fold(self) -> None:
        """Keeps two rows of each key, which is enough to know that it is no row's alone, and counts the others."""
        if not self.tables:
            return
        hashes, table = self.whole()
        order = _order(hashes)
        begins, sizes = _runs(hashes[order])
        often = sizes > _KEPT_OF_A_KEY
        if often.any():
            within = np.arange(len(order)) - np.repeat(begins, sizes)
            kept = np.sort(order[within < _KEPT_OF_A_KEY])
            self.more.append((hashes[order[begins[often]]], sizes[often] - _KEPT_OF_A_KEY))
            self.hashes, self.tables, self.bytes = [], [], 0
            self.add(hashes[kept], table.take(kept))

    def whole(self) -> tuple[Hashes, pa.Table]:
        return np.concatenate(self.hashes), _joined(self.tables)


def _belongs(hashes: Hashes, modulus: int, remainder: int) -> Mask:
    found: Mask = hashes[:, 0] % np.uint64(modulus) == np.uint64(remainder)
    return found


def _joined(tables: list[pa.Table]) -> pa.Table:
    try:
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DefinitionError(
            f"the files that are compared give a column in types that do not go together: {error}",
            state="nothing was compared",
            next_step="write them with one type for each column, or compare one file",
        ) from error


# --- A part of the rows of both sides


@dataclass
class _Work:
    sides: tuple[_Side, _Side]
    columns: list[Pair]
    tolerance: float
    examples: int
    most_bytes: int
    waiting: list[tuple[int, int]] = field(default_factory=list)

    def part(self, modulus: int, remainder: int) -> Comparison:
        """The comparison of the rows whose key's hash leaves this remainder; halves that do not fit are left waiting."""
        is_first = modulus == 1
        gathered: list[_Gathered] = []
        for side in self.sides:
            one = _Gathered()
            gathered.append(one)
            for batch, hashes, absent, unlike in side.batches():
                if is_first:
                    one.count(batch.num_rows, absent, unlike)
                here = ~absent & _belongs(hashes, modulus, remainder)
                one.add(hashes[here], pa.Table.from_batches([batch]).filter(pa.array(here)))
                modulus = self._made_to_fit(gathered, modulus, remainder)
            if not one.tables:
                one.add(np.empty((0, 2), np.uint64), _empty(side))
        return self._compared(gathered)

    def _made_to_fit(self, gathered: list[_Gathered], modulus: int, remainder: int) -> int:
        if sum(one.bytes for one in gathered) <= self.most_bytes:
            return modulus
        for one in gathered:
            one.fold()
        while sum(one.bytes for one in gathered) > self.most_bytes and modulus < _MOST_PARTS:
            self.waiting.append((modulus * 2, remainder + modulus))
            modulus *= 2
            for one in gathered:
                one.keep(modulus, remainder)
        return modulus

    def _compared(self, gathered: list[_Gathered]) -> Comparison:
        (hashes, ours), (other_hashes, theirs) = (one.whole() for one in gathered)
        aligned = _align(hashes, other_hashes)
        here, there = ours.take(aligned.ours), theirs.take(aligned.theirs)
        keys = here.select(self.sides[0].keys)
        tallies, differs = [], np.zeros(len(here), dtype=bool)
        for pair in self.columns:
            names = (pair.ours, pair.theirs)
            tally, off = column_tally(names, here, there, keys, tolerance=self.tolerance, examples=self.examples)
            tallies.append(tally)
            differs |= off
        return Comparison(
            ours=self._counts(gathered[0], self.sides[0], ours, aligned.alone, aligned.repeated),
            theirs=self._counts(gathered[1], self.sides[1], theirs, aligned.alone_there, aligned.repeated_there),
            equal=int((~differs).sum()),
            different=int(differs.sum()),
            columns=tuple(tallies),
        )

    def _counts(self, one: _Gathered, side: _Side, table: pa.Table, alone: Ordinals, repeated: int) -> SideCounts:
        first = table.select(side.keys).take(alone[: self.examples])
        unlike = zip(side.keys, side.kinds, [] if one.unlike is None else one.unlike.tolist(), strict=False)
        return SideCounts(
            rows=one.rows,
            alone=len(alone),
            without_key=one.without_key,
            repeated=repeated + sum(int(counts.sum()) for _, counts in one.more),
            examples=tuple(shown_row(first, row) for row in range(len(first))),
            unlike=tuple((key, type_name(kind), count) for key, kind, count in unlike if count),
        )


def _empty(side: _Side) -> pa.Table:
    return pa.table({name: pa.array([], side.table.schema.field(name).type) for name in side.names})


# --- Alignment


@dataclass(frozen=True)
class _Aligned:
    """Rows by their places: pairs, in the order of ours; those of one side alone; and how many were left out."""

    ours: Ordinals
    theirs: Ordinals
    alone: Ordinals
    alone_there: Ordinals
    repeated: int
    repeated_there: int


def _align(ours: Hashes, theirs: Hashes) -> _Aligned:
    hashes = np.concatenate([ours, theirs])
    is_theirs = np.arange(len(hashes)) >= len(ours)
    order = _order(hashes)
    begins, sizes = _runs(hashes[order])
    of_theirs = np.add.reduceat(is_theirs[order].astype(np.int64), begins) if len(begins) else sizes
    of_ours = sizes - of_theirs
    paired = (of_ours == 1) & (of_theirs == 1)
    alone, alone_there = (of_ours == 1) & (of_theirs == 0), (of_ours == 0) & (of_theirs == 1)
    left_out = (of_ours > 1) | (of_theirs > 1)
    first = order[begins] if len(begins) else order
    by_place = np.argsort(first[paired])
    return _Aligned(
        ours=first[paired][by_place],
        theirs=order[begins[paired] + 1][by_place] - len(ours),
        alone=np.sort(first[alone]),
        alone_there=np.sort(first[alone_there]) - len(ours),
        repeated=int(of_ours[left_out].sum()),
        repeated_there=int(of_theirs[left_out].sum()),
    )


def _order(hashes: Hashes) -> Ordinals:
    """An order in which equal hashes stand together, each with those before it that stood before it."""
    order: Ordinals = np.argsort(hashes[:, 0], kind="stable")
    ordered = hashes[order]
    if ((ordered[1:, 0] == ordered[:-1, 0]) & (ordered[1:, 1] != ordered[:-1, 1])).any():
        # Two of them share half of their bits by chance.
        order = np.lexsort((hashes[:, 1], hashes[:, 0]))
    return order


def _runs(ordered: Hashes) -> tuple[Ordinals, Ordinals]:
    """Where each run of equal hashes begins, and how long it is."""
    if not len(ordered):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    differs = (ordered[1:] != ordered[:-1]).any(axis=1)
    begins = np.concatenate(([0], np.flatnonzero(differs) + 1)).astype(np.intp)
    return begins, np.diff(np.append(begins, len(ordered)))
