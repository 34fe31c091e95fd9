"""Back along an alias's history, which is a stack: a promotion puts a version on it, a rollback takes off what lies above.

After promotions to 1, 2 and 3 one rollback leads to 2 and the next to 1, and not back and forth; after a promotion to 4
a rollback leads to 1.
"""

from __future__ import annotations

import datetime as dt

from pydantic import JsonValue

from tasks.core.errors import DefinitionError
from tasks.core.models.model_events import ROLLED_BACK_FROM, aliases_in, last_event, recalled_in
from tasks.core.models.model_version import Event
from tasks.core.models.registry import Registry

# In the evidence of an event: who asked, if it was a run of a flow.
_FLOW_RUN = "flow_run_id"


def move_back(
    registry: Registry, model: str, alias: str, *, reason: str, at: dt.datetime, by: str, run: str | None = None
) -> tuple[int | None, Event]:
    """Lets an alias name the last version before, that is not recalled. Returns the version it left, and the event.

    `run` says who asks: one that was killed and is begun again has gone back already, and does not go further back.
    DefinitionError where there is none; Blocked where somebody else moves the alias at the same instant.
    """
    registry.check_known(model)
    events = registry.history(model)
    if done := _done_by(events, alias, run):
        return done
    left, back = aliases_in(events).get(alias), version_before(events, alias)
    if back is None:
        raise DefinitionError(
            f"{alias} of {model} has {_named_only(left)}, so there is none to go back to",
            state="nothing was changed",
            next_step=f"lamplighter history {model}",
        )
    evidence: dict[str, JsonValue] = {ROLLED_BACK_FROM: left, **({_FLOW_RUN: run} if run else {})}
    return left, registry.set_alias(
        model, alias, back, at=at, actor=by, reason=reason, evidence=evidence, expected=left
    )


def _done_by(events: list[Event], alias: str, run: str | None) -> tuple[int | None, Event] | None:
    """What this run has done, if it is the last that anybody did with the alias."""
    if run is None or alias not in aliases_in(events):
        return None
    last = last_event(events, action="set_alias", alias=alias)
    if last.evidence.get(_FLOW_RUN) != run:
        return None
    left = last.evidence.get(ROLLED_BACK_FROM)
    return (left if isinstance(left, int) else None), last


def version_before(events: list[Event], alias: str) -> int | None:
    """The last version that an alias named, is not recalled, and is another one than now."""
    now, recalled = aliases_in(events).get(alias), recalled_in(events)
    return next((one for one in reversed(_stack(events, alias)) if one != now and one not in recalled), None)


def _stack(events: list[Event], alias: str) -> list[int]:
    stack: list[int] = []
    for event in events:
        if event.action != "set_alias" or event.alias != alias or event.version is None:
            continue
        if ROLLED_BACK_FROM in event.evidence and event.version in stack:
            while stack[-1] != event.version:
                stack.pop()
        if stack[-1:] != [event.version]:
            stack.append(event.version)
    return stack


def _named_only(version: int | None) -> str:
    return (
        f"named no version but {version} that is not recalled" if version else "named no version that is not recalled"
    )
