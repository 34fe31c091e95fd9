"""Makes a release of what stands here: refuses what cannot travel, and packs what can."""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tasks.core import provenance
from tasks.core.definitions.project import DEFAULTS, JOBS, Definition, Project, parse_job, suite_key
from tasks.core.errors import DefinitionError
from tasks.core.models.contents import MANIFEST as MODEL_MANIFEST
from tasks.core.models.model_events import aliases_in
from tasks.core.models.model_version import Event, FileRecord, ModelVersion
from tasks.core.models.registry import Registry, version_folder
from tasks.core.releasing import archive, contents
from tasks.core.releasing.contents import Promotion, ReleasedModel, ReleaseManifest, Sample
from tasks.core.releasing.modules import modules_of
from tasks.core.releasing.secrets import known_secrets, refuse_secrets
from tasks.core.releasing.wheel import assemble_wheel, modules_digest_of
from tasks.core.rows.digest import digest_bytes
from tasks.core.runs.manifest import CodeRecord
from tasks.core.storage import Folder

_NOTHING = "nothing was written"


@dataclass(frozen=True)
class Parts:
    """What a release is made of, before it is a file."""

    definition: Definition
    version: ModelVersion
    name: str
    made_by: str
    created_at: dt.datetime | None
    rows: pa.Table
    scores: pa.Table
    sample: Sample


@dataclass(frozen=True)
class Made:
    """A release as bytes, and what it says of itself."""

    content: bytes
    manifest: ReleaseManifest

    @property
    def digest(self) -> str:
        return digest_bytes(self.manifest.to_json())


def released_version(registry: Registry, definition: Definition) -> ModelVersion:
    """The version that the job's alias names; DefinitionError where it cannot score on another machine."""
    job = definition.job
    if job.model.mlflow is not None:
        raise DefinitionError(
            f"{job.job} follows {job.model.given}, and a release carries its model with it: where it is installed, the first "
            "run would ask MLflow, and score with whatever the alias names there",
            state=_NOTHING,
            next_step="install the job's files as they are where that MLflow can be reached; or `lamplighter register` the "
            "model's file here, and name that model in the job",
        )
    version = registry.alias(job.model.name, job.model.alias)
    if version.manifest.origin is not None:
        raise DefinitionError(
            f"{version} was mirrored from {version.origin}, and its aliases are moved in MLflow: a release cannot move them",
            state=_NOTHING,
            next_step="`lamplighter register` the model's file as a model of its own, and name that in the job",
        )
    if version.signature.interpreter is not None:
        raise DefinitionError(
            f"{version} is loaded by the interpreter '{version.signature.interpreter}', whose environment is no part of a "
            "release: the lock is that of Lamplighter's own",
            state=_NOTHING,
            next_step="register the model so that Lamplighter's own environment loads it (retrained there, or --also onnx)",
        )
    return version


def pack_release(project: Project, registry: Registry, parts: Parts) -> Made:
    """The release's bytes: the same for the same parts, project and code."""
    files, inherited, modules, left_out = _project_files(project, parts)
    wheel_name, wheel = assemble_wheel()
    lock = {contents.LOCK: project.folder.read_bytes(contents.LOCK)} if project.folder.exists(contents.LOCK) else {}
    secrets = known_secrets(parts.definition.job, (project.folder, Folder(".")))
    refuse_secrets(files | lock, secrets)
    packed = {
        **{f"{contents.PROJECT}/{key}": content for key, content in files.items()},
        **{f"{contents.MODEL}/{key}": content for key, content in _model_files(registry, parts.version).items()},
        **lock,
        f"{contents.WHEEL}/{wheel_name}": wheel,
        contents.ROWS: _parquet(parts.rows),
        contents.SCORES: _parquet(parts.scores),
    }
    manifest = ReleaseManifest(
        job=parts.definition.job.job,
        name=parts.name,
        made_by=parts.made_by,
        created_at=parts.created_at,
        job_digest=parts.definition.digest,
        inherited=inherited,
        modules=modules,
        left_out=left_out,
        model=_model_record(parts),
        promotion=_promotion(registry.history(parts.version.name), parts),
        code=_code(wheel),
        environment=provenance.environment(),
        sample=parts.sample,
        files={
            name: FileRecord(sha256=digest_bytes(each), size_bytes=len(each)) for name, each in sorted(packed.items())
        },
    )
    # What could not be installed is not given away.
    contents.read_release(manifest.to_json(), "the release")
    ordered = [(contents.MANIFEST, manifest.to_json()), *sorted(packed.items())]
    return Made(archive.pack(ordered), manifest)


