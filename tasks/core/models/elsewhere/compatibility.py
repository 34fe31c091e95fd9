"""Which models another environment would load and score as they are scored here; and a model bound to its environment."""

from __future__ import annotations

import datetime as dt
import platform
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError, LamplighterError, ModelBlocked
from tasks.core.models.elsewhere.estimator import Interpreter, find_interpreter, packages_of
from tasks.core.models.loading import MISSING, installed
from tasks.core.models.model import load_model, worst_difference
from tasks.core.models.model_version import Candidate, ModelVersion
from tasks.core.models.prediction import PredictRaised
from tasks.core.models.registry import Registry

# apart: it is loaded by an interpreter of its own, whatever is installed elsewhere.
Outcome = Literal["agrees", "agrees_with_warnings", "changes", "does_not_load", "apart"]
_LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "joblib", "pyarrow", "skops", "onnxruntime")


@dataclass(frozen=True)
class Compatibility:
    """What would become of one version. `largest_difference` is of a probe row's output, beyond the tolerance."""

    model: str
    version: int
    aliases: tuple[str, ...]
    outcome: Outcome
    why: str = ""
    warnings: tuple[str, ...] = ()
    largest_difference: float | None = None

    @property
    def is_change(self) -> bool:
        return self.outcome in ("changes", "does_not_load")


def libraries_here_and_there(python: str) -> dict[str, tuple[str, str]]:
    """Of each library that may change a score, its version here and in the other environment.

    DefinitionError where `python` is no Python that could load a model.
    """
    try:
        there = packages_of(Interpreter("", python))
    except ModelBlocked as error:
        raise DefinitionError(error.failed, state="no model was tried", next_step=error.next_step) from error
    found = {"python": (platform.python_version(), there["python"])}
    found |= {name: (installed(name), there.get(name, MISSING)) for name in _LIBRARIES}
    return {name: versions for name, versions in found.items() if versions != (MISSING, MISSING)}


def allowed_types_by_model(project: Project) -> dict[str, set[str]]:
    """What the jobs that name a model allow its file to name. JobError where a job is wrong."""
    found: dict[str, set[str]] = {}
    for name in project.job_names():
        choice = project.load(name, suites=False).job.model
        found.setdefault(choice.name, set()).update(choice.allowed_types)
    return found


def try_models(
    registry: Registry, python: str, allowed_types: Mapping[str, Collection[str]]
) -> Iterator[Compatibility]:
    """Runs the load gate of each version that an alias names, in another environment; each with the types of its jobs."""
    for name in registry.names():
        aliases = registry.aliases(name)
        for number in sorted(set(aliases.values())):
            named = tuple(sorted(alias for alias, each in aliases.items() if each == number))
            yield replace(
                _tried(registry, Interpreter("", python), name, number, allowed_types.get(name, ())), aliases=named
            )


def _tried(
    registry: Registry, interpreter: Interpreter, name: str, number: int, allowed_types: Collection[str]
) -> Compatibility:
    found = Compatibility(name, number, (), "agrees")
    try:
        version = registry.version(name, number)
        if own := version.signature.interpreter:
            return replace(
                found, outcome="apart", why=f"it is loaded by the interpreter '{own}', wherever the others are"
            )
        loaded = load_model(registry, version, allowed_types=allowed_types, probe=False, interpreter=interpreter)
        worst = worst_difference(registry, loaded)
    except PredictRaised as error:
        return replace(found, outcome="does_not_load", why=f"it raises on its own probe rows: {error.message}")
    except LamplighterError as error:
        return replace(found, outcome="does_not_load", why=error.failed)
    if worst:
        return replace(
            found, outcome="changes", why=worst[1], warnings=loaded.warnings, largest_difference=float(worst[0])
        )
    return replace(found, outcome="agrees_with_warnings" if loaded.warnings else "agrees", warnings=loaded.warnings)


def bind(
    registry: Registry,
    version: ModelVersion,
    interpreter: str,
    *,
    allowed_types: Collection[str],
    at: dt.datetime,
    actor: str,
) -> ModelVersion:
    """Registers a copy of a version that is to be loaded by this interpreter from now on, after it passed the gate there.

    A version never changes, so it is another one: the same model, probe rows, profile and benchmark, and the same is usual.
    """
    if version.signature.adapters:
        raise DefinitionError(
            f"{version} is scored with {' and '.join(version.signature.adapters)}, and an adapter is the project's own code, "
            "which stands on the libraries that are installed here",
            state="nothing was registered",
            next_step="put what the adapter does into the model's own pipeline, and register that with --interpreter",
        )
    load_model(registry, version, allowed_types=allowed_types, interpreter=find_interpreter(interpreter, str(version)))
    probe, expected = registry.probe(version)
    candidate = Candidate(
        model_bytes=registry.read(version, version.signature.model_file),
        signature=version.signature.model_copy(update={"interpreter": interpreter, "compiled": False}),
        profile=registry.profile(version),
        benchmark=registry.benchmark(version),
        probe=probe,
        expected=expected,
        training=version.manifest.training,
        code=version.manifest.code,
        environment=version.manifest.environment,
        card={**registry.card(version), "copy_of": f"{version}, bound to the interpreter {interpreter}"},
        usual=registry.usual(version),
    )
    return registry.register(version.name, candidate, at=at, actor=actor)
