"""Checks a project's jobs without running any: definitions, suites, drivers, and the project's own code, in a child process.

Own code may raise, hang or end its process while it is imported: that is told like any other fault.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator

from tasks.core import own_code
from tasks.core.definitions.project import JOBS, Definition, Project
from tasks.core.errors import JobError, LamplighterError, SuiteError, WorkerError
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registry import Registry
from tasks.core.runs import formats
from tasks.core.source.driver import how_to_install
from tasks.core.storage import Folder
from tasks.core.workers import Workers, dismiss
from tasks.shards.suites import check_suites
from tasks.shards.validating import gx

_POOL = "check"
IMPORT_SECONDS = 60.0


def check_jobs(project: Project, registry: Registry) -> dict[str, str | None]:
    """What is wrong with each job; None where it is right. DefinitionError where a module of the project's stands in the way."""
    own_code.join(project.folder)
    try:
        of_expectations = _fault_in_expectations(project)
        return {name: _problem(project, registry, name, of_expectations) for name in project.job_names()}
    finally:
        dismiss(_POOL)


def _problem(project: Project, registry: Registry, name: str, of_expectations: SuiteError | None) -> str | None:
    try:
        definition = project.load(name)
        _check_drivers(definition)
        formats.check_table(registry.lake, definition.job)
        if of_expectations and any((definition.suite_text, definition.output_suite_text, definition.labels_suite_text)):
            raise of_expectations
        # A custom expectation may misbehave when it is made, too.
        workers = _workers() if own_code.custom_expectations(project.folder) else Workers(0, IMPORT_SECONDS)
        workers.call(f"the check of the suites of {name}", check_suites, definition)
        _check_references(definition, project.folder, _version_of(registry, definition))
    except LamplighterError as error:
        return str(error)
    return None


def _workers() -> Workers:
    return Workers(1, IMPORT_SECONDS, _POOL)


def _check_drivers(definition: Definition) -> None:
    used = (("source", definition.job.source), ("output.sql", definition.job.output.sql))
    for key, one in used:
        driver = getattr(one, "driver", "sqlite")
        if driver != "sqlite" and importlib.util.find_spec(f"adbc_driver_{driver}") is None:
            raise JobError(
                f"{JOBS}/{definition.job.job}.yaml: key '{key}.driver' is '{driver}', which is not installed",
                next_step=how_to_install(driver),
            )


def _fault_in_expectations(project: Project) -> SuiteError | None:
    """The first of the project's modules of custom expectations that cannot be imported."""
    for module in own_code.custom_expectations(project.folder):
        if why := _why_not(f"the import of {module}", _try_expectations, module):
            return SuiteError(
                f"the custom expectations in {module.replace('.', '/')} cannot be imported: {why}",
                next_step="mend that, or take it out of expectations/; then: lamplighter check",
            )
    return None


def _check_references(definition: Definition, project: Folder, version: ModelVersion | None) -> None:
    for key, dotted in _references(definition, version):
        if (found := _parted(dotted, project)) and (why := _why_not(f"the import of {found[0]}", _try_named, *found)):
            raise JobError(
                f"{JOBS}/{definition.job.job}.yaml: {key} is '{dotted}', which cannot be imported from {project.root}: {why}",
                next_step="mend that, then: lamplighter check",
            )


def _references(definition: Definition, version: ModelVersion | None) -> Iterator[tuple[str, str]]:
    """What names own code, each with where it is named."""
    job = definition.job
    # Another interpreter may have what is not here.
    if version is None or version.signature.interpreter is None:
        yield from (("one of key 'model.allowed_types'", one) for one in job.model.allowed_types)
    if version is not None:
        yield from ((f"an adapter of {version}", one) for one in version.signature.adapters)
    if job.training:
        yield "key 'training.estimator'", job.training.estimator


def _parted(dotted: str, project: Folder) -> tuple[str, str] | None:
    """Module and name of what is the project's; None of anything else."""
    module, colon, name = dotted.partition(":")
    if not own_code.lies_in(own_code.top(dotted), project):
        return None
    if colon:
        return module, name
    parts = dotted.split(".")
    # The longest module that is there: what follows is a class, or one within a class.
    depths = range(len(parts) - 1, 0, -1)
    depth = next((each for each in depths if own_code.file_of(".".join(parts[:each]), project)), len(parts) - 1)
    return ".".join(parts[:depth]), ".".join(parts[depth:])


def _version_of(registry: Registry, definition: Definition) -> ModelVersion | None:
    """The version that the job would score with now, if there is one."""
    with contextlib.suppress(LamplighterError):
        return registry.alias(definition.job.model.name, definition.job.model.alias)
    return None


def _why_not(what: str, attempt: Callable[..., str], *arguments: str) -> str:
    """Why an attempt in a child process failed, also where it did not come back; '' where it did not fail."""
    try:
        return _workers().call(what, attempt, *arguments)
    except WorkerError as error:
        return error.failed


def _try_expectations(module: str) -> str:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            gx.import_custom([module])
    except own_code.NotImportable as error:
        return str(error)
    return ""


def _try_named(module: str, name: str) -> str:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            own_code.named(f"{module}:{name}")
    except own_code.NotImportable as error:
        return str(error)
    file, project = getattr(sys.modules[module], "__file__", None), own_code.joined()
    key = own_code.file_of(module, project) if project else None
    # By their folders: the project's own may be compiled, and either one reached by a link.
    if file and project and key and Folder(file).root.parent.resolve() != project.path(key).parent.resolve():
        return f"Python takes {module} from {file}; give the project's own another name"
    return ""
