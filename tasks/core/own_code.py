"""The one door to a project's own Python: importable beside Lamplighter's, after all that is installed, never in its place.

The project's folder is the last on the path, so what lies there hides nothing; what Python would find elsewhere under the
same name is refused by name. Modules in `expectations/` are found as `expectations.NAME`, the project's first.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import threading
import traceback
from collections.abc import Iterator
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from tasks.core import own_imports
from tasks.core.errors import DefinitionError
from tasks.core.storage import Folder

EXPECTATIONS = "expectations"
LAMPLIGHTERS = ("expectations", "flows", "tasks")
# Folders of a project that hold no package of a job's.
NO_PACKAGES = frozenset({*LAMPLIGHTERS, "deployments", "lake"})
_PACKAGE, _COMPILED = "__init__.py", "__pycache__"
_INSTALLED = ("site-packages", "dist-packages")
# Nobody imports these by name while a job runs, and many projects and careless distributions have them.
_HARMLESS = frozenset({"conftest", "docs", "examples", "setup", "test", "tests"})

_lock = threading.RLock()
_joined: list[Folder] = []
_told_by_parent: list[bool] = []


class NotImportable(Exception):
    """Why something of a project's own code cannot be had: its text is what was raised, and where."""


def join(project: Folder) -> None:
    """Makes the project's modules importable in this process; another project's are so no more.

    DefinitionError where one of them would be taken for another module, or another for it.
    """
    refuse_clashes(project)
    _enter(project)


def join_as_told(root: str) -> None:
    """As join, in a child process: its parent has checked the project, and says which one counts here for good."""
    _enter(Folder(root))
    _told_by_parent[:] = [True]


def joined() -> Folder | None:
    """The project whose modules are importable here."""
    return _joined[0] if _joined else None


def current() -> Folder:
    """The project whose code counts in this process, joined: its parent's where that told, else the settings' own."""
    if not _told_by_parent:
        # The interpreter that another environment lends us has no settings, and asks for none.
        from tasks.core.settings import Settings  # noqa: PLC0415

        project = Folder(Settings().project)
        if _joined != [project]:
            join(project)
    return _joined[0]


def _enter(project: Folder) -> None:
    with _lock:
        if _joined != [project]:
            _leave()
            _joined[:] = [project]
        _put_last(project)
        _put_expectations_first(project)


def imported(module: str) -> ModuleType:
    """A module, imported; NotImportable says what it raised, and in which line, be it an exit."""
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise NotImportable(f"{module}: {_why(error)}") from error


def named(reference: str) -> Any:
    """What `module:name` stands for; NotImportable where there is none."""
    module, _, name = reference.partition(":")
    found: Any = imported(module)
    for part in name.split("."):
        if not hasattr(found, part):
            raise NotImportable(f"{module} has no '{name}'")
        found = getattr(found, part)
    return found


def file_of(module: str, project: Folder) -> str | None:
    """The file of a dotted module in a project, by its key; None where it does not lie there as Python code."""
    if not all(part.isidentifier() for part in module.split(".")) or not lies_in(top(module), project):
        return None
    key = module.replace(".", "/")
    return next((one for one in (f"{key}/{_PACKAGE}", f"{key}.py") if project.exists(one)), None)


def top(dotted: str) -> str:
    """The top package of `package.module.Name` or `package.module:name`."""
    return dotted.partition(":")[0].partition(".")[0]


def lies_in(package: str, project: Folder) -> bool:
    """Whether a package or module of this name lies in the project's folder, be its only modules further below."""
    if package in NO_PACKAGES or not package.isidentifier():
        return False
    return project.exists(f"{package}.py") or next(modules_below(package, project), None) is not None


def modules_below(folder: str, project: Folder, *, above: frozenset[object] = frozenset()) -> Iterator[str]:
    """The keys of the Python files below a folder of a project, those beside one another before those that lie deeper.

    Of the folders those that an import can name; links too, as Python follows them, but none back to what it lies in.
    """
    if not project.exists(folder):
        return
    real = project.path(folder).resolve()
    if real in above or project.root.resolve().is_relative_to(real):
        return
    names = project.names(folder)
    yield from (f"{folder}/{name}" for name in names if is_module(name))
    for name in names:
        if name.isidentifier() and name != _COMPILED:
            yield from modules_below(f"{folder}/{name}", project, above=above | {real})


def is_module(key: str) -> bool:
    """Whether a key below a package names Python code, and no hidden or compiled file."""
    return key.endswith(".py") and not any(part.startswith(".") or part == _COMPILED for part in key.split("/"))


def is_installed(package: str) -> bool:
    """Whether a package comes from an installed distribution."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    return any(_of_distribution(place) for place in [spec.origin or "", *(spec.submodule_search_locations or ())])


def custom_expectations(project: Folder) -> list[str]:
    """The project's modules of custom expectations, as `expectations.NAME`; none of Lamplighter's own checkout."""
    if is_lamplighters(project):
        return []
    names = {inspect.getmodulename(name) or name for name in project.names(EXPECTATIONS) if _is_custom(name, project)}
    return [f"{EXPECTATIONS}.{name}" for name in sorted(names)]


def _is_custom(name: str, project: Folder) -> bool:
    key = f"{EXPECTATIONS}/{name}"
    return is_module(name) or (name.isidentifier() and project.exists(f"{key}/{_PACKAGE}"))


def is_lamplighters(project: Folder) -> bool:
    """Whether the project is the checkout that this code runs from."""
    return _is_same(Folder(package_folder("tasks").root.parent), project)


def package_folder(package: str) -> Folder:
    """Where one of Lamplighter's own packages lies; a project's part of `expectations` does not count."""
    found = importlib.import_module(package)
    return Folder(Folder(found.__file__ or "").root.parent)


def refuse_clashes(project: Folder) -> None:
    """DefinitionError names each module in the project's root that would be taken for another, or another for it."""
    if is_lamplighters(project):
        return
    if project.exists(f"{EXPECTATIONS}/{_PACKAGE}") and not _is_copy(EXPECTATIONS, project):
        raise DefinitionError(
            f"{project.path(EXPECTATIONS)} holds an {_PACKAGE}, which makes a package of it that could hide Lamplighter's own "
            f"'{EXPECTATIONS}'; the modules there are found without it",
            state="nothing was started",
            next_step=f"rm {project.path(EXPECTATIONS)}/{_PACKAGE}, then: lamplighter check",
        )
    path, found = _path_without(project), {}
    for entry in project.names():
        name = inspect.getmodulename(entry) or entry
        if (other := _other(name, path)) and _is_code(entry, name, project):
            found[entry] = other
    if found:
        raise _clash(project, found)


