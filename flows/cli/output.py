"""What the commands print: tables for people, JSON for machines. A terminal obeys none of the values in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from tasks.core.harmless import harmless

# Text is text: neither brackets nor colons in it mean anything.
AS_IT_IS: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
console = Console(**AS_IT_IS)
if not console.is_terminal:
    # Into a file or a pipe nothing is cut to the width of a screen.
    console = Console(**AS_IT_IS, width=200)


def paragraph(*lines: str) -> None:
    """One paragraph, in one line or in these: whatever a line repeats does not end it."""
    console.print("\n".join(map(harmless, lines)), soft_wrap=True)


def complain(text: str) -> None:
    """One line to standard error."""
    typer.echo(harmless(text), err=True)


def echo_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = (), title: str = ""
) -> None:
    """A table; the columns in `numbers` stand right."""
    drawn = Table(title=harmless(title) or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(harmless(column), justify="right" if column in numbers else "left", no_wrap=column in numbers)
    for row in rows:
        drawn.add_row(*(harmless(str(cell)) for cell in row))
    console.print(drawn)
