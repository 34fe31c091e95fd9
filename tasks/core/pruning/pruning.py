"""Prune: what has outlived a job's retention is found, and removed where that is asked for.

Everything is decided from the lake and the job's policy, as of an instant. What goes is written down first, in
`pruned/<job>/<day>.json`; what a published window needed to be explained is written into its manifest as well. Killed at
any step, the next prune ends it; run twice, the second finds nothing.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tasks.core import layout
from tasks.core.definitions.project import Project
from tasks.core.errors import LakeError, LamplighterError, WindowBusy
from tasks.core.pruning import beside, windows
from tasks.core.pruning.records import LITTER_DAYS, Found, Kind, Line, Pruned, Removals, Removed, Scope
from tasks.core.records import read_beside
from tasks.core.storage import Lake

Sizes = dict[Found, dict[str, int]]
Left = dict[Found, LamplighterError]
_MOST_NAMED = 5
_KINDS: tuple[Kind, ...] = (*windows.KINDS, *beside.KINDS)


def look(lake: Lake, project: Project, name: str, *, now: dt.datetime) -> Pruned:
    """What has outlived the policy of a job. Changes nothing."""
    scope = Scope(lake, project.load(name, suites=False).job, now)
    found = _all(scope)
    return _told(scope, found, _sizes(scope, [one for one in found if one.goes]), {}, applied=False)


def prune(lake: Lake, project: Project, name: str, *, now: dt.datetime) -> Pruned:
    """Removes what has outlived the policy of a job. What others are at now is left for the next time, and named.

    WindowBusy where another prune of the job is under way.
    """
    scope = Scope(lake, project.load(name, suites=False).job, now)
    with lake.lock(layout.prune_lock(name), holder=f"the prune of {name}, as of {now:%Y-%m-%d %H:%M} UTC"):
        _clear(scope)
        found = _all(scope)
        going = [one for one in found if one.goes]
        sizes = _sizes(scope, going)
        _write_down(scope, going, sizes)
        left = dict(_remove(scope, going))
        _strike_out(scope, left, sizes)
        _clear(scope)
    return _told(scope, found, sizes, left, applied=True)


def attempt(lake: Lake, project: Project, name: str, *, now: dt.datetime, apply: bool) -> Pruned:
    """The one or the other; of a job or a record that cannot be read the problem, which keeps no other job from it."""
    try:
        return (prune if apply else look)(lake, project, name, now=now)
    except LamplighterError as error:
        return Pruned(job=name, at=now, applied=False, problem=str(error))


def prune_litter(lake: Lake, *, now: dt.datetime, apply: bool) -> Pruned:
    """What killed writers left under hidden names, whosever they were."""
    try:
        found = beside.litter(lake)
        if apply:
            beside.sweep(lake)
    except LakeError as error:
        return Pruned(job="", at=now, applied=False, problem=str(error))
    line = Line(kind="litter", policy=LITTER_DAYS, count=len(found), files=len(found), bytes=sum(found.values()))
    return Pruned(job="", at=now, applied=apply, lines=(line,) if found else ())


def _all(scope: Scope) -> list[Found]:
    of_windows = [one for as_of in windows.labels(scope) for one in windows.find(scope, as_of)]
    return [*of_windows, *(one for kind in beside.KINDS for one in beside.find(scope, kind))]


def _remove(scope: Scope, going: Sequence[Found]) -> Iterator[tuple[Found, LamplighterError]]:
    """Removes what goes; what had to be left, with why."""
    of_windows = [one for one in going if one.kind in windows.KINDS]
    for as_of in dict.fromkeys(one.as_of for one in of_windows):
        wanted = [one for one in of_windows if one.as_of == as_of]
        try:
            windows.remove(scope, as_of, wanted)
        except (WindowBusy, LakeError) as error:
            yield from ((one, error) for one in wanted)
    for kind in beside.KINDS:
        yield from beside.remove(scope, kind, [one for one in going if one.kind == kind])


def _clear(scope: Scope) -> None:
    """Removes what a prune had taken out of sight, this one or one that was killed."""
    folder = layout.pruning(scope.name)
    scope.lake.sweep(folder)
    for name in scope.lake.names(folder):
        scope.lake.remove(f"{folder}/{name}")
    scope.lake.remove_empty(folder)
    scope.lake.sweep(layout.prunes(scope.name))


# --- What is said of it, and written down


def _sizes(scope: Scope, found: Sequence[Found]) -> Sizes:
    """Of each thing its files, with their bytes."""
    return {
        one: {name: size for key in one.keys for name, size in scope.lake.sizes_bytes(key).items()} for one in found
    }


def _told(scope: Scope, found: Sequence[Found], sizes: Sizes, left: Left, *, applied: bool) -> Pruned:
    by_kind = {kind: [one for one in found if one.kind == kind] for kind in _KINDS}
    lines = (_line(scope, kind, some, sizes, left) for kind, some in by_kind.items() if some)
    failed = [f"{_named(one)}: {why.failed}" for one, why in left.items() if not isinstance(why, WindowBusy)]
    problem = f"{len(failed)} could not be removed: {'; '.join(failed[:_MOST_NAMED])}" if failed else ""
    return Pruned(job=scope.name, at=scope.now, applied=applied, lines=tuple(lines), problem=problem)


def _line(scope: Scope, kind: Kind, found: Sequence[Found], sizes: Sizes, left: Left) -> Line:
    gone = [one for one in found if one.goes and one not in left]
    kept = Counter(one.kept for one in found if one.kept)
    return Line(
        kind=kind,
        policy=scope.policy(kind),
        count=len(gone),
        files=sum(len(sizes[one]) for one in gone),
        bytes=sum(sum(sizes[one].values()) for one in gone),
        oldest=min((one.at for one in gone if one.at), default=None),
        kept=sum(kept.values()),
        why_kept=dict(kept.most_common()),
        left=tuple(f"{_named(one)}: {left[one].failed}" for one in found if one in left),
    )


def _named(found: Found) -> str:
    return " ".join(filter(None, (found.as_of, found.name))) or found.kind


def _write_down(scope: Scope, going: Sequence[Found], sizes: Sizes) -> None:
    """Before anything goes: what a kill leaves is on the list already, and the next prune ends it."""
    if going:
        listed = {_place(one): one for one in _read(scope).removed}
        new = [_removed(scope, one, sizes[one], one.keys) for one in going]
        _write(scope, (listed | {_place(one): _with_more(listed.get(_place(one)), one) for one in new}).values())


def _with_more(listed: Removed | None, new: Removed) -> Removed:
    """An entry that a kill left says all already; one of which an error had kept a part back gets that part."""
    if listed is None:
        return new
    more = tuple(key for key in new.keys if key not in listed.keys)
    return listed.model_copy(update={"keys": listed.keys + more, "bytes": listed.bytes + new.bytes}) if more else listed


def _strike_out(scope: Scope, left: Left, sizes: Sizes) -> None:
    """What could not go is off the list again; of what went in part, that part stays on it."""
    if not left:
        return
    gone = {one: tuple(key for key in one.keys if not scope.lake.exists(key)) for one in left}
    of_left = [_removed(scope, one, sizes[one], keys) for one, keys in gone.items()]
    listed = {_place(one): one for one in _read(scope).removed} | {_place(one): one for one in of_left}
    _write(scope, [one for one in listed.values() if one.keys])


def _removed(scope: Scope, one: Found, sizes: dict[str, int], keys: Sequence[str]) -> Removed:
    """The entry of a thing of which these keys go."""
    return Removed(
        kind=one.kind,
        policy=scope.policy(one.kind),
        as_of=one.as_of,
        name=one.name,
        at=one.at,
        bytes=sum(
            size for name, size in sizes.items() if any(name == key or name.startswith(f"{key}/") for key in keys)
        ),
        keys=tuple(keys),
    )


def _place(one: Removed) -> tuple[str, str, str]:
    return one.kind, one.as_of, one.name


def _key(scope: Scope) -> str:
    return layout.prune_record(scope.name, f"{scope.now:%Y-%m-%d}")


def _read(scope: Scope) -> Removals:
    return read_beside(
        scope.lake,
        _key(scope),
        Removals,
        wrong="is not a list of what was removed",
        state="nothing was removed",
        next_step="restore it from a backup, or move it away, and run it again",
    ) or Removals(job=scope.name, day=f"{scope.now:%Y-%m-%d}")


def _write(scope: Scope, removed: Iterable[Removed]) -> None:
    record = Removals(job=scope.name, day=f"{scope.now:%Y-%m-%d}", removed=tuple(sorted(removed, key=_place)))
    scope.lake.write_bytes(_key(scope), record.model_dump_json(indent=1).encode() + b"\n")