def project_keys(definition: Definition) -> set[str]:
    """The files of a project that make up a job: its YAML, its queries and its suites."""
    job = definition.job
    queries = [getattr(job.source, "query_file", None), job.labels.query_file if job.labels else None]
    suites = [job.suite, job.output.suite, job.labels.suite if job.labels else None]
    return {
        f"{JOBS}/{job.job}.yaml",
        *(f"{JOBS}/{name}" for name in queries if name),
        *(suite_key(name) for name in suites if name),
    }


def _project_files(
    project: Project, parts: Parts
) -> tuple[dict[str, bytes], dict[str, Any], tuple[str, ...], tuple[str, ...]]:
    definition = parts.definition
    job_key = f"{JOBS}/{definition.job.job}.yaml"
    files = {key: project.folder.read_bytes(key) for key in project_keys(definition)}
    text, inherited = _resolved(project, definition, files[job_key].decode())
    modules = modules_of(definition.job, project.folder, parts.version)
    return files | {job_key: text.encode()} | modules.files, inherited, tuple(modules.names), tuple(modules.left_out)


def _resolved(project: Project, definition: Definition, text: str) -> tuple[str, dict[str, Any]]:
    """The job's YAML with what it inherits, as its last lines: where it is installed, other defaults hold."""
    defaults, own = project.defaults(), yaml.safe_load(text)
    inherited = {key: value for key, value in defaults.items() if key not in own}
    if not inherited:
        return text, {}
    lines = yaml.safe_dump(inherited, sort_keys=True, allow_unicode=True)
    resolved = f"{text.rstrip()}\n\n# Inherited from {DEFAULTS}.yaml when it was released.\n{lines}"
    where = f"{JOBS}/{definition.job.job}.yaml, with what it inherits"
    try:
        same = parse_job(resolved, where=where) == definition.job
    except DefinitionError:
        same = False
    if not same:
        raise DefinitionError(
            f"{where} cannot be written as one file",
            state=_NOTHING,
            next_step=f"write {', '.join(sorted(inherited))} into the job's YAML, as keys at its beginning",
        )
    return resolved, inherited


def _model_files(registry: Registry, version: ModelVersion) -> dict[str, bytes]:
    """The version's whole folder, each file verified."""
    files = {name: registry.read(version, name) for name in version.manifest.files}
    manifest = f"{version_folder(version.name, version.version)}/{MODEL_MANIFEST}"
    return files | {MODEL_MANIFEST: registry.lake.read_bytes(manifest)}


def _model_record(parts: Parts) -> ReleasedModel:
    version = parts.version
    return ReleasedModel(
        name=version.name,
        version=version.version,
        digest=version.digest,
        alias=parts.definition.job.model.alias,
        format=version.format,
    )


def _promotion(history: list[Event], parts: Parts) -> Promotion:
    """The event by which the version came by its alias: the last that has a verdict, else the last of all."""
    alias, number = parts.definition.job.model.alias, parts.version.version
    named = [one for one in history if (one.action, one.alias, one.version) == ("set_alias", alias, number)]
    event = next((one for one in reversed(named) if one.evidence.get("verdict")), named[-1])
    return Promotion(
        at=event.at,
        by=event.actor,
        reason=event.reason,
        forced=event.forced,
        was_first=alias not in aliases_in(history[: event.sequence - 1]),
        verdict=event.evidence.get("verdict"),
    )


def _code(wheel: bytes) -> CodeRecord:
    return provenance.code_record().model_copy(update={"digest": modules_digest_of(wheel, "the release")})


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    return sink.getvalue()


def read_table(content: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(content))


def file_name(job: str, name: str) -> str:
    return f"{job}-{name}.tar.gz"


def name_from(job: str, file: str) -> str:
    """The release's name in a file's name, JOB-NAME.tar.gz; '' where it is not one."""
    inner = file.removeprefix(f"{job}-").removesuffix(".tar.gz")
    return inner if file == file_name(job, inner) else ""
