"""Publishing: all or nothing, and what a kill leaves is rolled forward or undone by whoever comes next.

The order: manifest 'publishing' (the intent) -> metrics and quarantine swapped -> predictions swapped (the commit
point; of a Delta table the commit to its log) -> what was replaced moves to superseded/ -> manifest 'concluded'. Each step may be repeated.

A job in shadow publishes into shadow/ in the place of predictions/. A window that leaves the shadow commits with the
step that puts it into predictions/; its partition of the shadow is then what was replaced.
"""

from __future__ import annotations

import contextlib
import datetime as dt

from tasks.core import layout
from tasks.core.errors import DefinitionError, LakeError
from tasks.core.runs import challenger, partitions
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.recalling import withdrawal
from tasks.core.runs.run import has_manifest, load_manifest, manifests, write_manifest
from tasks.core.runs.showing import partition_of, refuse_shadow_over_live, showing
from tasks.core.storage import Folder, Lake


def staged(workspace: str, table: str) -> str:
    """The folder that is swapped with the table's partition; afterwards it holds what was replaced."""
    return f"{workspace}/staged/{table}"


def publish_staged(lake: Lake, workspace: str, intent: Manifest, *, finished_at: dt.datetime) -> Manifest:
    """Makes the staged tables visible. `intent` has its verdict, and the digests of all staged files."""
    refuse_shadow_over_live(lake, intent.job, intent.as_of, shadow=intent.shadow)
    replaces = _replaced_run(lake, intent)
    intent = intent.but(state="publishing", replaces=replaces, superseded_by=None, finished_at=finished_at)
    write_manifest(lake, workspace, intent)
    try:
        atomic = [_show(lake, workspace, intent, table) for table in layout.TABLES]
        return _finish(lake, workspace, intent.but(swapped_atomically=all(atomic)))
    except (LakeError, DefinitionError) as error:
        _settle(lake, intent, error)
        raise


def _show(lake: Lake, workspace: str, manifest: Manifest, table: str) -> bool:
    """Puts a staged table in the place of what the window shows; whether that was one step."""
    return partitions.swap(lake, staged(workspace, table), partition_of(manifest, table), at=_at(manifest))


def _at(manifest: Manifest) -> dt.datetime:
    return manifest.finished_at or manifest.started_at


def _replaced_run(lake: Lake, intent: Manifest) -> str | None:
    """The run that readers see, or that counts as published though they do not see it: else two would.

    Somebody has taken its partition away; or this run was undone, and its commit was seen after that.
    """
    seen = visible_run(lake, intent.job, intent.as_of)
    if seen and seen != intent.run_id:
        return seen
    published = [one.run_id for one in manifests(lake, intent.job, intent.as_of) if one.is_published]
    return next((one for one in published if one != intent.run_id), seen or next(iter(published), None))


def _settle(lake: Lake, intent: Manifest, error: LakeError | DefinitionError) -> None:
    """After a failure that is no kill: what was swapped is swapped back at once, unless the commit point is passed."""
    if is_visible(lake, intent, layout.PREDICTIONS):
        error.state = "the new predictions are visible, and the next run of this window completes their record"
        return
    with contextlib.suppress(LakeError):
        recover(lake, intent.job, intent.as_of)


def recover(lake: Lake, job: str, as_of: str) -> None:
    """Ends every publication and withdrawal of this window that a kill cut short. The caller holds the window's lock."""
    for manifest in manifests(lake, job, as_of):
        if manifest.state == "publishing":
            _end_publication(lake, manifest)
        elif manifest.state == "withdrawing" and manifest.withdrawal:
            withdrawal.finish(lake, manifest, manifest.withdrawal)
    for folder in (layout.runs, layout.superseded_runs, layout.withdrawn_runs):
        lake.sweep(folder(job, as_of))
    partitions.sweep(lake, job, as_of)


