"""The Python modules that a job names: Lamplighter's own, the project's, and what the lock brings."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, field

from tasks.core.definitions.job import Job
from tasks.core.errors import DefinitionError
from tasks.core.releasing.wheel import PACKAGES
from tasks.core.storage import Folder

_INSTALLED = ("site-packages", "dist-packages")
_MOST_FILES = 500
# Folders of a project that hold no package of a job's.
NO_PACKAGES = frozenset({*PACKAGES, "deployments", "lake"})


@dataclass
class Modules:
    """The project's own packages that a job needs, their files by path, and what is left out."""

    names: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def modules_of(job: Job, project: Folder) -> Modules:
    """DefinitionError where the model needs a module that lies elsewhere than in the project or an installed package."""
    found = Modules()
    for package in sorted({one.partition(".")[0] for one in job.model.allowed_types}):
        where = _where(package, project)
        if where == "elsewhere":
            raise DefinitionError(
                f"the model of {job.job} needs the module '{package}', which is neither in {project.root} nor an installed "
                "package, so it would not be there after an installation",
                state="nothing was written",
                next_step=f"put '{package}' into the project's folder, or into a package that requirements.lock names",
            )
        if where == "project":
            _take(found, package, project)
    if job.training:
        _take_estimator(found, job.training.estimator, project)
    return found


def _take_estimator(found: Modules, reference: str, project: Folder) -> None:
    """What only training needs may stay at home: the job scores without it."""
    package = reference.partition(":")[0].partition(".")[0]
    where = _where(package, project)
    if where == "project" and package not in found.names:
        _take(found, package, project)
    elif where == "elsewhere":
        found.left_out.append(f"training.estimator {reference}: '{package}' does not lie in the project")


def _where(package: str, project: Folder) -> str:
    """`wheel`, `installed` (or Python's own), `project` or `elsewhere`."""
    if package in PACKAGES:
        return "wheel"
    # Wherever it is imported from here: what lies in the project is the project's.
    if _in_project(package, project):
        return "project"
    if package in sys.stdlib_module_names or _is_installed(package):
        return "installed"
    return "elsewhere"


def _in_project(package: str, project: Folder) -> bool:
    if package in NO_PACKAGES or not package.isidentifier():
        return False
    return project.exists(f"{package}.py") or any(_is_module(key) for key in project.names(package))


def _is_installed(package: str) -> bool:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = [*filter(None, [spec.origin]), *(spec.submodule_search_locations or ())]
    return any(f"/{each}/" in f"{place}/" for place in places for each in _INSTALLED)


def _take(found: Modules, package: str, project: Folder) -> None:
    keys = [f"{package}.py"] if project.exists(f"{package}.py") else []
    keys += [f"{package}/{key}" for key in Folder(project.path(package)).files() if _is_module(key)]
    if len(keys) > _MOST_FILES:
        raise DefinitionError(
            f"{project.path(package)} holds {len(keys):,} modules; a release takes {_MOST_FILES} along",
            state="nothing was written",
            next_step="make an installed package of it, which requirements.lock names",
        )
    found.names.append(package)
    found.files |= {key: project.read_bytes(key) for key in keys}


def _is_module(key: str) -> bool:
    return key.endswith(".py") and not any(part.startswith(".") or part == "__pycache__" for part in key.split("/"))
