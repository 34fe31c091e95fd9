"""What monitoring keeps: what is usual of a version (with the version), and what one look at a job has found.

A unit is a day; where windows are longer than a day, a window. A block is a week of units, or one unit where that is a
week or longer. A statistic of a unit is that of the block which ends with it.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field

from tasks.core.definitions.monitoring import Cause
from tasks.core.records import Record
from tasks.core.runs.manifest import Interval

CALIBRATION_VERSION: Literal[1] = 1

Unit = Literal["day", "week", "month"]
# What a figure of a column can be: of its values that are missing, of categories never seen, or of the shape of the rest.
Component = Literal["volume", "missing", "new_categories", "scores", "features"]


class Tail(Record):
    """Of the highest values of whole blocks, one a block: the upper half over their median, taken as exponential."""

    middle: float
    spread: Annotated[float, Field(ge=0, description="The mean excess of the upper half over the middle.")]
    excesses: Annotated[int, Field(ge=0, description="How many values that half holds.")]
    highest: float
    blocks: int
    blocks_a_year: float


class Scale(Record):
    """Where a figure's own tail begins and how wide it is: z = (value - middle) / spread."""

    middle: float
    spread: Annotated[float, Field(gt=0)]


class Rate(Record):
    """Alarms a year while nothing has changed, with a 95 % interval."""

    per_year: float
    low: float
    high: float


class ColumnTotals(Record):
    """Of one column in all units of the past: counts in the reference's bins."""

    role: Literal["feature", "prediction"]
    column: str
    counts: tuple[int, ...]
    missing: int
    has_new: Annotated[bool, Field(description="Whether the last of the counts is of categories never seen.")] = False


class DriftCalibration(Record):
    """What is usual of the data: each figure's own scale, each group's, and the tail of the one statistic of the job."""

    persistence: Annotated[int, Field(ge=1, description="So many units in a row must be beyond the line.")]
    block_rows: Annotated[float, Field(description="The median rows of a block.")]
    columns: tuple[ColumnTotals, ...]
    figures: Annotated[dict[str, Scale], Field(description="By 'component column', such as 'missing carrier'.")]
    groups: dict[Component, Scale]
    tail: Tail


class PerformanceCalibration(Record):
    """What is usual of the performance, out of sample; every figure so that higher is worse."""

    figures: Annotated[dict[str, Scale], Field(description="By figure, such as bias_low, bias_high, roc_auc.")]
    together: Annotated[int, Field(ge=1, description="So many units, up to each, are told together.")]
    usual_bias: Annotated[
        float,
        Field(description="The version's own mean truth less mean prediction over its past: bias is told from it."),
    ] = 0.0
    tail: Tail


class Calibration(Record):
    """calibration.json of a version: what is usual, and what was assumed to say so."""

    version: Literal[1] = CALIBRATION_VERSION
    unit: Unit = "day"
    units_a_block: Annotated[int, Field(ge=1)] = 7
    first: Annotated[
        str, Field(description="The first unit of the past that it is made of; '' where there is none.")
    ] = ""
    last: str = ""
    units: int = 0
    drift: DriftCalibration | None = None
    performance: PerformanceCalibration | None = None
    assumptions: Annotated[tuple[str, ...], Field(description="Sentences.")] = ()
    lacks: Annotated[tuple[str, ...], Field(description="Sentences: why something is not calibrated.")] = ()


# --- What one look at a job has found --------------------------------------------------------------------------------


class ColumnDrift(Record):
    """One figure of one column in a block, on its own scale: z is 0 for an ordinary week's highest, 1 a spread above."""

    column: Annotated[str, Field(description="'' for the volume.")]
    component: Component
    value: float
    z: float
    reference: Annotated[
        float | None, Field(description="The share in the reference, of missing and new; of volume, rows a block.")
    ] = None
    observed: float | None = None
    explains: Annotated[bool, Field(description="Whether it stands out after Benjamini and Hochberg, at 10 %.")] = False


class DriftPoint(Record):
    """The data of the block that ends with a unit, against what is usual. None: there is too little of the block."""

    unit: str
    model: Annotated[str, Field(description="The version whose reference it is held against, as model/0001.")]
    windows: int = 0
    rows: int = 0
    statistic: float | None = None
    line: float | None = None
    groups: Annotated[dict[Component, float], Field(default_factory=dict)]
    columns: tuple[ColumnDrift, ...] = ()


