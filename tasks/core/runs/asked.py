"""What somebody asks of a run, beyond a job and a window; it is kept in the run's manifest."""

from __future__ import annotations

from typing import Literal

from tasks.core.errors import DefinitionError
from tasks.core.records import Record

SHORTEST_REASON, LONGEST_REASON = 3, 500  # Characters.

Kind = Literal["score", "rescore", "accept", "dry_run"]


class Asked(Record):
    """A finished window is left alone unless `rescore` says why it is scored again.

    `from_snapshot`: the rows of a kept snapshot are read, and not the source. `only_if_changed`: nothing is published
    where the source's rows are those that readers see. `accept`: the gates that may fail, for `reason`. `dry_run`:
    everything but publication.
    """

    rescore: str = ""
    from_snapshot: bool = False
    only_if_changed: bool = False
    accept: tuple[str, ...] = ()
    reason: str = ""
    dry_run: bool = False

    @property
    def kind(self) -> Kind:
        if self.dry_run:
            return "dry_run"
        if self.accept:
            return "accept"
        return "rescore" if self.rescore else "score"

    @property
    def leaves_finished(self) -> bool:
        """Whether a window that is published is left alone, before anything is pulled."""
        return not (self.rescore or self.dry_run)

    def check(self) -> None:
        """DefinitionError where what is asked for contradicts itself, or an exception has no reason."""
        if self.accept and not SHORTEST_REASON <= len(self.reason.strip()) <= LONGEST_REASON:
            raise DefinitionError(
                f"to accept {', '.join(self.accept)} needs a reason, of {SHORTEST_REASON} to {LONGEST_REASON} characters: "
                "it stays with the window for ever",
                state="nothing was started",
                next_step='give --reason "..."',
            )
        if self.accept and self.rescore:
            raise DefinitionError(
                "a run either accepts what blocked the last one, or scores the window again",
                state="nothing was started",
                next_step="give accept with a reason, or rescore",
            )
