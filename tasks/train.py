"""Train: fit on past windows, calibrate and benchmark on later ones, and register what came of it as a new version."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from tasks.core import own_modules, provenance
from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import Training
from tasks.core.definitions.project import Definition, Project
from tasks.core.errors import DefinitionError
from tasks.core.models.formats import get_format
from tasks.core.models.gate import evaluation
from tasks.core.models.model import expected_outputs, input_frame
from tasks.core.models.model_version import InputColumn, InputSchema, ModelVersion, Signature, TrainingRecord
from tasks.core.models.registering.candidate import make_candidate
from tasks.core.models.registering.training_data import Labelled, labelled_rows
from tasks.core.models.registry import Registry
from tasks.core.own_code import NotImportable, named
from tasks.core.profiles.profile import ReferenceProfile, reference_profile
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.secrets import secret_address
from tasks.shards.label_validation import check_labels
from tasks.stage import Stage


class Fitted:
    """A model that is not registered yet, and what it was fitted on. No dataclass: Prefect takes those apart."""

    def __init__(self, model: Any, profile: ReferenceProfile, training: TrainingRecord) -> None:
        self.model = model
        self.profile = profile
        self.training = training


def fit_model(job: str) -> Fitted:
    """The estimator of the job, fitted on its first range and, where it says so, calibrated on the next."""
    definition, training = _training_of(job)
    inputs = inputs_of(definition.job, training)
    fitted = _make(training.estimator)
    rows = _rows(definition, training.fit)
    fitted.fit(input_frame(rows.table, inputs), rows.truth)
    return Fitted(
        _calibrated(fitted, definition, training),
        reference_profile(rows.table.select(inputs.names)),
        TrainingRecord(
            pointer=f"job {job}, windows {training.fit.first} to {training.fit.last}",
            digest=rows.digest,
            rows=len(rows.table),
            first=training.fit.first,
            last=(training.calibrate or training.fit).last,
        ),
    )


def _calibrated(fitted: Any, definition: Definition, training: Training) -> Any:
    """The model with its probabilities put right on later rows, where the job asks for it (isotonic regression)."""
    if training.calibrate is None:
        return fitted
    from sklearn.calibration import CalibratedClassifierCV  # noqa: PLC0415
    from sklearn.frozen import FrozenEstimator  # noqa: PLC0415

    later = _rows(definition, training.calibrate)
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted), method="isotonic")
    return calibrated.fit(input_frame(later.table, inputs_of(definition.job, training)), later.truth)


def register_model(job: str, fitted: Fitted, actor: str) -> ModelVersion:
    """Benchmarks the model on rows that are later than all it has seen, and registers it with its reference profile."""
    definition, training = _training_of(job)
    signature = Signature(inputs=inputs_of(definition.job, training), outputs=definition.job.output.columns)
    later = _rows(definition, training.benchmark)
    outputs = expected_outputs(fitted.model, signature, later.table)
    benchmark = _benchmark(definition.job, training, fitted.model, later, outputs)
    candidate = make_candidate(
        get_format(signature.format).dump(fitted.model),
        signature,
        later.table,
        outputs,
        features=fitted.profile,
        benchmark=benchmark,
        training=fitted.training,
        card={"job": job, "estimator": training.estimator, "description": definition.job.description},
    )
    own = own_modules.digests_of(definition.job.model.allowed_types, Folder(Settings().project))
    code = provenance.code_record().model_copy(update={"modules": own})
    return Registry(Lake(Settings().lake)).register(
        definition.job.model.name, replace(candidate, code=code), at=dt.datetime.now(dt.UTC), actor=actor
    )


def inputs_of(job: Job, training: Training) -> InputSchema:
    """The model's input schema: the job's features, in the job's types."""
    return InputSchema(columns=tuple(InputColumn(name=name, type=job.columns[name]) for name in training.features))


def _training_of(job: str) -> tuple[Definition, Training]:
    definition = Project(Folder(Settings().project)).load(job)
    if definition.job.training is None:
        raise DefinitionError(
            f"the job '{job}' does not say how its model is trained",
            next_step="add 'training' to its YAML, with an estimator, features and ranges",
        )
    return definition, definition.job.training


def _rows(definition: Definition, windows: Any) -> Labelled:
    project = Folder(Settings().project)
    return labelled_rows(definition, project, windows, secret_address, partial(check_labels, definition))


def _make(reference: str) -> Any:
    """The estimator that a factory, given as module:function, makes."""
    try:
        factory: Callable[[], Any] = named(reference)
    except NotImportable as error:
        raise DefinitionError(
            f"training.estimator '{reference}' cannot be imported: {error}",
            next_step="give module:function of a function without arguments that returns an estimator",
        ) from error
    return factory()


def _benchmark(job: Job, training: Training, model: Any, later: Labelled, outputs: pa.Table) -> evaluation.Benchmark:
    name, output = next(iter(job.output.columns.items()))
    target = evaluation.target_of(output, later.truth, is_classifier=hasattr(model, "classes_"))
    return evaluation.Benchmark(
        metrics=evaluation.measure(target.metrics, target.truth, outputs[name].to_numpy(), later.windows),
        first=training.benchmark.first,
        last=training.benchmark.last,
        rows=len(later.table),
        rows_without_label=later.without_label,
    )


fit = Stage("Fit and calibrate", fit_model)
register = Stage("Benchmark and register", register_model)
