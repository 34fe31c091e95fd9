"""What the database was last given of each window, as the lake keeps it, and what readers of the lake see.

What readers see is what the database should have. The database's own ledger is the truth of what it has; the record here
tells of it where the database is not asked: in `status`, in a report, and whether a run must look at all.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from typing import Annotated, Literal

from pydantic import Field

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.errors import LakeCorrupt, LakeError
from tasks.core.records import Record, read_beside
from tasks.core.runs.run import has_manifest, load_manifest
from tasks.core.runs.showing import showing
from tasks.core.storage import Folder, Lake


class Delivery(Record):
    """What the database was last given of a window, and how the last attempt ended."""

    record_version: Literal[1] = 1
    job: str
    as_of: str
    table: str
    state: Annotated[
        Literal["delivered", "failed", "waiting"],
        Field(description="waiting: the database was found without what it had been given."),
    ]
    run_id: Annotated[str | None, Field(description="Whose rows it was last given; none: it has no row of it.")] = None
    sha256: Annotated[str | None, Field(description="Of the file that they are in.")] = None
    elsewhere: dict[str, str] = Field(
        default_factory=dict,
        description="Tables that had its rows before output.sql named another, each with the run.",
    )
    rows: int = 0
    delivered_at: dt.datetime | None = None
    at: Annotated[dt.datetime, Field(description="When this was written.")]
    attempts: Annotated[int, Field(description="That failed since the last delivery.")] = 0
    reason: str = ""
    next_step: str = ""


class Wanted(Record):
    """The file that readers of the lake see of a window."""

    run_id: str
    key: str
    sha256: str
    rows: int


def delivers(lake: Folder, job: Job) -> bool:
    """Whether a database follows what readers see of this job. Of one in shadow it gets nothing, but keeps what it had of
    windows that were live before: these may still be withdrawn.
    """
    return job.output.sql is not None and (not job.output.shadow or bool(recorded(lake, job.job)))


def lake_id(lake: Lake) -> str:
    """By what the database knows this lake, made when it is first asked for. A lake restored from a backup keeps it."""
    if not lake.exists(layout.DELIVERING_LAKE):
        lake.create(layout.DELIVERING_LAKE, uuid.uuid4().hex.encode())
    return lake.read_text(layout.DELIVERING_LAKE).strip()


def live_run(lake: Folder, job: str, as_of: str) -> str | None:
    """The run whose rows readers of the lake see of a window. One in shadow is none."""
    seen = showing(lake, job, as_of)
    return seen.run_id if seen and not seen.shadow else None


def is_withdrawn(lake: Folder, job: str, as_of: str, run_id: str) -> bool:
    """Whether a run's rows were taken away from readers of the lake, and not merely replaced."""
    live = live_run(lake, job, as_of)
    if live is None or live == run_id:
        return live is None
    workspace = layout.workspace(job, as_of, run_id)
    with contextlib.suppress(LakeError):
        return has_manifest(lake, workspace) and load_manifest(lake, workspace).state in ("withdrawing", "withdrawn")
    return False


def tables_before(record: Delivery | None, table: str) -> dict[str, str]:
    """The tables besides this one that were given rows of the window, each with the run."""
    if record is None:
        return {}
    given = record.elsewhere | ({record.table: record.run_id} if record.run_id else {})
    return {name: run_id for name, run_id in given.items() if name != table}


def leftovers(lake: Folder, job: str, as_of: str, table: str) -> dict[str, str]:
    """The tables besides this one that have rows of the window which were withdrawn, each with the run."""
    given = tables_before(try_read(lake, job, as_of), table)
    return {name: run_id for name, run_id in given.items() if is_withdrawn(lake, job, as_of, run_id)}


def may_have_withdrawn(lake: Folder, job: str, as_of: str) -> list[str]:
    """The tables that, by the lake's record, have rows of the window which readers of the lake do not see."""
    record, live = try_read(lake, job, as_of), live_run(lake, job, as_of)
    found = leftovers(lake, job, as_of, record.table if record else "")
    if record is not None and record.run_id not in (None, live):
        found[record.table] = str(record.run_id)
    return sorted(found)


