"""Rolling an alias back: the alias moves first, and then what the version it left has written is looked up."""

from __future__ import annotations

import datetime as dt
import shlex

from tasks.core.models.registry import Registry
from tasks.core.models.rollback import move_back
from tasks.core.records import Record
from tasks.core.runs.recalling.footprint import Left
from tasks.core.runs.recalling.recalls import RecalledWindow, plan
from tasks.core.storage import Lake


class RolledBack(Record):
    """Which version an alias names again, and what readers see that the version it left has written."""

    model: str
    alias: str
    left: int | None
    now: int
    reason: str
    windows: tuple[RecalledWindow, ...] = ()
    unreadable: tuple[Left, ...] = ()

    def __str__(self) -> str:
        told = f"{self.alias} is {self.model} version {self.now} again"
        if not self.windows:
            return told
        return f"{told}; readers still see {self.rows:,} rows of version {self.left} in {len(self.windows)} windows"

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.windows)

    @property
    def recall_command(self) -> str | None:
        """What to type where the version it left was wrong, and not merely worse."""
        if self.left is None:
            return None
        # Within double quotes a shell reads these as its own.
        reason = shlex.quote(self.reason) if set(self.reason) & set('\\"$`!') else f'"{self.reason}"'
        return f"lamplighter recall {self.model} --version {self.left} --reason {reason}"


def roll_back(
    lake: Lake, model: str, alias: str, *, reason: str, at: dt.datetime, by: str, run: str | None = None
) -> RolledBack:
    """Moves an alias back along its history, once a `run`. The windows that are written already stay as they are."""
    left, event = move_back(Registry(lake), model, alias, reason=reason, at=at, by=by, run=run)
    moved = RolledBack(model=model, alias=alias, left=left, now=event.version or 0, reason=reason)
    if left is None:
        return moved
    written = plan(lake, model, left, keep_until_replaced=True)
    return moved.model_copy(update={"windows": written.windows, "unreadable": written.left})
