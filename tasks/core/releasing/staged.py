"""A release unpacked into the lake, out of sight: every byte is verified before anything of it is used."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.project import SUITES, Definition, Project
from tasks.core.errors import LamplighterError
from tasks.core.models.contents import MANIFEST as MODEL_MANIFEST
from tasks.core.models.model_version import ModelManifest, ModelVersion
from tasks.core.models.registry import Registry, version_folder
from tasks.core.own_code import NO_PACKAGES
from tasks.core.releasing import contents
from tasks.core.releasing.archive import refused, unpack
from tasks.core.releasing.contents import ReleaseManifest, read_release
from tasks.core.releasing.making import project_keys, read_table
from tasks.core.releasing.modules import is_custom_expectation
from tasks.core.releasing.wheel import modules_digest_of
from tasks.core.rows.digest import digest_bytes
from tasks.core.storage import Lake

_ROOT = layout.RELEASE_STAGING


class Staged:
    """A release whose files lie in the lake's staging folder, as its manifest says."""

    def __init__(self, lake: Lake, manifest: ReleaseManifest, where: str) -> None:
        self.lake = lake
        self.manifest = manifest
        self.where = where

    @property
    def digest(self) -> str:
        return digest_bytes(self.manifest.to_json())

    @property
    def project(self) -> Project:
        return Project(self.lake.below(f"{_ROOT}/{contents.PROJECT}"))

    @property
    def registry(self) -> Registry:
        """A registry that holds this one version, under its number at home."""
        return Registry(self.lake.below(f"{_ROOT}/registry"))

    @property
    def project_files(self) -> dict[str, str]:
        """The SHA-256 of each file that goes into the project; the job's YAML last, for it is what brings them to life."""
        hashes = {key: record.sha256 for key, record in self.manifest.under(contents.PROJECT).items()}
        return dict(sorted(hashes.items(), key=lambda one: (one[0].endswith(".yaml"), one[0])))

    def read(self, name: str) -> bytes:
        """A file's bytes, verified again: they, and not the file, are what is used."""
        content = self.lake.read_bytes(f"{_ROOT}/{_place(self.manifest, name)}")
        _check_digest(self.manifest, name, content, self.where)
        return content

    def table(self, name: str) -> pa.Table:
        return read_table(self.read(name))

    def version(self) -> ModelVersion:
        return self.registry.version(self.manifest.model.name, self.manifest.model.version)

    def model_files(self) -> Iterator[tuple[str, bytes]]:
        """The version's files, without its manifest."""
        for name in self.manifest.under(contents.MODEL):
            if name != MODEL_MANIFEST:
                yield name, self.read(f"{contents.MODEL}/{name}")


def stage(lake: Lake, data: bytes, where: str) -> Staged:
    """Unpacks a release; ReleaseRefused names the file that is not what the manifest says."""
    lake.remove(_ROOT)
    expected = _Expected(where)
    for name, content in unpack(data, where=where, expect=expected.check):
        if expected.manifest is None:
            expected.begin(read_release(content, where))
            lake.write_bytes(f"{_ROOT}/{contents.MANIFEST}", content)
        else:
            _check_digest(expected.manifest, name, content, where)
            lake.write_bytes(f"{_ROOT}/{_place(expected.manifest, name)}", content)
    staged = Staged(lake, expected.complete(), where)
    if staged.manifest.to_json() != lake.read_bytes(f"{_ROOT}/{contents.MANIFEST}"):
        raise refused(f"{contents.MANIFEST} in {where} is not written as a release writes it")
    return staged


def restage(lake: Lake) -> Staged:
    """The release that was unpacked by an installation which was cut short."""
    where = "the release whose installation was cut short"
    return Staged(lake, read_release(lake.read_bytes(f"{_ROOT}/{contents.MANIFEST}"), where), where)