def _is_code(entry: str, name: str, project: Folder) -> bool:
    if name in _HARMLESS:
        return False
    if entry != name:
        return True
    if name in LAMPLIGHTERS:
        is_package = name != EXPECTATIONS and any(is_module(key) for key in project.names(entry))
        return is_package and not _is_copy(name, project)
    # Of a folder without __init__ Python makes a package only where there is no other of its name.
    return project.exists(f"{entry}/{_PACKAGE}")


def _is_copy(package: str, project: Folder) -> bool:
    """Whether it is Lamplighter's own, as in the checkout that an image was built from."""
    key = f"{package}/{_PACKAGE}"
    return project.exists(key) and project.read_bytes(key) == package_folder(package).read_bytes(_PACKAGE)


def _path_without(project: Folder) -> list[str]:
    """Where Python looks beside this project, and beside the one that it would take the place of."""
    projects = {one.root.resolve() for one in (project, *_joined)}
    return [entry for entry in sys.path if Folder(entry or ".").root.resolve() not in projects]


def _other(name: str, path: list[str]) -> str:
    """What Python finds elsewhere under this name, in words; '' where nothing."""
    if not name.isidentifier():
        return ""
    if name in LAMPLIGHTERS:
        return f"Lamplighter's own package '{name}'"
    if name in sys.stdlib_module_names:
        return f"Python's own module '{name}'"
    spec = PathFinder.find_spec(name, path)
    if spec is None:
        return ""
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    # A folder that merely has this name, somewhere on the path, is no module that stands in the way.
    return f"the module '{name}' in {places[0]}" if spec.origin or _of_distribution(places[0]) else ""


def _clash(project: Folder, found: dict[str, str]) -> DefinitionError:
    entry, other = next(iter(found.items()))
    others = [f"{each} ({what})" for each, what in found.items() if each != entry]
    more = f"; and so with {', '.join(others)}" if others else ""
    name, dot, ending = entry.partition(".")
    return DefinitionError(
        f"{project.path(entry)} has the name of {other}: wherever one of them is imported, the other one might be "
        f"taken{more}",
        state="nothing was started",
        next_step=f"rename it, such as {_free_name(name)}{dot}{ending}, with what imports it; then: lamplighter check",
    )


def _free_name(name: str) -> str:
    return f"own_{name}"


def free_package_name(wanted: str, project: Folder) -> str:
    """The name itself, or a longer one under which Python finds nothing else."""
    name, path = wanted, _path_without(project)
    while name in NO_PACKAGES | _HARMLESS or _other(name, path):
        name = f"{name}_code" if name == wanted else f"{name}_"
    return name


def _of_distribution(place: str) -> bool:
    return any(f"/{each}/" in f"{place}/" for each in _INSTALLED)


def _put_last(project: Folder) -> None:
    """A worker of Prefect puts the project before everything else: what is installed comes first from here on."""
    if is_lamplighters(project):
        return
    root = str(project.root)
    if sys.path[-1:] != [root]:
        # Whatever it is called there: a link, or what a link leads to.
        sys.path[:] = [*(each for each in sys.path if not (each and _is_same(Folder(each), project))), root]
        importlib.invalidate_caches()


def _is_same(one: Folder, other: Folder) -> bool:
    return bool(one.root.resolve() == other.root.resolve())


def _put_expectations_first(project: Folder) -> None:
    places = importlib.import_module(EXPECTATIONS).__path__
    folder = str(project.path(EXPECTATIONS))
    if not is_lamplighters(project) and folder not in places:
        places.insert(0, folder)


def _leave() -> None:
    """Takes the project out that was joined before: its modules are not those of the next one that have the same names."""
    if not _joined or is_lamplighters(_joined[0]):
        return
    project = _joined[0]
    sys.path[:] = [entry for entry in sys.path if entry != str(project.root)]
    places = importlib.import_module(EXPECTATIONS).__path__
    places[:] = [place for place in places if place != str(project.path(EXPECTATIONS))]
    own_imports.forget(project)
    importlib.invalidate_caches()


def _why(error: BaseException) -> str:
    """What was raised, and the last line of the project's own code on the way to it."""
    if isinstance(error, SystemExit):
        said = f"it ends the process (sys.exit({error.code if error.code is not None else ''}))"
    else:
        said = f"{type(error).__name__}: {error}".rstrip(": ")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own_file(frame.filename)]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{said.splitlines()[0]} ({error.filename}, line {error.lineno})"
    return f"{said} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else said


def _is_own_file(name: str) -> bool:
    project = joined()
    if project is None or _of_distribution(name):
        return False
    return any(Folder(name).root.is_relative_to(root) for root in own_imports.roots(project))