def wanted(lake: Lake, job: str, as_of: str) -> Wanted | None:
    """What the database should have of a window, None for no row; LakeError where the lake cannot say."""
    run_id = live_run(lake, job, as_of)
    if run_id is None:
        return None
    manifest = load_manifest(lake, layout.workspace(job, as_of, run_id))
    file = manifest.files.get(layout.PREDICTIONS)
    if file is None:
        raise LakeCorrupt(f"the manifest of run {run_id} of {job} {as_of} names no file of predictions")
    key = f"{layout.partition(layout.PREDICTIONS, job, as_of)}/{layout.part(run_id)}"
    return Wanted(run_id=run_id, key=key, sha256=file.sha256, rows=file.rows)


def check_whole(lake: Lake, file: Wanted) -> None:
    """LakeCorrupt where the file is not the one that was published."""
    if lake.sha256(file.key) != file.sha256:
        raise LakeCorrupt(
            f"{lake.address(file.key)} is not the file that was published: its SHA-256 differs",
            next_step="restore it from a backup, or score the window again with --rescore",
        )


def read(lake: Folder, job: str, as_of: str) -> Delivery | None:
    """The record of a window; None where none was ever tried."""
    return read_beside(
        lake,
        layout.delivery(job, as_of),
        Delivery,
        wrong="is not the record of a delivery",
        state="it was left as it is, and the database as well",
        next_step=f"move it away; then: lamplighter deliver {job} --as-of {as_of}",
    )


def try_read(lake: Folder, job: str, as_of: str) -> Delivery | None:
    """As read, and None where the file is damaged: the ledger in the database knows better."""
    try:
        return read(lake, job, as_of)
    except LakeCorrupt:
        return None


def write(lake: Lake, record: Delivery) -> None:
    lake.write_bytes(layout.delivery(record.job, record.as_of), record.model_dump_json(indent=2).encode() + b"\n")


def note_failure(lake: Lake, job: Job, as_of: str, why: str, next_step: str = "") -> Delivery:
    """Writes that an attempt has failed; what the database was last given stays in the record."""
    record, table, at = try_read(lake, job.job, as_of), job.output.sql.table if job.output.sql else "", now()
    command, given = f"lamplighter deliver {job.job} --as-of {as_of}", next_step.rstrip(" .;")
    base = record or Delivery(job=job.job, as_of=as_of, table=table, state="failed", at=at)
    failed = base.model_copy(
        update={
            "state": "failed",
            "at": at,
            "attempts": base.attempts + 1,
            "reason": why,
            "next_step": f"{given}; then: {command}" if given else command,
        }
    )
    write(lake, failed)
    return failed


def recorded(lake: Folder, job: str) -> list[str]:
    """The windows that have a record, in the order of time."""
    return [name.removeprefix("as_of=").removesuffix(".json") for name in lake.names(layout.deliveries(job))]


def shortfall(lake: Folder, job: Job, as_of: str) -> str | None:
    """Why the database is not known to have what readers of the lake see, in words; None where it is, or gets nothing."""
    if job.output.sql is None or not delivers(lake, job):
        return None
    record, live, table = try_read(lake, job.job, as_of), live_run(lake, job.job, as_of), job.output.sql.table
    if record is not None and record.state != "delivered":
        return record.reason
    given = record.run_id if record and record.table == table else None
    withdrawn = leftovers(lake, job.job, as_of, table) | ({table: given} if given and live is None else {})
    if withdrawn:
        return "; ".join(
            f"the table {name} has still the rows of run {run_id}, which readers of the lake no longer see"
            for name, run_id in withdrawn.items()
        )
    if given == live:
        return None
    if given is None:
        return f"its rows were not yet delivered to the table {table}"
    return f"the table {table} has still the rows of run {given}"


def sentence(lake: Folder, job: Job, as_of: str) -> str:
    """Where else the rows of a window are, for its page; '' where no database gets any."""
    if job.output.sql is None:
        return ""
    why = shortfall(lake, job, as_of)
    if why is not None:
        return f"NOT delivered: {why.rstrip('.')}. Next: lamplighter deliver {job.job} --as-of {as_of}"
    record = try_read(lake, job.job, as_of)
    if record is None and job.output.shadow:
        return f"nothing is delivered to {job.output.sql.table} while the job is in shadow"
    if record is None or record.run_id is None:
        return f"{job.output.sql.table} has no row of this window"
    at = f" at {record.delivered_at:%Y-%m-%d %H:%M} UTC" if record.delivered_at else ""
    return f"{record.rows:,} rows of run {record.run_id} to the table {record.table}{at}"


def now() -> dt.datetime:
    """When a record is written."""
    return dt.datetime.now(dt.UTC)