class _Expected:
    """Which file must come next, and how large it is."""

    def __init__(self, where: str) -> None:
        self.manifest: ReleaseManifest | None = None
        self._where, self._next = where, 0
        self._names: list[str] = []

    def begin(self, manifest: ReleaseManifest) -> None:
        self.manifest, self._names = manifest, sorted(manifest.files)

    def check(self, name: str, size: int) -> None:
        if self.manifest is None:
            if name != contents.MANIFEST or size > contents.LARGEST_MANIFEST_BYTES:
                raise refused(
                    f"{self._where} must begin with {contents.MANIFEST}, and begins with '{name}' ({size:,} bytes)"
                )
            return
        if name in self._names[: self._next] or name == contents.MANIFEST:
            raise refused(f"{self._where} holds '{name}' twice")
        if name not in self.manifest.files:
            raise refused(f"{self._where} holds '{name}', which its manifest does not name")
        if name != self._names[self._next]:
            raise refused(f"{self._where} holds '{name}' where '{self._names[self._next]}' must be")
        if size != (said := self.manifest.files[name].size_bytes):
            raise refused(f"'{name}' in {self._where} has {size:,} bytes, and had {said:,} when it was released")
        self._next += 1

    def complete(self) -> ReleaseManifest:
        if self.manifest is None:
            raise refused(f"{self._where} is empty")
        if missing := self._names[self._next :]:
            raise refused(f"{self._where} lacks '{missing[0]}'")
        return self.manifest


def verify(staged: Staged) -> Definition:
    """What a person who packs the release anew could have changed: every part must fit the others. The job's definition."""
    manifest, where = staged.manifest, staged.where
    if modules_digest_of(staged.read(manifest.wheel), where) != manifest.code.digest:
        raise refused(f"'{manifest.wheel}' in {where} does not hold the code that the release says it was made by")
    _verify_model(staged)
    if wrong := [name for name in manifest.modules if not name.isidentifier() or name in _never_modules()]:
        raise refused(f"{where} holds a package '{wrong[0]}', which no job may bring along")
    definition = staged.project.load(manifest.job)
    if definition.digest != manifest.job_digest:
        raise refused(f"the job '{manifest.job}' in {where} is not the one that the release says it was made of")
    model = definition.job.model
    if model.mlflow is not None or (model.name, model.alias) != (manifest.model.name, manifest.model.alias):
        raise refused(
            f"the job in {where} scores with {model.given}@{model.alias}, and the release carries another model"
        )
    _verify_project_files(staged, definition)
    return definition


def _verify_model(staged: Staged) -> None:
    manifest, where = staged.manifest, staged.where
    try:
        version = staged.version()
    except LamplighterError as error:
        raise refused(f"the model in {where} cannot be read: {error.failed}") from error
    carried = {name: one for name, one in manifest.under(contents.MODEL).items() if name != MODEL_MANIFEST}
    if version.digest != manifest.model.digest or version.manifest.files != carried:
        raise refused(
            f"'{contents.MODEL}/{MODEL_MANIFEST}' in {where} does not name the files that the release carries"
        )
    if version.manifest.origin is not None or version.signature.interpreter is not None:
        raise refused(
            f"the model in {where} belongs to an MLflow registry, or to an interpreter that it does not carry"
        )


def _verify_project_files(staged: Staged, definition: Definition) -> None:
    manifest, where = staged.manifest, staged.where
    needed = project_keys(definition)
    has_suite = any(key.startswith(f"{SUITES}/") for key in needed)
    for key in manifest.under(contents.PROJECT):
        of_module = key.endswith(".py") and key.removesuffix(".py").partition("/")[0] in manifest.modules
        if key not in needed and not of_module and not (has_suite and is_custom_expectation(key)):
            raise refused(f"'{contents.PROJECT}/{key}' in {where} is nothing that the job '{manifest.job}' names")
    if wrong := [
        key for key in needed if key.endswith((".yaml", ".yml")) and key != f"deployments/jobs/{manifest.job}.yaml"
    ]:
        raise refused(f"the job in {where} names '{wrong[0]}' as a query: that is a place for a job")


def _never_modules() -> frozenset[str]:
    return NO_PACKAGES | frozenset(sys.stdlib_module_names)


def _place(manifest: ReleaseManifest, name: str) -> str:
    """Where a file lies in the staging folder: the model's as in a registry, all else as in the release."""
    folder, _, rest = name.partition("/")
    if folder == contents.MODEL:
        return f"registry/{version_folder(manifest.model.name, manifest.model.version)}/{rest}"
    return name


def _check_digest(manifest: ReleaseManifest, name: str, content: bytes, where: str) -> None:
    said = manifest.files[name].sha256
    if (found := digest_bytes(content)) != said:
        raise refused(f"'{name}' in {where} was changed: its SHA-256 is {found}, and was {said} when it was released")


def model_manifest(staged: Staged) -> ModelManifest:
    return staged.version().manifest
