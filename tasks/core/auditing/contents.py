"""What the files of a published window hold, held against its manifest: keys, rows, and where each row says it comes from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core import layout
from tasks.core.errors import LakeError
from tasks.core.rows import rejects
from tasks.core.rows.contract import INSTANT
from tasks.core.rows.digest import RowDigest, hash_rows
from tasks.core.rows.reasons import REJECTS_SCHEMA
from tasks.core.rows.snapshot import keys_digest
from tasks.core.runs.manifest import KeyDigests, Manifest, SnapshotRecord
from tasks.core.runs.showing import partition_of
from tasks.core.storage import Folder

# What is found in the place of what must be: (what, as it is, as it must be).
Break = tuple[str, object, object]
_BLOCK_ROWS = 100_000
_KEYS_END = "window_start"  # The first columns of predictions are the keys, then the event time, then this.


@dataclass(frozen=True)
class Said:
    """What every row of a run says of where it comes from, as its manifest has it."""

    window_start: dt.datetime
    model_version: str
    run_id: str
    scored_at: dt.datetime | None

    @classmethod
    def of(cls, manifest: Manifest) -> Said:
        model, kept = manifest.model, manifest.snapshot
        return cls(
            window_start=manifest.window.start,
            model_version=f"{model.name}/{model.version:04d}",
            run_id=manifest.run_id,
            scored_at=kept.complete_at.astimezone(dt.UTC) if kept else None,
        )

    def constants(self, schema: pa.Schema) -> dict[str, pa.Scalar[Any]]:
        """Of the columns of a table those that have one value in all rows."""
        return {
            name: pa.scalar(value, INSTANT if isinstance(value, dt.datetime) else pa.string())
            for name, value in vars(self).items()
            if name in schema.names and value is not None
        }


@dataclass(frozen=True)
class Found:
    """What differs in a file, and the columns by which its rows are told apart; none where nobody can say."""

    keys: tuple[str, ...]
    breaks: tuple[Break, ...]


def balances(digests: KeyDigests) -> bool:
    """Whether the digests of the keys by fate add up to that of those pulled."""
    try:
        parts = [int(one, 16) for one in (digests.scored, digests.quarantined, digests.duplicates)]
        return sum(parts) % (1 << 128) == int(digests.pulled, 16)
    except ValueError:
        return False


def of_predictions(lake: Folder, manifest: Manifest, keys: Sequence[str], said: Said) -> Found:
    """Holds the scored rows against the manifest. `keys` are the job's of now, which may have been others then."""
    key = f"{partition_of(manifest, layout.PREDICTIONS)}/{layout.part(manifest.run_id)}"
    wanted = manifest.key_digests.scored if manifest.key_digests else ""
    try:
        with lake.parquet(key) as file:
            candidates = _candidates(file.schema_arrow, keys)
        found: list[Break] = []
        digest, breaks = _read(lake, key, candidates[0], said)
        told = candidates[0]
        for other in candidates[1:]:
            if digest.hex == wanted:
                break
            again, _ = _read(lake, key, other, said)
            digest, told = (again, other) if again.hex == wanted else (digest, told)
    except LakeError as error:
        return Found((), (("it", f"not to be read ({error.failed})", "a Parquet file"),))
    found += _counted("scored", digest, manifest.rows.scored, wanted)
    return Found(told, (*found, *breaks))


def of_quarantine(lake: Folder, manifest: Manifest, keys: tuple[str, ...], said: Said) -> Found:
    """Holds the rows in quarantine against the manifest."""
    key = f"{partition_of(manifest, layout.QUARANTINE)}/{layout.part(manifest.run_id)}"
    try:
        digest, breaks = _read(lake, key, keys, said)
    except LakeError as error:
        return Found(keys, (("it", f"not to be read ({error.failed})", "a Parquet file"),))
    wanted = manifest.key_digests.quarantined if manifest.key_digests else ""
    return Found(keys, (*_counted("quarantined", digest, manifest.rows.quarantined, wanted), *breaks))


