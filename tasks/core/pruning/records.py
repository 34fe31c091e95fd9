"""What retention speaks of: each thing in the lake that has an age, what goes, and why the rest stays."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.retention import FOR_EVER
from tasks.core.definitions.schedule import length
from tasks.core.delta.upkeep import REMOVED_KEPT
from tasks.core.models.model_version import Event
from tasks.core.models.registry import Registry
from tasks.core.records import Record
from tasks.core.storage import Lake

# As the keys of a job's `retention`. Of two no policy speaks: litter is what killed writers left, and delta_files are what a
# Delta table no longer shows.
Kind = Literal[
    "snapshots", "superseded", "withdrawn", "unpublished", "dry_runs", "reports", "looks", "labels", "audits", "alerts",
    "prefect_runs", "litter", "delta_files",
]  # fmt: skip
LITTER_DAYS = "1d"
# Whoever began to read a version of a Delta table before it was replaced has so long: as in Delta's own VACUUM.
DELTA_DAYS = f"{REMOVED_KEPT.days}d"


@dataclass(frozen=True)
class Found:
    """One thing that retention speaks of: since when it is there, the keys of all that is in it, and why it stays, if so."""

    kind: Kind
    as_of: str
    name: str
    at: dt.datetime | None
    keys: tuple[str, ...] = ()
    kept: str = ""

    @property
    def goes(self) -> bool:
        return not self.kept


@dataclass(frozen=True)
class Scope:
    """A lake, a job, and the instant from which ages are counted."""

    lake: Lake
    job: Job
    now: dt.datetime

    @property
    def name(self) -> str:
        return self.job.job

    @cached_property
    def recalls(self) -> dict[int, Event]:
        """The versions of the job's model that were recalled, each with the event that says so."""
        return Registry(self.lake).recalled(self.job.model.name)

    def policy(self, kind: Kind) -> str:
        """How long a kind is kept, as the job says it."""
        fixed = {"litter": LITTER_DAYS, "delta_files": DELTA_DAYS}
        return fixed.get(kind) or str(getattr(self.job.retention, kind))

    def why_kept(self, kind: Kind, at: dt.datetime | None) -> str:
        """Why a thing of this kind and instant stays; '' where it has outlived its policy."""
        policy = self.policy(kind)
        if policy == FOR_EVER:
            return "kept for ever"
        if at is None:
            return "its age is not known"
        return "" if self.now - at > length(policy) else f"not older than {policy}"


class Line(Record):
    """What is to be said of one kind of one job."""

    kind: Kind
    policy: str
    count: Annotated[int, Field(description="Of those that go, or would.")] = 0
    files: int = 0
    bytes: int = 0
    oldest: dt.datetime | None = None
    kept: int = 0
    why_kept: dict[str, int] = Field(default_factory=dict, description="How many stay, by reason.")
    left: Annotated[tuple[str, ...], Field(description="Those that could not go now, and why.")] = ()


class Pruned(Record):
    """What has outlived a job's policy: what would go, or has gone."""

    job: str
    at: dt.datetime
    applied: bool
    lines: tuple[Line, ...] = ()
    problem: str = ""

    @property
    def count(self) -> int:
        return sum(one.count for one in self.lines)

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.lines)

    @property
    def left(self) -> tuple[str, ...]:
        return tuple(each for one in self.lines for each in one.left)


class Removed(Record):
    """One thing that was removed."""

    kind: Kind
    policy: str
    as_of: str
    name: str
    at: dt.datetime | None
    bytes: int
    keys: tuple[str, ...]


class Removals(Record):
    """What was removed of a job on a day: kept for ever, for it explains what is no longer there."""

    record_version: Literal[1] = 1
    job: str
    day: str
    removed: tuple[Removed, ...] = ()


def take(lake: Lake, job: str, key: str) -> None:
    """Removes a file or a folder: out of sight in one step, so that nobody meets half of it. Nothing there is fine."""
    if lake.holds_file(key) or not lake.moves_folders:
        lake.remove(key)
        return
    aside = f"{layout.pruning(job)}/{key.replace('/', ' ')}"
    lake.remove(aside)
    if lake.exists(key):
        lake.rename(key, aside)
        lake.remove(aside)
