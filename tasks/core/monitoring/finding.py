"""What a look has come to, in a line that people read first."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.core.errors import Incomplete
from tasks.core.monitoring.records import Alarm, Monitored
from tasks.core.records import Record

KINDS = {
    "drifted": "the data have drifted",
    "degraded": "the performance is degraded",
    "labels_late": "labels are late",
}
_MOST_NAMED = 5


class Pulled(Record):
    """What became of the labels that were due."""

    measured: Annotated[tuple[str, ...], Field(description="The windows whose performance was worked out.")] = ()
    missed: Annotated[tuple[str, ...], Field(description="Sentences: windows whose labels could not be used.")] = ()


class Finding(Record):
    """A look, what was told of it just now, and what it could not do."""

    found: Monitored
    told: tuple[Alarm, ...] = ()
    measured: int = 0
    missed: tuple[str, ...] = ()

    @property
    def state_name(self) -> str:
        """Looking went well, so the run did: what it has found is no failure of its own."""
        return "Alarm" if self.found.open_alarms else "Quiet"

    def __str__(self) -> str:
        return status_line(self.found)


def status_line(found: Monitored) -> str:
    """In one line: what is open, else that nothing is, and of how much that is known."""
    name = f"{found.job} as of {found.as_of}"
    if found.open_alarms:
        return f"{name}: {'; '.join(f'{KINDS[one.kind]} since {one.onset}' for one in found.open_alarms)}."
    if not found.model:
        return f"{name}: nothing is published, so there is nothing to look at."
    if not (judges_drift(found) or judges_performance(found)):
        return f"{name}: no alarm can be raised yet."
    unsaid = [what for what, is_said in _judged(found) if not is_said]
    return f"{name}: quiet{f'; nothing is said of {unsaid[0]}' if unsaid else ''}."


def judges_drift(found: Monitored) -> bool:
    """Whether the newest units are held against what is usual of the data."""
    return any(one.statistic is not None for one in found.drift)


def judges_performance(found: Monitored) -> bool:
    """Whether there are figures of a whole block of labels that are held against a line, or else a benchmark."""
    return any(
        one.statistic is not None or (one.line is None and one.figures and found.benchmarks.get(one.model))
        for one in found.performance
    )


def completeness(found: Monitored) -> str:
    """How complete the labels are of the windows that are due."""
    windows = found.windows
    if not windows:
        return "No window has labels yet."
    rows, labelled = sum(one.rows for one in windows), sum(one.labelled for one in windows)
    without = sum(one.without_label for one in windows)
    never = sum(one.awaited for one in windows if one.is_final)
    awaited = sum(one.awaited for one in windows) - never
    share = labelled / rows if rows else 0.0
    count = f"{len(windows):,} windows" if len(windows) > 1 else "1 window"
    return (
        f"{share:.1%} of labels, as of {max(one.labels_as_of for one in windows)}: {count} to {windows[-1].as_of} with "
        f"{rows:,} rows; {labelled:,} have a label, {without:,} have none and will have none, of {never:,} none has ever "
        f"come, and of {awaited:,} not yet."
    ).replace("%", " %")


def concluded(finding: Finding) -> Finding:
    """The same; Incomplete, with it, where labels that were due could not be used: all else was looked at."""
    if not finding.missed:
        return finding
    more = f"; and {len(finding.missed) - _MOST_NAMED} more" if len(finding.missed) > _MOST_NAMED else ""
    error = Incomplete(
        f"{status_line(finding.found)} Labels that could not be used: {'; '.join(finding.missed[:_MOST_NAMED])}{more}",
        state="all else was looked at, and kept",
        next_step=f"mend the labels, and lamplighter monitor {finding.found.job} --as-of {finding.found.as_of}",
    )
    error.summary = finding
    raise error


def _judged(found: Monitored) -> list[tuple[str, bool]]:
    return [("the data", judges_drift(found)), ("the performance", judges_performance(found))]
