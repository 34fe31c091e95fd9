"""A look at a job: of which instant it tells, and what readers saw until then."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Definition
from tasks.core.definitions.window import WindowSpec
from tasks.core.errors import DefinitionError, LakeError
from tasks.core.monitoring.rhythm import Rhythm, rhythm_of, unit_of
from tasks.core.profiles.profile import WindowProfile
from tasks.core.records import read_beside
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.run import load_manifest
from tasks.core.runs.showing import showing, shown_labels
from tasks.core.storage import Folder, Lake

NOW = "now"
# What was long before is known from the looks of then; each window is a few files to read.
MOST_UNITS, MOST_WINDOWS = 400, 3000


class Look:
    """What a look is of; small, and handed from stage to stage. No dataclass: Prefect takes those apart.

    `as_of` is a day on the clock of the job's windows, `at` the instant up to which is looked, in UTC.
    """

    def __init__(self, lake: Lake, project: Folder, definition: Definition, as_of: str, at: dt.datetime) -> None:
        self.lake = lake
        self.project = project
        self.definition = definition
        self.as_of = as_of
        self.at = at

    @property
    def job(self) -> Job:
        return self.definition.job

    @property
    def name(self) -> str:
        return f"{self.job.job} as of {self.as_of}"

    @property
    def rhythm(self) -> Rhythm:
        return rhythm_of(self.job.window)


@dataclass(frozen=True)
class Published:
    """A window that readers see, live or in shadow, and the run whose rows they are."""

    as_of: str
    unit: str
    manifest: Manifest

    @property
    def model(self) -> str:
        """As model/0001."""
        return f"{self.manifest.model.name}/{self.manifest.model.version:04d}"


def instant_of(spec: WindowSpec, as_of: str, now: dt.datetime) -> tuple[str, dt.datetime]:
    """The day of a look and its instant: of 'now' that itself, of a day its end; DefinitionError for a day to come.

    Of the day that it is, `now`: its end is still to come.
    """
    zone = ZoneInfo(spec.timezone)
    today = now.astimezone(zone).date()
    if as_of == NOW:
        return today.isoformat(), now
    try:
        day = dt.date.fromisoformat(as_of)
        end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), zone).astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise DefinitionError(
            f"'{as_of}' is not a day: {error}", state="nothing was started", next_step="give one as 2013-07-01"
        ) from error
    if day > today:
        raise DefinitionError(
            f"{as_of} is still to come: nothing can be known of it on {today}",
            state="nothing was started",
            next_step=f"give a day until {today}",
        )
    return day.isoformat(), min(end, now)


def published(look: Look) -> tuple[list[Published], list[str]]:
    """The newest windows that readers see and that had begun, in the order of time; and what cannot be read, in sentences."""
    known = list(_begun(look))
    newest = set(sorted({unit for unit, _ in known})[-MOST_UNITS:])
    found: list[Published] = []
    unreadable: list[str] = []
    for unit, as_of in known[-MOST_WINDOWS:]:
        if unit not in newest:
            continue
        try:
            manifest = _manifest_of(look, as_of)
        except LakeError as error:
            unreadable.append(f"{as_of}: {error.failed}")
            continue
        found += [Published(as_of, unit, manifest)] if manifest and _is_of(look, manifest) else []
    return found, unreadable


def profile_of(lake: Folder, window: Published) -> WindowProfile | None:
    """What was observed of the window's rows; None of a run that kept none. LakeError: it cannot be read."""
    key = f"{window.manifest.workspace}/{layout.PROFILE}"
    return read_beside(lake, key, WindowProfile, wrong="is not what was observed of a window's rows")


def _begun(look: Look) -> Iterator[tuple[str, str]]:
    """The unit and the label of each window with rows that had begun at the look's instant; of short ones whole days."""
    spec = look.job.window
    # Of a day of which windows are still to come, the rows are no more than a part.
    until = look.at.astimezone(ZoneInfo(spec.timezone)).date().isoformat() if spec.is_shorter_than_a_day else "~"
    for label in shown_labels(look.lake, look.job.job):
        try:
            window = spec.parse(label)
        except DefinitionError:
            # Of windows that the job had before its windows were others.
            continue
        unit = unit_of(spec, label)
        if window.start < look.at and unit < until:
            yield unit, label


def _is_of(look: Look, manifest: Manifest) -> bool:
    """Whether the window is one of now: the job may have had days, and a day has the label of a week."""
    window, length = look.job.window.parse(manifest.as_of), manifest.window.end - manifest.window.start
    # Of another zone a day has an hour more or less.
    return 0.9 * length <= window.end - window.start <= 1.1 * length


def _manifest_of(look: Look, as_of: str) -> Manifest | None:
    seen = showing(look.lake, look.job.job, as_of)
    return load_manifest(look.lake, layout.workspace(look.job.job, as_of, seen.run_id)) if seen else None
