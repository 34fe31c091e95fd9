"""Compare: a window's rows beside what somebody else's script made of the same day, told by key. Changes nothing."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError
from tasks.core.rows.comparing import Comparison, Pair, compare_rows, rows_in
from tasks.core.runs import dry_run
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.run import published_manifest
from tasks.core.settings import Settings
from tasks.core.source.theirs import TheirTable, find_table
from tasks.core.storage import Folder, Lake

_NOTHING = "nothing was compared"
_MOST_NAMED = 30
_INDEX_OF_PANDAS = "__index_level_"
# Where a row comes from, which no other script knows. By --column they are compared all the same.
_OURS_ALONE = ("window_start", "model_version", "run_id", "scored_at")

What = Literal["published", "in shadow", "dry run"]


@dataclass(frozen=True)
class Ours:
    """Which of the window's rows were compared: the run, its file, and where they show."""

    what: What
    manifest: Manifest
    key: str


@dataclass(frozen=True)
class Compared:
    """A window's rows beside somebody's; and the columns of either that have no counterpart."""

    job: Job
    as_of: str
    ours: Ours
    theirs: TheirTable
    keys: tuple[Pair, ...]
    found: Comparison
    alone: tuple[str, ...]
    alone_there: tuple[str, ...]

    @property
    def predictions_left(self) -> tuple[str, ...]:
        """The predictions that were compared with nothing: no column was named for them, or one that they cannot meet."""
        apart = {one.ours for one in self.found.columns if one.compared_as is None} | set(self.alone)
        return tuple(name for name in self.job.output.columns if name in apart)

    @property
    def is_compared(self) -> bool:
        """Whether any column was, or only the keys."""
        return any(one.compared_as for one in self.found.columns)


@dataclass(frozen=True)
class Asked:
    """What is compared with what: each name alone where it is the same on both sides, else as ours=theirs."""

    against: str
    on: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    tolerance: float = 0.0
    dry_run: bool = False
    examples: int = 5


def compare(job: str, as_of: str, asked: Asked) -> Compared:
    """DefinitionError where there is nothing to compare, or no way to tell the rows by."""
    settings = Settings()
    definition = Project(Folder(settings.project)).load(job, suites=False).job
    window, lake = definition.window.parse(as_of), Lake(settings.lake)
    ours = _ours(lake, job, as_of, only_dry_run=asked.dry_run)
    theirs = find_table(asked.against, window)
    here = rows_in(lake, ours.key)
    keys = _keys(definition, asked, here.schema.names, theirs)
    columns = _columns(keys, asked, here.schema.names, theirs)
    types = {pair.theirs: here.schema.field(pair.ours).type for pair in (*columns, *keys)}
    found = compare_rows(
        here,
        theirs.rows(types),
        keys,
        columns,
        tolerance=asked.tolerance,
        examples=asked.examples,
    )
    used = (*keys, *columns)
    return Compared(
        job=definition,
        as_of=as_of,
        ours=ours,
        theirs=theirs,
        keys=tuple(keys),
        found=found,
        alone=tuple(
            name for name in here.schema.names if name not in {pair.ours for pair in used} and name not in _OURS_ALONE
        ),
        alone_there=tuple(
            name
            for name in theirs.names
            if name not in {pair.theirs for pair in used} and not name.startswith(_INDEX_OF_PANDAS)
        ),
    )


# --- Ours


def _ours(lake: Lake, job: str, as_of: str, *, only_dry_run: bool) -> Ours:
    """What readers see of the window, live or in shadow; else its last dry run."""
    published = None if only_dry_run else published_manifest(lake, job, as_of)
    if published is not None:
        return Ours("in shadow" if published.shadow else "published", published, _scored_key(published))
    tried = dry_run.last(lake, job, as_of)
    if tried is not None and layout.PREDICTIONS in tried.files:
        return Ours("dry run", tried, _scored_key(tried))
    nothing = (
        "no dry run of it has scored rows"
        if only_dry_run
        else "nothing of it is published, and no dry run of it has scored rows"
    )
    raise DefinitionError(
        f"{job} {as_of} has no rows to compare: {nothing}",
        state=_NOTHING,
        next_step=f"lamplighter score {job} --as-of {as_of} --dry-run",
    )


def _scored_key(manifest: Manifest) -> str:
    return manifest.files[layout.PREDICTIONS].key


# --- Which column is which


def _keys(job: Job, asked: Asked, ours: Sequence[str], theirs: TheirTable) -> list[Pair]:
    if asked.on:
        return _different([_pair("--on", given, ours, theirs) for given in asked.on], "--on")
    if lacking := [key for key in job.keys if key not in theirs.names]:
        raise DefinitionError(
            f"{theirs.path} has no column '{lacking[0]}', which is a key of {job.job}; it has {_listed(theirs.names)}",
            state=_NOTHING,
            next_step=f"say which of its columns is that: --on {shlex.quote(f'{lacking[0]}={_near(lacking[0], theirs.names)}')}",
        )
    return [Pair(key, key) for key in job.keys]


def _columns(keys: Sequence[Pair], asked: Asked, ours: Sequence[str], theirs: TheirTable) -> list[Pair]:
    """Those that were named, and all others that have one name on both sides."""
    named = _different([_pair("--column", given, ours, theirs) for given in asked.columns], "--column")
    used = {pair.ours for pair in (*named, *keys)}
    same = [Pair(name, name) for name in ours if name in theirs.names and name not in (*used, *_OURS_ALONE)]
    places = {name: place for place, name in enumerate(ours)}
    return sorted([*named, *same], key=lambda pair: places[pair.ours])


def _pair(option: str, given: str, ours: Sequence[str], theirs: TheirTable) -> Pair:
    """NAME, or OURS=THEIRS; a name may hold = itself."""
    splits = [(given, given), *((given[:at], given[at + 1 :]) for at, sign in enumerate(given) if sign == "=")]
    for here, there in splits:
        if here in ours and there in theirs.names:
            return Pair(here, there)
    here, there = splits[1] if len(splits) > 1 else splits[0]
    if here not in ours:
        raise DefinitionError(
            f"{option} '{given}': the window's rows have no column '{here}'; they have {_listed(ours)}",
            state=_NOTHING,
            next_step=f"{option} {shlex.quote(f'{_near(here, ours)}={there}' if there in theirs.names else _near(here, ours))}",
        )
    raise DefinitionError(
        f"{option} '{given}': {theirs.path} has no column '{there}'; it has {_listed(theirs.names)}",
        state=_NOTHING,
        next_step=f"{option} {shlex.quote(f'{here}={_near(there, theirs.names)}')}",
    )


def _different(pairs: list[Pair], option: str) -> list[Pair]:
    for side in ("ours", "theirs"):
        names = [getattr(pair, side) for pair in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise DefinitionError(f"{option} names '{twice[0]}' twice", state=_NOTHING, next_step="name it once")
    return pairs


def _near(name: str, among: Sequence[str]) -> str:
    """The name that is most like it, else one that a person is to put there."""
    by_lower = {one.lower(): one for one in among}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.5)
    return by_lower[near[0]] if near else "NAME"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (", ".join(f"'{name}'" for name in names[:_MOST_NAMED]) or "none") + more
