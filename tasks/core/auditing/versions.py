"""The model versions that published windows name: whether each is, file by file, what was registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.auditing import mending
from tasks.core.auditing.mending import Mending
from tasks.core.auditing.records import Finding
from tasks.core.errors import LakeCorrupt, LakeError, LamplighterError
from tasks.core.models.contents import MANIFEST
from tasks.core.models.model_version import ModelManifest
from tasks.core.models.registry import version_folder
from tasks.core.records import read_record
from tasks.core.runs.manifest import Manifest
from tasks.core.storage import Folder

_MOST_NAMED = 3


@dataclass(frozen=True)
class Version:
    """A version as windows name it, and what is wrong with it."""

    name: str
    number: int
    findings: tuple[Finding, ...]

    @property
    def label(self) -> str:
        return f"{self.name}/{self.number:04d}"


def check(lake: Folder, published: Sequence[Manifest]) -> list[Version]:
    """Each version that a published window names: its files against its manifest, and that against the windows'."""
    named: dict[tuple[str, int], list[Manifest]] = {}
    for one in published:
        named.setdefault((one.model.name, one.model.version), []).append(one)
    return [_checked(lake, name, number, windows) for (name, number), windows in sorted(named.items())]


def _checked(lake: Folder, name: str, number: int, windows: list[Manifest]) -> Version:
    try:
        return Version(name, number, tuple(_findings(lake, name, number, windows)))
    except LamplighterError as error:
        # A name that is no path inside the lake, or a file that cannot be read.
        found = _finding(
            lake,
            name,
            number,
            "models",
            f"version {number} of '{name}'",
            f"not to be read ({error.failed})",
            "readable",
        )
        # A disk that fails once is no reason to recall what a version has scored.
        if isinstance(error, LakeError) and not isinstance(error, LakeCorrupt):
            found = found.model_copy(update={"next_step": mending.UNREADABLE})
        return Version(name, number, (found,))


def _findings(lake: Folder, name: str, number: int, windows: list[Manifest]) -> list[Finding]:
    folder = version_folder(name, number)
    key = f"{folder}/{MANIFEST}"
    if not lake.exists(key):
        return [_finding(lake, name, number, key, "the file", "missing", "there")]
    try:
        manifest = read_record(lake, key, ModelManifest, wrong="is no manifest of a version")
    except LakeCorrupt as error:
        return [_finding(lake, name, number, key, "it", f"no manifest of a version ({error.failed})", "one")]
    files = [_finding(lake, name, number, *one) for one in _files(lake, folder, manifest)]
    return [*files, *_digest(lake, name, number, manifest, windows)]


def _files(lake: Folder, folder: str, manifest: ModelManifest) -> list[tuple[str, str, str, str]]:
    """Of each file what it is and must be, where these differ; and the files that the manifest does not know."""
    found = []
    for file, record in sorted(manifest.files.items()):
        key = f"{folder}/{file}"
        if not lake.exists(key):
            found.append((key, "the file", "missing", "there, as its manifest says"))
        elif (sha256 := lake.sha256(key)) != record.sha256:
            found.append((key, "its SHA-256", sha256, f"{record.sha256}, as it was registered"))
    strays = [name for name in lake.names(folder) if name not in {*manifest.files, MANIFEST}]
    return [
        *found,
        *((f"{folder}/{name}", "the file", "one that its manifest does not know", "absent") for name in strays),
    ]


def _digest(lake: Folder, name: str, number: int, manifest: ModelManifest, windows: list[Manifest]) -> list[Finding]:
    """That the windows were scored by a version of this digest; where none of them was, it is the version that changed."""
    others = [one for one in windows if one.model.digest != manifest.digest]
    if not others:
        return []
    if len(others) == len(windows) and len({one.model.digest for one in others}) == 1:
        said = f"{others[0].model.digest}, as {_named(others)} have it"
        key = f"{version_folder(name, number)}/{MANIFEST}"
        return [_finding(lake, name, number, key, "the digest of the files that it names", manifest.digest, said)]
    return [
        Finding(
            link="manifest",
            as_of=one.as_of,
            file=lake.address(f"{one.workspace}/manifest.json"),
            what=f"the digest of its model {name}/{number:04d}",
            found=one.model.digest,
            expected=f"{manifest.digest}, as that version has it",
            next_step=Mending(one.job, one.as_of).manifest(),
        )
        for one in others
    ]


def _named(windows: list[Manifest]) -> str:
    labels = [one.as_of for one in windows]
    named = ", ".join(labels[:_MOST_NAMED])
    more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    return f"the manifests of {named}{more}"


def _finding(lake: Folder, name: str, number: int, key: str, what: str, found: str, expected: str) -> Finding:
    return Finding(
        link="model",
        file=lake.address(key),
        what=what,
        found=found,
        expected=expected,
        next_step=mending.of_version(name, number),
    )
