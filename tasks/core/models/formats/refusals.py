"""What every format says of a file that it will not load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.core.errors import ModelBlocked
from tasks.core.models.formats.allow_list import is_forbidden

_SCRIPTS = ("__main__", "__mp_main__")


def refused(names: Sequence[str]) -> ModelBlocked:
    """The file names what nobody has allowed."""
    never = [name for name in names if is_forbidden(name)]
    if of_script := [name.partition(".")[2] for name in never if name.partition(".")[0] in _SCRIPTS]:
        return _of_a_script(of_script)
    if any(name.partition(".")[0] == "cloudpickle" for name in never):
        return ModelBlocked(
            "the model's file was saved by cloudpickle, which puts code into the file, and nobody can allow code of a file: "
            f"{', '.join(never)}",
            state="nothing in the file was run",
            next_step="put the model's own classes and functions into a module of the project, and save it by joblib.dump; do "
            "not trust a file of which you do not know who wrote it",
        )
    return ModelBlocked(
        f"the model's file names what is on no allow-list: {', '.join(names)}",
        state="nothing in the file was run",
        next_step=f"Nobody can allow {', '.join(never)}: do not trust this file"
        if never
        else "add these to model.allowed_types in the job's YAML, if you know what they are and who wrote the file",
    )


def misused(what: str) -> ModelBlocked:
    """The file does with allowed names what a saved model has no need of."""
    return ModelBlocked(
        f"the model's file does what files of models do not do: {what}",
        state="the file was read no further, and no row was scored",
        next_step="do not trust this file. If you know who wrote it, and why it does this: save the model again by joblib.dump, "
        "and add what it calls to model.allowed_types in the job's YAML",
    )


def _of_a_script(names: Sequence[str]) -> ModelBlocked:
    listed, first = ", ".join(names), names[0].partition(".")[0]
    return ModelBlocked(
        f"the model's file names {listed} of __main__: what was written in a notebook or in the script that saved the model, "
        "and of it the file holds the name alone",
        state="nothing in the file was run",
        next_step=f"move {listed} into a module of the project, such as ours/features.py; import it from there where the model "
        f"is made (from ours.features import {first}), make the model with it, and save it again",
    )


def not_here(format_name: str, type_name: str, error: BaseException) -> ModelBlocked:
    """What the file names cannot be imported."""
    said = " ".join(str(error).split())
    what = (
        said if isinstance(error, ImportError | AttributeError) else f"its import raised {type(error).__name__}: {said}"
    )
    unread = unreadable(format_name, f"it needs {type_name}, which is not here ({what})")
    return ModelBlocked(
        unread.failed,
        state=unread.state,
        next_step=f"put the module into the project's folder, or install the package that has it; else {unread.next_step}",
    )


def unreadable(format_name: str, why: str) -> ModelBlocked:
    """The file is not one of its format, or of another version of its libraries."""
    article = "an" if format_name[0] in "aeion" else "a"
    return ModelBlocked(
        f"the model's file is not {article} {format_name} file that can be read here: {why}",
        state="no row was scored",
        next_step="register the model again, saved in this environment, or let the environment that saved it load it: "
        "lamplighter register --interpreter NAME",
    )


def cannot_be_kept(format_name: str, model: Any, error: BaseException) -> ModelBlocked:
    """A file holds names of classes and functions, and so none of a lambda, or of what is defined within a function."""
    return ModelBlocked(
        f"the {type(model).__name__} cannot be kept in a {format_name} file, which holds classes and functions by their names: "
        f"{' '.join(str(error).split())}",
        state="nothing was registered",
        next_step="write a lambda, and what is defined within a function or a notebook, as a class or function of a module of "
        "the project, and make the model with that",
    )
