"""The command that serves the reports."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli import app
from flows.cli.output import paragraph
from flows.cli.places import the_lake
from tasks.core.settings import Settings

_LOOPBACK = ("localhost", "127.", "::1", "[::1]")


@app.command()
def pages(
    host: Annotated[str | None, typer.Option(help="Where to listen; else LAMPLIGHTER_PAGES_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port, 0 for a free one; else LAMPLIGHTER_PAGES_PORT.")
    ] = None,
) -> None:
    """Serve the reports, read-only, until Ctrl-C."""
    from tasks.core.serving import listening_at, serve_at  # noqa: PLC0415

    settings = Settings()
    host = host or settings.pages_host
    with listening_at(host, settings.pages_port if port is None else port) as listener:
        at = listener.getsockname()[1]
        paragraph(f"The reports are at http://{host}:{at}/ until Ctrl-C.")
        if not host.startswith(_LOOPBACK):
            paragraph("Everybody who reaches this machine there can read them, and they show examples of rows.")
        serve_at(listener, the_lake().below("reports"), settings.pages_names.split(","))
    paragraph("Stopped.")