def of_snapshot(lake: Folder, manifest: Manifest, record: SnapshotRecord, keys: tuple[str, ...]) -> list[Break]:
    """Holds the rows that were pulled against the manifest: their digest, their keys, and those that repeat another."""
    key = f"{manifest.workspace}/snapshot.parquet"
    try:
        rows, pulled = _digests(lake, key, keys)
        rows += _unread(lake, manifest, record)
        found: list[Break] = []
        if rows.hex != record.digest:
            found.append(("the digest of its rows", rows.hex, record.digest))
        if keys and manifest.key_digests:
            found += _counted("pulled", pulled, record.rows, manifest.key_digests.pulled)
            found += _duplicates(lake, manifest, record, keys)
    except LakeError as error:
        return [("it", f"not to be read ({error.failed})", "a Parquet file")]
    return found


def _candidates(schema: pa.Schema, keys: Sequence[str]) -> list[tuple[str, ...]]:
    """What may have been the keys: those of now, else what the table's first columns say, with and without event time."""
    first = tuple(schema.names[: schema.get_field_index(_KEYS_END)])
    likely = [tuple(keys), first, first[:-1]]
    return list(dict.fromkeys(one for one in likely if one and set(one) <= set(first))) or [first]


def _read(lake: Folder, key: str, keys: tuple[str, ...], said: Said) -> tuple[RowDigest, list[Break]]:
    """The digest of the keys of a file, and of the columns that are to be the same in all rows those that are not."""
    digest, others = RowDigest.empty(), dict[str, Break]()
    with lake.parquet(key) as file:
        constants = said.constants(file.schema_arrow)
        names = list(dict.fromkeys([*keys, *constants]))
        for batch in file.iter_batches(_BLOCK_ROWS, columns=names):
            digest += RowDigest.of(hash_rows(batch, keys))
            for name, value in constants.items():
                if other := _other(batch.column(name), value):
                    others.setdefault(name, (f"{name} of a row", other, value.as_py()))
    return digest, list(others.values())


def _other(column: Any, value: pa.Scalar[Any]) -> str:
    """The first value of a column that is not this one; '' where all are."""
    distinct = pc.unique(column.cast(value.type))
    return next((str(one.as_py()) for one in distinct if not one.equals(value)), "")


def _counted(fate: str, digest: RowDigest, rows: int, wanted: str) -> list[Break]:
    if digest.count != rows:
        return [(f"its number of rows {fate}", f"{digest.count:,}", f"{rows:,}")]
    return [] if digest.hex == wanted else [(f"the digest of its keys {fate}", digest.hex, wanted)]


def _digests(lake: Folder, key: str, keys: tuple[str, ...]) -> tuple[RowDigest, RowDigest]:
    """The digests of all values, and of the keys, of a snapshot."""
    rows, pulled = RowDigest.empty(), RowDigest.empty()
    with lake.parquet(key) as file:
        for batch in file.iter_batches(_BLOCK_ROWS):
            rows += RowDigest.of(hash_rows(batch))
            if keys:
                pulled += RowDigest.of(hash_rows(batch, keys))
    return rows, pulled


def _unread(lake: Folder, manifest: Manifest, record: SnapshotRecord) -> RowDigest:
    """What the digest of a snapshot says of values that could not be converted, and are null in it."""
    key = f"{manifest.workspace}/{rejects.PULLED}"
    found = rejects.read_between(lake, key, 0, record.rows, REJECTS_SCHEMA)
    kinds = [reason["kind"] == "not_convertible" for reason in found["reason"].to_pylist() if reason]
    unread = found.filter(np.array(kinds, dtype=bool))
    digest = RowDigest.of(hash_rows(unread, ["reason"]))
    # Only the values count: the rows themselves are in the snapshot.
    return RowDigest(0, digest.total)


def _duplicates(lake: Folder, manifest: Manifest, record: SnapshotRecord, keys: tuple[str, ...]) -> list[Break]:
    key = f"{manifest.workspace}/{rejects.DUPLICATES}"
    found = rejects.read_between(lake, key, 0, record.rows, rejects.DUPLICATES_SCHEMA)["row"].to_numpy()
    digest = keys_digest(lake, f"{manifest.workspace}/snapshot.parquet", keys, record, found)
    assert manifest.key_digests is not None  # noqa: S101 - narrowing
    return _counted("that repeat another", digest, manifest.rows.duplicates, manifest.key_digests.duplicates)
