"""The queue: windows that are to be scored again, one small file each in the lake.

An entry goes when its window is published by a version that is not recalled: by anybody, after it was queued.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import Field

from tasks.core import layout
from tasks.core.models.registry import Registry
from tasks.core.records import Record, read_beside
from tasks.core.runs.manifest import Manifest
from tasks.core.storage import ABANDONED_SECONDS, Folder, Lake


class Entry(Record):
    """Why a window waits, and what readers see of it meanwhile."""

    job: str
    as_of: str
    reason: str
    model: str
    version: Annotated[int, Field(description="The version that was recalled.")]
    repull: Annotated[bool, Field(description="Whether the source is read again, and not the retained snapshot.")] = (
        False
    )
    restored: Annotated[
        str | None, Field(description="The run that came back; published anew, the window is done.")
    ] = None
    queued_at: dt.datetime


def add(lake: Lake, entry: Entry) -> None:
    """Queues a window. Queued already, it waits for the later reason; that its rows must be pulled again stays."""
    earlier = read(lake, entry.job, entry.as_of)
    if earlier is not None and earlier.repull:
        entry = entry.model_copy(update={"repull": True})
    if entry != earlier:
        lake.write_bytes(layout.queued(entry.job, entry.as_of), entry.model_dump_json(indent=2).encode() + b"\n")


def read(lake: Folder, job: str, as_of: str) -> Entry | None:
    """The window's entry, or None; LakeCorrupt where the file is none."""
    key = layout.queued(job, as_of)
    return read_beside(
        lake,
        key,
        Entry,
        wrong="does not say why the window waits",
        state="it was left as it is",
        next_step="remove it, and run the recall that queued the window again",
    )


def labels(lake: Folder, job: str) -> list[str]:
    """The windows of a job that wait, in the order of time."""
    names = [name for name in lake.names(layout.queue(job)) if name.startswith("as_of=") and name.endswith(".json")]
    return [name.removeprefix("as_of=").removesuffix(".json") for name in names]


def is_settled(lake: Lake, entry: Entry, published: Manifest | None) -> bool:
    """Whether somebody has published the window since, with a version that may be seen."""
    return published is not None and published.run_id != entry.restored and not is_recalled(lake, published)


def is_recalled(lake: Lake, manifest: Manifest) -> bool:
    """Whether the version that a run scored with was withdrawn."""
    return manifest.model.version in Registry(lake).recalled(manifest.model.name)


def drop(lake: Lake, entry: Entry) -> None:
    """Takes a window off the queue."""
    lake.remove(layout.queued(entry.job, entry.as_of))
    sweep(lake, entry.job)


def sweep(lake: Lake, job: str) -> None:
    """Removes what killed writers left half written."""
    lake.sweep(layout.queue(job), idle_seconds=ABANDONED_SECONDS)
