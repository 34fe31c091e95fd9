"""Puts a day's file of a window's labels or performance in place: one folder with one file, swapped in one step."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from tasks.core import layout
from tasks.core.errors import LakeError
from tasks.core.storage import Folder, Lake

# Under this name a file of performance holds the window's record, beside its rows.
RECORD = "performance"
_DAY = "labels_as_of="
# Row groups of so many rows: labels are read by columns, and rarely in part.
_ROW_GROUP = 1 << 17


def put(lake: Lake, job: str, folder: str, part: str, table: pa.Table, metadata: Mapping[str, str]) -> None:
    """The table becomes the only file of the folder. A kill leaves what stood there, or this; whoever calls has the
    monitor's lock of the job.
    """
    _end_what_was_killed(lake, job)
    staged = f"{_staged(job)}/{folder.replace('/', ' ')}"
    with lake.parquet_writer(f"{staged}/{part}", table.schema, metadata=metadata) as writer:
        writer.write_table(table, _ROW_GROUP)
    # What is replaced is left to the next one to remove: a reader may be listing it.
    lake.swap(staged, folder)


def _end_what_was_killed(lake: Lake, job: str) -> None:
    for name in {name.removesuffix(".old") for name in lake.names(_staged(job))}:
        lake.mend_swap(f"{_staged(job)}/{name}", name.replace(" ", "/"))
        lake.remove(f"{_staged(job)}/{name}")


def _staged(job: str) -> str:
    """The folder of what is being made, each under the name of where it is to stand."""
    return f"{layout.performance_scratch(job)}/staged"


def days(lake: Folder, table: str, job: str, as_of: str, *, until: str, before: bool = False) -> list[str]:
    """The days of which a window has a file, the newest first, until a day; with `before`, without that day."""
    names = lake.names(layout.partition(table, job, as_of))
    found = [name.removeprefix(_DAY) for name in names if name.startswith(_DAY)]
    return sorted((day for day in found if day < until or (day == until and not before)), reverse=True)


def name_in(lake: Folder, folder: str) -> str | None:
    """What the folder's file is named after; None where there is none."""
    parts = [name for name in lake.names(folder) if name.startswith("part-")]
    return layout.run_of(parts[0]) if parts else None


def can_be_read(lake: Folder, folder: str, record: str) -> bool:
    """Whether the folder's file is whole as far as its footer tells, and holds a record of this name."""
    try:
        with lake.parquet(f"{folder}/{layout.part(name_in(lake, folder) or '')}") as file:
            return record.encode() in (file.metadata.metadata or {})
    except LakeError:
        return False
