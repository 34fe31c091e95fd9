"""The one door through which records come back: JSON that Lamplighter wrote, which a disk or a hand may have changed since."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.core.errors import LakeCorrupt

if TYPE_CHECKING:
    from tasks.core.storage import Folder

_LONGEST_WHY = 300
_LEFT = "it was left as it is"
_RESTORE = "restore it from a backup"


class Record(BaseModel):
    """What every part of a record is that nobody else writes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


R = TypeVar("R", bound=BaseModel)


def read_record(
    lake: Folder, key: str, kind: type[R], *, wrong: str, state: str = _LEFT, next_step: str = _RESTORE
) -> R:
    """The record in a file; LakeCorrupt names the file, and the first thing that is wrong."""
    return parse_record(lake.read_bytes(key), kind, f"{lake.address(key)} {wrong}", state=state, next_step=next_step)


def read_beside(
    lake: Folder, key: str, kind: type[R], *, wrong: str, state: str = _LEFT, next_step: str = _RESTORE
) -> R | None:
    """As read_record, of a file that need not be there."""
    return read_record(lake, key, kind, wrong=wrong, state=state, next_step=next_step) if lake.exists(key) else None


def parse_record(data: bytes | str, kind: type[R], failed: str, *, state: str = _LEFT, next_step: str = _RESTORE) -> R:
    """The record in these bytes; LakeCorrupt begins with `failed`, and goes on with the first thing that is wrong."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise LakeCorrupt(f"{failed}: {first_wrong(error)}", state=state, next_step=next_step) from error


def validate_record(found: object, kind: type[R], failed: str, *, state: str = _LEFT, next_step: str = _RESTORE) -> R:
    """As parse_record, of what was read already."""
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        raise LakeCorrupt(f"{failed}: {first_wrong(error)}", state=state, next_step=next_step) from error


def first_wrong(error: ValidationError) -> str:
    """The first thing that is wrong, and where; how many more there are. Not the values: these may be long, or secret."""
    first = error.errors(include_url=False, include_input=False)[0]
    at = ".".join(str(part) for part in first["loc"])[:_LONGEST_WHY] or "the file"
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{at}: {first['msg'][:_LONGEST_WHY]}{more}"


def parse_object(data: bytes | str, failed: str, *, state: str = _LEFT, next_step: str = _RESTORE) -> dict[str, Any]:
    """The JSON object in these bytes; LakeCorrupt begins with `failed`."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        # Brackets in brackets end the parser's stack; a number of thousands of digits is a ValueError.
        raise LakeCorrupt(f"{failed}: {str(error)[:_LONGEST_WHY]}", state=state, next_step=next_step) from error
    if not isinstance(found, dict):
        raise LakeCorrupt(f"{failed}: it holds no JSON object", state=state, next_step=next_step)
    return found


def said_by_file(lake: Folder, key: str) -> dict[str, Any]:
    """What a Parquet file of a table says of itself in its metadata; nothing where it says nothing."""
    with lake.parquet(key) as file:
        said = (file.metadata.metadata or {}).get(b"lamplighter", b"{}")
    return parse_object(said, f"{lake.address(key)} does not say what has written it")
