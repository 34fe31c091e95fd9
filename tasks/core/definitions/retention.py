"""What a job says of how long things are kept: what nobody needs any more may go, and never by itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.core.definitions.schedule import Length
from tasks.core.definitions.terms import Definition

FOR_EVER: Literal["forever"] = "forever"
Kept = Annotated[Literal["forever"] | Length, Field(description="A length of time, as 400d; or forever.")]


class Retention(Definition):
    """How long what a job leaves in the lake, and on the Prefect server, is kept. None of it decides what a run's rows are.

    Counted from when it was written. What a published window needs to be explained goes only where this says so, and its
    manifest then says what went.
    """

    snapshots: Annotated[
        Kept,
        Field(
            description="The rows that were pulled, of windows that readers see. Without them a row can be neither explained "
            "nor scored again from what it was made of: no audit, no challenger, no recall of that window."
        ),
    ] = FOR_EVER
    superseded: Annotated[
        Kept, Field(description="What a window showed before it was replaced: what a recall can bring back.")
    ] = "90d"
    withdrawn: Annotated[Kept, Field(description="What recalls took out of sight.")] = "400d"
    unpublished: Annotated[
        Kept, Field(description="Workspaces of runs that were blocked, failed or given up, with their snapshots.")
    ] = "90d"
    dry_runs: Annotated[Kept, Field(description="What dry runs left, and their pages.")] = "30d"
    reports: Annotated[Kept, Field(description="The pages of windows. The index and the figures stay.")] = FOR_EVER
    looks: Annotated[Kept, Field(description="What the flow `monitor` found, by day; the last one stays.")] = "400d"
    labels: Annotated[
        Kept, Field(description="Earlier states of labels and of performance; the last of each window stays.")
    ] = FOR_EVER
    audits: Annotated[Kept, Field(description="Records of audits; the last one stays.")] = FOR_EVER
    alerts: Annotated[Kept, Field(description="That somebody was told of a trouble that is over.")] = "400d"
    prefect_runs: Annotated[
        Kept, Field(description="Runs on the Prefect server that have ended, with their logs and artifacts.")
    ] = "90d"
    apply: Annotated[
        bool, Field(description="Whether the scheduled flow `prune` removes what has outlived this, or only says it.")
    ] = False
