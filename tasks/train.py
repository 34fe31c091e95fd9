"""Train: fit on past windows, calibrate and benchmark on later ones, and register what came of it as a new version."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.core import own_modules, provenance
from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import Training, WindowRange
from tasks.core.definitions.project import Definition, Project
from tasks.core.errors import DefinitionError
from tasks.core.estimation.estimator import Known
from tasks.core.logs import log
from tasks.core.models.formats import get_format
from tasks.core.models.gate import evaluation
from tasks.core.models.model import LoadedModel, expected_outputs, input_frame, unregistered
from tasks.core.models.model_version import (
    Compilation,
    InputColumn,
    InputSchema,
    ModelVersion,
    Signature,
    TrainingRecord,
)
from tasks.core.models.registering.candidate import make_candidate
from tasks.core.models.registering.cross_fitting import PastUnknown, Recipe, cross_fit
from tasks.core.models.registering.fitting import calibrated, make_estimator
from tasks.core.models.registering.own_past import own_past
from tasks.core.models.registering.past import OwnPast, Past
from tasks.core.models.registering.ranges import Ranges, ranges_until
from tasks.core.models.registering.training_data import Labelled, WindowRows, window_rows
from tasks.core.models.registering.usual import History, Made, usual_of
from tasks.core.models.registry import Registry
from tasks.core.models.trees.parity import prove
from tasks.core.profiles.profile import ReferenceProfile, reference_profile
from tasks.core.settings import Settings
from tasks.core.storage import Folder, Lake
from tasks.scheduled import scheduled_at
from tasks.secrets import secret_address
from tasks.shards.label_validation import check_labels
from tasks.stage import Stage


class Fitted:
    """A model that is not registered yet, and what it was fitted on. No dataclass: Prefect takes those apart."""

    def __init__(
        self,
        ranges: Ranges,
        model: Any,
        profile: ReferenceProfile,
        training: TrainingRecord,
        rows: tuple[WindowRows, ...],
    ) -> None:
        self.ranges = ranges
        self.model = model
        self.profile = profile
        self.training = training
        self.rows = rows


class PastScored:
    """The rows that a model is held against, and all of the past as models that had not seen it have scored it."""

    def __init__(self, later: Labelled, history: History) -> None:
        self.later = later
        self.history = history


def fit_model(job: str, until: str = "") -> Fitted:
    """The estimator of the job, fitted on its first range and, where it says so, calibrated on the next.

    `until` shifts all ranges: see `ranges_until`. DefinitionError where it is no window that training can end with.
    """
    definition, training = _training_of(job)
    ranges = ranges_until(definition.job, training, until, scheduled_at())
    training = ranges.training
    if until:
        log.info("training on %s; benchmark on %s", ranges, training.benchmark)
    inputs = inputs_of(definition.job, training)
    model = make_estimator(training.estimator)
    read = _rows(definition, training.fit)
    rows = read.labelled
    model.fit(input_frame(rows.table, inputs), rows.truth)
    every = [read]
    if training.calibrate is not None:
        every.append(_rows(definition, training.calibrate))
        later = every[-1].labelled
        model = calibrated(model, input_frame(later.table, inputs), later.truth)
    return Fitted(
        ranges,
        model,
        reference_profile(rows.table.select(inputs.names)),
        TrainingRecord(
            pointer=f"job {job}, {ranges}",
            digest=rows.digest,
            rows=len(rows.table),
            first=ranges.learnt_from.first,
            last=ranges.learnt_from.last,
        ),
        # Each window is read once: the past is made of the same rows.
        tuple(every) if training.folds else (),
    )


def score_past(job: str, fitted: Fitted) -> PastScored:
    """Reads the rows of the benchmark, and scores those of all ranges by models that are made without them."""
    definition, training = _training_of(job)[0], fitted.ranges.training
    later = _rows(definition, training.benchmark)
    scored = later.labelled
    if not training.folds:
        return PastScored(scored, History(None, "Alarms are not calibrated, as training.folds is 0."))
    rows = (*fitted.rows, later)
    recipe = Recipe(
        make=partial(make_estimator, training.estimator),
        signature=_signature(definition.job, training),
        is_calibrated=training.calibrate is not None,
        may_raise=definition.job.limits.quarantine_share,
    )
    windows = tuple(as_of for one in rows for as_of, _ in one.parts)
    try:
        return PastScored(scored, History(cross_fit(rows, recipe, training.folds, log.info), windows=windows))
    except PastUnknown as error:
        log.warning("alarms are not calibrated: %s", error)
        return PastScored(scored, History(None, str(error)))


def register_model(job: str, fitted: Fitted, scored: PastScored, actor: str) -> ModelVersion:
    """Benchmarks the model on rows that are later than all it has seen, and registers it with what is usual of it."""
    definition, training = _training_of(job)[0], fitted.ranges.training
    signature = _signature(definition.job, training)
    later = scored.later
    outputs = expected_outputs(fitted.model, signature, later.table)
    benchmark = _benchmark(definition.job, training, fitted.model, later, outputs)
    compilation = _compilation(fitted.model, signature, later.table) if training.compile_ else None
    signature = signature.model_copy(update={"compiled": compilation is not None and compilation.compiled})
    candidate = make_candidate(
        get_format(signature.format).dump(fitted.model),
        signature,
        later.table,
        outputs,
        features=fitted.profile,
        benchmark=benchmark,
        training=fitted.training,
        card=_card(definition.job, fitted.ranges),
    )
    made = Made(
        references=(fitted.profile, ReferenceProfile.model_validate(candidate.profile["predictions"])),
        signature=signature,
        is_classifier=hasattr(fitted.model, "classes_"),
        benchmark=Known(later.table, outputs, later.truth),
        own=_own_past(fitted.model, signature, scored.history.past) if scored.history.past else None,
    )
    own = own_modules.digests_of(definition.job.model.allowed_types, Folder(Settings().project))
    code = provenance.code_record().model_copy(update={"modules": own})
    usual = usual_of(scored.history, made, definition.job)
    candidate = replace(candidate, code=code, usual=usual, compilation=compilation)
    return Registry(Lake(Settings().lake)).register(
        definition.job.model.name, candidate, at=dt.datetime.now(dt.UTC), actor=actor
    )


def _compilation(model: Any, signature: Signature, rows: pa.Table) -> Compilation:
    """Whether its trees can be compiled, proven on the rows of the benchmark."""
    made = prove(LoadedModel(unregistered(signature), model), rows)
    (log.info if made.compiled else log.warning)("%s", made)
    return made


def _card(job: Job, ranges: Ranges) -> dict[str, str]:
    card = {"job": job.job, "estimator": ranges.training.estimator, "description": job.description}
    return card | ({"until": f"{ranges.until}: {ranges.shifted}"} if ranges.until else {})


def _own_past(model: Any, signature: Signature, past: Past) -> OwnPast:
    return own_past(model, signature, past.table, past.truth, past.is_labelled, np.arange(len(past.table)))


def _signature(job: Job, training: Training) -> Signature:
    return Signature(inputs=inputs_of(job, training), outputs=job.output.columns)


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


def _rows(definition: Definition, windows: WindowRange) -> WindowRows:
    project = Folder(Settings().project)
    return window_rows(definition, project, windows, secret_address, partial(check_labels, definition))


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
score_past_out_of_sample = Stage("Score the past out of sample", score_past)
register = Stage("Benchmark and register", register_model)
