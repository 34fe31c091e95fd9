"""A backfill under way: which window is begun next, what became of each, and when no more are begun.

Time is an argument: seconds on a clock that never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.core import layout
from tasks.core.errors import LakeError
from tasks.core.runs.recalling import backfill
from tasks.core.runs.recalling.backfill import Due, Ended, Plan
from tasks.core.runs.run import latest_manifest, published_manifest
from tasks.core.storage import BUSY, Lake

# Whoever holds a window is waited for; its lock frees itself when its process dies, but a process may hang.
BUSY_PATIENCE_SECONDS = 3600.0


@dataclass(frozen=True)
class Final:
    """How the run of a window ended: the name and message of its last state. `began` is False where it never did."""

    as_of: str
    state: str
    message: str = ""
    began: bool = True


class Round:
    """The windows of one backfill. After `stop_after` failures none is begun; 0 is never. Blocked ones do not count."""

    def __init__(self, lake: Lake, planned: Plan, *, stop_after: int) -> None:
        self._lake = lake
        self._wanted = planned.wanted
        self._told = 0
        self._stop_after = stop_after
        self._waiting = list(planned.due)
        self._under_way: dict[str, tuple[Due, float]] = {}
        self._busy_since: dict[str, float] = {}
        self.ended: list[Ended] = []

    @property
    def job(self) -> str:
        return self._wanted.job

    @property
    def total(self) -> int:
        return len(self._waiting) + len(self._under_way) + len(self.ended)

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    @property
    def is_over(self) -> bool:
        return not self._under_way and (self._has_stopped or not self._waiting)

    def next(self, at: float) -> Due | None:
        """The oldest window that may be begun now, or None. What others have done meanwhile is not done again."""
        if self._has_stopped:
            return None
        for due in list(self._waiting):
            decided = self._look_at(due, at)
            if decided is None:
                continue
            self._waiting.remove(due)
            if isinstance(decided, Due):
                self._under_way[due.as_of] = (decided, at)
                return decided
            self._note(decided)
        return None

    def conclude(self, final: Final, at: float) -> None:
        """The run of a window has ended; one that somebody else held waits again."""
        due, began_at = self._under_way.pop(final.as_of)
        if not final.began or self._was_busy(final):
            self._waiting.insert(0, due)
            return
        ended = backfill.settle(self._lake, self._wanted, due, final.state, final.message)
        self._note(ended.model_copy(update={"seconds": round(at - began_at, 1)}))

    def news(self) -> int:
        """How many have ended since this was asked last."""
        told, self._told = self._told, len(self.ended)
        return self._told - told

    def all_ended(self) -> list[Ended]:
        """What became of all, also of those that were not begun because too many had failed."""
        why = f"{self._failures} windows had failed"
        left = [Ended(as_of=due.as_of, outcome="not started", why=why) for due in self._waiting]
        return [*self.ended, *left]

    @property
    def _failures(self) -> int:
        return sum(one.outcome == "failed" for one in self.ended)

    @property
    def _has_stopped(self) -> bool:
        return bool(self._stop_after) and self._failures >= self._stop_after

    def _look_at(self, due: Due, at: float) -> Due | Ended | None:
        """None while another run holds the window."""
        try:
            if not self._lake.is_locked(layout.lock(self._wanted.job, due.as_of)):
                return backfill.decide_again(self._lake, self._wanted, due.as_of)
        except LakeError as error:
            return Ended(as_of=due.as_of, outcome="failed", why=error.failed)
        since = self._busy_since.setdefault(due.as_of, at)
        if at - since < BUSY_PATIENCE_SECONDS:
            return None
        why = f"another run has held it for {at - since:.0f} s"
        return Ended(as_of=due.as_of, outcome="failed", why=why)

    def _was_busy(self, final: Final) -> bool:
        return final.state == "Failed" and final.message.startswith(f"{self._wanted.job} {final.as_of} {BUSY}")

    def _note(self, ended: Ended) -> None:
        self.ended.append(self._with_figures(ended))

    def _with_figures(self, ended: Ended) -> Ended:
        """With the rows and the run that the lake holds; no outcome is better than what readers see."""
        job, is_seen = self._wanted.job, ended.outcome in ("done", "skipped")
        try:
            found = (published_manifest if is_seen else latest_manifest)(self._lake, job, ended.as_of)
        except LakeError:
            return ended
        if found is not None:
            return ended.model_copy(update={"run": found.run_id, "rows": found.rows.scored if is_seen else 0})
        why = "its run says that it is published, and readers see nothing of it"
        return ended.model_copy(update={"outcome": "failed", "why": why}) if is_seen else ended
