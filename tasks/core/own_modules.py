"""Which of a project's own modules a job uses: what decides its runs beside Lamplighter, and what a release takes along."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from tasks.core import own_code
from tasks.core.definitions.job import Job
from tasks.core.models.model_version import ModelVersion
from tasks.core.storage import Folder

# For what does not parse.
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
    named = named_packages(job, version)
    if uses_expectations(job, project):
        named |= _looked_at(project, own_code.EXPECTATIONS).imports
    return with_imported(named, project)


def named_packages(job: Job, version: ModelVersion | None = None) -> set[str]:
    """The top packages that the model's types and its adapters name, the project's own or not."""
    adapters = version.signature.adapters if version else ()
    return {own_code.top(one) for one in (*job.model.allowed_types, *adapters)}


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
    return single + sorted(own_code.modules_below(package, project))


@cache
def _looked_at(project: Folder, package: str) -> _Package:
    digest, imports = hashlib.sha256(), set[str]()
    for key in package_keys(package, project):
        content = project.read_bytes(key)
        digest.update(f"{key}\0{len(content)}\0".encode())
        digest.update(content)
        imports |= _first_names(content)
    return _Package(digest.hexdigest(), frozenset(imports))


def _first_names(content: bytes) -> set[str]:
    """Of what a module imports; a name too many does no harm."""
    try:
        names = {name for node in ast.walk(ast.parse(content)) for name in _imported_by(node)}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        names = set(_as_lines_say(content))
    return {name.partition(".")[0] for name in names}


def _imported_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (one.name for one in names)
        case ast.ImportFrom(module=str(module), level=0):
            yield module
        case ast.Call(
            func=ast.Name(id="__import__" | "import_module") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(module)), *_],
        ):
            yield module


def _as_lines_say(content: bytes) -> Iterator[str]:
    for package, several in _IMPORT.findall(content):
        listed = [package] if package else several.split(b",")
        yield from (one.split()[0].decode() for one in listed if one.strip())
