"""The Python modules that a job names: Lamplighter's own, the project's, and what the lock brings."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from tasks.core import own_code, own_modules
from tasks.core.definitions.job import Job
from tasks.core.errors import DefinitionError
from tasks.core.models.model_version import ModelVersion
from tasks.core.releasing.wheel import PACKAGES
from tasks.core.storage import Folder

_MOST_FILES = 500


@dataclass
class Modules:
    """The project's own packages that a job needs, their files by path, and what is left out."""

    names: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def modules_of(job: Job, project: Folder, version: ModelVersion | None = None) -> Modules:
    """With the project's custom expectations where the job has a suite, and what all of these import of the project.

    DefinitionError where the model needs a module that lies elsewhere than in the project or an installed package.
    """
    found = Modules()
    for package in sorted(own_modules.named_packages(job, version)):
        if _where(package, project) == "elsewhere":
            raise DefinitionError(
                f"the model of {job.job} needs the module '{package}', which is neither in {project.root} nor an installed "
                "package, so it would not be there after an installation",
                state="nothing was written",
                next_step=f"put '{package}' into the project's folder, or into a package that requirements.lock names",
            )
    for package in own_modules.scoring_packages(job, project, version):
        _take(found, package, project)
    if own_modules.uses_expectations(job, project):
        keys = own_modules.package_keys(own_code.EXPECTATIONS, project)
        found.files |= {key: project.read_bytes(key) for key in keys if is_custom_expectation(key)}
    if job.training:
        _take_estimator(found, job.training.estimator, project)
    return found


def is_custom_expectation(key: str) -> bool:
    """Whether a file of a project is a module of its custom expectations; what would make a package of them is none."""
    inside = key.removeprefix(f"{own_code.EXPECTATIONS}/")
    return inside not in (key, "__init__.py") and own_code.is_module(inside)


def _take_estimator(found: Modules, reference: str, project: Folder) -> None:
    """What only training needs may stay at home: the job scores without it."""
    package = own_code.top(reference)
    where = _where(package, project)
    if where == "project":
        for one in own_modules.with_imported([package], project):
            if one not in found.names:
                _take(found, one, project)
    elif where == "elsewhere":
        found.left_out.append(f"training.estimator {reference}: '{package}' does not lie in the project")


def _where(package: str, project: Folder) -> str:
    """`wheel`, `installed` (or Python's own), `project` or `elsewhere`."""
    if package in PACKAGES:
        return "wheel"
    # Wherever it is imported from here: what lies in the project is the project's.
    if own_code.lies_in(package, project):
        return "project"
    if package in sys.stdlib_module_names or own_code.is_installed(package):
        return "installed"
    return "elsewhere"


def _take(found: Modules, package: str, project: Folder) -> None:
    keys = own_modules.package_keys(package, project)
    if len(keys) > _MOST_FILES:
        raise DefinitionError(
            f"{project.path(package)} holds {len(keys):,} modules; a release takes {_MOST_FILES} along",
            state="nothing was written",
            next_step="make an installed package of it, which requirements.lock names",
        )
    found.names.append(package)
    found.files |= {key: project.read_bytes(key) for key in keys}
