"""Of each window: the rows that runs pulled, what was superseded or withdrawn, and what was never published.

Manifests, the rows of the table of all runs, and the figures of reports stay for ever. Before anything of a run goes, its
manifest says so (`pruned`); and the record of the snapshot goes before its rows: from then on no run takes them up. A kill
at any step leaves what the next prune ends.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from tasks.core import layout
from tasks.core.errors import LakeError
from tasks.core.pruning.records import Found, Kind, Scope, take
from tasks.core.records import read_record
from tasks.core.rows import rejects, snapshot
from tasks.core.runs.manifest import MENDED, Manifest, Removal, State, Verdict
from tasks.core.runs.publication import recover
from tasks.core.runs.run import as_of_labels, has_manifest, load_manifest, write_manifest

KINDS: tuple[Kind, ...] = ("snapshots", "superseded", "withdrawn", "unpublished")
# In this order: without its record nobody takes a snapshot for a whole one.
_PULLED = (snapshot.RECORD, snapshot.SNAPSHOT, rejects.PULLED, rejects.DUPLICATES)
# What explains a run that is gone: small, and kept for ever.
_EXPLAINS = ("manifest.json", layout.RUN_ROW, layout.FIGURES, layout.PROFILE, "challenger.json")
_WAITS = "its window waits to be scored again"
_CAN_COME_BACK = "the last one of another version: a recall could bring it back"
_UNREADABLE = "a record of its window cannot be read"
_UNDER_WAY = "a run of it is under way, or was killed"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Model(_Part):
    name: str
    version: int


class _Snapshot(_Part):
    complete_at: dt.datetime


class _Withdrawal(_Part):
    at: dt.datetime


class _Run(_Part):
    """The parts of a manifest that say what became of the run, and when. The rest of a manifest is long."""

    run_id: str
    state: State
    verdict: Verdict | None = None
    started_at: dt.datetime
    finished_at: dt.datetime | None = None
    superseded_by: str | None = None
    model: _Model
    snapshot: _Snapshot | None = None
    withdrawal: _Withdrawal | None = None

    @property
    def is_published(self) -> bool:
        return self.state == "concluded" and self.verdict in ("published", "published_with_warnings")


@dataclass(frozen=True)
class _Window:
    """A window as its manifests tell of it."""

    as_of: str
    runs: dict[str, _Run]
    waits: bool

    @property
    def shown(self) -> _Run | None:
        return next((one for one in self.runs.values() if one.is_published), None)

    def replaced_at(self, run: _Run) -> dt.datetime | None:
        """When another run took its place; None where that is not known."""
        by = self.runs.get(run.superseded_by or "")
        return by.finished_at if by else None


def labels(scope: Scope) -> list[str]:
    """The windows of which anything is there, in the order of time."""
    kept = (name.removeprefix("as_of=") for table in ("superseded", "withdrawn") for name in _names_in(scope, table))
    return sorted({*as_of_labels(scope.lake, scope.name), *kept})


def find(scope: Scope, as_of: str) -> list[Found]:
    """Everything in a window that has an age, with what decides whether it goes."""
    try:
        window = _read(scope, as_of)
    except LakeError:
        return [Found("snapshots", as_of, "", None, kept=_UNREADABLE)]
    protected = _can_come_back(scope, window)
    found = [_of_run(scope, window, run, protected) for run in window.runs.values()]
    return [*filter(None, found), *_replaced_files(scope, window), *_challengers(scope, window)]


def remove(scope: Scope, as_of: str, wanted: Sequence[Found]) -> None:
    """Removes what of this is still to go, under the window's lock; WindowBusy where a run holds it."""
    names = {(one.kind, one.name) for one in wanted}
    with scope.lake.lock(layout.lock(scope.name, as_of), holder=f"the prune of {scope.name}"):
        recover(scope.lake, scope.name, as_of)
        for one in find(scope, as_of):
            if one.goes and (one.kind, one.name) in names:
                _remove(scope, one)


def last_ended(scope: Scope, as_of: str) -> dt.datetime | None:
    """When the window's last run ended; None where nobody knows."""
    try:
        runs = _read(scope, as_of).runs.values()
    except LakeError:
        return None
    return max((one.finished_at or one.started_at for one in runs), default=None)


def _read(scope: Scope, as_of: str) -> _Window:
    folder = layout.runs(scope.name, as_of)
    found = {name: _run(scope, f"{folder}/{name}/manifest.json", name) for name in scope.lake.names(folder)}
    waits = scope.lake.exists(layout.queued(scope.name, as_of))
    return _Window(as_of, {name: run for name, run in found.items() if run}, waits)


def _run(scope: Scope, key: str, name: str) -> _Run | None:
    if not scope.lake.exists(key):
        return None
    found = read_record(scope.lake, key, _Run, wrong="is not a manifest", next_step=MENDED)
    return found.model_copy(update={"run_id": name})


