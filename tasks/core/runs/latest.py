"""latest/<job>/: of each key one row, of the newest window in predictions/ that has it; what is in shadow is not in it.

    latest/<job>/latest-<name>.parquet    one file, of a name that no other has had
    latest/<job>/_windows.json            the run of each window that it was made of; readers pass over such names

The folder is replaced in one step. `refresh` brings it to what predictions/ shows: of windows that are new, replaced or
gone the rows leave it, come into it, and come back from older windows. Memory is bounded by some 100 bytes a key of the
table and of the windows that have changed, and a row group.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.errors import DefinitionError, LakeError
from tasks.core.records import Record, read_beside, said_by_file
from tasks.core.rows.digest import Hashes, digest_json, hash_rows
from tasks.core.rows.newest import Newest, Ranks, index_in
from tasks.core.rows.picking import can_become, conform_to, in_groups, taken
from tasks.core.runs.live import live_runs_seen
from tasks.core.runs.showing import live_runs
from tasks.core.storage import Folder, Lake

# Of interval windows, whose keys may never come again, where the job does not say.
MOST_ROWS = 1_000_000
_WINDOWS = "_windows.json"
_OF_LATEST = -1  # As a source; a window's is its rank.
_ATTEMPTS = 3
_ROW_GROUP = 1 << 17

State = Literal["current", "replaced", "switched off", "outgrown", "none"]


class Kept(Record):
    """What the table was made of."""

    latest_version: Literal[1] = 1
    file: str
    rows: int
    keys: tuple[str, ...]
    contract: Annotated[tuple[int, str], Field(description="The newest contract, and the window that has its columns.")]
    windows: Annotated[dict[str, str], Field(description="The run of each window.")]


class Refreshed(Record):
    """What became of the table. none: no window is live."""

    state: State
    rows: int = 0
    removed: bool = False


class _Unreadable(Exception):
    """The table as it is cannot be built upon: it is made anew from all windows."""


class _Outgrown(Exception):
    """The table would have more rows than are kept."""


def refresh(lake: Lake, job: Job, *, wait_seconds: float = 0) -> Refreshed:
    """Brings the table to what predictions/ shows; nothing is read where it is so already.

    WindowBusy where another run is at it for longer than `wait_seconds`.
    """
    with lake.lock(layout.latest_lock(job.job), holder=f"the latest rows of {job.job}", wait_seconds=wait_seconds):
        _end_what_was_killed(lake, job.job)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return _refreshed(lake, job)
            except LakeError:
                # A window may have been replaced while it was read.
                if attempt == _ATTEMPTS:
                    raise
            finally:
                _clear(lake, job.job)
    raise AssertionError("unreachable")


def is_behind(lake: Lake, job: str) -> bool:
    """Whether windows show other runs than the table was made of."""
    kept = _kept(lake, job)
    return (kept.windows if kept else {}) != live_runs_seen(lake, job)


def take_stale_away(lake: Lake, job: str) -> bool:
    """Takes a table away that may have rows of runs which no window shows any more; whether it did.

    It needs no definition of the job, and no window is read. WindowBusy where another run is at the table.
    """
    with lake.lock(layout.latest_lock(job), holder=f"the removal of the latest rows of {job}"):
        _end_what_was_killed(lake, job)
        try:
            kept = _kept(lake, job)
            is_sound = kept is not None and kept.windows.items() <= live_runs(lake, job).items()
            return not is_sound and _remove(lake, job)
        finally:
            _clear(lake, job)


def note(lake: Folder, job: Job) -> str:
    """Why there is no such table, for whoever looks for it; '' where nothing is to be said."""
    if job.output.latest is False:
        return f"latest/{job.job} is not kept: output.latest is false."
    if job.output.latest is None and lake.exists(layout.latest_outgrown(job.job)):
        return (
            f"latest/{job.job} is not kept: it would have more than {MOST_ROWS:,} rows, of keys that may never come again. "
            "output.latest: true keeps it all the same."
        )
    return ""


def _refreshed(lake: Lake, job: Job) -> Refreshed:
    windows = live_runs_seen(lake, job.job, keep=True)
    if why := _not_wanted(lake, job, windows):
        return Refreshed(state=why, removed=_remove(lake, job.job))
    kept = _read_kept(lake, job)
    if kept is not None and kept.windows == windows and not _is_too_long(job, kept.rows):
        return Refreshed(state="current", rows=kept.rows)
    try:
        return _made(lake, job, kept, windows)
    except _Outgrown:
        lake.write_bytes(layout.latest_outgrown(job.job), json.dumps({"more_than": MOST_ROWS}).encode() + b"\n")
        return Refreshed(state="outgrown", removed=_remove(lake, job.job))


def _not_wanted(lake: Lake, job: Job, windows: dict[str, str]) -> Literal["switched off", "none", "outgrown"] | None:
    if job.output.latest is False:
        return "switched off"
    if not windows:
        return "none"
    # It is not made once more at each run, to find that it has too many rows.
    return "outgrown" if job.output.latest is None and lake.exists(layout.latest_outgrown(job.job)) else None


def _made(lake: Lake, job: Job, kept: Kept | None, windows: dict[str, str]) -> Refreshed:
    try:
        return _merged(lake, job, kept, windows)
    except _Unreadable:
        return _merged(lake, job, None, windows)


def _merged(lake: Lake, job: Job, kept: Kept | None, windows: dict[str, str]) -> Refreshed:
    merge = _Merge(lake, job, kept, windows)
    newest = merge.gather()
    if _is_too_long(job, newest.settle()):
        raise _Outgrown
    made_of = [kept.file if kept else "", windows, job.keys, merge.contract]
    name = f"latest-{digest_json(made_of)[:32]}.parquet"
    staged, rows = _staged(job.job), newest.settle()
    said = {"lamplighter": json.dumps({"job": job.job, "table": "latest"})}
    with lake.parquet_writer(f"{staged}/{name}", merge.schema, metadata=said) as writer:
        for table in in_groups(merge.rows(newest), merge.schema, _ROW_GROUP):
            writer.write_table(table, _ROW_GROUP)
    made = Kept(file=name, rows=rows, keys=job.keys, contract=merge.contract, windows=windows)
    lake.write_bytes(f"{staged}/{_WINDOWS}", made.model_dump_json(indent=2).encode() + b"\n")
    lake.swap(staged, layout.latest(job.job))
    lake.remove(layout.latest_outgrown(job.job))
    return Refreshed(state="replaced", rows=rows)


@dataclass(frozen=True)
class _Merge:
    """One making of the table, from what it was made of last and from what the windows show now."""

    lake: Lake
    job: Job
    kept: Kept | None
    windows: dict[str, str]

    @cached_property
    def labels(self) -> list[str]:
        """All windows, of before and of now; a window's place is its rank."""
        return sorted({*self.windows, *self.before})

    @cached_property
    def rank(self) -> dict[str, int]:
        return {label: rank for rank, label in enumerate(self.labels)}

    @cached_property
    def before(self) -> dict[str, str]:
        return self.kept.windows if self.kept else {}

    @cached_property
    def changed(self) -> list[str]:
        """The windows that show another run than the table was made of, the newest first."""
        return sorted((one for one, run in self.windows.items() if self.before.get(one) != run), reverse=True)

    @cached_property
    def contract(self) -> tuple[int, str]:
        """The newest contract of any window, and the newest window that has it."""
        candidates = [(_contract_of(self.lake, self._key(one)), one) for one in self._with_contracts]
        return max([*candidates, *([self.kept.contract] if self.kept and self._keeps_contract else [])])

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of the newest contract."""
        label = self.contract[1]
        key = self._latest_key if self._keeps_contract and label not in self.changed else self._key(label)
        with self.lake.parquet(key) as file:
            schema = file.schema_arrow.remove_metadata()
        if missing := [name for name in self.job.keys if name not in schema.names]:
            raise DefinitionError(
                f"latest/{self.job.job} cannot be made: window {label} has no column {', '.join(missing)}, "
                "by which the job tells rows apart",
                state="it was left as it was",
                next_step=f'score the window again: lamplighter score {self.job.job} --as-of {label} --rescore "other keys"',
            )
        return schema

    def gather(self) -> Newest:
        """Which rows stay, by their keys alone."""
        newest = Newest()
        lost, ranks = self._add_latest(newest)
        for label in self.changed:
            rank = self.rank[label]
            for hashes, first in self._hashes(self._key(label)):
                newest.add(hashes, rank, rank, np.arange(first, first + len(hashes)))
            if _is_too_long(self.job, newest.at_least):
                raise _Outgrown
        self._bring_back(newest, lost, ranks)
        return newest

    def rows(self, newest: Newest) -> Iterator[pa.Table]:
        """The rows that stay, in the table's columns: those of windows, the newest first, then those it had."""
        places = newest.places_by_source()
        for source in sorted(places, reverse=True):
            key = self._latest_key if source == _OF_LATEST else self._key(self.labels[source])
            try:
                with self.lake.parquet(key) as file:
                    for table in taken(file, places[source]):
                        yield conform_to(table, self.schema)
            except LakeError as error:
                if source == _OF_LATEST:
                    raise _Unreadable from error
                raise

    def _add_latest(self, newest: Newest) -> tuple[Hashes, Ranks]:
        """Adds what the table has of windows that stay; the keys of its other rows, and the ranks of those."""
        if self.kept is None:
            return np.empty((0, 2), np.uint64), np.empty(0, np.int32)
        stays = {run for label, run in self.before.items() if self.windows.get(label) == run}
        rank_of = {run: self.rank[label] for label, run in self.before.items()}
        lost: list[Hashes] = []
        lost_ranks: list[Ranks] = []
        for hashes, runs, first in self._of_latest():
            known = np.array([rank_of[run] for run in runs.dictionary.to_pylist()], np.int32)
            staying = np.array([run in stays for run in runs.dictionary.to_pylist()], bool)
            codes = runs.indices.to_numpy(zero_copy_only=False)
            ranks, is_kept = known[codes], staying[codes]
            newest.add(hashes[is_kept], ranks[is_kept], _OF_LATEST, first + np.flatnonzero(is_kept))
            lost.append(hashes[~is_kept])
            lost_ranks.append(ranks[~is_kept])
        return np.concatenate([np.empty((0, 2), np.uint64), *lost]), np.concatenate(
            [np.empty(0, np.int32), *lost_ranks]
        )

    def _of_latest(self) -> Iterator[tuple[Hashes, Any, int]]:
        """Of each row group of the table the hashes of its keys, the runs of its rows, and the place of its first row."""
        known, first = pa.array(list(self.before.values()), pa.string()), 0
        try:
            with self.lake.parquet(self._latest_key) as file:
                # What became of values in the columns of another contract is not what the windows have.
                if not file.schema_arrow.equals(self.schema):
                    raise _Unreadable
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=[*self.job.keys, "run_id"])
                    runs: Any = table["run_id"].combine_chunks().dictionary_encode()
                    if not pc.all(pc.is_in(runs.dictionary, value_set=known), min_count=0).as_py() or runs.null_count:
                        raise _Unreadable
                    yield hash_rows(table, self.job.keys), runs, first
                    first += len(table)
        except (LakeError, KeyError) as error:
            raise _Unreadable from error

    def _bring_back(self, newest: Newest, lost: Hashes, ranks: Ranks) -> None:
        """Adds the rows of older windows whose keys the windows that changed no longer have."""
        missing = newest.ranks_of(lost) < ranks
        lost, ranks = lost[missing], ranks[missing]
        older = [one for one in self.labels[: int(ranks.max(initial=-1)) + 1] if one not in self.changed]
        for label in reversed([one for one in older if one in self.windows]):
            if not len(lost):
                return
            rank = self.rank[label]
            for hashes, first in self._hashes(self._key(label)):
                found = index_in(hashes, lost)
                back = np.flatnonzero(found >= 0)
                newest.add(hashes[back], rank, rank, first + back)
                lost = np.delete(lost, found[back], axis=0)

    def _hashes(self, key: str) -> Iterator[tuple[Hashes, int]]:
        """Of each row group of a window the hashes of its keys, and the place of its first row.

        A window that does not have the keys, or has any in a type that cannot become today's, has no row here.
        """
        keys, first = list(self.job.keys), 0
        schema = pa.schema([self.schema.field(name) for name in keys])
        with self.lake.parquet(key) as file:
            if not set(keys) <= set(file.schema_arrow.names) or not can_become(file, schema):
                return
            # In a window no key comes twice: its rows need not be read to be counted.
            if _is_too_long(self.job, file.metadata.num_rows):
                raise _Outgrown
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=keys).select(keys).cast(schema)
                yield hash_rows(table, keys), first
                first += len(table)

    def _key(self, label: str) -> str:
        """The file that a window shows now."""
        run_id = self.windows[label]
        return f"{layout.partition(layout.PREDICTIONS, self.job.job, label)}/{layout.part(run_id)}"

    @property
    def _latest_key(self) -> str:
        return f"{layout.latest(self.job.job)}/{self.kept.file if self.kept else ''}"

    @property
    def _keeps_contract(self) -> bool:
        """Whether the window that has the newest contract's columns is one that stays."""
        if self.kept is None:
            return False
        label = self.kept.contract[1]
        return label in self.windows and self.windows[label] == self.before.get(label)

    @property
    def _with_contracts(self) -> Sequence[str]:
        return self.changed if self._keeps_contract else list(self.windows)


