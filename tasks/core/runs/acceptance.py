"""What somebody may accept of a window that is blocked, and which of it a name given by a person means."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.core.errors import DefinitionError
from tasks.core.rows import snapshot
from tasks.core.runs.gate import QUARANTINE_SHARE
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.run import manifests
from tasks.core.storage import Folder

# quarantines, and never: an expectation that by itself blocks nothing.
Effect = Literal["blocks", "quarantines", "never"]


@dataclass(frozen=True)
class Choice:
    """A gate: its own name, the shorter or longer ones that may mean it, and what it does to a run when it fails."""

    name: str
    also: tuple[str, ...] = ()
    effect: Effect = "blocks"
    told: str = ""


def last_blocked(lake: Folder, job: str, as_of: str) -> Manifest | None:
    """The window's last run that a gate blocked which may be accepted, with its rows; or whose acceptance was cut short.

    SnapshotGone where it has none any more, because retention took them: other rows are not the ones that were judged.
    """
    found = [
        one
        for one in manifests(lake, job, as_of)
        if (one.blocked_by or one.trigger.accept) and not one.withdrawal
        if one.pruned or lake.exists(f"{one.workspace}/{snapshot.RECORD}")
    ]
    last = max(found, key=lambda one: one.started_at, default=None)
    if last is not None and last.pruned:
        raise snapshot.gone(last)
    return last


def resolve(given: Sequence[str], choices: Sequence[Choice], *, blocked_by: Sequence[str] = ()) -> tuple[str, ...]:
    """The gates' own names, each once. DefinitionError where one means none of them, or several.

    `blocked_by` are the gates that blocked the window last: they are named to whoever gives another.
    """
    return tuple(dict.fromkeys(_resolve(one, choices, blocked_by) for one in given))


def _resolve(given: str, choices: Sequence[Choice], blocked_by: Sequence[str]) -> str:
    wanted = _plain(given)
    named = [one for one in choices if _plain(one.name) == wanted]
    found = named or [one for one in choices if wanted in map(_plain, one.also)]
    blocking = [one for one in found if one.effect == "blocks"]
    if len(blocking) == 1:
        return blocking[0].name
    if blocking:
        raise _several(given, blocking)
    raise _harmless(given, found[0]) if found else _unknown(given, choices, blocked_by)


def _several(given: str, choices: Sequence[Choice]) -> DefinitionError:
    listed = "; ".join(f"{one.name}{f' ({one.told})' if one.told else ''}" for one in choices)
    return _refusal(f"'{given}' may mean several things: {listed}", "give one of them to accept")


def _harmless(given: str, choice: Choice) -> DefinitionError:
    if choice.effect == "quarantines":
        return _refusal(
            f"'{given}' blocks nothing by itself: rows that fail it are quarantined",
            f"accept {QUARANTINE_SHARE}, where too many of them were: they stay in quarantine, and the rest is published",
        )
    return _refusal(
        f"'{given}' is no reason to block: its severity says so, unless it cannot be checked at all",
        "mend the suite where an expectation cannot be checked; nobody can accept that",
    )


def _unknown(given: str, choices: Sequence[Choice], blocked_by: Sequence[str]) -> DefinitionError:
    could = [one.name for one in choices if one.effect == "blocks"]
    nearest = difflib.get_close_matches(given, could, 1)
    hint = f", did you mean {nearest[0]}?" if nearest else ""
    if blocked_by:
        hint = f"; the window was blocked by {', '.join(blocked_by)}"
    return _refusal(
        f"'{given}' is nothing that can be accepted{hint}",
        f"give one of: {', '.join(could)}. A missing column, the model's own gate and the account of the rows cannot be "
        "accepted",
    )


def _refusal(failed: str, next_step: str) -> DefinitionError:
    return DefinitionError(failed, state="nothing was started", next_step=next_step)


def _plain(name: str) -> str:
    return "".join(name.split())
