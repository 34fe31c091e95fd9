"""Leak check: an old window is pulled again, and held against the snapshot of what was known when it was scored.

What differs came to be known later. Training pulls old windows: it would learn from what no run could have known.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Definition, Project
from tasks.core.definitions.source import FilesSource
from tasks.core.definitions.window import Window
from tasks.core.errors import DefinitionError, LamplighterError
from tasks.core.models.registry import Registry
from tasks.core.pages.wording import plural
from tasks.core.rows import snapshot
from tasks.core.rows.changes import common_columns
from tasks.core.rows.comparing import Comparison, Pair, SideCounts, compare_rows, rows_in
from tasks.core.rows.differing import ColumnTally
from tasks.core.runs.manifest import Manifest, SnapshotRecord
from tasks.core.runs.run import as_of_labels, published_manifest
from tasks.core.settings import Settings
from tasks.core.source import open_window, retry
from tasks.core.storage import ABANDONED_SECONDS, Folder, Lake
from tasks.secrets import secret_address

_NOTHING = "nothing was pulled"
_MOST_NAMED = 5


@dataclass(frozen=True)
class LeakCheck:
    """A window as it was known (`ours`), and as its query gives it now (`theirs`)."""

    job: str
    as_of: str
    run_id: str
    complete_at: dt.datetime
    known_at: dt.datetime
    binds_known_at: bool
    reads_files: bool
    is_trained: bool
    keys: tuple[str, ...]
    features: frozenset[str]
    comparison: Comparison
    tolerance: float
    notes: tuple[str, ...]

    @property
    def different(self) -> tuple[ColumnTally, ...]:
        """The columns that differ in any row, features first."""
        found = [one for one in self.comparison.columns if one.differing or one.compared_as is None]
        return tuple(sorted(found, key=lambda one: one.ours not in self.features))

    @property
    def leaking(self) -> tuple[ColumnTally, ...]:
        """The model's inputs that differ."""
        return tuple(one for one in self.different if one.ours in self.features and one.differing)

    @property
    def leaks(self) -> bool:
        both = self.comparison
        return bool(
            self.leaking or both.ours.alone or both.theirs.alone or _left_out(both.ours) != _left_out(both.theirs)
        )

    def share(self, one: ColumnTally) -> float:
        """The part of the rows that are there then and now in which it differs."""
        return one.differing / max(self.comparison.pairs, 1)

    @property
    def sentence(self) -> str:
        both = self.comparison
        if not self.leaks:
            out = sum(_left_out(both.ours))
            looked = f"{plural(both.pairs, 'row')} ({out:,} left out)" if out else plural(both.pairs, "row")
            return (
                f"No feature of {self.job} {self.as_of} is different from what was known then: {looked}, "
                f"{plural(len(self.features), 'feature')}."
            )
        said = [f"{one.ours} in {plural(one.differing, 'row')} ({self.share(one):.2%})" for one in self.leaking]
        more = f" and {len(said) - _MOST_NAMED} more" if len(said) > _MOST_NAMED else ""
        named = f"not what was known then: {', '.join(said[:_MOST_NAMED])}{more} ({len(said)} of {plural(len(self.features), 'feature')})"
        rows = [
            f"{count:,} rows {what}"
            for count, what in ((both.ours.alone, "are gone"), (both.theirs.alone, "have come since"))
            if count
        ]
        again = [
            f"{abs(now - then):,} {'more' if now > then else 'fewer'} rows {what}"
            for then, now, what in zip(
                _left_out(both.ours), _left_out(both.theirs), ("share their key", "have no key"), strict=True
            )
            if now != then
        ]
        return (
            f"{self.job} {self.as_of} leaks: {'; '.join([*([named] if said else []), *rows, *again])}. A model that is "
            "trained on this window now learns from what no run could have known."
        )

    @property
    def next_step(self) -> str:
        if not self.leaks:
            train = f"lamplighter train {self.job}, or look" if self.is_trained else "look"
            return f"{train} at another window: lamplighter leak-check {self.job} --as-of DATE"
        again = f"lamplighter leak-check {self.job} --as-of {self.as_of}"
        if self.reads_files:
            return f"let the files of a window that is over stay as they are, and bring what is new in new ones; then: {again}"
        if self.binds_known_at:
            return (
                "find the table that the query reads without ingested_at <= :known_at, or whose rows are changed in place; "
                f"then: {again}"
            )
        return f"let each table that the query reads be filtered by the time of ingestion, ingested_at <= :known_at; then: {again}"


