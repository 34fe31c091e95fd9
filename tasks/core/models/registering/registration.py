"""Registers a model that somebody already has: its file, and a sample of the rows that it is to score.

The file is listed before it is loaded, and loaded through the allow-list alone. What the version is to hold is worked
out from the model and the sample, and what was registered must then pass the gate that every run passes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from tasks.core import own_code, own_modules
from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import DefinitionError, ModelBlocked
from tasks.core.models.formats import get_format
from tasks.core.models.loading import libraries
from tasks.core.models.model import load_model, open_content, unregistered
from tasks.core.models.model_version import (
    Candidate,
    InputColumn,
    InputSchema,
    ModelVersion,
    Signature,
    TrainingRecord,
    Usual,
)
from tasks.core.models.prediction import LoadedModel, predicts_classes
from tasks.core.models.registering.candidate import make_candidate, spread
from tasks.core.models.registering.given import Given, check_adapters
from tasks.core.models.registering.inputs import work_out_inputs
from tasks.core.models.registering.model_file import ModelFile, refuse_unaccepted
from tasks.core.models.registering.outputs import as_if, check_steady, differences, scored, values_of, work_out_outputs
from tasks.core.models.registering.sample_benchmark import benchmark_on
from tasks.core.models.registering.sample_past import history_of, known_of
from tasks.core.models.registering.usual import Made, usual_of
from tasks.core.models.registry import Registry
from tasks.core.models.trees.parity import prove
from tasks.core.profiles.profile import ReferenceProfile, reference_profile
from tasks.core.runs.manifest import CodeRecord

SAME = 1e-5  # How far a converted model may be off: of a probability, and of a larger number in proportion.


@dataclass(frozen=True)
class Registered:
    """A version that was registered and passed the gate, with what it was made of, and what is to be remarked."""

    version: ModelVersion
    candidate: Candidate
    model: LoadedModel
    rows: pa.Table
    outputs: pa.Table
    remarks: tuple[str, ...]


def register_file(registry: Registry, file: ModelFile, given: Given, *, at: dt.datetime, actor: str) -> Registered:
    """A new version of the model in the file. It moves no alias. ModelBlocked for whatever the load gate would refuse."""
    check_adapters(given)
    asked = _asked(file, given)
    needed = file.types_to_accept(given.interpreter)
    refuse_unaccepted(needed, given.accepted)
    opened = _opened(file, given, asked)
    inputs, rows, remark = work_out_inputs(opened, given)
    asked = asked.model_copy(update={"inputs": inputs})
    # Another interpreter makes the frame itself, of the columns that it was told of.
    opened = _opened(file, given, asked) if given.interpreter else as_if(opened, asked)
    signature = asked.model_copy(
        update={"outputs": given.job.output.columns if given.job else work_out_outputs(opened, given, rows)}
    )
    opened = as_if(opened, signature)
    outputs = scored(opened, given, rows)
    check_steady(opened, given, rows, outputs)
    sample = given.sample
    compilation = prove(opened, rows) if given.compile_trees else None
    candidate = make_candidate(
        file.content,
        signature,
        rows,
        outputs,
        features=reference_profile(rows),
        benchmark=benchmark_on(sample, given.target, given.job, opened, outputs) if given.target else None,
        training=TrainingRecord(pointer=f"reference sample {sample.path}", digest=sample.sha256, rows=len(rows)),
        card={"file": file.path, "file_format": file.came_as, "file_sha256": file.sha256, **given.card},
        loaded_with=opened.libraries,
    )
    signature = signature.model_copy(update={"compiled": compilation is not None and compilation.compiled})
    candidate = replace(
        candidate,
        signature=signature,
        compilation=compilation,
        code=_with_own_modules(candidate.code, needed, given),
        usual=_usual(candidate, given, opened, rows, outputs),
    )
    version = registry.register(given.name, candidate, at=at, actor=actor)
    said = (str(compilation),) if compilation else ()
    remarks = (*remark, *said, *_gate(registry, version, given))
    return Registered(version, candidate, opened, rows, outputs, remarks)


def register_twin(
    registry: Registry, first: Registered, format_name: str, given: Given, *, at: dt.datetime, actor: str
) -> Registered:
    """The same model in another format, as a version of its own. ModelBlocked where the two disagree on the sample."""
    if first.version.signature.adapters:
        raise DefinitionError(
            f"{first.version} is scored with {' and '.join(first.version.signature.adapters)}, and of a model with an adapter "
            "no other version is made",
            state=_stands(first),
            next_step="leave --also out; or put what the adapter does into the model's own pipeline",
        )
    if format_name == first.version.format or not hasattr(first.model.estimator, "get_params"):
        raise DefinitionError(
            f"{first.version} is {first.version.format}, and of that no other version in {format_name} is made",
            state=_stands(first),
            next_step="convert models of scikit-learn, to another format than their own",
        )
    model_format = get_format(format_name)
    signature = first.version.signature.model_copy(
        # Whether its trees can be compiled is asked of the version that they are proven of.
        update={"format": format_name, "probe_rtol": model_format.probe_rtol, "compiled": False}
    )
    try:
        content = model_format.dump(first.model.estimator, signature.inputs)
        refuse_unaccepted(model_format.types_to_accept(content), given.accepted)
        twin = as_if(replace(first.model, estimator=model_format.load(content, given.accepted)), signature)
        outputs = scored(twin, given, first.rows)
        check_steady(twin, given, first.rows, outputs)
    except ModelBlocked as error:
        raise ModelBlocked(error.failed, state=_stands(first), next_step=error.next_step) from error
    off = _agreed(first, outputs, format_name)
    candidate = replace(
        first.candidate,
        model_bytes=content,
        signature=signature,
        compilation=None,
        expected=outputs.take(spread(len(outputs))),
        environment={**(first.candidate.environment or {}), **libraries(model_format)},
        card={
            **(first.candidate.card or {}),
            "converted_from": f"version {first.version.version} ({first.version.format})",
            "largest_difference": f"{off:.3g} on the {len(outputs):,} rows of the sample",
        },
    )
    version = registry.register(given.name, candidate, at=at, actor=actor)
    return Registered(version, candidate, twin, first.rows, outputs, _gate(registry, version, given))


def _asked(file: ModelFile, given: Given) -> Signature:
    """What is known before the model is opened."""
    return Signature(
        format=file.format,
        inputs=InputSchema(columns=(InputColumn(name="any", type="float64"),)),
        outputs={"any": Prediction()},
        probe_rtol=get_format(file.format).probe_rtol,
        interpreter=given.interpreter,
        adapter=given.adapter,
        output_adapter=given.output_adapter,
    )


def _opened(file: ModelFile, given: Given, asked: Signature) -> LoadedModel:
    """The model, in the environment that it is to be loaded in."""
    return open_content(unregistered(asked), file.content, given.accepted)


def _with_own_modules(code: CodeRecord | None, named: Collection[str], given: Given) -> CodeRecord | None:
    """With the digests of the project's own packages that the file or an adapter names."""
    found = own_modules.digests_of([*named, *given.adapters.values()], own_code.current())
    return code and code.model_copy(update={"modules": found})


