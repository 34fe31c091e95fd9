"""Publishing: all or nothing, and what a kill leaves is rolled forward or undone by whoever comes next.

The order: manifest 'publishing' (the intent) -> metrics and quarantine swapped -> predictions swapped (the commit
point) -> what was replaced moves to superseded/ -> manifest 'concluded'. Each step may be repeated.
"""

from __future__ import annotations

import datetime as dt

from tasks.core import layout
from tasks.core.manifest import Manifest
from tasks.core.run import has_manifest, load_manifest, manifests, write_manifest
from tasks.core.storage import Lake


def staged(workspace: str, table: str) -> str:
    """The folder that is swapped with the table's partition; afterwards it holds what was replaced."""
    return f"{workspace}/staged/{table}"


def publish_staged(lake: Lake, workspace: str, intent: Manifest, *, finished_at: dt.datetime) -> Manifest:
    """Makes the staged tables visible. `intent` has its verdict, and the digests of all staged files."""
    intent = intent.but(state="publishing", replaces=_visible_run(lake, intent), finished_at=finished_at)
    write_manifest(lake, workspace, intent)
    atomic = [
        lake.swap(staged(workspace, table), layout.partition(table, intent.job, intent.as_of))
        for table in layout.TABLES
    ]
    return _finish(lake, workspace, intent.but(swapped_atomically=all(atomic)))


def recover(lake: Lake, job: str, as_of: str) -> None:
    """Ends every publication of this window that a kill cut short. The caller holds the window's lock."""
    for manifest in manifests(lake, job, as_of):
        if manifest.state != "publishing":
            continue
        workspace = layout.workspace(job, as_of, manifest.run_id)
        for table in layout.TABLES:
            lake.mend_swap(staged(workspace, table), layout.partition(table, job, as_of))
        if is_visible(lake, manifest, layout.PREDICTIONS):
            _finish(lake, workspace, manifest)
        else:
            _undo(lake, workspace, manifest)


def _finish(lake: Lake, workspace: str, manifest: Manifest) -> Manifest:
    if manifest.replaces:
        _supersede(lake, workspace, manifest, manifest.replaces)
    concluded = manifest.but(state="concluded")
    write_manifest(lake, workspace, concluded)
    # Checkpoints served the publication; the snapshot and the rejects stay, they explain the table.
    for done in ("staged", "batches", "validated"):
        if lake.exists(f"{workspace}/{done}"):
            lake.remove(f"{workspace}/{done}")
    return concluded


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
        partition = layout.partition(table, manifest.job, manifest.as_of)
        if not is_visible(lake, manifest, table):
            continue
        if lake.exists(staged(workspace, table)):
            lake.swap(staged(workspace, table), partition)
        else:
            lake.rename(partition, staged(workspace, table))
    write_manifest(lake, workspace, manifest.but(state="running", verdict=None, replaces=None, finished_at=None))


def is_visible(lake: Lake, manifest: Manifest, table: str) -> bool:
    """Whether the partition holds this run's file, by its digest: a name alone may be that of an earlier, damaged one."""
    key = f"{layout.partition(table, manifest.job, manifest.as_of)}/{layout.part(manifest.run_id)}"
    return lake.exists(key) and lake.sha256(key) == manifest.files[table].sha256


def _visible_run(lake: Lake, manifest: Manifest) -> str | None:
    """The run whose file the partition of predictions holds."""
    names = lake.names(layout.partition(layout.PREDICTIONS, manifest.job, manifest.as_of))
    return names[0].removeprefix("part-").removesuffix(".parquet") if names else None
