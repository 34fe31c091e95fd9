"""The mirror of MLflow's registry: what its aliases name is registered in the lake, once, before it may score.

From then on a version of MLflow's is as any other: an immutable folder with a digest, behind the same gate, in the same
history. A run asks MLflow anew which version the alias names, and whether that version's files are still what they were.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
from collections.abc import Collection, Iterator

import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.mlflow_names import MlflowAlias
from tasks.core.errors import LamplighterError, ModelBlocked, SourceError
from tasks.core.models.formats import get_format
from tasks.core.models.loading import open_here
from tasks.core.models.mlflow.model import DESCRIPTION, Described, describe, example_rows, input_schema
from tasks.core.models.mlflow.registry import Artifacts, MlflowVersion, Tracking
from tasks.core.models.model import expected_outputs
from tasks.core.models.model_events import MIRRORED, recalled_in
from tasks.core.models.model_version import (
    Candidate,
    InputSchema,
    ModelVersion,
    Origin,
    Signature,
    TrainingRecord,
    Usual,
)
from tasks.core.models.registering.candidate import make_candidate
from tasks.core.models.registry import Registry
from tasks.core.monitoring.records import Calibration
from tasks.core.profiles.profile import reference_profile
from tasks.core.workers import Workers, dismiss

ACTOR = "MLflow"
CHALLENGER = "challenger"

_LARGEST_DESCRIPTION_BYTES, _LARGEST_EXAMPLE_BYTES, _LARGEST_MODEL_BYTES = 10**6, 10**8, 4 * 10**9
_PROFILE_ROWS = 1000  # Fewer say little of a distribution: what drifted would be the sample.
_UNKNOWN = "Alarms are not calibrated: MLflow keeps no rows of the past."
_WAIT_SECONDS = 600
_POOL = "mirror"


def followed(registry: Registry, job: Job, *, at: dt.datetime) -> ModelVersion:
    """The version that the job's alias names: in the lake, or in MLflow, from where it is mirrored first.

    Without an answer from MLflow nothing is scored: the alias may have been moved since, away from a bad version.
    SourceError says which it named last.
    """
    wanted = job.model.mlflow
    if wanted is None:
        return registry.alias(job.model.name, job.model.alias)
    with _alone(registry, wanted.lake_name):
        try:
            # As the load gate will, in this process.
            return _mirrored(registry, job, wanted, at, Workers(0, 0))
        except SourceError as error:
            raise _unanswered(registry, wanted, error) from error


def follow_challenger(registry: Registry, job: Job, *, at: dt.datetime) -> None:
    """Lets the lake's challenger be what MLflow's is: none, where MLflow has none, or one that cannot be taken over."""
    if job.model.mlflow is None or job.model.mlflow.alias == CHALLENGER:
        return
    wanted = MlflowAlias(job.model.mlflow.name, CHALLENGER)
    with _alone(registry, wanted.lake_name):
        try:
            # In a process of its own, with an end: production has nothing to fear from it.
            _mirrored(registry, job, wanted, at, Workers(1, job.limits.batch_timeout_seconds, _POOL))
        except LamplighterError as error:
            if wanted.lake_alias in registry.aliases(wanted.lake_name):
                registry.drop_alias(wanted.lake_name, wanted.lake_alias, at=at, actor=ACTOR, reason=error.failed)
        finally:
            dismiss(_POOL)


@dataclasses.dataclass(frozen=True)
class _Files:
    """What was read of a version in MLflow: the description, and the bytes of the files that it names."""

    version: MlflowVersion
    artifacts: Artifacts
    described: Described
    contents: dict[str, bytes]

    @property
    def sha256(self) -> dict[str, str]:
        return {name: hashlib.sha256(content).hexdigest() for name, content in self.contents.items()}


@contextlib.contextmanager
def _alone(registry: Registry, name: str) -> Iterator[None]:
    """Of two runs that follow one model the first asks first: one version comes of it, and aliases keep their order."""
    with registry.lake.lock(layout.mirror_lock(name), holder="another run", wait_seconds=_WAIT_SECONDS):
        registry.lake.remove(layout.mirror_scratch(name))
        try:
            yield
        finally:
            registry.lake.remove(layout.mirror_scratch(name))


def _mirrored(registry: Registry, job: Job, wanted: MlflowAlias, at: dt.datetime, workers: Workers) -> ModelVersion:
    """The version in the lake of what an alias names in MLflow now; the lake's alias names it from here on."""
    tracking = Tracking()
    found = tracking.version_of(wanted)
    files = _read(tracking.artifacts(found, registry.lake, layout.mirror_scratch(wanted.lake_name)))
    inputs = input_schema(files.described, job, files.artifacts)
    version = _known(registry, wanted.lake_name, files, inputs)
    if version is None:
        candidate = _candidate(job, files, inputs, tracking, workers)
        version = registry.register(wanted.lake_name, candidate, at=at, actor=ACTOR)
    registry.set_alias(
        wanted.lake_name,
        wanted.lake_alias,
        version.version,
        at=at,
        actor=ACTOR,
        reason=f"MLflow alias {wanted.alias}",
        evidence={
            MIRRORED: found.uri,
            "tracking": found.tracking,
            "run_id": found.run_id,
            "created_at": found.created_at.isoformat(),
            "updated_at": found.updated_at.isoformat(),
        },
    )
    return version


