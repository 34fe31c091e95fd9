"""The program that another interpreter runs: it takes Lamplighter's code, and no other package, from the environment
of its parent. What is missing here is told, not raised. It must be readable to a Python that is too old to serve.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os  # noqa: TID251 - pipes that it was given; no file is touched
import platform
import sys
from typing import Any

_LEAST_PYTHON = (3, 11)
_NEEDED = ("numpy", "pandas", "pyarrow", "pydantic")


def main() -> None:
    """Serves one model over two pipes; `argv[1]` says which, who the parent is, and where the code lies."""
    if sys.version_info < _LEAST_PYTHON:
        sys.exit(f"it is Python {platform.python_version()}, and 3.11 or later is needed")
    told = json.loads(sys.argv[1])
    for pipe in (told["requests"], told["answers"]):
        # A program that the model starts must not hold them open.
        os.set_inheritable(pipe, False)
    sys.path[:] = sys.path[1:] + told["also"]
    _make_importable(told["package"])
    wire = importlib.import_module("tasks.core.models.elsewhere.wire")
    importlib.import_module("tasks.core.orphans").end_with_parent(told["parent"], with_group=True)
    with os.fdopen(told["requests"], "rb") as requests, os.fdopen(told["answers"], "wb") as answers:
        problem = _problem()
        answers.write(wire.packed({"python": platform.python_version(), **problem}))
        answers.flush()
        if not problem:
            importlib.import_module("tasks.core.models.elsewhere.child").serve(requests, answers)


def _make_importable(package: str) -> None:
    """The package `tasks` by its own folder: the folder around it may be the site-packages of another environment."""
    spec: Any = importlib.util.spec_from_file_location(
        "tasks", package + "/__init__.py", submodule_search_locations=[package]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["tasks"] = module
    spec.loader.exec_module(module)


def _problem() -> dict[str, Any]:
    """Why this interpreter cannot serve; nothing where it can."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return {"missing": missing}
    try:
        importlib.import_module("tasks.core.models.elsewhere.child")
    except Exception as error:  # noqa: BLE001 - the parent raises it
        return {"problem": f"{type(error).__name__}: {error}"}
    return {}


if __name__ == "__main__":
    main()
