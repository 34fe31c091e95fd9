"""The command `history`: each change around a model is an event in the registry, kept for ever."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.output import echo_json, paragraph, table
from flows.cli.places import the_registry
from flows.cli.run import AsJson, ModelArgument
from tasks.core.errors import DefinitionError

if TYPE_CHECKING:
    from tasks.core.models.model_version import Event


@app.command()
def history(
    model: ModelArgument,
    at: Annotated[str, typer.Option(help="An instant, as 2013-07-01T12:00Z: the aliases as they were then.")] = "",
    as_json: AsJson = False,
) -> None:
    """List every change around a model: who moved which alias to which version, when, and why."""
    from tasks.core.models.model_events import aliases_in  # noqa: PLC0415

    registry = the_registry()
    until = _instant(at) if at else None
    registry.check_known(model)
    events = [event for event in registry.history(model) if until is None or event.at <= until]
    if as_json:
        echo_json({"aliases": aliases_in(events), "events": [event.model_dump(mode="json") for event in events]})
        return
    _print_events(events)
    _print_aliases(events)


def _print_events(events: list[Event]) -> None:
    from tasks.core.models.model_events import evidence_in_words  # noqa: PLC0415

    rows = [
        (
            f"{one.at:%Y-%m-%d %H:%M:%S}",
            _change(one),
            one.alias or "",
            one.version or "",
            one.actor,
            one.reason,
            evidence_in_words(one),
        )
        for one in events
    ]
    table(("at (UTC)", "change", "alias", "version", "by", "why", "evidence"), rows)


def _print_aliases(events: list[Event]) -> None:
    """What each alias names after these events, since when, by whom and why."""
    from tasks.core.models.model_events import reigns  # noqa: PLC0415

    now = sorted((one for one in reigns(events) if one.ended is None), key=lambda one: one.alias)
    for one in now:
        since = f"{one.since:%Y-%m-%d %H:%M:%S} UTC"
        paragraph(f"{one.alias} = version {one.version}, since {since}, by {one.began.actor}: {one.began.reason}")
    if not now:
        paragraph("No aliases.")


def _change(event: Event) -> str:
    return f"{event.action} by force" if event.forced else event.action


def _instant(text: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise DefinitionError(f"'{text}' is not an instant", next_step="give --at as 2013-07-01T12:00Z") from error
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
