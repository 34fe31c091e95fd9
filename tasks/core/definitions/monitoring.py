"""What a job says of its monitoring: how many false alarms it may raise, what is late, and what an alarm starts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.core.definitions.schedule import Cron
from tasks.core.definitions.terms import ColumnName, Definition

Cause = Literal["drifted", "degraded"]


class Monitor(Definition):
    """How a job is watched once it publishes. None of it decides what a run's rows are."""

    false_alarms_per_year: Annotated[
        float,
        Field(
            gt=0,
            le=52,
            description="How many alarms a year may be raised while nothing has changed: half of them of the data, half "
            "of the performance.",
        ),
    ] = 2.0
    degraded_after: Annotated[
        int | None,
        Field(
            ge=1,
            le=100,
            description="So many days (or windows, where these are longer) together must be worse. None given: 14 days, 3 "
            "weeks, 2 months.",
        ),
    ] = None
    slices: Annotated[
        tuple[ColumnName, ...] | None,
        Field(description="Columns by whose values performance is told apart; none given: those of promotion.slices."),
    ] = None
    retrain: Annotated[
        tuple[Cause, ...],
        Field(max_length=2, description="Which alarms start the flow `train` of this job, `until: labelled`."),
    ] = ()
    cron: Annotated[
        Cron,
        Field(description="When the flow `monitor` runs, on the clock of window.timezone: five fields."),
    ] = "0 6 * * *"
