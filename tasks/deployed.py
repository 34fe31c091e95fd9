"""What a worker does before it loads a flow: it goes to the project, which its own environment names."""

from __future__ import annotations

from tasks.core.definitions.project import JOBS
from tasks.core.errors import DefinitionError
from tasks.core.own_code import refuse_clashes
from tasks.core.settings import environment
from tasks.core.storage import Folder

_VARIABLE = "LAMPLIGHTER_PROJECT"
_NEXT = f"{_VARIABLE}=/path/to/the/project prefect worker start --pool lamplighter"


def project_folder() -> dict[str, str]:
    """A pull step of Prefect: the flow run works in this directory, and finds the project's own modules there.

    DefinitionError where the variable is not set or names no project, or where one of them stands in the way of another.
    """
    named = environment(_VARIABLE)
    if named is None:
        raise DefinitionError(
            f"{_VARIABLE} is not set in the worker's environment, so it does not know where the jobs are",
            state="nothing was started",
            next_step=_NEXT,
        )
    project = Folder(named)
    # The run reads the variable again when it stands there.
    if Folder(project.root / named) != project:
        raise DefinitionError(
            f"{_VARIABLE} is the relative path '{named}' in the worker's environment, and a worker starts its runs in folders of "
            "their own",
            state="nothing was started",
            next_step=_NEXT,
        )
    if not project.exists(JOBS):
        raise DefinitionError(
            f"{_VARIABLE} is '{named}' in the worker's environment, and where its runs are there is no {project.path(JOBS)}",
            state="nothing was started",
            next_step=_NEXT,
        )
    # The run's process has the project first on its path: a module that hides another would end it without a word of why.
    refuse_clashes(project)
    return {"directory": str(project.root)}