def _is_too_long(job: Job, rows: int) -> bool:
    return job.output.latest is None and job.window.kind == "interval" and rows > MOST_ROWS


def _read_kept(lake: Folder, job: Job) -> Kept | None:
    """What the table was made of; None where there is none, or one that cannot be built upon."""
    kept = _kept(lake, job.job)
    is_usable = kept is not None and kept.keys == job.keys and lake.exists(f"{layout.latest(job.job)}/{kept.file}")
    return kept if is_usable else None


def _kept(lake: Folder, job: str) -> Kept | None:
    """What the table says that it was made of; None where it does not say."""
    key = f"{layout.latest(job)}/{_WINDOWS}"
    try:
        return read_beside(lake, key, Kept, wrong="does not say what the table was made of")
    except LakeError:
        # It is built anew.
        return None


def _contract_of(lake: Folder, key: str) -> int:
    """The version of the contract that a published file says it has."""
    said = said_by_file(lake, key).get("contract_version", 1)
    return said if isinstance(said, int) else 1


def _remove(lake: Lake, job: str) -> bool:
    """Takes the table away, in one step; whether there was one."""
    if not lake.exists(layout.latest(job)):
        return False
    lake.rename(layout.latest(job), f"{layout.latest_scratch(job)}/work/removed")
    return True


def _end_what_was_killed(lake: Lake, job: str) -> None:
    lake.mend_swap(_staged(job), layout.latest(job))
    lake.sweep(layout.latest_scratch(job))
    _clear(lake, job)


def _clear(lake: Lake, job: str) -> None:
    """What was replaced goes with it: a reader that has the file open keeps it."""
    work = f"{layout.latest_scratch(job)}/work"
    if lake.exists(work):
        lake.remove(work)


def _staged(job: str) -> str:
    return f"{layout.latest_scratch(job)}/work/staged"
