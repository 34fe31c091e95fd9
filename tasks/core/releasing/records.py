"""What was installed: one record a release, in the lake, for ever; and the journal of an installation on its way."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, Field, JsonValue

from tasks.core import layout
from tasks.core.errors import LakeCorrupt
from tasks.core.records import Record, read_record
from tasks.core.storage import Folder, Lake

_Kind = TypeVar("_Kind", bound=BaseModel)


class Installation(Record):
    """What is decided: from here on an installation that is cut short is completed by whoever comes next."""

    record_version: Literal[1] = 1
    number: int
    job: str
    release: str
    digest: Annotated[str, Field(description="The SHA-256 of the release's manifest.")]
    at: dt.datetime
    by: str
    reason: str
    back: Annotated[bool, Field(description="Whether an older release, or what was changed since, comes back.")] = False
    forced: Annotated[bool, Field(description="Whether the version's promotion was not accepted without force.")] = (
        False
    )
    project: Annotated[str, Field(description="The folder that the job's files went to.")]
    model: str
    model_digest: str
    alias: str
    replaced: Annotated[int | None, Field(description="The version that the alias named before.")]
    home: Annotated[
        dict[str, JsonValue], Field(description="The version's number and promotion where it was released.")
    ]
    order: Annotated[tuple[dt.datetime, ...], Field(description="Of two releases the larger is the newer.")]
    files: Annotated[dict[str, str], Field(description="The SHA-256 of each file in the project.")]
    before: Annotated[
        dict[str, str | None], Field(description="Of each file that changed what it was; none: not there.")
    ]
    code: Annotated[str, Field(description="The digest of the Lamplighter that installed it.")]
    other_code: Annotated[bool, Field(description="Whether that is another one than the release was made by.")] = False
    sample_rows: int
    sample_off: Annotated[float, Field(description="How far the sample's scores were off; 0 is bit for bit.")]

    def __str__(self) -> str:
        return f"{self.job} {self.release}"


class Installed(Installation):
    """An installation that is complete."""

    version: Annotated[int, Field(description="The model version's number here.")]


def installed(lake: Folder, job: str) -> list[Installed]:
    """What was installed of a job, the oldest first."""
    names = [name for name in lake.names(layout.releases(job)) if name.endswith(".json")]
    return [_read(lake, f"{layout.releases(job)}/{name}", Installed) for name in names]


def write_installed(lake: Lake, record: Installed) -> None:
    """Of one that stands already nothing is written again; LakeCorrupt where another has its number."""
    key = layout.release_record(record.job, record.number)
    stands = not lake.create(key, record.model_dump_json(indent=2).encode() + b"\n")
    if stands and _read(lake, key, Installed).digest != record.digest:
        raise LakeCorrupt(f"{lake.address(key)} is the record of another release")


def write_journal(lake: Lake, plan: Installation) -> None:
    lake.write_bytes(layout.RELEASE_JOURNAL, plan.model_dump_json(indent=2).encode() + b"\n")


def read_journal(lake: Folder) -> Installation | None:
    """The installation that was cut short, if one was."""
    return _read(lake, layout.RELEASE_JOURNAL, Installation) if lake.exists(layout.RELEASE_JOURNAL) else None


def _read(lake: Folder, key: str, kind: type[_Kind]) -> _Kind:
    return read_record(lake, key, kind, wrong="cannot be read")
