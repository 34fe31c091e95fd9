"""What the events around a model say together: which version each alias names, and which were recalled."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from tasks.core.errors import Blocked, DefinitionError, ModelBlocked
from tasks.core.models.model_version import Event, ModelManifest

# The evidence of an event that repeats what was done in MLflow's registry.
MIRRORED = "mlflow"


# The evidence by which a rollback is told from a promotion.
ROLLED_BACK_FROM = "rolled_back_from"


def aliases_in(events: list[Event]) -> dict[str, int]:
    aliases: dict[str, int] = {}
    for event in events:
        if event.action == "set_alias" and event.alias and event.version:
            aliases[event.alias] = event.version
        elif event.action == "drop_alias" and event.alias:
            aliases.pop(event.alias, None)
        elif event.action == "recall":
            aliases = {alias: version for alias, version in aliases.items() if version != event.version}
    return aliases


def recalled_in(events: list[Event]) -> dict[int, Event]:
    return {event.version: event for event in events if event.action == "recall" and event.version}


def last_event(events: list[Event], **parts: str) -> Event:
    return next(event for event in reversed(events) if all(getattr(event, k) == v for k, v in parts.items()))


def why_recalled(events: list[Event], alias: str) -> str:
    named = [event.version for event in events if event.action == "set_alias" and event.alias == alias]
    recall = recalled_in(events).get(named[-1]) if named and named[-1] else None
    if recall is None:
        return ""
    return (
        f"; it named version {recall.version}, recalled at {recall.at.isoformat()} by {recall.actor}: {recall.reason}"
    )


def refuse_recalled(events: list[Event], name: str, version: int) -> None:
    """ModelBlocked if the version was recalled: a run that began before must not publish what it scored."""
    recall = recalled_in(events).get(version)
    if recall is not None:
        raise ModelBlocked(
            f"version {version} of '{name}' was recalled at {recall.at.isoformat()} by {recall.actor}: {recall.reason}",
            state="nothing of this run is published, and what was published by other versions stands",
            next_step=f"`lamplighter rollback {name}` if no version is production now; then score the window again",
        )


def refuse_elsewhere(manifest: ModelManifest, evidence: Mapping[str, JsonValue]) -> None:
    """DefinitionError where somebody moves an alias here to a version that was mirrored from MLflow's registry."""
    if manifest.origin is None or evidence.get(MIRRORED) == manifest.origin.uri:
        return
    raise DefinitionError(
        f"{manifest.name} version {manifest.version} is {manifest.origin.uri} of MLflow at {manifest.origin.tracking}, and "
        "the aliases of a model of MLflow's registry are moved there: what moved here, the next run would move back",
        state="no alias was moved",
        next_step="set the alias in MLflow; the next run follows it, and `lamplighter history` here then says so",
    )


def withdrawn(name: str, version: int, recall: Event) -> ModelBlocked:
    return ModelBlocked(
        f"version {version} of '{name}' was recalled at {recall.at.isoformat()} by {recall.actor}: {recall.reason}",
        state="no alias was moved",
        next_step="choose another version; a recalled one can never come back",
    )


def moved(name: str, alias: str, current: int | None, expected: object) -> Blocked:
    def said(number: object) -> str:
        return "none" if number is None else f"version {number}"

    return Blocked(
        f"the alias '{alias}' of '{name}' names {said(current)}, and not {said(expected)} as it did before",
        state="somebody else moved it meanwhile; nothing was changed here",
        next_step=f"look at `lamplighter history {name}`, and decide again",
    )


@dataclass(frozen=True)
class Reign:
    """How long an alias named a version, by whose change, and what ended it; None while it lasts."""

    began: Event
    ended: Event | None

    @property
    def alias(self) -> str:
        return self.began.alias or ""

    @property
    def version(self) -> int:
        return self.began.version or 0

    @property
    def since(self) -> dt.datetime:
        return self.began.at

    @property
    def until(self) -> dt.datetime | None:
        return self.ended.at if self.ended else None


def reigns(events: list[Event]) -> list[Reign]:
    """Every time that an alias named a version, the one that began last first."""
    lasting: dict[str, Event] = {}
    found: list[Reign] = []
    for event in events:
        ended = [alias for alias, began in lasting.items() if _ends(event, alias, began)]
        found += [Reign(lasting.pop(alias), event) for alias in ended]
        if event.action == "set_alias" and event.alias:
            lasting[event.alias] = event
    found += [Reign(began, None) for began in lasting.values()]
    return sorted(found, key=lambda one: one.began.sequence, reverse=True)


def _ends(event: Event, alias: str, began: Event) -> bool:
    if event.action == "recall":
        return event.version == began.version
    return event.alias == alias


def evidence_in_words(event: Event) -> str:
    """On what evidence a change was made, in a few words; '' where none was given."""
    verdict = event.evidence.get("verdict")
    checks = verdict.get("checks") if isinstance(verdict, dict) else None
    if isinstance(checks, list):
        outcomes = Counter(str(one.get("outcome")) for one in checks if isinstance(one, dict))
        return ", ".join(f"{outcomes[each]} {each}" for each in ("passed", "failed", "not judged") if outcomes[each])
    left = event.evidence.get(ROLLED_BACK_FROM)
    return f"back from version {left}" if left else ""
