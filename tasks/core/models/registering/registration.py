"""Registers a model that somebody already has: its file, and a sample of the rows that it is to score.

The file is listed before it is loaded, and loaded through the allow-list alone. What the version is to hold is worked
out from the model and the sample, and what was registered must then pass the gate that every run passes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import Prediction
from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError, LamplighterError, ModelBlocked
from tasks.core.models.formats import get_format
from tasks.core.models.loading import libraries
from tasks.core.models.model import load_model, open_content, unregistered
from tasks.core.models.model_version import Candidate, InputColumn, InputSchema, ModelVersion, Signature, TrainingRecord
from tasks.core.models.prediction import (
    Elsewhere,
    LoadedModel,
    PredictRaised,
    has_method,
    input_frame,
    predict,
)
from tasks.core.models.registering.candidate import make_candidate, spread
from tasks.core.models.registering.model_file import ModelFile, refuse_unaccepted
from tasks.core.models.registering.sample import Sample, typed
from tasks.core.models.registering.sample_benchmark import benchmark_on, classes_of
from tasks.core.models.registry import Registry
from tasks.core.profiles.profile import reference_profile

SAME = 1e-5  # How far a converted model may be off: of a probability, and of a larger number in proportion.
_NOTHING = "nothing was registered"
_BINARY = 2  # Classes.


@dataclass(frozen=True)
class Given:
    """What somebody says beside the model's file: what it is called, what it scores, and who may be trusted."""

    name: str
    sample: Sample
    target: str = ""
    job: Job | None = None
    allowed_types: tuple[str, ...] = ()
    interpreter: str | None = None
    card: Mapping[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> tuple[str, ...]:
        return (*(self.job.model.allowed_types if self.job else ()), *self.allowed_types)


@dataclass(frozen=True)
class Registered:
    """A version that was registered and passed the gate, with what it was made of, and what is to be remarked."""

    version: ModelVersion
    candidate: Candidate
    estimator: Any
    rows: pa.Table
    outputs: pa.Table
    remarks: tuple[str, ...]


def job_of(project: Project, model: str, job: str) -> Job | None:
    """The job of this name; without a name the one that scores with the model, None where there is none."""
    if job:
        found = project.load(job).job
        if found.model.name != model:
            raise DefinitionError(
                f"the job '{job}' scores with the model '{found.model.name}', not with '{model}'",
                state=_NOTHING,
                next_step=f"register it as {found.model.name}, or leave --job out",
            )
        return found
    naming = [each for each in _jobs(project) if each.model.name == model]
    if len(naming) > 1:
        raise DefinitionError(
            f"several jobs score with the model '{model}': {', '.join(each.job for each in naming)}",
            state=_NOTHING,
            next_step="say with --job whose columns and outputs the version is to have",
        )
    return naming[0] if naming else None


def register_file(registry: Registry, file: ModelFile, given: Given, *, at: dt.datetime, actor: str) -> Registered:
    """A new version of the model in the file. It moves no alias. ModelBlocked for whatever the load gate would refuse."""
    refuse_unaccepted(file.types_to_accept(given.interpreter), given.accepted)
    opened = _opened(file, given, _UNKNOWN)
    inputs, rows, remark = _inputs(opened.estimator, given)
    if given.interpreter:
        # Another interpreter makes the frame itself, of the columns that it was told of.
        opened = _opened(file, given, inputs)
    signature = Signature(
        format=file.format,
        inputs=inputs,
        outputs=given.job.output.columns if given.job else _outputs(opened.estimator, inputs, rows),
        probe_rtol=get_format(file.format).probe_rtol,
        interpreter=given.interpreter,
    )
    outputs = _scored(opened.estimator, signature, rows)
    _check_steady(opened.estimator, signature, rows, outputs)
    sample = given.sample
    candidate = make_candidate(
        file.content,
        signature,
        rows,
        outputs,
        features=reference_profile(rows),
        benchmark=benchmark_on(sample, given.target, given.job, opened.estimator, outputs, signature)
        if given.target
        else None,
        training=TrainingRecord(pointer=f"reference sample {sample.path}", digest=sample.sha256, rows=len(rows)),
        card={"file": file.path, "file_format": file.came_as, "file_sha256": file.sha256, **given.card},
        loaded_with=opened.libraries,
    )
    version = registry.register(given.name, candidate, at=at, actor=actor)
    remarks = (*remark, *_gate(registry, version, given))
    return Registered(version, candidate, opened.estimator, rows, outputs, remarks)


def register_twin(
    registry: Registry, first: Registered, format_name: str, given: Given, *, at: dt.datetime, actor: str
) -> Registered:
    """The same model in another format, as a version of its own. ModelBlocked where the two disagree on the sample."""
    if format_name == first.version.format or not hasattr(first.estimator, "get_params"):
        raise DefinitionError(
            f"{first.version} is {first.version.format}, and of that no other version in {format_name} is made",
            state=_stands(first),
            next_step="convert models of scikit-learn, to another format than their own",
        )
    model_format = get_format(format_name)
    signature = first.version.signature.model_copy(
        update={"format": format_name, "probe_rtol": model_format.probe_rtol}
    )
    try:
        content = model_format.dump(first.estimator, signature.inputs)
        refuse_unaccepted(model_format.types_to_accept(content), given.accepted)
        twin = model_format.load(content, given.accepted)
        outputs = _scored(twin, signature, first.rows)
        _check_steady(twin, signature, first.rows, outputs)
    except ModelBlocked as error:
        raise ModelBlocked(error.failed, state=_stands(first), next_step=error.next_step) from error
    off = _agreed(first, outputs, format_name)
    candidate = replace(
        first.candidate,
        model_bytes=content,
        signature=signature,
        expected=outputs.take(spread(len(outputs))),
        environment={**(first.candidate.environment or {}), **libraries(model_format)},
        card={
            **(first.candidate.card or {}),
            "converted_from": f"version {first.version.version} ({first.version.format})",
            "largest_difference": f"{off:.3g} on the {len(outputs):,} rows of the sample",
        },
    )
    version = registry.register(given.name, candidate, at=at, actor=actor)
    return Registered(version, candidate, twin, first.rows, outputs, tuple(_gate(registry, version, given)))


def _opened(file: ModelFile, given: Given, inputs: InputSchema) -> LoadedModel:
    """The model, in the environment that it is to be loaded in."""
    asked = {"any": Prediction()}
    signature = Signature(format=file.format, inputs=inputs, outputs=asked, interpreter=given.interpreter)
    return open_content(unregistered(signature), file.content, given.accepted)


_UNKNOWN = InputSchema(columns=(InputColumn(name="any", type="float64"),))


def _jobs(project: Project) -> list[Job]:
    """Those that can be read; `lamplighter check` tells of the others."""
    found = []
    for name in project.job_names():
        try:
            found.append(project.load(name, suites=False).job)
        except LamplighterError:
            continue
    return found


def _gate(registry: Registry, version: ModelVersion, given: Given) -> tuple[str, ...]:
    """What every run does with a version before it scores: what was registered passes it, or nobody is told of it."""
    schema = given.job.arrow_schema if given.job else None
    return load_model(registry, version, allowed_types=given.accepted, snapshot_schema=schema).warnings


# -- what the model takes -------------------------------------------------------------------------------------------


def _inputs(estimator: Any, given: Given) -> tuple[InputSchema, pa.Table, tuple[str, ...]]:
    """The model's columns in its order, the sample's rows of them, and what is to be said of where they come from."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is not None:
        inputs, rows = typed(given.sample, [str(name) for name in names], given.job)
        return inputs, rows, ()
    names = _all_columns(given)
    count = getattr(estimator, "n_features_in_", len(names))
    if count != len(names):
        raise DefinitionError(
            f"the model takes {count} columns and does not say which; the sample has {len(names)}: {', '.join(names)}",
            state=_NOTHING,
            next_step="give a sample of the model's columns alone, in the order in which it was fitted, and the target",
        )
    inputs, rows = typed(given.sample, names, given.job)
    if not any(column.encoding == "category" for column in inputs.columns):
        inputs = inputs.model_copy(update={"container": "numpy"})
    return (
        inputs,
        rows,
        (f"the model does not name its columns: they are the sample's, in its order: {', '.join(names)}",),
    )


def _all_columns(given: Given) -> list[str]:
    """All of the sample that can be inputs: not the target and, where the job is known, not what names or dates a row."""
    of_job = {*given.job.keys, given.job.event_time} if given.job else set()
    return [name for name in given.sample.columns if name != given.target and name not in of_job]


# -- what comes out of it -------------------------------------------------------------------------------------------


def _outputs(estimator: Any, inputs: InputSchema, rows: pa.Table) -> dict[str, Prediction]:
    """What is published, where no job says so: of two classes the probability of the second, else what it predicts."""
    classes = classes_of(estimator)
    if len(classes) == _BINARY and has_method(estimator, "predict_proba"):
        return {"probability": Prediction(method="predict_proba", class_=classes[1])}
    if not has_method(estimator, "predict"):
        raise DefinitionError(
            f"a {type(estimator).__name__} does not predict, so nobody knows what is to be published of it",
            state=_NOTHING,
            next_step="write a job whose output.columns say it, and register the model with --job",
        )
    kind = _kind_of_prediction(estimator, inputs, rows.slice(0, 100))
    return {"predicted_class" if classes else "prediction": Prediction(type=kind)}


def _kind_of_prediction(estimator: Any, inputs: InputSchema, rows: pa.Table) -> str:
    try:
        kind = _numpy_kind(estimator, inputs, rows)
    except PredictRaised as error:
        raise _raised(error) from error
    if kind in _KINDS:
        return _KINDS[kind]
    raise DefinitionError(
        f"what a {type(estimator).__name__} predicts is of numpy's kind '{kind}', and no column of a table",
        state=_NOTHING,
        next_step="write a job whose output.columns say what is published, and register the model with --job",
    )


def _numpy_kind(estimator: Any, inputs: InputSchema, rows: pa.Table) -> str:
    if isinstance(estimator, Elsewhere):
        return estimator.kind_of_prediction(rows)
    try:
        return np.asarray(estimator.predict(input_frame(rows, inputs))).dtype.kind
    except Exception as error:
        raise PredictRaised(error) from error


_KINDS = {"f": "float64", "i": "int64", "u": "int64", "b": "bool", "U": "string", "O": "string", "T": "string"}


def _scored(estimator: Any, signature: Signature, rows: pa.Table) -> pa.Table:
    try:
        return predict(LoadedModel(unregistered(signature), estimator), rows, signature.outputs)
    except PredictRaised as error:
        raise _raised(error) from error
    except ModelBlocked as error:
        raise ModelBlocked(
            error.failed,
            state=_NOTHING,
            next_step="mend the model or, where it is at fault, the sample; what is published a job says (--job)",
        ) from error


def _raised(error: PredictRaised) -> ModelBlocked:
    return ModelBlocked(
        f"the model raised on the sample: {error.message}",
        state=_NOTHING,
        next_step="give rows as the model was fitted on: the same columns, in the same types",
    )


def _check_steady(estimator: Any, signature: Signature, rows: pa.Table, outputs: pa.Table) -> None:
    """Refuses a model whose scores hang on the rows around a row, or on chance: no run of it could be repeated."""
    probed = spread(len(rows))
    half = (len(probed) + 1) // 2
    parts = [_scored(estimator, signature, rows.take(part)) for part in (probed[:half], probed[half:])]
    for name in signature.outputs:
        alone, among = (_values(table[name]) for table in (pa.concat_tables(parts), outputs.take(probed)))
        off = _differences(among, alone)
        allowed = 0.0 if among.dtype.kind != "f" else signature.probe_rtol * np.maximum(np.abs(among), 1e-3)
        if (off > allowed).any():
            row = int(np.argmax(off))
            raise ModelBlocked(
                f"the model does not score a row alike twice: '{name}' of row {probed[row]} is {among[row]} among all "
                f"{len(rows):,} rows and {alone[row]} among {half}",
                state=_NOTHING,
                next_step="take out what depends on chance or on the other rows (dropout and batch normalisation belong "
                "into evaluation mode before a model is exported)",
            )


def _agreed(first: Registered, outputs: pa.Table, format_name: str) -> float:
    """How far the other format's outputs are off at the most; ModelBlocked, with the values, where that is too much."""
    worst = 0.0
    for name in outputs.column_names:
        ours, theirs = _values(first.outputs[name]), _values(outputs[name])
        off = _differences(ours, theirs)
        allowed = SAME * np.maximum(1, np.abs(ours)) if ours.dtype.kind == "f" else np.zeros(len(ours))
        if (off > allowed).any():
            row = int(np.argmax(off - allowed))
            raise ModelBlocked(
                f"the {format_name} file does not score as {first.version} does: '{name}' of row {row} of the sample is "
                f"{theirs[row]}, and was {ours[row]}; {int((off > allowed).sum())} of {len(off):,} rows differ by more "
                f"than {SAME:g}",
                state=_stands(first),
                next_step="keep the format that it came in",
            )
        worst = max(worst, float(off.max(initial=0)))
    return worst


def _values(column: pa.ChunkedArray[Any]) -> npt.NDArray[Any]:
    return column.to_numpy()


def _differences(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    off = np.abs(ours - theirs) if ours.dtype.kind == "f" else ours != theirs
    return np.asarray(off, dtype=np.float64)


def _stands(first: Registered) -> str:
    return f"what was registered stands: {first.version}, in {first.version.format}"
