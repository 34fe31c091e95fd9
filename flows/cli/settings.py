"""The command about settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows.cli import app
from flows.cli.output import echo_json, paragraph, table
from flows.cli.run import AsJson
from tasks.core.settings import Settings


@app.command()
def settings(
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the README's table: names and defaults.")] = False,
) -> None:
    """List every setting: its variable, its default, and what it is now. Exit code 2 if one is wrong."""
    from tasks.core.settings_table import markdown_table, settings_table, unknown_variables  # noqa: PLC0415

    if markdown:
        typer.echo(markdown_table())
        return
    found, unknown = settings_table(), unknown_variables()
    if as_json:
        echo_json({"settings": [asdict(one) for one in found], "unknown": unknown})
    else:
        rows = [(one.variable, one.value, one.default if one.is_set else "", one.sets) for one in found]
        table(("variable", "now", "default", "what it sets"), rows)
        for sentence in unknown:
            paragraph(f"Warning: {sentence}")
    # What is wrong is said after the table, which tells what would be right.
    Settings()