def _left_out(side: SideCounts) -> tuple[int, int]:
    """Rows that cannot be paired: those that share their key, and those without one."""
    return side.repeated, side.without_key


def leak_check(job: str, as_of: str | None, tolerance: float = 1e-9) -> LeakCheck:
    """Writes nothing that anybody sees. DefinitionError where the window, or any, cannot be pulled again."""
    settings = Settings()
    project, lake = Folder(settings.project), Lake(settings.lake)
    definition = Project(project).load(job, suites=False)
    if definition.job.source.history == "current_only":
        raise DefinitionError(
            f"the source of {job} knows the present only (history: current_only), so no old window of it can be pulled again",
            state=_NOTHING,
            next_step="train on retained snapshots, or give a source that keeps what was known when; what it knows now "
            "says nothing of then",
        )
    manifest, kept = _then(lake, definition.job, as_of)
    window = Window(manifest.as_of, manifest.window.start, manifest.window.end)
    known_at = manifest.window.known_at or definition.job.known_at(window)
    with _pulled_again(lake, project, definition, window, known_at) as now:
        found, apart = _compared(lake, definition.job, manifest.workspace, now, tolerance)
    binds = definition.known_at(window) is not None
    return LeakCheck(
        job=job,
        as_of=manifest.as_of,
        run_id=manifest.run_id,
        complete_at=kept.complete_at,
        known_at=known_at,
        binds_known_at=binds,
        reads_files=isinstance(definition.job.source, FilesSource),
        is_trained=definition.job.training is not None,
        keys=definition.job.keys,
        features=frozenset(_features(lake, definition.job, manifest)) & {one.ours for one in found.columns},
        comparison=found,
        tolerance=tolerance,
        notes=(
            *_notes(definition, _is_as_then(project, manifest), manifest, kept, apart),
            *_notes_of_rows(found, tolerance),
        ),
    )


# --- Then


def _then(lake: Lake, job: Job, as_of: str | None) -> tuple[Manifest, SnapshotRecord]:
    """The record of what a published window was scored from; of none that is named, the oldest that is there."""
    if as_of is not None:
        manifest = published_manifest(lake, job.job, job.window.parse(as_of).as_of)
        found = _with_snapshot(lake, manifest)
        if found is None and manifest is not None and manifest.pruned:
            raise snapshot.gone(manifest)
    else:
        published = (published_manifest(lake, job.job, label) for label in as_of_labels(lake, job.job))
        found = next((one for manifest in published if (one := _with_snapshot(lake, manifest))), None)
    if found is None:
        which = (
            f"{job.job} {as_of} is not published, or its snapshot is gone from {lake.address()}"
            if as_of
            else f"{lake.address()} has no window of {job.job} that is published and whose snapshot is still there"
        )
        raise DefinitionError(
            f"{which}: nothing says what was known then",
            state=_NOTHING,
            next_step=f"lamplighter runs {job.job}",
        )
    return found


def _with_snapshot(lake: Lake, manifest: Manifest | None) -> tuple[Manifest, SnapshotRecord] | None:
    if manifest is None or not lake.exists(f"{manifest.workspace}/{snapshot.SNAPSHOT}"):
        return None
    kept = snapshot.read_record(lake, manifest.workspace)
    if kept is None:
        return None
    snapshot.check_bytes(lake, manifest.workspace, kept)
    return manifest, kept


def _is_as_then(project: Folder, manifest: Manifest) -> bool:
    """Whether the job's definition is that of the run; of one that is not whole now nothing is said."""
    try:
        return Project(project).load(manifest.job).digest == manifest.job_digest
    except LamplighterError:
        return True


def _features(lake: Lake, job: Job, manifest: Manifest) -> Sequence[str]:
    """The columns that the model took; where it is gone, all but keys and event time."""
    try:
        return Registry(lake).version(manifest.model.name, manifest.model.version).inputs.names
    except LamplighterError:
        return [name for name in job.columns if name not in (*job.keys, job.event_time)]


