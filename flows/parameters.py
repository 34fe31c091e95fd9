"""The parameters that the flows share: typed, described and limited, as the Prefect UI's forms show them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

SHORTEST_REASON, LONGEST_REASON = 3, 500  # Characters.

JobName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="A job: the name of its YAML file.")]
AsOf = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d{2}-\d{2}(T\d{4}Z)?$",
        description="The window: its day (2013-07-01), or the start in UTC of one shorter than a day (2013-07-01T0500Z).",
    ),
]
ScheduledAsOf = Annotated[
    str,
    Field(
        pattern=r"^(scheduled|\d{4}-\d{2}-\d{2}(T\d{4}Z)?)$",
        description="The window: scheduled (the one that the run's scheduled time says), its day (2013-07-01), or the "
        "start in UTC of one shorter than a day (2013-07-01T0500Z).",
    ),
]
ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="A model: its name in the registry.")]
Version = Annotated[int, Field(ge=1, description="A version's number in the registry.")]
Alias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="The alias that is moved.")]
Why = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    Field(min_length=SHORTEST_REASON, max_length=LONGEST_REASON, description="Why; it stays in the history for ever."),
]
LabelledJob = Annotated[
    str,
    Field(
        pattern=r"^([a-z][a-z0-9_]{0,62})?$",
        description="The job whose labelled rows are scored; empty: the only one of this model that has labels.",
    ),
]
Force = Annotated[
    bool, Field(description="Move the alias although a check failed. The history says so for ever, and which.")
]
Rescore = Annotated[
    str,
    Field(max_length=LONGEST_REASON, description="Why a published window is scored again. Empty: it is left alone."),
]
Reason = Annotated[str, Field(max_length=LONGEST_REASON, description="Why; it stays in the record for ever.")]
OnlyIfChanged = Annotated[
    bool, Field(description="Publish nothing where the source's rows are still those that readers see.")
]
Accept = Annotated[
    tuple[str, ...],
    Field(
        max_length=20,
        description="What blocked the window and may stand this once, each with its column as the report names it; "
        "say why as reason.",
    ),
]
DryRun = Annotated[bool, Field(description="Do everything but publish: the report says what would come out.")]
FromSnapshot = Annotated[
    bool, Field(description="Read the snapshot that was kept of this window, where there is one, and not the source.")
]
First = Annotated[
    str,
    Field(
        pattern=r"^(\d{4}-\d{2}-\d{2}(T\d{4}Z)?)?$",
        description="The first window of the range; empty: every window that a recall has queued.",
    ),
]
Last = Annotated[
    str,
    Field(
        pattern=r"^(\d{4}-\d{2}-\d{2}(T\d{4}Z)?)?$",
        description="The last window of the range, included; empty: the first alone.",
    ),
]
Queued = Annotated[
    bool, Field(description="Only the windows that a recall has queued; of these all, or those in the range.")
]
RescoreAll = Annotated[bool, Field(description="Score windows again that are published; else they are left alone.")]
Repull = Annotated[bool, Field(description="Read the source again, and not the snapshots that were kept.")]
KeepUntilReplaced = Annotated[
    bool, Field(description="Leave what readers see until a backfill has scored each window again, in its place.")
]
PlanOnly = Annotated[bool, Field(description="Say what would be done, and change nothing.")]
