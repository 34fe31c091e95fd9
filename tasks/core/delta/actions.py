"""What a commit says: a table is made, a file comes, a file goes. A file's figures let readers pass it over."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tasks.core.delta.log import READER, WRITER, Action
from tasks.core.delta.schema import PARTITION, Field, schema_string
from tasks.core.storage import Folder

# So often all that stands is written as one file: else whoever opens the table reads every commit there ever was.
CHECKPOINT_EACH = 10
_MOST_COLUMNS, _LONGEST_TEXT = 32, 64
_SAFE_IN_A_PATH = "/=-_.~:+"


def made(table: str, fields: list[Field], at: dt.datetime) -> list[Action]:
    """A new table."""
    about = {
        # The same, however often a commit that was killed is made again.
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{table} {at.isoformat()}")),
        "name": table.rpartition("/")[2],
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema_string(fields),
        "partitionColumns": [PARTITION],
        "createdTime": _milliseconds(at),
        "configuration": {"delta.checkpointInterval": str(CHECKPOINT_EACH)},
    }
    return [{"protocol": {"minReaderVersion": READER, "minWriterVersion": WRITER}}, {"metaData": about}]


def with_fields(metadata: Action, fields: list[Field]) -> Action:
    """The table's metadata with other columns."""
    return {"metaData": {**metadata, "schemaString": schema_string(fields)}}


def said(operation: str, at: dt.datetime, *, label: str | None = None, run_id: str = "") -> Action:
    """Who commits what, and why: what `DeltaTable.history()` shows."""
    predicate = {"predicate": f"{PARTITION} = '{label}'"} if label else {}
    return {
        "commitInfo": {
            "timestamp": _milliseconds(at),
            "operation": operation,
            "operationParameters": {"mode": "Overwrite", "partitionBy": json.dumps([PARTITION]), **predicate},
            "engineInfo": "lamplighter",
            "lamplighter": {"as_of": label, "run_id": run_id},
        }
    }


def added(lake: Folder, table: str, label: str, name: str, at: dt.datetime, *, changes: bool = True) -> Action:
    """A file of a partition, which stands there already; `changes` is False where its rows were read before as well."""
    path = f"{PARTITION}={label}/{name}"
    key = f"{table}/{path}"
    return {
        "add": {
            "path": quote(path, safe=_SAFE_IN_A_PATH),
            "partitionValues": {PARTITION: label},
            "size": lake.size_bytes(key),
            "modificationTime": _milliseconds(at),
            "dataChange": changes,
            "stats": json.dumps(figures(lake, key), separators=(",", ":")),
        }
    }


def removed(add: Action, at: dt.datetime) -> Action:
    """The same file, gone from the table: it stays on the disk for whoever reads an earlier version."""
    return {
        "remove": {
            "path": add["path"],
            "deletionTimestamp": _milliseconds(at),
            "dataChange": True,
            "extendedFileMetadata": True,
            "partitionValues": add["partitionValues"],
            "size": add["size"],
        }
    }


def figures(lake: Folder, key: str) -> dict[str, Any]:
    """How many rows a file has, and of its first columns the least and the most value, and how many are null.

    Of floats neither: NaN is in no order.
    """
    with lake.parquet(key) as file:
        about, names = file.metadata, file.schema_arrow.names[:_MOST_COLUMNS]
        found: dict[str, Any] = {"numRecords": about.num_rows, "minValues": {}, "maxValues": {}, "nullCount": {}}
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
    for place in range(groups[0].num_columns if groups else 0):
        name = groups[0].column(place).path_in_schema
        if name in names:
            _add_figures(found, name, [group.column(place).statistics for group in groups])
    return found


def _add_figures(found: dict[str, Any], name: str, parts: list[Any]) -> None:
    if not all(parts) or not all(part.has_null_count for part in parts):
        return
    found["nullCount"][name] = sum(part.null_count for part in parts)
    with_values = [part for part in parts if part.num_values]
    if not with_values or not all(part.has_min_max for part in with_values):
        return
    low, high = (
        _shown(pick(getattr(part, side) for part in with_values), upwards=upwards) for pick, side, upwards in _ENDS
    )
    if low is not None and high is not None:
        found["minValues"][name], found["maxValues"][name] = low, high


_ENDS: tuple[tuple[Callable[[Any], Any], str, bool], ...] = ((min, "min", False), (max, "max", True))


def _shown(value: Any, *, upwards: bool) -> str | int | None:
    """As Delta writes it; None where it has no order that every reader shares, or is long."""
    if isinstance(value, bool):
        return None
    if isinstance(value, dt.datetime):
        return _instant(value, upwards=upwards) if value.tzinfo else None
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else None
    return value if isinstance(value, int) else None


def _instant(at: dt.datetime, *, upwards: bool) -> str | None:
    """In milliseconds, as readers have it: rounded so that every row lies within."""
    rest = at.microsecond % 1000
    try:
        at = at.astimezone(dt.UTC) + dt.timedelta(microseconds=(1000 - rest if rest and upwards else -rest))
    except OverflowError:
        return None
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z" if at.year > 999 else None  # noqa: PLR2004


def _milliseconds(at: dt.datetime) -> int:
    return int(at.timestamp() * 1000)
