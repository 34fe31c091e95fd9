"""What a worker does before it loads a flow: it goes to the project, which its own environment names."""

from __future__ import annotations

from tasks.core.errors import DefinitionError
from tasks.core.own_code import refuse_clashes
from tasks.core.settings import environment
from tasks.core.storage import Folder

_VARIABLE = "LAMPLIGHTER_PROJECT"


def project_folder() -> dict[str, str]:
    """A pull step of Prefect: the flow run works in this directory, and finds the project's own modules there.

    DefinitionError where the variable is not set, or where one of them stands in the way of another.
    """
    named = environment(_VARIABLE)
    if named is None:
        raise DefinitionError(
            f"{_VARIABLE} is not set in the worker's environment, so it does not know where the jobs are",
            state="nothing was started",
            next_step=f"{_VARIABLE}=/path/to/the/project prefect worker start --pool lamplighter",
        )
    project = Folder(named)
    # The run's process has the project first on its path: a module that hides another would end it without a word of why.
    refuse_clashes(project)
    return {"directory": str(project.root)}
