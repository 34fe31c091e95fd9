"""Backfill: which windows of a range, or of the queue, are to be scored, and what became of each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.errors import (
    Blocked,
    DefinitionError,
    Incomplete,
    LakeError,
    LamplighterError,
    PartlyBlocked,
    WindowBusy,
)
from tasks.core.records import Record
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.recalling import queue
from tasks.core.runs.run import manifests, published_manifest
from tasks.core.storage import Lake

_LONGEST_REASON = 500
_MOST_NAMED = 5
_SETTLE_SECONDS = 10.0  # Whoever holds the window for longer finds the entry, and the next backfill settles it.

Outcome = Literal["done", "skipped", "blocked", "failed", "not started"]
_ALWAYS_COUNTED: tuple[Outcome, ...] = ("done", "skipped", "blocked", "failed")
# Final states of a run that found what it would write in the table already, and left it there.
_STANDS = ("AlreadyPublished", "NothingToDo", "Unchanged")
_BLOCKED = ("Blocked", "SourceLate")


class Wanted(Record):
    """What a backfill is asked for. `only_if_changed` pulls published windows too, and replaces those that differ."""

    job: str
    first: str = ""
    last: str = ""
    reason: str = ""
    queued: bool = False
    rescore: bool = False
    repull: bool = False
    only_if_changed: bool = False

    @property
    def leaves_finished(self) -> bool:
        """Whether a window that is published, and not queued, is left alone."""
        return not (self.rescore or self.only_if_changed)


class Due(Record):
    """A window that is to be scored; `seconds` and `rows` are those of the last run of it that got so far."""

    as_of: str
    reason: str
    again: Annotated[bool, Field(description="Whether it is scored although it is published, or was.")] = False
    only_if_changed: bool = False
    from_snapshot: bool = False
    entry: Annotated[queue.Entry | None, Field(description="Why the window waits, where a recall has queued it.")] = (
        None
    )
    seconds: float = 0.0
    rows: int = 0

    def parameters(self, job: str) -> dict[str, Any]:
        """Those of the run that scores it. One that was never scored is left alone if somebody else publishes it first."""
        return {
            "job": job,
            "as_of": self.as_of,
            "rescore": self.reason if self.again else "",
            "from_snapshot": self.from_snapshot,
            "only_if_changed": self.only_if_changed,
            "reason": "" if self.again else self.reason,
        }


class Ended(Record):
    """What became of a window: the rows that readers see of it, by which run, and how long this backfill took for it."""

    as_of: str
    outcome: Outcome
    rows: int = 0
    seconds: float = 0.0
    run: str = ""
    why: str = ""


class Plan(Record):
    """The windows to be scored, oldest first, and those for which nothing has to be done.

    `settled` are entries of the queue whose windows somebody has published since.
    """

    wanted: Wanted
    due: tuple[Due, ...]
    ended: tuple[Ended, ...]
    settled: tuple[queue.Entry, ...] = ()

    def __str__(self) -> str:
        return f"backfill of {self.wanted.job}: {len(self.due)} windows are due, {len(self.ended)} are not"

    @property
    def queued_windows(self) -> list[tuple[str, str]]:
        """Those that waited, as (job, as_of)."""
        return [(self.wanted.job, one.as_of) for one in self.due if one.entry]


class Backfilled(Record):
    """What became of every window of a backfill, oldest first."""

    wanted: Wanted
    windows: tuple[Ended, ...]

    def __str__(self) -> str:
        counts = [f"{self.count(one)} {one}" for one in _ALWAYS_COUNTED]
        left = self.count("not started")
        return f"backfill of {self.wanted.job}: {', '.join([*counts, *([f'{left} not started'] if left else [])])}"

    def count(self, outcome: Outcome) -> int:
        return sum(one.outcome == outcome for one in self.windows)


def plan(lake: Lake, job: Job, wanted: Wanted) -> Plan:
    """Decides what is due; changes nothing. DefinitionError where it is not said which windows, or why."""
    settled: list[queue.Entry] = []
    decided = [_decide(lake, as_of, wanted, settled) for as_of in _labels(lake, job, wanted)]
    return Plan(
        wanted=wanted,
        due=tuple(one for one in decided if isinstance(one, Due)),
        ended=tuple(one for one in decided if isinstance(one, Ended)),
        settled=tuple(settled),
    )


def decide_again(lake: Lake, wanted: Wanted, as_of: str) -> Due | Ended:
    """What plan says of one window now; what somebody has published since leaves the queue."""
    settled: list[queue.Entry] = []
    decided = _decide(lake, as_of, wanted, settled)
    for entry in settled:
        _leave_queue(lake, wanted.job, entry, stands=False)
    return decided


def begin(lake: Lake, planned: Plan) -> None:
    """Takes the windows off the queue that somebody has published since they were queued."""
    for entry in planned.settled:
        _leave_queue(lake, planned.wanted.job, entry, stands=False)


def settle(lake: Lake, wanted: Wanted, due: Due, state: str, message: str) -> Ended:
    """Notes how the run of a window ended, by the name of its final state, and takes the window off the queue if it may."""
    stands = state in _STANDS
    if stands or state.startswith("Published"):
        note = _leave_queue(lake, wanted.job, due.entry, stands=stands) if due.entry else ""
        return Ended(as_of=due.as_of, outcome="skipped" if stands and due.entry is None else "done", why=note)
    return Ended(as_of=due.as_of, outcome="blocked" if state in _BLOCKED else "failed", why=message)


def conclude(planned: Plan, ended: list[Ended]) -> Backfilled:
    """The summary. Incomplete, with the summary, where a window failed; PartlyBlocked where some were blocked."""
    windows = tuple(sorted((*planned.ended, *ended), key=lambda one: one.as_of))
    summary = Backfilled(wanted=planned.wanted, windows=windows)
    for outcomes, kind in ((("failed", "not started"), Incomplete), (("blocked",), PartlyBlocked)):
        if worst := sorted((one for one in windows if one.outcome in outcomes), key=lambda one: one.outcome):
            raise _with_summary(kind, summary, worst)
    return summary


def _labels(lake: Lake, job: Job, wanted: Wanted) -> list[str]:
    first, last = wanted.first, wanted.last or wanted.first
    if last and not first:
        raise DefinitionError(
            f"it is not said from which window to {last}",
            state="nothing was started",
            next_step=f"lamplighter backfill {job.job} --from DATE --to {last} --reason WHY",
        )
    if first and not wanted.queued and not wanted.reason.strip():
        raise DefinitionError(
            "a backfill of a range needs a reason", state="nothing was started", next_step='give --reason "..."'
        )
    if len(wanted.reason) > _LONGEST_REASON:
        raise DefinitionError(f"a reason has at most {_LONGEST_REASON} characters", state="nothing was started")
    waiting = queue.labels(lake, job.job)
    if not first:
        return waiting
    if job.window.parse(first).start > job.window.parse(last).start:
        raise DefinitionError(
            f"the range from {first} to {last} holds no window", next_step="give the earlier one as the first"
        )
    labels = [window.as_of for window in job.window.between(first, last)]
    return [label for label in labels if label in set(waiting)] if wanted.queued else labels


def _decide(lake: Lake, as_of: str, wanted: Wanted, settled: list[queue.Entry]) -> Due | Ended:
    try:
        return _decided(lake, as_of, wanted, settled)
    except LakeError as error:
        return Ended(as_of=as_of, outcome="failed", why=error.failed)


def _decided(lake: Lake, as_of: str, wanted: Wanted, settled: list[queue.Entry]) -> Due | Ended:
    entry = queue.read(lake, wanted.job, as_of)
    found = manifests(lake, wanted.job, as_of)
    published = next((one for one in found if one.is_published), None)
    if entry is not None and queue.is_settled(lake, entry, published):
        settled.append(entry)
        entry = None
    if published is not None and entry is None and (wanted.leaves_finished or _is_done_for(wanted, published)):
        where = ", in shadow" if published.shadow else ""
        why = f"run {published.run_id} published it{where}{'' if wanted.leaves_finished else ' for this reason'}"
        return Ended(as_of=as_of, outcome="skipped", rows=published.rows.scored, run=published.run_id, why=why)
    last = max(found, key=lambda one: (one.rows.pulled > 0, one.started_at), default=None)
    return Due(
        as_of=as_of,
        reason=_reason(wanted, entry),
        again=published is not None or entry is not None,
        only_if_changed=wanted.only_if_changed and published is not None and entry is None,
        from_snapshot=entry is not None and not (entry.repull or wanted.repull),
        entry=entry,
        seconds=_seconds(last),
        rows=last.rows.pulled if last else 0,
    )


def _is_done_for(wanted: Wanted, published: Manifest) -> bool:
    """Whether this backfill, when it ran before, has scored the window: its reason is what it is known by."""
    return published.trigger.rescore_reason == wanted.reason.strip()


def _reason(wanted: Wanted, entry: queue.Entry | None) -> str:
    given = [wanted.reason.strip(), entry.reason if entry else ""]
    return "; ".join(one for one in given if one)[:_LONGEST_REASON]


def _seconds(last: Manifest | None) -> float:
    return round(sum(timing.seconds for timing in last.timings), 3) if last else 0.0


def _leave_queue(lake: Lake, job: str, entry: queue.Entry, *, stands: bool) -> str:
    """Takes a window off the queue, unless what readers see of it now may not be seen; why not, if it stays.

    `stands`: a run found that it would write what is published already, so that may be what had come back.
    """
    try:
        with lake.lock(layout.lock(job, entry.as_of), holder=f"the backfill of {job}", wait_seconds=_SETTLE_SECONDS):
            published = published_manifest(lake, job, entry.as_of)
            is_seen_rightly = published is not None and not queue.is_recalled(lake, published)
            if queue.read(lake, job, entry.as_of) == entry and (
                queue.is_settled(lake, entry, published) or (stands and is_seen_rightly)
            ):
                queue.drop(lake, entry)
                return ""
    except (WindowBusy, LakeError) as error:
        return f"it stays in the queue: {error.failed}"
    return "it stays in the queue: another recall has changed it meanwhile"


def _with_summary(
    kind: type[Incomplete] | type[PartlyBlocked], summary: Backfilled, worst: list[Ended]
) -> LamplighterError:
    named = "; ".join(f"{one.as_of}: {one.why}" for one in worst[:_MOST_NAMED])
    more = f"; and {len(worst) - _MOST_NAMED} more" if len(worst) > _MOST_NAMED else ""
    wanted = summary.wanted
    what = "blocked" if issubclass(kind, Blocked) else "not done"
    error = kind(
        f"{summary}. {what}: {named}{more}",
        state="each other window was published or left as it was; what waits stays in the queue",
        next_step=f"mend these, and run the same backfill again, which skips what is done; "
        f"lamplighter show {wanted.job} --as-of {worst[0].as_of}",
    )
    error.summary = summary
    return error
