"""The challenger's own record and table: a second version scores the rows that production published, and nobody reads it.

    runs/<job>/as_of=.../<run_id>/challenger.json                    what became of it; production's manifest is left alone
    challengers/<job>/as_of=.../part-<run_id>-<version>.parquet      its rows, with the keys and the run of production's

The partition pairs with what readers see of the window, or it does not stand: one of another run is kept in that run's
workspace, from where it comes back with the run.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from tasks.core import layout
from tasks.core.errors import LakeCorrupt, LamplighterError
from tasks.core.models.registry import Registry
from tasks.core.profiles.differences import ColumnDifferences
from tasks.core.profiles.figures import Distribution
from tasks.core.records import Record, read_beside, said_by_file
from tasks.core.runs.manifest import CodeRecord, FileRecord, Manifest
from tasks.core.storage import Folder, Lake

ALIAS = "challenger"
_RECORD, _FOLDER, _STAGED, _ASIDE = "challenger.json", "challenger", "staged", "challenger/aside"

# running: it is being scored, or was killed. scored: its rows stand in the table. failed: production's stand as they did.
Verdict = Literal["running", "scored", "failed"]


class Challenge(Record):
    """One version's attempt at the rows that a run published. Rows = scored + unscored."""

    challenge_version: Literal[1] = 1
    job: str
    as_of: str
    run_id: Annotated[str, Field(description="The run that published the rows; its own record is its manifest.")]
    model: str
    version: int
    digest: str = ""
    verdict: Verdict = "running"
    reason: str = ""
    next_step: str = ""
    warnings: tuple[str, ...] = ()
    rows: int = 0
    scored: int = 0
    unscored: int = 0
    unscored_reasons: dict[str, int] = Field(default_factory=dict, description="Rows by reason.")
    differences: tuple[ColumnDifferences, ...] = ()
    distributions: Annotated[
        tuple[Distribution, ...], Field(description="Observed is the challenger, reference is production.")
    ] = ()
    code: CodeRecord
    file: FileRecord | None = None
    peak_memory_bytes: int | None = None
    started_at: dt.datetime
    finished_at: dt.datetime | None = None

    def __str__(self) -> str:
        return f"{self.model} version {self.version}, the challenger of {self.job} {self.as_of}: {self.verdict}"


@dataclass(frozen=True)
class Beside:
    """What stands beside a run: its challenge, and whether its rows are in the table; or the version that could do it."""

    challenge: Challenge | None
    stands: bool = False
    could: int | None = None


def read(lake: Folder, manifest: Manifest) -> Challenge | None:
    """The challenger's record of a run, or None; LakeCorrupt where the file is none."""
    key = f"{_workspace(manifest)}/{_RECORD}"
    return read_beside(
        lake,
        key,
        Challenge,
        wrong="is not a challenger's record",
        state="it was left as it is",
        next_step=f"lamplighter challenge {manifest.job} --as-of {manifest.as_of}, which writes it anew",
    )


def required(lake: Folder, manifest: Manifest) -> Challenge:
    """The challenger's record of a run, of which it is known that it was begun."""
    found = read(lake, manifest)
    if found is None:
        raise LakeCorrupt(f"{lake.address(_workspace(manifest))}/{_RECORD} is gone, which was there a moment ago")
    return found


def write(lake: Lake, manifest: Manifest, challenge: Challenge) -> None:
    lake.write_bytes(f"{_workspace(manifest)}/{_RECORD}", challenge.model_dump_json(indent=2).encode() + b"\n")


def of_run(lake: Lake, manifest: Manifest) -> Beside:
    """What is to be said of a run's challenger. A record that cannot be read takes no page and no command with it."""
    with contextlib.suppress(LamplighterError):
        challenge = read(lake, manifest)
        if challenge is not None:
            return Beside(challenge, stands=challenge.file is not None and lake.exists(challenge.file.key))
        named = Registry(lake).aliases(manifest.model.name).get(ALIAS)
        if manifest.is_published and named != manifest.model.version:
            return Beside(None, could=named)
    return Beside(None)


def scratch(manifest: Manifest, name: str) -> str:
    """The key of something that is needed while the challenger is scored."""
    return f"{_workspace(manifest)}/{_FOLDER}/{name}"


def prepare(lake: Lake, manifest: Manifest) -> None:
    """Ends what a kill left of a swap, and removes what an earlier attempt left in the workspace."""
    lake.mend_swap(scratch(manifest, _STAGED), _partition(manifest))
    if lake.exists(f"{_workspace(manifest)}/{_FOLDER}"):
        lake.remove(f"{_workspace(manifest)}/{_FOLDER}")


def staged(manifest: Manifest, version: int) -> str:
    """The key of the file that becomes the partition's."""
    return f"{scratch(manifest, _STAGED)}/{layout.challenger_part(manifest.run_id, version)}"


def published(manifest: Manifest, version: int) -> str:
    """The key of the partition's file."""
    return f"{_partition(manifest)}/{layout.challenger_part(manifest.run_id, version)}"


def put(lake: Lake, manifest: Manifest) -> None:
    """The staged folder becomes the partition in one step. What it replaces is left to the next attempt to remove: a
    reader may be listing it.
    """
    lake.swap(scratch(manifest, _STAGED), _partition(manifest))


def take_out(lake: Lake, manifest: Manifest) -> None:
    """Takes the rows of an earlier attempt out of the table, as `put` does."""
    if lake.exists(_partition(manifest)):
        lake.remove(scratch(manifest, _STAGED))
        lake.rename(_partition(manifest), scratch(manifest, _STAGED))


def pair(lake: Lake, job: str, as_of: str, visible: str | None) -> None:
    """Lets the partition of the window pair with run `visible`, which readers see now: another run's goes to that run's
    workspace, this run's own comes back from there. The caller holds the window's lock; done already is done.
    """
    partition = layout.partition(layout.CHALLENGERS, job, as_of)
    for name in lake.names(partition)[:1]:
        run_id = name.removeprefix("part-").rpartition("-")[0]
        if run_id != visible:
            aside = f"{layout.workspace(job, as_of, run_id)}/{_ASIDE}"
            lake.remove(aside)
            lake.rename(partition, aside)
    if visible is not None:
        _bring_back(lake, f"{layout.workspace(job, as_of, visible)}/{_ASIDE}", partition)


def _bring_back(lake: Lake, aside: str, partition: str) -> None:
    """Unless the version was recalled meanwhile: then it stays where no reader looks."""
    for name in lake.names(aside)[:1]:
        model, version = _version_in(lake, f"{aside}/{name}")
        if version not in Registry(lake).recalled(model):
            lake.rename(aside, partition)


def _version_in(lake: Lake, key: str) -> tuple[str, int]:
    """The version that a file says has scored it."""
    model, _, number = str(said_by_file(lake, key).get("model")).rpartition("/")
    if not (model and number.isdecimal()):
        raise LakeCorrupt(
            f"{lake.address(key)} does not say which version has scored it", next_step="restore it from a backup"
        )
    return model, int(number)


def _workspace(manifest: Manifest) -> str:
    return manifest.workspace


def _partition(manifest: Manifest) -> str:
    return layout.partition(layout.CHALLENGERS, manifest.job, manifest.as_of)
