"""The parameters that the flows share: typed, described and limited, as the Prefect UI's forms show them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, StringConstraints

from tasks.core.runs.asked import LONGEST_REASON, SHORTEST_REASON

MOST_AT_ONCE = 32
_NAME = r"[a-z][a-z0-9_]{0,62}"
# No month 13 and no day 32 gets as far as a run; the 31st of June does, and is refused there before anything is read.
_DAY = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_LABEL = rf"{_DAY}(T\d{{4}}Z)?"
_HIGHEST_VERSION = 999_999
_LIMITS = ("pattern", "minLength", "maxLength", "minimum", "maximum", "maxItems")


class Says:
    """A parameter's description in a form. Prefect drops that of a pydantic `Field`, and shows a schema's own.

    Limits move into `allOf`: the form keeps those there, and shows what is wrong beside the field as the server finds it.
    """

    def __init__(self, description: str) -> None:
        self.description = description

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """What pydantic asks of an annotation."""
        schema = dict(handler(core_schema))
        limits = {name: schema.pop(name) for name in _LIMITS if name in schema}
        return {**schema, **({"allOf": [limits]} if limits else {}), "description": self.description}


JobName = Annotated[
    str,
    Field(pattern=rf"^{_NAME}$"),
    Says("The job: the name of its file in `deployments/jobs`. The deployment of a job has it filled in."),
]
AsOf = Annotated[
    str,
    Field(pattern=rf"^{_LABEL}$"),
    Says("The window: its day, as `2013-07-01`, or the start in UTC of one shorter than a day, as `2013-07-01T0500Z`."),
]
ScheduledAsOf = Annotated[
    str,
    Field(pattern=rf"^(scheduled|{_LABEL})$"),
    Says(
        "The window: its day, as `2013-07-01`; the start in UTC of one shorter than a day, as `2013-07-01T0500Z`; or "
        "`scheduled`, the one that the job's schedule says for the time at which this run is due."
    ),
]
LookedAtAsOf = Annotated[
    str,
    Field(pattern=rf"^(now|{_DAY})$"),
    Says(
        "The day up to which is looked, as `2013-07-01`, on the clock of the job's windows: what could be known as it "
        "ended. `now`: the time at which this run is due."
    ),
]
Until = Annotated[
    str,
    Field(pattern=rf"^(labelled|{_LABEL})?$"),
    Says(
        "The window with which the benchmark ends, as `2013-07-01`: fit, calibrate and benchmark are all shifted by as many "
        "windows. `labelled`: the newest whose labels are due when this run is due, and none before the job's own. Empty: "
        "the ranges as the job says."
    ),
]
ModelName = Annotated[str, Field(pattern=rf"^{_NAME}$"), Says("The model: its name in the registry.")]
Version = Annotated[
    int,
    Field(ge=1, le=_HIGHEST_VERSION),
    Says("The number of a version in the registry, as `2` of flight_delays/0002."),
]
Alias = Annotated[
    Annotated[Literal["production", "challenger"], Field(title="one of")]
    | Annotated[str, Field(title="another", pattern=rf"^{_NAME}$")],
    Says("The alias that is moved. Jobs score with `production`; a `challenger` scores beside it, unseen by readers."),
]
Why = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    Field(min_length=SHORTEST_REASON, max_length=LONGEST_REASON),
    Says(f"Why, in {SHORTEST_REASON} to {LONGEST_REASON} characters; it stays in the history for ever."),
]
LabelledJob = Annotated[
    str,
    Field(pattern=rf"^({_NAME})?$"),
    Says("The job whose labelled rows are scored. Empty: the only one of this model that has labels."),
]
Force = Annotated[
    bool,
    Says("Move the alias although a check failed. The history says for ever that it was forced, and past which check."),
]
Rescore = Annotated[
    str,
    Field(max_length=LONGEST_REASON),
    Says("Why a window that is published is pulled and scored again. Empty: a published window is left alone."),
]
Reason = Annotated[str, Field(max_length=LONGEST_REASON), Says("Why; it stays in the record for ever.")]
AcceptedFor = Annotated[
    str,
    Field(max_length=LONGEST_REASON),
    Says("Why the window may be published although a gate failed. It stays with the window for ever."),
]
OnlyIfChanged = Annotated[bool, Says("Publish nothing where the source's rows are still those that readers see.")]
Accept = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=300)], ...],
    Field(max_length=20),
    Says(
        "What blocked the window and may stand this once: each as the report names it, with its column, as "
        "`expect_column_values_to_be_between(wind_speed)`, or `quarantine_share`. Needs a reason."
    ),
]
DryRun = Annotated[
    bool, Says("Do everything but publish: the report says what would come out, and readers see nothing.")
]
FromSnapshot = Annotated[
    bool, Says("Read the snapshot that was kept of this window, where there is one, and not the source.")
]
First = Annotated[
    str,
    Field(pattern=rf"^({_LABEL})?$"),
    Says("The first window of the range, as `2013-07-01`. Empty: every window that a recall has queued."),
]
Last = Annotated[
    str,
    Field(pattern=rf"^({_LABEL})?$"),
    Says("The last window of the range, which is included. Empty: the first alone."),
]
Queued = Annotated[bool, Says("Only the windows that a recall has queued: all of these, or those within the range.")]
RescoreAll = Annotated[bool, Says("Score windows again that are published. Else they are left alone.")]
Repull = Annotated[bool, Says("Read the source again, and not the snapshots that were kept.")]
AtOnce = Annotated[
    int,
    Field(ge=1, le=MOST_AT_ONCE),
    Says("How many windows are scored at the same time; each needs memory of its own."),
]
StopAfter = Annotated[
    int,
    Field(ge=0, le=10_000),
    Says("After so many windows that failed no other is begun; 0: never. One that is blocked is no failure."),
]
KeepUntilReplaced = Annotated[
    bool, Says("Leave what readers see until a backfill has scored each window again, in its place.")
]
AnyJob = Annotated[
    str, Field(pattern=rf"^({_NAME})?$"), Says("The job: the name of its file in `deployments/jobs`. Empty: every job.")
]
ApplyRetention = Annotated[
    Literal["no", "policy", "yes"],
    Says(
        "Whether what has outlived its retention is removed. `no`: it is listed. `policy`: it is removed of the jobs whose "
        "`retention.apply` says so, and listed of the others. `yes`: it is removed."
    ),
]
PlanOnly = Annotated[bool, Says("Say what would be done, and change nothing.")]
AuditedWindows = Annotated[
    tuple[Annotated[str, Field(pattern=rf"^{_LABEL}$")], ...],
    Field(max_length=1000),
    Says("Only these windows, each as `2013-07-01`. Empty: every window of the job."),
]
AuditedRows = Annotated[
    int,
    Field(ge=0, le=100_000_000),
    Says("So many published rows at the least are scored again, in whole batches. 0: as many as the job says."),
]
Seed = Annotated[
    str,
    Field(pattern=r"^\d{0,18}$"),
    Says("The seed of the draws, a whole number: the same draws again. Empty: of the job and the day."),
]
