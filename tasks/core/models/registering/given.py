"""What somebody gives who registers a model: beside its file a name, a sample, and whom to trust."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tasks.core import own_code
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Project
from tasks.core.definitions.terms import Reference
from tasks.core.errors import DefinitionError, LamplighterError, ModelBlocked
from tasks.core.models.adapters import open_adapters
from tasks.core.models.prediction import PredictRaised
from tasks.core.models.registering.categories import categories_kept
from tasks.core.models.registering.sample import Sample

NOTHING = "nothing was registered"


@dataclass(frozen=True)
class Given:
    """What somebody says beside the model's file: what it is called, what it scores, and who may be trusted."""

    name: str
    sample: Sample
    target: str = ""
    job: Job | None = None
    allowed_types: tuple[str, ...] = ()
    interpreter: str | None = None
    adapter: str | None = None
    output_adapter: str | None = None
    inputs: tuple[str, ...] = ()
    compile_trees: bool = False
    card: Mapping[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> tuple[str, ...]:
        return (*(self.job.model.allowed_types if self.job else ()), *self.allowed_types)

    @property
    def adapters(self) -> dict[str, str]:
        """The adapters that are given, by the options that give them."""
        given = {"--adapter": self.adapter, "--output-adapter": self.output_adapter}
        return {option: reference for option, reference in given.items() if reference}


def job_of(project: Project, model: str, job: str) -> Job | None:
    """The job of this name; without a name the one that scores with the model, None where there is none."""
    if job:
        found = project.load(job).job
        if found.model.name != model:
            raise DefinitionError(
                f"the job '{job}' scores with the model '{found.model.name}', not with '{model}'",
                state=NOTHING,
                next_step=f"register it as {found.model.name}, or leave --job out",
            )
        return found
    naming = jobs_of(project, model)
    if len(naming) > 1:
        raise DefinitionError(
            f"several jobs score with the model '{model}': {', '.join(each.job for each in naming)}",
            state=NOTHING,
            next_step="say with --job whose columns and outputs the version is to have",
        )
    if not naming and model in project.job_names():
        # Most name both alike: where that file is broken, it says so, and no version is made without its columns.
        project.load(model, suites=False)
    return naming[0] if naming else None


def jobs_of(project: Project, model: str) -> list[Job]:
    """The jobs that score with the model, of those that can be read; `lamplighter check` tells of the others."""
    found = []
    for name in project.job_names():
        with contextlib.suppress(LamplighterError):
            found.append(project.load(name, suites=False).job)
    return [each for each in found if each.model.name == model]


def check_compiled(given: Given) -> None:
    """DefinitionError where trees are to be compiled that another interpreter would walk through."""
    if given.compile_trees and given.interpreter:
        raise DefinitionError(
            "--compile and --interpreter exclude each other: the compiled trees take the place of the scikit-learn's that is "
            f"installed here, and {given.interpreter} has its own",
            state=NOTHING,
            next_step="leave --compile out; or save the model anew with the scikit-learn that is installed here",
        )


def check_adapters(given: Given) -> None:
    """DefinitionError where an adapter is none that can be used, or stands beside an interpreter."""
    for option, reference in given.adapters.items():
        _check_reference(option, reference)
    if given.adapters and given.interpreter:
        raise DefinitionError(
            f"{' and '.join(given.adapters)} and --interpreter exclude each other: an adapter is the project's own code, and "
            "stands on the libraries that are installed here",
            state=NOTHING,
            next_step="leave --interpreter out; or put what the adapter does into the model's own pipeline, and save it again",
        )
    try:
        open_adapters(given.adapter, given.output_adapter, own_code.current())
    except ModelBlocked as error:
        raise DefinitionError(error.failed, state=NOTHING, next_step=error.next_step) from error


def _check_reference(option: str, reference: str) -> None:
    try:
        TypeAdapter[str](Reference).validate_python(reference)
    except ValidationError as error:
        raise DefinitionError(
            f"{option} '{reference[:100]}' is not module:function",
            state=NOTHING,
            next_step=f"give it as {option} ours.features:to_input, of a function in the project's folder",
        ) from error


def raised(error: PredictRaised, given: Given, estimator: Any) -> ModelBlocked:
    """The model cannot score the sample; what may be the cause."""
    if error.by:
        what = f"{error.message}, of what the model returned for the sample"
        next_step = (
            f"mend {error.by.rpartition(' ')[2]}: it is given what the model's method returned, such as an array"
        )
    elif given.adapter:
        what = f"the model, or the adapter {given.adapter} before it, raised on the sample: {error.message}"
        next_step = "mend the adapter, or give rows as it expects them: the same columns, in the same types"
    elif categories := len(categories_kept(estimator)):
        what = f"the model raised on the sample: {error.message}"
        next_step = (
            f"it was fitted on {categories} pandas categories: keep them as categories in the sample, as "
            "frame.astype({'NAME': 'category'}).to_parquet(...) does, in the values of the fit"
        )
    else:
        what = f"the model raised on the sample: {error.message}"
        next_step = (
            "give rows as the model was fitted on: the same columns, in the same types. Where the model names no columns, "
            "--input NAME says which it takes; --adapter module:function makes of a row what it takes"
        )
    return ModelBlocked(what, state=NOTHING, next_step=next_step)
