"""What no reader sees, and somebody may want back: superseded and withdrawn partitions, and the challengers' rows.

What is wrong with them is noted, and is no alarm: a window that was mended leaves what was damaged there.
"""

from __future__ import annotations

from collections.abc import Iterator

from tasks.core import layout
from tasks.core.errors import LakeError
from tasks.core.runs import challenger
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.run import has_manifest, load_manifest
from tasks.core.storage import Folder


def notes_of(lake: Folder, job: str, as_of: str) -> list[str]:
    """A sentence for each kept file that is not what its run recorded."""
    try:
        kept = [*_replaced(lake, job, as_of), *_withdrawn(lake, job, as_of), *_challengers(lake, job, as_of)]
    except LakeError as error:
        return [f"{job} {as_of}: what was replaced there cannot be read: {error.failed}"]
    return [
        f"{lake.address(key)} is not what was published then ({what})"
        for key, sha256, what in kept
        if lake.exists(key) and lake.sha256(key) != sha256
    ]


def _replaced(lake: Folder, job: str, as_of: str) -> Iterator[tuple[str, str, str]]:
    for run_id in lake.names(layout.superseded_runs(job, as_of)):
        kept = layout.superseded(job, as_of, run_id)
        if has_manifest(lake, kept):
            yield from _files(kept, load_manifest(lake, kept), "a recall could not bring it back")


def _withdrawn(lake: Folder, job: str, as_of: str) -> Iterator[tuple[str, str, str]]:
    for run_id in lake.names(layout.withdrawn_runs(job, as_of)):
        workspace = layout.workspace(job, as_of, run_id)
        if has_manifest(lake, workspace):
            kept = layout.withdrawn(job, as_of, run_id)
            yield from _files(kept, load_manifest(lake, workspace), "it was withdrawn")


def _files(folder: str, manifest: Manifest, what: str) -> Iterator[tuple[str, str, str]]:
    for table, record in manifest.files.items():
        yield f"{folder}/{table}/{layout.part(manifest.run_id)}", record.sha256, what


def _challengers(lake: Folder, job: str, as_of: str) -> Iterator[tuple[str, str, str]]:
    for name in lake.names(layout.partition(layout.CHALLENGERS, job, as_of)):
        workspace = layout.workspace(job, as_of, name.removeprefix("part-").rpartition("-")[0])
        if not has_manifest(lake, workspace):
            continue
        found = challenger.read(lake, load_manifest(lake, workspace))
        if found and found.file:
            yield found.file.key, found.file.sha256, f"version {found.version}, a challenger, scored it"
