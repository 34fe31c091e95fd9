"""How a job is run: who owns it, where and when it runs, and what is late. None of it decides what a run's rows are."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tasks.core.definitions.engine import Engine, EngineChoice
from tasks.core.definitions.retention import Retention
from tasks.core.definitions.schedule import Length, Schedule, length
from tasks.core.definitions.terms import Definition

WORK_POOL = "lamplighter"
_HOUR, _DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
_POOL_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
Priority = Literal["high", "normal", "low"]

NotificationBlock = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9-]+/[a-z0-9-]+$",
        description="A notification block of the Prefect server, as type/name.",
        examples=["slack-webhook/network-operations"],
    ),
]


class Ownership(Definition):
    """What a team gives once for all of its jobs: the keys that `deployments/jobs/defaults.yaml` may have."""

    owner: Annotated[str, Field(max_length=100, description="The team that answers for it.")] = ""
    alerts: Annotated[
        tuple[NotificationBlock, ...], Field(description="Who is told when a window is blocked, fails or is late.")
    ] = ()
    work_pool: Annotated[
        str,
        Field(pattern=_POOL_NAME, description="Prefect's work pool, whose workers run it."),
    ] = WORK_POOL
    priority: Annotated[
        Priority, Field(description="Which runs a busy worker starts first: a queue of the work pool.")
    ] = "normal"
    engine: EngineChoice = Engine()
    retention: Retention = Retention()


class Defaults(Ownership):
    """The keys of `deployments/jobs/defaults.yaml`: what jobs inherit, and what belongs to no job."""

    models_work_pool: Annotated[
        str,
        Field(
            pattern=_POOL_NAME,
            description="The work pool of train, promote, rollback and recall: its worker alone need write the registry.",
        ),
    ] = WORK_POOL


class Ready(Definition):
    """A question to the source that is asked until it says yes, before a window is pulled."""

    query: Annotated[
        str,
        Field(
            min_length=1,
            description="SQL whose first value is true when the window is complete; binds :start, :end, :as_of and :known_at.",
        ),
    ]
    every: Annotated[Length, Field(description="How often it is asked.")] = "1min"
    give_up_after: Annotated[
        Length, Field(description="How long after the scheduled time the window is given up as late.")
    ] = "1h"


class Operation(Ownership):
    """What decides when a job runs, and by when it must have."""

    schedule: Schedule | None = None
    ready: Ready | None = None
    revisit: Annotated[
        tuple[Length, ...],
        Field(
            max_length=20,
            description="How long after its end a window is pulled again; it is replaced only when its rows have changed.",
        ),
    ] = ()
    deadline: Annotated[
        Length | None, Field(description="How long after the scheduled time a window must be published.")
    ] = None

    @model_validator(mode="after")
    def _check_schedule_given(self) -> Self:
        if self.deadline is not None and self.schedule is None:
            raise ValueError("deadline: it counts from the scheduled time, so it needs 'schedule'")
        return self


def revisit_cron(revisit: tuple[str, ...]) -> str:
    """How often it is looked which windows are to be pulled again, on the job's clock: as fine as its shortest lag."""
    shortest = min(map(length, revisit))
    if shortest % _HOUR:
        return "*/15 * * * *"
    return "5 4 * * *" if shortest >= _DAY and not shortest % _DAY else "5 * * * *"
