"""Commands on models: promote, rollback, history. Each change is an event in the registry, kept for ever."""

from __future__ import annotations

import datetime as dt
import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.output import echo_json, paragraph, table
from flows.cli.run import AsJson
from tasks.core.errors import DefinitionError

if TYPE_CHECKING:
    from tasks.core.models.registry import Registry

ModelArgument = Annotated[str, typer.Argument(help="The model's name in the registry.")]
Alias = Annotated[str, typer.Option(help="The alias to move.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the history.")]


@app.command()
def promote(
    model: ModelArgument,
    version: Annotated[int, typer.Option("--version", help="The version to promote.")],
    reason: Reason,
    alias: Alias = "production",
) -> None:
    """Let an alias name a version, after that version has passed the load gate."""
    from tasks.core.models.model import load_model  # noqa: PLC0415

    registry = _registry()
    # What the next run would refuse must not become production: digest, allow-list, libraries and probe rows are tried.
    loaded = load_model(registry, registry.version(model, version))
    registry.set_alias(model, alias, version, at=_now(), actor=_actor(), reason=_given(reason))
    for warning in loaded.warnings:
        paragraph(f"Note: {warning}")
    paragraph(f"{alias} of {model} is version {version}. Windows that are published already stay as they are.")


@app.command()
def rollback(model: ModelArgument, reason: Reason, alias: Alias = "production") -> None:
    """Let an alias name the version again that it named before."""
    registry = _registry()
    current = registry.alias(model, alias).version
    earlier = [
        event.version
        for event in registry.history(model)
        if event.action == "set_alias" and event.alias == alias and event.version != current
    ]
    usable = [number for number in earlier if number not in registry.recalled(model)]
    if not usable or usable[-1] is None:
        raise DefinitionError(
            f"{alias} of {model} has named no version but {current}, so there is none to go back to",
            state="nothing was changed",
            next_step=f"lamplighter history {model}",
        )
    back = usable[-1]
    registry.set_alias(model, alias, back, at=_now(), actor=_actor(), reason=_given(reason), expected=current)
    paragraph(f"{alias} of {model} is version {back} again. Windows that version {current} scored stay as they are.")


@app.command()
def history(
    model: ModelArgument,
    at: Annotated[str, typer.Option(help="An instant, as 2013-07-01T12:00Z: the aliases as they were then.")] = "",
    as_json: AsJson = False,
) -> None:
    """List every change around a model: who moved which alias to which version, when, and why."""
    registry = _registry()
    until = _instant(at) if at else None
    registry.versions(model)
    events = [event for event in registry.history(model) if until is None or event.at <= until]
    aliases = registry.aliases(model, at=until)
    if as_json:
        echo_json({"aliases": aliases, "events": [event.model_dump(mode="json") for event in events]})
        return
    rows = [
        (f"{one.at:%Y-%m-%d %H:%M:%S}", one.action, one.alias or "", one.version or "", one.actor, one.reason)
        for one in events
    ]
    table(("at (UTC)", "change", "alias", "version", "by", "why"), rows)
    paragraph(", ".join(f"{alias} = version {number}" for alias, number in sorted(aliases.items())) or "No aliases.")


def _registry() -> Registry:
    from tasks.core.models.registry import Registry  # noqa: PLC0415
    from tasks.core.settings import Settings  # noqa: PLC0415
    from tasks.core.storage import Lake  # noqa: PLC0415

    return Registry(Lake(Settings().lake))


def _given(reason: str) -> str:
    if not reason.strip():
        raise DefinitionError("a change of an alias needs a reason", next_step='give --reason "..."')
    return reason.strip()


def _instant(text: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise DefinitionError(f"'{text}' is not an instant", next_step="give --at as 2013-07-01T12:00Z") from error
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _actor() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
