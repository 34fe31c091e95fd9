"""What a model version wrote: found from the manifests in the lake, whatever jobs the project has now."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.core import layout
from tasks.core.errors import LakeError
from tasks.core.records import Record, said_by_file
from tasks.core.runs import challenger
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.publication import visible_run
from tasks.core.runs.run import manifests
from tasks.core.runs.showing import showing
from tasks.core.storage import Folder, Lake

_AS_OF = "as_of="
_PUBLISHED = ("published", "published_with_warnings")


class Left(Record):
    """A window with which nothing could be done, and why."""

    job: str
    as_of: str
    why: str


@dataclass(frozen=True)
class Footprint:
    """The windows that a version may have written, as (job, as_of), and those of which nobody can tell.

    `passed_over` says which windows have records that cannot be read, though readers see nothing of this version there.
    """

    windows: tuple[tuple[str, str], ...]
    left: tuple[Left, ...]
    passed_over: tuple[str, ...]


def footprint(lake: Lake, model: str, version: int, *, is_named: bool) -> Footprint:
    """Every window in which a run of this version published, or may yet.

    Where an alias has named it until now (`is_named`), any run of the model may be about to write with it.
    """
    windows: list[tuple[str, str]] = []
    left: list[Left] = []
    passed_over: list[str] = []
    for job, as_of in every_window(lake):
        try:
            if _is_of_concern(lake, job, as_of, model, version, is_named=is_named):
                windows.append((job, as_of))
        except LakeError as error:
            seen = _label_seen(lake, job, as_of)
            if seen in (_label(model, version), "unknown"):
                left.append(Left(job=job, as_of=as_of, why=f"{error.failed}; readers still see what is there"))
            else:
                passed_over.append(f"{job} {as_of}: {error.failed}; readers see {seen or 'nothing'} there")
    return Footprint(tuple(windows), tuple(left), tuple(passed_over))


def every_window(lake: Folder) -> list[tuple[str, str]]:
    """The windows of all jobs that have a run or a partition, by job and in the order of time."""
    return sorted(
        {
            (job, name.removeprefix(_AS_OF))
            for table in ("runs", layout.PREDICTIONS, layout.SHADOW, layout.CHALLENGERS)
            for job in lake.names(table)
            for name in lake.names(f"{table}/{job}")
            if name.startswith(_AS_OF)
        }
    )


def seen_of(lake: Folder, job: str, as_of: str, model: str, version: int) -> Manifest | None:
    """The record of what readers see of this window, if this version wrote it."""
    run_id = visible_run(lake, job, as_of)
    return next(
        (one for one in manifests(lake, job, as_of) if one.run_id == run_id and is_of(one, model, version)), None
    )


def is_of(manifest: Manifest, model: str, version: int) -> bool:
    return (manifest.model.name, manifest.model.version) == (model, version)


def challengers_of(lake: Lake, job: str, as_of: str, model: str, version: int) -> list[str]:
    """The files that this version wrote into the window as a challenger."""
    folder = layout.partition(layout.CHALLENGERS, job, as_of)
    wanted = _label(model, version)
    return [f"{folder}/{name}" for name in lake.names(folder) if _label_of(lake, f"{folder}/{name}") == wanted]


def _is_of_concern(lake: Lake, job: str, as_of: str, model: str, version: int, *, is_named: bool) -> bool:
    found = manifests(lake, job, as_of)
    run_id = visible_run(lake, job, as_of)
    if run_id and run_id not in [one.run_id for one in found]:
        raise LakeError(f"the manifest of run {run_id} is missing, whose rows readers see")
    at_work = [one for one in found if one.state == "running" and one.model.name == model]
    if any(is_named or one.model.version == version for one in at_work):
        return True
    if any(is_of(one, model, version) and one.verdict in _PUBLISHED for one in found):
        return True
    if any(_may_challenge(lake, one, model, version) for one in found):
        return True
    return bool(challengers_of(lake, job, as_of, model, version))


def _may_challenge(lake: Lake, manifest: Manifest, model: str, version: int) -> bool:
    """Whether this version scores, or was killed while it scored, beside a run that has published."""
    try:
        record = challenger.read(lake, manifest)
    except LakeError:
        return True
    return record is not None and record.verdict == "running" and (record.model, record.version) == (model, version)


def _label_seen(lake: Lake, job: str, as_of: str) -> str | None:
    """The version that wrote what readers see, by the file itself; None where they see nothing."""
    seen = showing(lake, job, as_of)
    return _label_of(lake, f"{seen.folder}/{layout.part(seen.run_id)}") if seen else None


def _label_of(lake: Lake, key: str) -> str:
    """What a file says of the version that wrote it, such as late/0002; 'unknown' where it says nothing."""
    try:
        return str(said_by_file(lake, key).get("model", "unknown"))
    except LakeError:
        return "unknown"


def _label(model: str, version: int) -> str:
    return f"{model}/{version:04d}"