class PerformancePoint(Record):
    """The performance of the block that ends with a unit, as far as labels have come; and, against what is usual, that
    of as many units as are told together.
    """

    unit: str
    model: str
    labelled: int = 0
    statistic: float | None = None
    line: float | None = None
    first: Annotated[str, Field(description="The first of the units that the statistic is of.")] = ""
    together: Annotated[
        dict[str, float], Field(default_factory=dict, description="Means over these units, as of figures.")
    ]
    figures: Annotated[
        dict[str, float], Field(default_factory=dict, description="Means over the block: bias, roc_auc, ...")
    ]
    z: Annotated[
        dict[str, float], Field(default_factory=dict, description="On each figure's own scale; higher is worse.")
    ]
    usual_bias: Annotated[
        float | None, Field(description="The version's own over its past, from which its bias is told; None: from 0.")
    ] = None
    worse_than_benchmark: Annotated[
        tuple[str, ...],
        Field(description="Of what is not calibrated: metrics worse than its interval for long enough."),
    ] = ()

    @property
    def is_worse(self) -> bool:
        return bool(self.worse_than_benchmark)


class Alarm(Record):
    """An episode beyond the line, told of once: from its onset until a whole block was on this side of it again."""

    kind: Literal["drifted", "degraded", "labels_late"]
    onset: str
    until: Annotated[str | None, Field(description="The last unit beyond the line; None while it lasts.")] = None
    model: str = ""
    statistic: float | None = None
    line: float | None = None
    reason: str
    next_step: str = ""


class WindowPerformance(Record):
    """What is known of a published window's performance, as of the labels that have come.

    rows = labelled + without_label + awaited: a label of null is none and will be none; a row whose key the labels' query
    does not give is awaited until the last time that labels are pulled, and then never came.
    """

    as_of: str
    unit: str
    run_id: str
    model: str
    labels_as_of: str
    rows: int
    labelled: int
    without_label: int = 0
    awaited: int = 0
    looked_for: Annotated[str, Field(description="The day on which labels were last pulled, changed or not.")] = ""
    is_final: Annotated[bool, Field(description="Whether labels are pulled no more.")] = False
    corrected: Annotated[int, Field(description="Labels that differ from those pulled before.")] = 0
    metrics: Annotated[
        dict[str, Interval], Field(default_factory=dict, description="Of all labelled rows, by scikit-learn's names.")
    ]
    bias: Annotated[Interval, Field(description="Mean truth less mean prediction; of numbers and probabilities.")] = (
        Interval(value=None)
    )
    estimates: Annotated[
        dict[str, Interval], Field(default_factory=dict, description="Of the same metrics, before there were labels.")
    ]
    notes: Annotated[tuple[str, ...], Field(description="Sentences: what could not be worked out, and why.")] = ()

    @property
    def label_share(self) -> float:
        return self.labelled / self.rows if self.rows else 0.0


class EstimateRecord(Record):
    """How the estimates of a metric have done against the labels that came later."""

    metric: str
    model: str
    compared: Annotated[int, Field(description="Windows whose estimate could be held against labels.")]
    inside: Annotated[int, Field(description="Of these, those whose metric lay in the estimate's interval.")]
    nominal: float = 0.95
    p_value: Annotated[float | None, Field(description="Of so few inside by chance; exact binomial test.")] = None
    mean_error: Annotated[float | None, Field(description="Mean estimate less truth.")] = None
    muted: bool = False


class Monitored(Record):
    """One look at a job: what is known as of an instant."""

    monitor_version: Literal[1] = 1
    job: str
    at: dt.datetime
    as_of: Annotated[str, Field(description="The day of the look, on the clock of the job's windows.")]
    model: Annotated[str, Field(description="The version that scored the newest window; '' where there is none.")] = ""
    calibration: Calibration | None = None
    false_alarms_per_year: float = 2.0
    rates: Annotated[
        dict[Cause, Rate], Field(default_factory=dict, description="What the lines promise, by what they are of.")
    ]
    benchmarks: Annotated[
        dict[str, dict[str, Interval]],
        Field(default_factory=dict, description="By version and metric: what it was worth at registration."),
    ]
    drift: tuple[DriftPoint, ...] = ()
    performance: tuple[PerformancePoint, ...] = ()
    windows: tuple[WindowPerformance, ...] = ()
    estimates: tuple[EstimateRecord, ...] = ()
    alarms: Annotated[tuple[Alarm, ...], Field(description="All episodes seen, the newest last.")] = ()
    notes: Annotated[tuple[str, ...], Field(description="Sentences: what could not be done or said, and why.")] = ()

    @property
    def open_alarms(self) -> tuple[Alarm, ...]:
        return tuple(one for one in self.alarms if one.until is None)
