"""What the commands over many windows share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.run import run_flow
from tasks.core.errors import Differs, Incomplete, LamplighterError, NotDelivered, PartlyBlocked

if TYPE_CHECKING:
    from collections.abc import Iterable

PlanOption = Annotated[bool, typer.Option("--plan", help="Say what would be done, and change nothing.")]
RepullOption = Annotated[
    bool, typer.Option("--repull", help="Windows are scored again from their source, not from the kept snapshots.")
]
_MOST_LINES = 50


def summary_of(module: str, name: str, *arguments: object, debug: bool) -> tuple[Any, LamplighterError | None]:
    """What a flow over many windows did; also where some of them are not done, with the error that says so."""
    try:
        return run_flow(module, name, *arguments, debug=debug), None
    except (Differs, Incomplete, NotDelivered, PartlyBlocked) as error:
        return error.summary, error


def raise_worst(error: LamplighterError | None, *, as_json: bool) -> None:
    if error is not None and as_json:
        raise typer.Exit(error.exit_code)
    if error is not None:
        raise error


def lines(rows: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The first rows, and how many more there are."""
    found = list(rows)
    more = (
        [("...", f"and {len(found) - _MOST_LINES} more", *[""] * (len(found[0]) - 2))]
        if len(found) > _MOST_LINES
        else []
    )
    return [*found[:_MOST_LINES], *more]