def _end_publication(lake: Lake, manifest: Manifest) -> None:
    workspace = layout.workspace(manifest.job, manifest.as_of, manifest.run_id)
    for table in layout.TABLES:
        partitions.mend_swap(lake, staged(workspace, table), partition_of(manifest, table))
    if is_visible(lake, manifest, layout.PREDICTIONS):
        _roll_forward(lake, workspace, manifest)
    else:
        _undo(lake, workspace, manifest)


def _roll_forward(lake: Lake, workspace: str, manifest: Manifest) -> None:
    # The same bytes may have been visible before: then the kill may have come before the other tables were swapped.
    for table in layout.TABLES:
        if not is_visible(lake, manifest, table) and lake.exists(staged(workspace, table)):
            _show(lake, workspace, manifest, table)
    _finish(lake, workspace, manifest)


def _finish(lake: Lake, workspace: str, manifest: Manifest) -> Manifest:
    if manifest.replaces:
        if not manifest.shadow:
            _leave_shadow(lake, manifest, manifest.replaces)
        _supersede(lake, workspace, manifest, manifest.replaces)
    with contextlib.suppress(LakeError):
        # The challenger's rows pair with those that readers see. They are a thing aside: nothing fails for them.
        challenger.pair(lake, manifest.job, manifest.as_of, manifest.run_id)
    # Checkpoints served the publication; the snapshot and the rejects stay, they explain the table. Nobody comes back
    # to a window that is concluded: they go first.
    for done in ("staged", "batches", "validated"):
        if lake.exists(f"{workspace}/{done}"):
            lake.remove(f"{workspace}/{done}")
    concluded = manifest.but(state="concluded")
    write_manifest(lake, workspace, concluded)
    return concluded


def _leave_shadow(lake: Lake, manifest: Manifest, replaced: str) -> None:
    """The window is live now: what it showed in shadow goes where what was replaced is kept."""
    partition = layout.partition(layout.SHADOW, manifest.job, manifest.as_of)
    if partitions.names(lake, partition):
        kept = f"{layout.superseded(manifest.job, manifest.as_of, replaced)}/{layout.PREDICTIONS}"
        lake.remove(kept)
        partitions.take_out(lake, partition, kept, at=_at(manifest))


def _supersede(lake: Lake, workspace: str, manifest: Manifest, replaced: str) -> None:
    """Moves the replaced folders out of sight as wholes: a reader that is listing one still finds its file's name."""
    kept = layout.superseded(manifest.job, manifest.as_of, replaced)
    for table in layout.TABLES:
        if lake.exists(staged(workspace, table)):
            lake.remove(f"{kept}/{table}")
            lake.rename(staged(workspace, table), f"{kept}/{table}")
    old = layout.workspace(manifest.job, manifest.as_of, replaced)
    if replaced != manifest.run_id and has_manifest(lake, old):
        record = load_manifest(lake, old).but(state="superseded", superseded_by=manifest.run_id)
        write_manifest(lake, kept, record)
        write_manifest(lake, old, record)


def _undo(lake: Lake, workspace: str, manifest: Manifest) -> None:
    for table in (layout.METRICS, layout.QUARANTINE):
        partition = partition_of(manifest, table)
        if not is_visible(lake, manifest, table):
            continue
        if lake.exists(staged(workspace, table)):
            lake.swap(staged(workspace, table), partition)
        else:
            lake.rename(partition, staged(workspace, table))
    write_manifest(lake, workspace, manifest.but(state="running", verdict=None, replaces=None, finished_at=None))


def is_visible(lake: Lake, manifest: Manifest, table: str) -> bool:
    """Whether the partition shows this run's file, by its digest: a name alone may be that of an earlier, damaged one."""
    partition, part = partition_of(manifest, table), layout.part(manifest.run_id)
    if part not in partitions.names(lake, partition):
        return False
    key = f"{partition}/{part}"
    return lake.exists(key) and lake.sha256(key) == manifest.files[table].sha256


def visible_run(lake: Folder, job: str, as_of: str) -> str | None:
    """The run that the window shows, live or in shadow."""
    seen = showing(lake, job, as_of)
    return seen.run_id if seen else None
