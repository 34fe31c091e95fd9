"""Which of a project's own modules a job uses: what decides its runs beside Lamplighter, and what a release takes along."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from tasks.core import own_code
from tasks.core.definitions.job import Job
from tasks.core.models.model_version import ModelVersion
from tasks.core.storage import Folder

_IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+(\w+)[\w.]*[ \t]+import\b|import[ \t]+(\w[\w., \t]*))", re.MULTILINE)


@dataclass(frozen=True)
class _Package:
    """The digest of an own package's files, and the first names of what they import."""

    digest: str
    imports: frozenset[str]


def digests(job: Job, project: Folder, version: ModelVersion) -> dict[str, str]:
    """The hex SHA-256 of each own package that scores with the job, and of the custom expectations if it has a suite.

    As they were when this process first asked: it has imported them by then, and takes no later change.
    """
    packages = scoring_packages(job, project, version)
    if uses_expectations(job, project):
        packages.append(own_code.EXPECTATIONS)
    return {package: _looked_at(project, package).digest for package in sorted(packages)}


def scoring_packages(job: Job, project: Folder, version: ModelVersion | None = None) -> list[str]:
    """The project's own packages that scoring needs: of the model's types, its adapters and the custom expectations.

    With what those import of the project.
    """
    adapters = version.signature.adapters if version else ()
    named = {own_code.top(one) for one in (*job.model.allowed_types, *adapters)}
    if uses_expectations(job, project):
        named |= _looked_at(project, own_code.EXPECTATIONS).imports
    return with_imported(named, project)


def with_imported(packages: Iterable[str], project: Folder) -> list[str]:
    """Those of these packages that lie in the project, and what they import that lies there too."""
    found: set[str] = set()
    waiting = {one for one in packages if own_code.lies_in(one, project)}
    while waiting:
        package = waiting.pop()
        found.add(package)
        imported = _looked_at(project, package).imports - found
        waiting |= {one for one in imported if own_code.lies_in(one, project)}
    return sorted(found)


def digests_of(named: Iterable[str], project: Folder) -> dict[str, str]:
    """The digest of each own package among what is named, as package.module.Name or package.module:name, and of what those
    import of the project; as they were when this process first asked.
    """
    packages = with_imported({own_code.top(one) for one in named}, project)
    return {package: _looked_at(project, package).digest for package in packages}


def uses_expectations(job: Job, project: Folder) -> bool:
    """Whether a suite of the job may name expectations that only this project has."""
    suites = (job.suite, job.output.suite, job.labels.suite if job.labels else None)
    return any(suites) and bool(own_code.custom_expectations(project))


def package_keys(package: str, project: Folder) -> list[str]:
    """The Python files of an own package or module, or of the custom expectations."""
    single = [f"{package}.py"] if project.exists(f"{package}.py") else []
    below = Folder(project.path(package)).files()
    return single + [f"{package}/{key}" for key in below if own_code.is_module(key)]


@cache
def _looked_at(project: Folder, package: str) -> _Package:
    digest, imports = hashlib.sha256(), set[bytes]()
    for key in package_keys(package, project):
        content = project.read_bytes(key)
        digest.update(f"{key}\0{len(content)}\0".encode())
        digest.update(content)
        imports |= _first_names(content)
    return _Package(digest.hexdigest(), frozenset(name.decode() for name in imports))


def _first_names(content: bytes) -> set[bytes]:
    """Of what a module imports, as its lines say; a name too many does no harm."""
    found: set[bytes] = set()
    for package, several in _IMPORT.findall(content):
        found |= {package} if package else {one.split()[0] for one in several.split(b",") if one.strip()}
    return {name.partition(b".")[0] for name in found}
