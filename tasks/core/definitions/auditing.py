"""What a job says of its audits: how much of what was published is scored again, and when."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.core.definitions.schedule import Cron
from tasks.core.definitions.terms import Definition


class Audit(Definition):
    """How the flow `audit` proves what readers see. None of it decides what a run's rows are."""

    rows: Annotated[
        int,
        Field(ge=1, le=100_000_000, description="At least so many published rows are scored again, in whole batches."),
    ] = 10_000
    windows: Annotated[int, Field(ge=1, le=10_000, description="Drawn from so many windows at most.")] = 20
    cron: Annotated[
        Cron, Field(description="When the flow `audit` runs, on the clock of window.timezone: five fields.")
    ] = "30 6 * * 0"
