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
from tasks.core.secret_parts import masked, secrets_in
from tasks.core.source.problems import mask

_PAGE = 200


@dataclass(frozen=True)
class Applied:
    """What became of the automations, by name; `missing`: ("block" or "deployment", name), where the server has none."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]

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
        """DefinitionError names the notification blocks and deployments that jobs name and the server does not have."""
        if not self.missing:
            return
        kinds = [(what, [name for kind, name in self.missing if kind == key]) for key, what in _NAMED.items()]
        lacking = [(what, names) for what, names in kinds if names]
        raise DefinitionError(
            "the Prefect server has no "
            + ", and no ".join(f"{what.noun} {', '.join(names)}, {what.named_by}" for what, names in lacking),
            state=f"{', and '.join(what.without for what, _ in lacking)}; all else was applied. {self}",
            next_step="; ".join([*(what.remedy for what, _ in lacking), "then: lamplighter automations --apply"]),
        )


@dataclass(frozen=True)
class _Named:
    """What an action of ours names, and the server must have."""

    noun: str
    named_by: str
    without: str
    remedy: str


_IDS = {"block": "block_document_id", "deployment": "deployment_id"}
_NAMED = {
    "block": _Named(
        "notification block",
        "which the 'alerts' of jobs name",
        "whoever reads there is told nothing",
        "create it on the page Blocks of the Prefect UI, or mend 'alerts' in deployments/jobs",
    ),
    "deployment": _Named(
        "deployment", "which an alarm is to start ('monitor.retrain')", "no alarm starts it", "lamplighter deploy"
    ),
}


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
        return _apply(client, wanted)


def _apply(client: SyncPrefectClient, given: Sequence[dict[str, Any]]) -> Applied:
    resolved = [_resolved(client, one) for one in given]
    wanted = [one for one in resolved if isinstance(one, AutomationCore)]
    missing = tuple(dict.fromkeys(one for one in resolved if not isinstance(one, AutomationCore)))
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


def _resolved(client: SyncPrefectClient, wanted: dict[str, Any]) -> AutomationCore | tuple[str, str]:
    """The automation with what its action names looked up; the name where the server has nothing that is called so."""
    (action,) = wanted["actions"]
    key = next((key for key in _NAMED if key in action), None)
    if key is None:
        return AutomationCore.model_validate(wanted)
    found = (_block if key == "block" else _deployment)(client, action[key])
    if found is None:
        return key, action[key]
    named = {name: value for name, value in action.items() if name != key} | {_IDS[key]: found}
    return AutomationCore.model_validate({**wanted, "actions": [named]})


def _block(client: SyncPrefectClient, named: str) -> UUID | None:
    kind, name = named.split("/")
    with contextlib.suppress(ObjectNotFound):
        return client.read_block_document_by_name(name, kind, include_secrets=False).id
    return None


def _deployment(client: SyncPrefectClient, named: str) -> UUID | None:
    with contextlib.suppress(ObjectNotFound):
        return client.read_deployment_by_name(named).id
    return None


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except LamplighterError:
        raise
    except (httpx.HTTPError, RuntimeError) as error:
        address = PREFECT_API_URL.value() or ""
        said = mask(str(error), secrets_in(address)) or type(error).__name__
        # Prefect's own names the address with its password, and so would a traceback.
        raise OrchestrationError(
            f"the Prefect server at {masked(address)} did not do what it was asked: {said}",
            state="automations may be changed in part, and doing it again ends it",
            next_step="prefect config view, and when the server answers: lamplighter automations --apply",
        ) from None