# --- Now


@contextmanager
def _pulled_again(
    lake: Lake, project: Folder, definition: Definition, window: Window, known_at: dt.datetime
) -> Iterator[str]:
    """The folder of a snapshot as it is pulled now, with the binds of then; it is removed with the block."""
    job = definition.job
    folder = layout.leak_check(job.job, window.as_of)
    name = f"{job.job} {window.as_of} (leak check)"
    with lake.lock(layout.leak_check_lock(job.job, window.as_of), holder=f"lamplighter leak-check {name}"):
        # What a killed one has left.
        lake.remove(folder)
        lake.sweep(layout.leak_checks(job.job), idle_seconds=ABANDONED_SECONDS)
        try:
            retry(partial(_pull, lake, folder, project, definition, window, known_at), job.source.retries)
            yield folder
        finally:
            lake.remove(folder)


def _pull(
    lake: Lake, folder: str, project: Folder, definition: Definition, window: Window, known_at: dt.datetime
) -> None:
    opened = open_window(definition, window, project=project, read_block=secret_address, known_at=known_at)
    with opened as stream:
        snapshot.write_snapshot(
            lake, folder, definition.job, window, stream, tell=lambda _: None, now=lambda: dt.datetime.now(dt.UTC)
        )


# --- Then beside now


def _compared(lake: Lake, job: Job, then: str, now: str, tolerance: float) -> tuple[Comparison, list[str]]:
    """The rows of both, by the job's keys; and the columns that only one of them has in this type."""
    before, after = (rows_in(lake, f"{folder}/{snapshot.SNAPSHOT}") for folder in (then, now))
    columns, apart = common_columns(before.schema, after.schema)
    if lacking := [key for key in job.keys if key not in columns]:
        raise DefinitionError(
            f"{job.job} had another key then: '{lacking[0]}' is not in the snapshot, or not in its type of now",
            state="nothing was compared",
            next_step="look at a window that was scored since the key was changed",
        )
    pairs = [Pair(name, name) for name in columns if name not in job.keys]
    return compare_rows(before, after, [Pair(key, key) for key in job.keys], pairs, tolerance=tolerance), apart


def _notes(
    definition: Definition, is_as_then: bool, manifest: Manifest, kept: SnapshotRecord, apart: list[str]
) -> Iterator[str]:
    if not is_as_then:
        yield "the job (its query, columns, suites or output) is not what it was then: a difference may come from that."
    yield from _notes_of_known_at(definition, manifest, kept)
    if apart:
        yield f"not compared, as only one of the two has it in this type: {', '.join(apart)}."


def _notes_of_rows(found: Comparison, tolerance: float) -> Iterator[str]:
    if near := [f"{one.ours} in {plural(one.near, 'row')}" for one in found.columns if one.near]:
        more = f" and {len(near) - _MOST_NAMED} more" if len(near) > _MOST_NAMED else ""
        yield f"different by rounding alone (--tolerance {tolerance:g}): {', '.join(near[:_MOST_NAMED])}{more}."
    if out := max(sum(_left_out(found.ours)), sum(_left_out(found.theirs))):
        yield f"{out:,} rows share their key or have none; they cannot be told apart, and were not held against each other."


def _notes_of_known_at(definition: Definition, manifest: Manifest, kept: SnapshotRecord) -> Iterator[str]:
    window = Window(manifest.as_of, manifest.window.start, manifest.window.end)
    then, now = manifest.window.known_at, definition.known_at(window)
    if now is None:
        return
    if then is None:
        yield "the query did not bind :known_at then; what it stands for now is what it would have been."
    elif then != now:
        yield (
            f"the schedule is not what it was then: training binds {now:%Y-%m-%d %H:%M:%S} UTC for this window, and the run "
            f"bound {then:%Y-%m-%d %H:%M:%S}."
        )
    if kept.complete_at < (then or now):
        yield (
            f"it was pulled at {kept.complete_at:%Y-%m-%d %H:%M:%S} UTC, before its :known_at of {then or now:%Y-%m-%d %H:%M:%S}: "
            "what was ingested between was not known then."
        )
