"""What the commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

console = Console(highlight=False)
if not console.is_terminal:
    # Into a file or a pipe nothing is cut to the width of a screen.
    console = Console(highlight=False, width=200)


def paragraph(text: str) -> None:
    """One paragraph; brackets in it are text, not markup."""
    console.print(text, markup=False, soft_wrap=True)


def echo_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[str] = (), title: str = ""
) -> None:
    """A table; the columns in `numbers` stand right."""
    drawn = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, justify="right" if column in numbers else "left", no_wrap=column in numbers)
    for row in rows:
        drawn.add_row(*(str(cell) for cell in row))
    console.print(drawn, markup=False)
