"""Functions of the project around a model: of a frame they make what it takes, of what it returns the columns.

A version names them, and whoever writes the registry writes that name. So only a function that the project itself
defines will do: what Python or an installed package has, such as os:system, is refused before anything is imported.
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.core import own_code
from tasks.core.errors import ModelBlocked
from tasks.core.models.model_version import ModelVersion
from tasks.core.storage import Folder

_LONGEST_LIST = 20


@dataclass(frozen=True)
class Adapter:
    """A function, and how a version names it: module:function."""

    reference: str
    function: Callable[[Any], Any]


@dataclass(frozen=True)
class Adapters:
    """What stands before a model and behind it; None where it takes and gives what the job does."""

    before: Adapter | None = None
    after: Adapter | None = None


NONE = Adapters()


def open_adapters(before: str | None, after: str | None, project: Folder) -> Adapters:
    """The functions that a version names; ModelBlocked where one does not lie in the project, or cannot be imported."""
    return Adapters(_opened(before, project) if before else None, _opened(after, project) if after else None)


def to_model(adapters: Adapters, frame: Any, rows: int, version: ModelVersion) -> Any:
    """What the model takes; ModelBlocked where it has another number of rows. What the function raises passes."""
    if adapters.before is None:
        return frame
    made = adapters.before.function(frame)
    if (found := _rows_of(made)) not in (rows, None):
        raise _wrong(
            f"{version}: the adapter {adapters.before.reference} returned {_in_words(made)} for {rows:,} rows",
            f"let {adapters.before.reference} return a row for each row of the frame, in its order: rows that cannot be "
            "scored a suite takes out, or the function raises on them"
            if isinstance(found, int)
            else f"let {adapters.before.reference} return what the model takes, such as a frame",
        )
    return made


def to_columns(adapters: Adapters, returned: Any, version: ModelVersion) -> Mapping[str, Any] | None:
    """The columns by name that the output adapter makes of what a method returned; None where there is no adapter."""
    if adapters.after is None:
        return None
    made = adapters.after.function(returned)
    if not isinstance(made, Mapping) and not hasattr(made, "columns"):
        raise _wrong(
            f"{version}: the output adapter {adapters.after.reference} returned {_in_words(made)}, where it was given "
            f"{_in_words(returned)}",
            f"let {adapters.after.reference} return a mapping or a DataFrame: a column of values for each name",
        )
    return {str(name): made[name] for name in (made if isinstance(made, Mapping) else made.columns)}


def column_of(made: Mapping[str, Any], name: str, adapters: Adapters, version: ModelVersion) -> npt.NDArray[Any]:
    """One of the columns that the output adapter made; ModelBlocked where there is none of this name."""
    reference = adapters.after.reference if adapters.after else ""
    if name not in made:
        near = difflib.get_close_matches(name, list(made), n=1)
        hint = f"; nearest: '{near[0]}'" if near else ""
        raise _wrong(
            f"{version}: the output adapter {reference} gave no column '{name}'; it gave {_listed(list(made))}{hint}",
            f"let {reference} return the columns that output.columns of the job names",
        )
    return np.asarray(made[name])


# -- from its name to the function ------------------------------------------------------------------------------------


def _opened(reference: str, project: Folder) -> Adapter:
    module, _, name = reference.partition(":")
    key = _file_of(module, project)
    if key is None:
        raise _refused(
            reference,
            f"there is no module '{module}' in the project's folder, {project.root}, and only what lies there may be named",
            "put the function into a module of the project, and name it as module:function",
        )
    package = own_code.top(module)
    _refuse_another(reference, package, [package, f"{package}.py", f"{package}/__init__.py"], project)
    try:
        own_code.imported(module.rpartition(".")[0] or module)
        _refuse_another(reference, module, [key], project)
        found = getattr(own_code.imported(module), name, None)
    except own_code.NotImportable as error:
        raise _refused(
            reference,
            f"its module cannot be imported: {error}",
            f"mend {project.path(key)}, or what it imports",
        ) from error
    if not callable(found):
        what = "nothing" if found is None else f"a {type(found).__name__}, and no function,"
        raise _refused(
            reference, f"{project.path(key)} has {what} of the name '{name}'", f"write the function {name} into {key}"
        )
    defined_in = str(getattr(found, "__module__", None) or type(found).__module__)
    if _file_of(defined_in, project) is None:
        raise _refused(
            reference,
            f"{module} only imports it: it is defined in '{defined_in}', and not in the project",
            f"write a function into {key} that calls it, and name that one",
        )
    return Adapter(reference, found)


def _file_of(module: str, project: Folder) -> str | None:
    return None if own_code.top(module) in sys.stdlib_module_names else own_code.file_of(module, project)


def _refuse_another(reference: str, name: str, keys: Sequence[str], project: Folder) -> None:
    """What Python finds somewhere else under this name is not the project's. The module itself is not imported for it."""
    places = _places_of(name)
    if not {project.path(one).resolve() for one in keys} & {Folder(place).root.resolve() for place in places}:
        raise _refused(
            reference,
            f"the name '{name}' stands for {', '.join(places) or 'nothing'} here, and not for what lies in {project.root}",
            f"give the project's '{own_code.top(name)}' another name, then: lamplighter check",
        )


def _places_of(name: str) -> list[str]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    return [*filter(None, [spec.origin]), *(spec.submodule_search_locations or ())] if spec else []


# -- words ----------------------------------------------------------------------------------------------------------


def _rows_of(made: Any) -> int | str | None:
    """How many rows it has; None where it does not tell, and a word where it is nothing that has rows."""
    shape = getattr(made, "shape", None)
    if isinstance(shape, tuple):
        return int(shape[0]) if shape else "none"
    if hasattr(made, "num_row"):  # As xgboost calls it.
        return int(made.num_row())
    if made is None or isinstance(made, str | bytes) or np.isscalar(made):
        return "none"
    # A mapping holds inputs by name, and not rows.
    return len(made) if hasattr(made, "__len__") and not isinstance(made, Mapping) else None


def _in_words(value: Any) -> str:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"a {type(value).__name__} of shape {shape}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value):,}"
    return "None" if value is None else f"a {type(value).__name__}"


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_LONGEST_LIST]) or "none"
    return f"{shown}, ..." if len(names) > _LONGEST_LIST else shown


def _refused(reference: str, why: str, next_step: str) -> ModelBlocked:
    return ModelBlocked(
        f"the adapter '{reference}' cannot be used: {why}",
        state="the model was not loaded, and no row was scored",
        next_step=next_step,
    )


def _wrong(failed: str, next_step: str) -> ModelBlocked:
    return ModelBlocked(failed, state="nothing of this batch was published", next_step=next_step)