def _of_run(scope: Scope, window: _Window, run: _Run, protected: str | None) -> Found | None:
    kind, at = _kind_of(window, run)
    keys = _keys(scope, window, run, kind)
    if not keys:
        return None
    kept = scope.why_kept(kind, at)
    if not kept and run.state in ("publishing", "withdrawing"):
        kept = _UNDER_WAY
    if not kept and window.waits and kind != "superseded":
        kept = _WAITS
    if not kept and run.run_id == protected:
        kept = _CAN_COME_BACK
    return Found(kind, window.as_of, run.run_id, at, keys, kept)


def _kind_of(window: _Window, run: _Run) -> tuple[Kind, dt.datetime | None]:
    """What a run is to retention, and since when: of the rows of a published window, since they were pulled."""
    if run.is_published:
        return "snapshots", run.snapshot.complete_at if run.snapshot else None
    if run.state == "superseded":
        return "superseded", window.replaced_at(run)
    if run.state in ("withdrawing", "withdrawn"):
        return "withdrawn", run.withdrawal.at if run.withdrawal else None
    return "unpublished", run.finished_at or run.started_at


def _keys(scope: Scope, window: _Window, run: _Run, kind: Kind) -> tuple[str, ...]:
    """What goes with a run: of one that readers see the rows that were pulled, of others all but what explains them."""
    workspace = layout.workspace(scope.name, window.as_of, run.run_id)
    names = scope.lake.names(workspace)
    pulled = [f"{workspace}/{name}" for name in _PULLED if name in names]
    if kind == "snapshots":
        return tuple(pulled)
    others = [f"{workspace}/{name}" for name in names if name not in (*_PULLED, *_EXPLAINS)]
    place = {"superseded": layout.superseded, "withdrawn": layout.withdrawn}.get(kind)
    aside = place(scope.name, window.as_of, run.run_id) if place else ""
    return (*([aside] if aside and scope.lake.exists(aside) else []), *pulled, *others)


def _can_come_back(scope: Scope, window: _Window) -> str | None:
    """The superseded run that a recall of what readers see would bring back, while that is young enough to be recalled."""
    shown = window.shown
    if shown is None or not scope.why_kept("superseded", shown.finished_at):
        return None
    others = [
        one
        for one in window.runs.values()
        if one.state == "superseded" and one.model != shown.model and one.model.version not in scope.recalls
    ]
    last = max(others, key=lambda one: window.replaced_at(one) or one.started_at, default=None)
    return last.run_id if last else None


def _replaced_files(scope: Scope, window: _Window) -> list[Found]:
    """Damaged files that a run has replaced by its own anew, in superseded/ under its name."""
    found = []
    for name in scope.lake.names(layout.superseded_runs(scope.name, window.as_of)):
        run, key = window.runs.get(name), layout.superseded(scope.name, window.as_of, name)
        if run is None or run.state != "superseded":
            at = run.finished_at if run else None
            found.append(Found("superseded", window.as_of, name, at, (key,), scope.why_kept("superseded", at)))
    return found


def _challengers(scope: Scope, window: _Window) -> list[Found]:
    """What a recalled version had scored as a challenger: there since it was recalled."""
    folder = f"{layout.withdrawn_runs(scope.name, window.as_of)}/{layout.CHALLENGERS}"
    found = []
    for name in scope.lake.names(folder):
        # Named part-<run_id>-<version>.
        version = name.rpartition("-")[2]
        event = scope.recalls.get(int(version)) if version.isdigit() else None
        at = event.at if event else None
        found.append(Found("withdrawn", window.as_of, name, at, (f"{folder}/{name}",), scope.why_kept("withdrawn", at)))
    return found


def _remove(scope: Scope, found: Found) -> None:
    workspace = layout.workspace(scope.name, found.as_of, found.name)
    if has_manifest(scope.lake, workspace) and any(key.startswith(f"{workspace}/") for key in found.keys):
        _say_pruned(scope, workspace, found)
    for key in found.keys:
        take(scope.lake, scope.name, key)
    for folder in (layout.superseded_runs, layout.withdrawn_runs):
        scope.lake.remove_empty(f"{folder(scope.name, found.as_of)}/{layout.CHALLENGERS}")
        scope.lake.remove_empty(folder(scope.name, found.as_of))


def _say_pruned(scope: Scope, workspace: str, found: Found) -> None:
    """Writes into the manifest what goes: once, also when a prune that was killed is run again."""
    manifest = load_manifest(scope.lake, workspace)
    if any(one.kind == found.kind for one in manifest.pruned):
        return
    what = tuple(key.removeprefix(f"{workspace}/") for key in found.keys)
    removal = Removal(at=scope.now, kind=found.kind, policy=scope.policy(found.kind), what=what)
    write_manifest(scope.lake, workspace, _ended(manifest).but(pruned=(*manifest.pruned, removal)))


def _ended(manifest: Manifest) -> Manifest:
    """A run that was killed can never be taken up again once its rows are gone: it has failed."""
    if manifest.state != "running":
        return manifest
    return manifest.but(
        state="concluded",
        verdict="failed",
        reasons=("it was killed, and nobody took it up again before its rows went",),
    )


def _names_in(scope: Scope, table: str) -> list[str]:
    return [name for name in scope.lake.names(f"{table}/{scope.name}") if name.startswith("as_of=")]
