"""What keeps a table's log short: checkpoints of all that stands, and the end of what is older than a month.

And the files that no reader of a standing version opens any more.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from tasks.core import logs
from tasks.core.delta.actions import CHECKPOINT_EACH
from tasks.core.delta.log import (
    Action,
    Log,
    checkpoint_key,
    checkpoints_in,
    commit_key,
    commits_in,
    folder,
    read,
)
from tasks.core.delta.schema import PARTITION
from tasks.core.errors import LakeError
from tasks.core.storage import Folder, Lake

# Delta's own defaults: how long readers may go on reading a version that was replaced, and go back to it.
REMOVED_KEPT = dt.timedelta(days=7)
_COMMITS_KEPT = dt.timedelta(days=30)

_TEXTS = pa.map_(pa.string(), pa.string())
_FIELDS: dict[str, dict[str, pa.DataType]] = {
    "txn": {"appId": pa.string(), "version": pa.int64(), "lastUpdated": pa.int64()},
    "add": {
        "path": pa.string(),
        "partitionValues": _TEXTS,
        "size": pa.int64(),
        "modificationTime": pa.int64(),
        "dataChange": pa.bool_(),
        "stats": pa.string(),
        "tags": _TEXTS,
    },
    "remove": {
        "path": pa.string(),
        "deletionTimestamp": pa.int64(),
        "dataChange": pa.bool_(),
        "extendedFileMetadata": pa.bool_(),
        "partitionValues": _TEXTS,
        "size": pa.int64(),
    },
    "metaData": {
        "id": pa.string(),
        "name": pa.string(),
        "description": pa.string(),
        "format": pa.struct([("provider", pa.string()), ("options", _TEXTS)]),
        "schemaString": pa.string(),
        "partitionColumns": pa.list_(pa.string()),
        "configuration": _TEXTS,
        "createdTime": pa.int64(),
    },
    "protocol": {"minReaderVersion": pa.int32(), "minWriterVersion": pa.int32()},
}
_SCHEMA = pa.schema([(kind, pa.struct(list(fields.items()))) for kind, fields in _FIELDS.items()])


def keep_short(lake: Lake, table: str, log: Log) -> None:
    """After a commit, or before the next: a checkpoint of ten commits or more; what is before one of a month ago goes."""
    if log.version - log.checkpoint < CHECKPOINT_EACH:
        return
    try:
        write_checkpoint(lake, table, log)
        _forget_old_commits(lake, table)
    except (LakeError, pa.ArrowException) as error:
        # What was committed stands without: nothing fails for it, and the next commit tries again.
        logs.log.warning("The log of %s has no new checkpoint: %s", table, error)


def end_what_was_killed(lake: Lake, table: str) -> None:
    """Writes the checkpoint that a killed run left to others, or the hint that readers find it by."""
    log = read(lake, table)
    if log is None:
        return
    keep_short(lake, table, log)
    hint = _hint(table)
    if log.checkpoint and not (lake.exists(hint) and _version_in(lake.read_bytes(hint)) == log.checkpoint):
        with lake.parquet(checkpoint_key(table, log.checkpoint)) as file:
            _point_to(lake, table, log.checkpoint, file.metadata.num_rows)


def write_checkpoint(lake: Lake, table: str, log: Log) -> None:
    """All that stands as one file. A removal is told as long as a reader may ask for it."""
    oldest = log.at_milliseconds - REMOVED_KEPT.total_seconds() * 1000
    removed = [one for one in log.removed.values() if one.get("deletionTimestamp", 0) >= oldest]
    rows: list[Action] = [
        {"protocol": log.protocol},
        {"metaData": log.metadata},
        *({"txn": one} for one in {one["appId"]: one for one in log.others}.values()),
        *({"add": log.files[path]} for path in sorted(log.files)),
        *({"remove": one} for one in removed),
    ]
    found = [{kind: _cut(kind, row.get(kind)) for kind in _FIELDS} for row in rows]
    with lake.parquet_writer(checkpoint_key(table, log.version), _SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(found, schema=_SCHEMA))
    _point_to(lake, table, log.version, len(rows))


def unread(lake: Folder, table: str, *, now: dt.datetime, label: str | None = None) -> dict[str, dt.datetime | None]:
    """The files in a table's folders that its log does not name, or removed long ago: by key, since when, if it is known.

    With `label` those of one partition: no other is listed.
    """
    log = read(lake, table)
    if log is None:
        return {}
    oldest, found = (now - REMOVED_KEPT).timestamp() * 1000, dict[str, dt.datetime | None]()
    for path in _parts(lake, table, label):
        at = (log.removed.get(path) or {}).get("deletionTimestamp")
        is_old = at < oldest if at else lake.is_idle(f"{table}/{path}", seconds=REMOVED_KEPT.total_seconds())
        if path not in log.files and is_old:
            found[f"{table}/{path}"] = dt.datetime.fromtimestamp(at / 1000, dt.UTC) if at else None
    return found


def _point_to(lake: Lake, table: str, version: int, size: int) -> None:
    lake.write_bytes(_hint(table), json.dumps({"version": version, "size": size}).encode())


def _version_in(hint: bytes) -> object:
    with contextlib.suppress(ValueError, AttributeError):
        return json.loads(hint).get("version")
    return None


def _hint(table: str) -> str:
    return f"{folder(table)}/_last_checkpoint"


def _parts(lake: Folder, table: str, label: str | None) -> Iterable[str]:
    for name in lake.names(table) if label is None else [f"{PARTITION}={label}"]:
        if name.startswith(f"{PARTITION}="):
            yield from (f"{name}/{part}" for part in lake.names(f"{table}/{name}"))


def _cut(kind: str, said: Any) -> Any:
    """What a checkpoint has a column for."""
    return {name: said.get(name) for name in _FIELDS[kind]} if said is not None else None


def _forget_old_commits(lake: Lake, table: str) -> None:
    """What is before a checkpoint that is a month old: whoever goes back by less than that still can."""
    names = lake.names(folder(table))
    checkpoints = checkpoints_in(names)
    seconds = _COMMITS_KEPT.total_seconds()
    old = [one for one in checkpoints if lake.is_idle(checkpoint_key(table, one), seconds=seconds)]
    for version in sorted(one for one in commits_in(names) if one < max(old, default=0)):
        lake.remove(commit_key(table, version))
    for version in sorted(one for one in checkpoints if one < max(old, default=0)):
        lake.remove(checkpoint_key(table, version))
