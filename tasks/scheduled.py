"""Which window a run scores that was asked for the scheduled one: its scheduled time says so, however late it began."""

from __future__ import annotations

import contextlib
import datetime as dt

from prefect.runtime import flow_run

from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError, LamplighterError
from tasks.core.settings import Settings
from tasks.core.storage import Folder

SCHEDULED = "scheduled"


def window_asked_for(job: str, as_of: str) -> str:
    """The window's label; of 'scheduled' that of the window which the tick of the job's schedule scores."""
    if as_of != SCHEDULED:
        return as_of
    definition = Project(Folder(Settings().project)).load(job, suites=False).job
    if definition.schedule is None:
        raise DefinitionError(
            f"the job '{job}' has no schedule, so no window is the scheduled one",
            state="nothing was started",
            next_step=f"give the window itself as as_of, or write 'schedule' into deployments/jobs/{job}.yaml",
        )
    return definition.schedule.window_of(scheduled_at(), definition.window).as_of


def scheduled_at() -> dt.datetime:
    """When this run was to begin: a retry, a late start or a catching up does not change it. Of a manual run, its creation."""
    planned: dt.datetime = flow_run.scheduled_start_time
    return planned


def named() -> str:
    """The run's name in the Prefect UI, `flight_delays 2013-07-01`. What is wrong with its parameters, the run itself says."""
    given = flow_run.parameters
    job, as_of = str(given.get("job")), str(given.get("as_of", SCHEDULED))
    with contextlib.suppress(LamplighterError):
        as_of = window_asked_for(job, as_of)
    return f"{job} {as_of}{', dry run' if given.get('dry_run') else ''}"
