"""What a page is drawn from: plain records, so that drawing needs no file and no lake."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from tasks.core.auditing.records import Standing
from tasks.core.monitoring.records import Alarm, Monitored, WindowPerformance
from tasks.core.pages.verdicts import Shown, shown
from tasks.core.profiles.figures import Figures
from tasks.core.runs.challenger import Beside
from tasks.core.runs.manifest import Interval, Manifest, RowCounts


@dataclass(frozen=True)
class PublishedColumn:
    """A column of the published table: its name, its type, and what it means in a few words."""

    name: str
    type: str
    meaning: str = ""


@dataclass(frozen=True)
class QuarantineExample:
    """One row in quarantine, its values as text.

    `reason` is a key of the manifest's quarantine_reasons; `column` is the one at fault, or several with ", " between.
    """

    reason: str
    row: Mapping[str, str | None]
    message: str = ""
    column: str | None = None


@dataclass(frozen=True)
class OtherTables:
    """Where the tables beside the published one are, as a reader would type it; '' where there is none.

    `latest_note` says why there is no table of the latest rows, `sql` names the table of a database that gets the rows.
    """

    latest: str = ""
    latest_note: str = ""
    runs: str = ""
    sql: str = ""


@dataclass(frozen=True)
class Link:
    """A page to go to; the address is relative to the page that holds the link."""

    label: str
    href: str


@dataclass(frozen=True)
class WindowPoint:
    """One window's run, reduced to what the trends and the lists of windows show.

    `unit` is the day, week or month that monitoring counts it to; '' where that is the window itself. `quantiles` are of its first prediction column: 5, 25, 50, 75 and 95 %; `estimates` of its metrics, before labels.
    """

    as_of: str
    verdict: Shown | None
    rows: RowCounts
    href: str | None = None
    model_version: int | None = None
    seconds: float | None = None
    mean_prediction: float | None = None
    biggest_psi: float | None = None
    biggest_psi_column: str | None = None
    shadow: bool = False
    unit: str = ""
    quantiles: tuple[float, ...] | None = None
    estimates: Mapping[str, Interval] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest, *, href: str | None = None, mean_prediction: float | None = None) -> Self:
        """The point of a run; `mean_prediction` is of its first prediction column."""
        features = [one for one in manifest.drift if one.column not in manifest.predictions]
        known = [(one.psi, one.column) for one in features if one.psi is not None and not math.isnan(one.psi)]
        psi, column = max(known, default=(None, None))
        return cls(
            as_of=manifest.as_of,
            verdict=shown(manifest),
            rows=manifest.rows,
            href=href,
            model_version=manifest.model.version,
            seconds=run_seconds(manifest),
            mean_prediction=mean_prediction,
            biggest_psi=psi,
            biggest_psi_column=column,
            shadow=manifest.shadow,
            quantiles=next((made.quantiles for made in manifest.predictions.values()), None),
            estimates=manifest.estimates,
        )


@dataclass(frozen=True)
class WindowMonitoring:
    """What monitoring knows of one window: `performances` are one for each day on which its labels were other than before.

    `monitored` is the newest look at the job; `unit` is the window's own in it. `has_labels`: the job has a query for them.
    """

    unit: str
    monitored: Monitored | None = None
    performances: Sequence[WindowPerformance] = ()
    has_labels: bool = True


@dataclass(frozen=True)
class WindowPage:
    """All that the page of one window shows.

    `standing` is the manifest that readers see for this window where it is not `manifest`; None where they see none.
    `waits` says why the window is to be scored again, while it is queued for that.
    `delivery` says whether the job's database has what readers see; '' where it has none.
    `table` is the published table's address as a reader would type it, `quarantine_table` that of the quarantine;
    `others` are the tables beside it.
    `challenger` is what stands beside the run: a second version's scores of the same rows.
    """

    manifest: Manifest
    figures: Figures
    columns: Sequence[PublishedColumn]
    table: str
    is_delta: bool = False
    quarantine_table: str = ""
    others: OtherTables = field(default_factory=OtherTables)
    quarantine_examples: Sequence[QuarantineExample] = ()
    quarantine_limit: float | None = None
    standing: Manifest | None = None
    waits: str = ""
    delivery: str = ""
    reference_name: str = "the training data"
    owner: str = ""
    challenger: Beside | None = None
    challengers_table: str = ""
    monitoring: WindowMonitoring | None = None
    index_href: str | None = None
    docs_href: str | None = None
    previous: Link | None = None
    next: Link | None = None


@dataclass(frozen=True)
class IndexPage:
    """All that the index of one job shows; the points come in any order, one a window.

    `windows_count` is how many windows there are, where the points are not all of them but the newest; `shadow` says that
    the job publishes in shadow, and that the table is the one there. `monitored` is the newest look of `monitor`, None
    before the first; `has_labels` says that the job has a query for labels, `main_metric` which metric is drawn first.
    """

    job: str
    points: Sequence[WindowPoint]
    columns: Sequence[PublishedColumn]
    table: str
    is_delta: bool = False
    quarantine_table: str = ""
    others: OtherTables = field(default_factory=OtherTables)
    description: str = ""
    owner: str = ""
    timezone: str = "UTC"
    quarantine_limit: float | None = None
    prediction_name: str = "prediction"
    challenger: str = ""
    home_href: str | None = None
    shadow: bool = False
    windows_count: int | None = None
    monitored: Monitored | None = None
    has_labels: bool = True
    main_metric: str = ""
    audit: Standing | None = None


@dataclass(frozen=True)
class JobLine:
    """One job in the list of jobs.

    `href` is empty where it has no page yet. `late` are the windows whose deadline has passed, `due` says in words which
    comes next, `problem` what is wrong with its definition, `alarms` are those of `monitor` that stand, and `audit`
    is what the last audit has left.
    """

    job: str
    href: str
    owner: str = ""
    description: str = ""
    last: WindowPoint | None = None
    windows: int = 0
    late: Sequence[str] = ()
    due: str = ""
    problem: str = ""
    alarms: Sequence[Alarm] = ()
    audit: Standing | None = None


@dataclass(frozen=True)
class ModelLine:
    """One model in the list of models; `production` is the version that this alias names, and `since` when it began."""

    model: str
    href: str
    production: int | None = None
    since: dt.datetime | None = None
    versions: int = 0


def run_seconds(manifest: Manifest) -> float | None:
    """From the start of a run to its end; the sum of its stages while it has none."""
    if manifest.finished_at is not None:
        return (manifest.finished_at - manifest.started_at).total_seconds()
    return sum(timing.seconds for timing in manifest.timings) if manifest.timings else None
