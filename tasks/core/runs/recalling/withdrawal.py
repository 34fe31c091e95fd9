"""Withdrawing: what a recalled version published leaves the tables, and the last good partition comes back in its place.

The order, under the window's lock: manifest 'withdrawing' (the intent, which nothing undoes) -> predictions, quarantine
and metrics out of the tables, each in one step -> the restored run's manifest 'concluded' -> the window queued -> manifest
'withdrawn'. Each step may be repeated: whoever comes next ends what a kill cut short.
"""

from __future__ import annotations

import contextlib
import datetime as dt

from tasks.core import layout
from tasks.core.errors import LakeCorrupt
from tasks.core.runs import challenger, partitions
from tasks.core.runs.manifest import Manifest, Restoration, Withdrawal
from tasks.core.runs.recalling import queue
from tasks.core.runs.run import has_manifest, load_manifest, write_manifest
from tasks.core.runs.showing import partition_of
from tasks.core.storage import Folder, Lake

# What most people read goes first.
_OUTWARDS = (layout.PREDICTIONS, layout.QUARANTINE, layout.METRICS)
_NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)


def withdraw(lake: Lake, published: Manifest, withdrawal: Withdrawal) -> Manifest:
    """Takes out of sight what a run published, and brings back what `withdrawal` names. The caller holds the lock."""
    intent = published.but(state="withdrawing", withdrawal=withdrawal)
    write_manifest(lake, _workspace(intent), intent)
    return finish(lake, intent, withdrawal)


def finish(lake: Lake, manifest: Manifest, withdrawal: Withdrawal) -> Manifest:
    """Ends a withdrawal, from wherever it was cut short."""
    withdrawal = _as_can_be_done(lake, manifest, withdrawal)
    for table in _OUTWARDS:
        _take_out(lake, manifest, withdrawal, table)
    with contextlib.suppress(LakeCorrupt):
        # A thing aside: that its file is damaged must not keep what is wrong in sight.
        challenger.pair(lake, manifest.job, manifest.as_of, withdrawal.restores)
    if withdrawal.restores:
        _conclude_restored(lake, manifest, withdrawal, withdrawal.restores)
    queue.add(lake, entry_of(manifest, withdrawal))
    withdrawn = manifest.but(state="withdrawn", withdrawal=withdrawal)
    write_manifest(lake, layout.withdrawn(manifest.job, manifest.as_of, manifest.run_id), withdrawn)
    write_manifest(lake, _workspace(manifest), withdrawn)
    return withdrawn


def entry_of(manifest: Manifest, withdrawal: Withdrawal) -> queue.Entry:
    """The window's place in the queue."""
    return queue.Entry(
        job=manifest.job,
        as_of=manifest.as_of,
        reason=f"version {withdrawal.version} of {withdrawal.model} was recalled: {withdrawal.reason}",
        model=withdrawal.model,
        version=withdrawal.version,
        repull=withdrawal.repull,
        restored=withdrawal.restores,
        queued_at=withdrawal.at,
    )


def last_good(lake: Lake, bad: Manifest) -> tuple[Manifest | None, tuple[str, ...]]:
    """The superseded run whose partition can come back: the latest of a version that is not recalled, with whole files.

    And, for each later one that was passed over because it is damaged, or cannot be shown, a sentence that says so.
    """
    notes: list[str] = []
    for one in _superseded(lake, bad, notes):
        # What was in shadow never becomes live this way, nor the other way round.
        if one.shadow != bad.shadow or queue.is_recalled(lake, one):
            continue
        if why := _damage(lake, one) or _why_not_shown(lake, bad, one.run_id):
            notes.append(f"run {one.run_id} was not restored: {why}")
            continue
        return one, tuple(notes)
    return None, tuple(notes)


def holds(lake: Folder, folder: str, run_id: str) -> bool:
    """Whether a partition shows this run's file, by its name: a damaged file is to go as well."""
    return layout.part(run_id) in partitions.names(lake, folder)


def _superseded(lake: Lake, bad: Manifest, notes: list[str]) -> list[Manifest]:
    """What the window showed before, the latest first: what it replaced, what that had replaced, and so on.

    Clocks may differ between machines: they only order what no such chain leads to.
    """
    found = {one.run_id: one for one in _kept(lake, bad.job, bad.as_of, notes)}
    in_order, replaced = list[Manifest](), bad.replaces
    while one := found.pop(replaced or "", None):
        in_order.append(one)
        replaced = one.replaces
    _note_pruned(lake, bad, replaced, notes)
    return in_order + sorted(found.values(), key=lambda one: one.finished_at or _NEVER, reverse=True)