def _usual(candidate: Candidate, given: Given, opened: LoadedModel, rows: pa.Table, outputs: pa.Table) -> Usual:
    """What the sample says of the past; of one without times, why it says nothing."""
    references = (ReferenceProfile.model_validate(candidate.profile[role]) for role in ("features", "predictions"))
    made = Made(
        references=(next(references), next(references)),
        signature=opened.version.signature,
        is_classifier=predicts_classes(opened, next(iter(opened.version.outputs.values()))),
        benchmark=known_of(given.sample, given.target, rows, outputs),
    )
    return usual_of(history_of(given.sample, given.target, given.job, rows, outputs), made, given.job)


def _gate(registry: Registry, version: ModelVersion, given: Given) -> tuple[str, ...]:
    """What every run does with a version before it scores: what was registered passes it, or nobody is told of it."""
    schema = given.job.arrow_schema if given.job else None
    return load_model(registry, version, allowed_types=given.accepted, snapshot_schema=schema).warnings


def _agreed(first: Registered, outputs: pa.Table, format_name: str) -> float:
    """How far the other format's outputs are off at the most; ModelBlocked, with the values, where that is too much."""
    worst = 0.0
    for name in outputs.column_names:
        ours, theirs = values_of(first.outputs[name]), values_of(outputs[name])
        off = differences(ours, theirs)
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


def _stands(first: Registered) -> str:
    return f"what was registered stands: {first.version}, in {first.version.format}"
