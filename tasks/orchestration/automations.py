"""The one door to a Prefect server's automations: those of a project are made, changed and removed, never doubled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from tasks.core.definitions.automations import PREFIX
from tasks.core.errors import DefinitionError, LamplighterError, OrchestrationError
from tasks.core.events import TAG

_PAGE = 200


@dataclass(frozen=True)
class Applied:
    """What became of the automations, by name; `missing` are the blocks that the server does not have."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {what}"
            for what, names in (
                ("created", self.created),
                ("updated", self.updated),
                ("removed", self.removed),
                ("as they were", self.unchanged),
            )
            if names
        ]
        return f"Automations: {', '.join(parts) or 'none'}."

    def refuse_missing(self) -> None:
        """DefinitionError names the notification blocks that jobs name and the server does not have."""
        if self.missing:
            raise DefinitionError(
                f"the Prefect server has no notification block {', '.join(self.missing)}, which the 'alerts' of jobs name",
                state=f"whoever reads there is told nothing; all else was applied. {self}",
                next_step="create it on the page Blocks of the Prefect UI, or mend 'alerts' in deployments/jobs; then: "
                "lamplighter automations --apply",
            )


def apply(wanted: Sequence[dict[str, Any]]) -> Applied:
    """Makes the server's automations those that are wanted; what is not ours, it does not touch.

    What is as wanted is left alone: a change would forget which windows were told already. One that somebody has
    switched off stays so. OrchestrationError where the server does not answer.
    """
    if not PREFECT_API_URL.value():
        raise DefinitionError(
            "PREFECT_API_URL is not set, so there is no Prefect server that could keep automations",
            state="nothing was changed",
            next_step="PREFECT_API_URL=http://127.0.0.1:4200/api lamplighter automations --apply",
        )
    with _answering(), get_client(sync_client=True) as client:
        found, missing = [], []
        for one in wanted:
            made = _with_block(client, one)
            if made is None:
                missing.append(one["actions"][0]["block"])
            else:
                found.append(made)
        return _apply(client, found, tuple(dict.fromkeys(missing)))


def _apply(client: SyncPrefectClient, wanted: list[AutomationCore], missing: tuple[str, ...]) -> Applied:
    there = _ours(client)
    created, updated, unchanged = [], [], []
    for one in wanted:
        same = there.pop(one.name, [])
        if not same:
            client.create_automation(one)
            created.append(one.name)
        elif _is_as(same[0], one):
            unchanged.append(one.name)
        else:
            client.update_automation(same[0].id, one.model_copy(update={"enabled": same[0].enabled}))
            updated.append(one.name)
        # Two at once may have made it twice.
        for double in same[1:]:
            client.delete_automation(double.id)
    removed = [(name, one.id) for name, some in there.items() for one in some]
    for _, automation in removed:
        client.delete_automation(automation)
    return Applied(
        tuple(created), tuple(updated), tuple(dict.fromkeys(name for name, _ in removed)), tuple(unchanged), missing
    )


def _ours(client: SyncPrefectClient) -> dict[str, list[Automation]]:
    """The automations on the server that this has made, by name, the oldest first."""
    found: dict[str, list[Automation]] = {}
    offset = 0
    while page := client.read_automations(sort="CREATED_DESC", limit=_PAGE, offset=offset):  # type: ignore[arg-type]
        offset += len(page)
        for one in page:
            if one.name.startswith(PREFIX) and TAG in one.tags:
                found.setdefault(one.name, []).insert(0, one)
    return found


def _is_as(found: Automation, wanted: AutomationCore) -> bool:
    ours = AutomationCore.model_validate(found.model_dump(exclude={"id"}))
    return ours.model_copy(update={"enabled": wanted.enabled}) == wanted


def _with_block(client: SyncPrefectClient, wanted: dict[str, Any]) -> AutomationCore | None:
    """The automation with its notification block looked up; None where the server has none of this name."""
    (action,) = wanted["actions"]
    if "block" not in action:
        return AutomationCore.model_validate(wanted)
    block = _block(client, action["block"])
    if block is None:
        return None
    named = {key: value for key, value in action.items() if key != "block"} | {"block_document_id": block}
    return AutomationCore.model_validate({**wanted, "actions": [named]})


def _block(client: SyncPrefectClient, named: str) -> UUID | None:
    kind, name = named.split("/")
    with contextlib.suppress(ObjectNotFound):
        return client.read_block_document_by_name(name, kind, include_secrets=False).id
    return None


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except LamplighterError:
        raise
    except (httpx.HTTPError, RuntimeError) as error:
        raise OrchestrationError(
            f"the Prefect server at {PREFECT_API_URL.value()} did not do what it was asked: {error or type(error).__name__}",
            state="automations may be changed in part, and doing it again ends it",
            next_step="prefect config view, and when the server answers: lamplighter automations --apply",
        ) from error
