"""Revisits: which published windows are to be pulled again, because their source may have changed since, and what became of it.

A lag is met when the source was read at or after the window's end plus the lag, by whichever run: one that published, one
that a gate blocked, or one that found nothing changed. So a revisit of its own is recorded nowhere; a run's manifest or
its note of an unchanged source says it, and one pull meets every lag that is overdue.
"""

from __future__ import annotations

import datetime as dt
from typing import Literal

from tasks.core.definitions.job import Job
from tasks.core.definitions.schedule import length
from tasks.core.definitions.window import Window
from tasks.core.errors import DefinitionError, Incomplete, LakeError, LamplighterError, PartlyBlocked
from tasks.core.records import Record
from tasks.core.runs.compared import last_looked_at
from tasks.core.runs.expected import published_labels
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.run import manifests
from tasks.core.runs.showing import live_labels
from tasks.core.storage import Folder

# A lag that was missed for longer is missed for good: a job that begins to revisit does not pull its whole past.
GRACE = dt.timedelta(days=7)
# Of one run: what is left waits for the next, so that a first one is no flood either.
MOST_AT_ONCE = 100
_MOST_NAMED = 5

Outcome = Literal["replaced", "unchanged", "blocked", "failed"]


class DueRevisit(Record):
    """A window that is to be pulled again, and the longest of its lags that are overdue."""

    as_of: str
    lag: str

    @property
    def reason(self) -> str:
        return f"revisit after {self.lag}"


class Revisits(Record):
    """What is due, oldest first; `left` are so many more, for the next run."""

    job: str
    due: tuple[DueRevisit, ...]
    left: int = 0
    unreadable: tuple[str, ...] = ()


class Revisited(Record):
    """What became of a window that was pulled again."""

    as_of: str
    lag: str
    outcome: Outcome
    why: str = ""


class Round(Record):
    """What one round has done."""

    job: str
    windows: tuple[Revisited, ...]
    left: int = 0

    @property
    def state_name(self) -> str:
        return "Revisited" if self.windows else "NothingDue"

    def __str__(self) -> str:
        if not self.windows:
            return f"no window of {self.job} is to be pulled again now"
        counts = ", ".join(f"{self.count(one)} {one}" for one in ("replaced", "unchanged", "blocked", "failed"))
        return f"revisits of {self.job}: {counts}{f'; {self.left} more wait for the next round' if self.left else ''}"

    def count(self, outcome: Outcome) -> int:
        return sum(one.outcome == outcome for one in self.windows)


def due_revisits(lake: Folder, job: Job, *, now: dt.datetime) -> Revisits:
    """The published windows of which a lag is overdue; a window whose record cannot be read is named, and left."""
    lags = sorted(job.revisit, key=length)
    due: list[DueRevisit] = []
    unreadable: list[str] = []
    for window in _windows(lake, job, now):
        try:
            overdue = _overdue(lake, job.job, window, lags, now)
        except LakeError as error:
            unreadable.append(f"{window.as_of}: {error.failed}")
            continue
        due += [DueRevisit(as_of=window.as_of, lag=overdue[-1])] if overdue else []
    return Revisits(
        job=job.job,
        due=tuple(due[:MOST_AT_ONCE]),
        left=len(due[MOST_AT_ONCE:]),
        unreadable=tuple(unreadable),
    )


def settled(due: DueRevisit, state: str, message: str) -> Revisited:
    """How the run of a window ended, by the name of its final state."""
    if state == "AlreadyPublished":
        return Revisited(as_of=due.as_of, lag=due.lag, outcome="unchanged")
    if state.startswith("Published"):
        return Revisited(as_of=due.as_of, lag=due.lag, outcome="replaced", why=message)
    is_blocked = state in ("Blocked", "SourceLate")
    return Revisited(as_of=due.as_of, lag=due.lag, outcome="blocked" if is_blocked else "failed", why=message)


def concluded(planned: Revisits, windows: tuple[Revisited, ...]) -> Round:
    """The summary. Incomplete, with the summary, where a window failed; PartlyBlocked where some were blocked."""
    summary = Round(job=planned.job, windows=windows, left=planned.left)
    failed = [f"{one.as_of}: {one.why}" for one in windows if one.outcome == "failed"] + list(planned.unreadable)
    blocked = [f"{one.as_of}: {one.why}" for one in windows if one.outcome == "blocked"]
    if failed:
        raise _with_summary(Incomplete, summary, "not done", failed)
    if blocked:
        raise _with_summary(PartlyBlocked, summary, "blocked", blocked)
    return summary


def _windows(lake: Folder, job: Job, now: dt.datetime) -> list[Window]:
    """The published windows that ended long enough ago, and not too long, oldest first."""
    if not job.revisit:
        return []
    shortest, longest = min(map(length, job.revisit)), max(map(length, job.revisit))
    # One that ends at this instant began before it.
    oldest = job.window.before(job.window.containing(now - longest - GRACE)).as_of
    found: list[Window] = []
    for label in _replaceable(lake, job):
        try:
            # Labels sort as their windows do: the lake's past is not looked at.
            window = job.window.parse(label) if label >= oldest else None
        except DefinitionError:
            window = None
        if window and window.end + shortest <= now <= window.end + longest + GRACE:
            found.append(window)
    return found


def _replaceable(lake: Folder, job: Job) -> list[str]:
    """A job in shadow leaves the windows alone that are live."""
    live = set(live_labels(lake, job.job)) if job.output.shadow else set()
    return [label for label in published_labels(lake, job.job) if label not in live]


def _overdue(lake: Folder, job: str, window: Window, lags: list[str], now: dt.datetime) -> list[str]:
    read_at = _last_read(lake, job, window.as_of)
    return [
        lag
        for lag in lags
        if read_at is not None and read_at < window.end + length(lag) <= now <= window.end + length(lag) + GRACE
    ]


def _last_read(lake: Folder, job: str, as_of: str) -> dt.datetime | None:
    """When the source was last read for this window and its rows were judged; None where nothing is published."""
    found = manifests(lake, job, as_of)
    seen = next((one for one in found if one.is_published), None)
    if seen is None or seen.snapshot is None:
        return None
    read = [one.snapshot.complete_at for one in found if one.snapshot and _was_judged(one)]
    looked = last_looked_at(lake, job, as_of)
    if looked is not None and looked.digest == seen.snapshot.digest:
        read.append(looked.at)
    return max(read, default=dt.datetime.min.replace(tzinfo=dt.UTC))


def _was_judged(manifest: Manifest) -> bool:
    """Whether a run read the source itself, and did not fail for another reason: what failed is tried again."""
    return manifest.trigger.snapshot_of is None and manifest.verdict not in (None, "failed")


def _with_summary(
    kind: type[Incomplete] | type[PartlyBlocked], summary: Round, what: str, named: list[str]
) -> LamplighterError:
    more = f"; and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    error = kind(
        f"{summary}. {what}: {'; '.join(named[:_MOST_NAMED])}{more}",
        state="what readers saw of these windows stands",
        next_step=f"lamplighter show {summary.job} --as-of {named[0].partition(': ')[0]}",
    )
    error.summary = summary
    return error
