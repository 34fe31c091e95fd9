"""What Python has imported of a project, by whatever name its folder was found; and how it is forgotten again."""

from __future__ import annotations

import sys
from types import ModuleType

from tasks.core.storage import Folder


def roots(project: Folder) -> tuple[str, str]:
    """The project's folder as it is named, and where links lead."""
    return str(project.root), str(project.root.resolve())


def forget(project: Folder) -> None:
    """Takes the project's modules out: those of another one that have the same names are imported in their place."""
    both = roots(project)
    for name in [name for name, module in list(sys.modules.items()) if _is_of(both, name, module)]:
        module = sys.modules.pop(name)
        package, _, last = name.rpartition(".")
        # `from package import module` asks the package first, which may stay.
        if getattr(sys.modules.get(package), "__dict__", {}).get(last) is module:
            delattr(sys.modules[package], last)


def _is_of(both: tuple[str, str], name: str, module: ModuleType) -> bool:
    """Whether a module was imported from there; of a package without a file of its own: at least a part of it."""
    folders = [f"{root}/{name.replace('.', '/')}" for root in both]
    file = getattr(module, "__file__", None)
    if file is None and isinstance(module, ModuleType):
        return not set(folders).isdisjoint(vars(module).get("__path__") or ())
    return any(file in (f"{folder}/__init__.py", f"{folder}.py") for folder in folders)