def _note_pruned(lake: Lake, bad: Manifest, run_id: str | None, notes: list[str]) -> None:
    """Says of the run at which the chain ends that retention took it, where it did."""
    workspace = layout.workspace(bad.job, bad.as_of, run_id or "none")
    if run_id and run_id != bad.run_id and has_manifest(lake, workspace):
        record = load_manifest(lake, workspace)
        if record.state == "superseded" and record.pruned:
            notes.append(f"run {run_id} was not restored: {record.pruned[-1].sentence}")


def _kept(lake: Lake, job: str, as_of: str, notes: list[str]) -> list[Manifest]:
    """The records of what the window showed before."""
    found = []
    for run_id in lake.names(layout.superseded_runs(job, as_of)):
        kept = layout.superseded(job, as_of, run_id)
        try:
            if has_manifest(lake, kept):
                found.append(load_manifest(lake, kept))
        # A disk that fails is no damage: what cannot be read now may be read by the next attempt.
        except LakeCorrupt as error:
            notes.append(f"run {run_id} was not restored: {error.failed}")
    return found


def _damage(lake: Lake, manifest: Manifest) -> str | None:
    """What is wrong with the kept files of a superseded run; None if they are those that its manifest records."""
    kept = layout.superseded(manifest.job, manifest.as_of, manifest.run_id)
    for table in layout.TABLES:
        key = f"{kept}/{table}/{layout.part(manifest.run_id)}"
        if table not in manifest.files or not lake.exists(key):
            return f"{lake.address(key)} is missing"
        if lake.names(f"{kept}/{table}") != [layout.part(manifest.run_id)]:
            return f"{lake.address(f'{kept}/{table}')} holds other files too"
        if lake.sha256(key) != manifest.files[table].sha256:
            return f"{lake.address(key)} is not the file that was published: its SHA-256 differs"
    return None


def _as_can_be_done(lake: Lake, manifest: Manifest, withdrawal: Withdrawal) -> Withdrawal:
    """Without the run that was to come back, where the table cannot show it: what is wrong must not stay in sight for it."""
    restores, partition = withdrawal.restores, partition_of(manifest, layout.PREDICTIONS)
    if restores is None or holds(lake, partition, restores):
        return withdrawal
    why = _why_not_shown(lake, manifest, restores)
    if why is None:
        return withdrawal
    # An attempt that failed has left what the partition shows beside the kept file.
    partitions.mend_swap(lake, _kept_predictions(manifest, restores), partition)
    notes = (*withdrawal.notes, f"run {restores} was not restored: {why}")
    return withdrawal.model_copy(update={"restores": None, "restores_model": None, "notes": notes})


def _why_not_shown(lake: Lake, bad: Manifest, run_id: str) -> str | None:
    """Why the table cannot show a kept file of the window: its columns have other types there."""
    key = f"{_kept_predictions(bad, run_id)}/{layout.part(run_id)}"
    return partitions.why_not_shown(lake, key, partition_of(bad, layout.PREDICTIONS)) if lake.exists(key) else None


def _kept_predictions(manifest: Manifest, run_id: str) -> str:
    return f"{layout.superseded(manifest.job, manifest.as_of, run_id)}/{layout.PREDICTIONS}"


def _take_out(lake: Lake, manifest: Manifest, withdrawal: Withdrawal, table: str) -> None:
    """One table's partition to withdrawn/: by a swap with the kept one, where there is one, or by a plain move."""
    partition, restores = partition_of(manifest, table), withdrawal.restores
    aside = f"{layout.withdrawn(manifest.job, manifest.as_of, manifest.run_id)}/{table}"
    if restores is None:
        if holds(lake, partition, manifest.run_id):
            partitions.take_out(lake, partition, aside, at=withdrawal.at)
        return
    kept = f"{layout.superseded(manifest.job, manifest.as_of, restores)}/{table}"
    partitions.mend_swap(lake, kept, partition)
    if holds(lake, kept, restores):
        partitions.swap(lake, kept, partition, at=withdrawal.at)
    if holds(lake, kept, manifest.run_id):
        partitions.put_aside(lake, kept, aside)


def _conclude_restored(lake: Lake, manifest: Manifest, withdrawal: Withdrawal, restores: str) -> None:
    kept = layout.superseded(manifest.job, manifest.as_of, restores)
    if has_manifest(lake, kept):
        again = Restoration(at=withdrawal.at, by=withdrawal.by, reason=withdrawal.reason, instead_of=manifest.run_id)
        record = load_manifest(lake, kept).but(state="concluded", superseded_by=None, restored=again)
        write_manifest(lake, _workspace(record), record)
        lake.remove(f"{kept}/manifest.json")
    # Nothing else is in it, unless somebody has put it there.
    if lake.exists(kept) and not lake.names(kept):
        lake.remove(kept)


def _workspace(manifest: Manifest) -> str:
    return layout.workspace(manifest.job, manifest.as_of, manifest.run_id)