def _read(artifacts: Artifacts) -> _Files:
    description = artifacts.read(DESCRIPTION, _LARGEST_DESCRIPTION_BYTES)
    described = describe(description, artifacts)
    contents = {
        DESCRIPTION: description,
        described.model_file: artifacts.read(described.model_file, _LARGEST_MODEL_BYTES),
        described.example_file: artifacts.read(described.example_file, _LARGEST_EXAMPLE_BYTES),
    }
    return _Files(artifacts.version, artifacts, described, contents)


def _known(registry: Registry, name: str, files: _Files, inputs: InputSchema) -> ModelVersion | None:
    """The version that this one was mirrored as, for these types of columns; ModelBlocked where it is not what it was."""
    known = [one for one in _versions(registry, name) if one.origin == files.version.uri]
    recalled = recalled_in(registry.history(name))
    for version in known:
        _refuse_changed(version, files)
        if recall := recalled.get(version.version):
            raise ModelBlocked(
                f"{files.version} is {version} here, which was recalled at {recall.at.isoformat()} by {recall.actor}: "
                f"{recall.reason}",
                state="nothing was pulled",
                next_step="move the alias in MLflow to another version; a recalled one never comes back",
            )
    return next((one for one in known if one.inputs == inputs), None)


def _versions(registry: Registry, name: str) -> list[ModelVersion]:
    return [registry.version(name, number) for number in reversed(registry.numbers(name))]


def _refuse_changed(version: ModelVersion, files: _Files) -> None:
    origin = version.manifest.origin
    then, now = (origin.artifacts if origin else {}), files.sha256
    if origin is None or then == now:
        return
    name = next(one for one in sorted({*then, *now}) if then.get(one) != now.get(one))
    raise ModelBlocked(
        f"{files.version} is not what was mirrored as {version} at {version.manifest.registered_at.isoformat()}: the "
        f"SHA-256 of its file '{name}' is {now.get(name, 'none')} (run {files.version.run_id or 'none'}, at "
        f"{files.version.tracking}), and was {then.get(name, 'none')} (run {origin.run_id or 'none'}, at {origin.tracking})",
        state="nothing was pulled, and the version here is as it was",
        next_step="find out who changed a registered version; register the model in MLflow as a new version, and move "
        "the alias to that",
    )


def _candidate(job: Job, files: _Files, inputs: InputSchema, tracking: Tracking, workers: Workers) -> Candidate:
    """All that a version holds, from what MLflow keeps. ModelBlocked where the model's file may not be loaded."""
    described, found = files.described, files.version
    model_format = get_format(described.format)
    signature = Signature(
        format=described.format,
        inputs=inputs,
        outputs=job.output.columns,
        probe_rtol=model_format.probe_rtol,
    )
    rows = example_rows(files.contents[described.example_file], inputs, files.artifacts)
    content = files.contents[described.model_file]
    try:
        outputs = workers.call(str(found), outputs_of, content, signature, rows, job.model.allowed_types)
    except ModelBlocked as error:
        raise files.artifacts.blocked(
            f"its file '{described.model_file}': {error.failed}; {error.state}", _advice(described, error)
        ) from error
    run = tracking.run_of(found)
    logged_by = f"run {found.run_id or 'unknown'} of MLflow at {found.tracking}"
    data_set, digest = run.data_set or ("no data set that it names", "unknown")
    made = make_candidate(
        content,
        signature,
        rows,
        outputs,
        features=reference_profile(rows),
        benchmark=None,
        training=TrainingRecord(pointer=f"{logged_by}, {data_set}", digest=digest),
        card={
            "mlflow": found.uri,
            "mlflow_run": found.run_id,
            "mlflow_tracking": found.tracking,
            "commit": run.commit,
            "description": found.description,
        },
    )
    return dataclasses.replace(
        made,
        profile=made.profile if len(rows) >= _PROFILE_ROWS else {},
        benchmark={"source": logged_by, "mlflow_metrics": run.metrics},
        environment=(made.environment or {}) | described.environment,
        usual=Usual(Calibration(lacks=(_UNKNOWN,))),
        origin=Origin(
            uri=found.uri, run_id=found.run_id, source=found.source, tracking=found.tracking, artifacts=files.sha256
        ),
    )


def outputs_of(content: bytes, signature: Signature, rows: pa.Table, allowed_types: Collection[str]) -> pa.Table:
    """What a model makes of its example rows. Its file is loaded behind the job's allow-list."""
    return expected_outputs(open_here(signature.format, content, allowed_types).estimator, signature, rows)


def _advice(described: Described, error: ModelBlocked) -> str:
    # MLflow's own default puts the tensors into a file of their own.
    return (
        f"{error.next_step}{'; mlflow.onnx.log_model(..., save_as_external_data=False)' * (described.format == 'onnx')}"
    )


def _unanswered(registry: Registry, wanted: MlflowAlias, error: SourceError) -> SourceError:
    """The error, with what the alias named when there was last an answer, and how to go on with that knowingly."""
    state, next_step = "nothing was pulled; it was never mirrored here", error.next_step
    if last := registry.aliases(wanted.lake_name).get(wanted.lake_alias):
        version = registry.version(wanted.lake_name, last)
        state = (
            f"nothing was pulled; at the last answer it was {version.origin}, here {version}, which was not used: the alias "
            "may have been moved since"
        )
        instead = f"model: {{name: {wanted.lake_name}, alias: {wanted.lake_alias}}}"
        next_step += f"; to score with {version} without asking, put {instead} into the job"
    return SourceError(f"{wanted} cannot be followed now: {error.failed}", state=state, next_step=next_step)
