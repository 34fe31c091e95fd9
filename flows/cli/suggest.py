"""The command `suggest`: a first suite for a job, for a person to edit."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import app
from flows.cli.output import echo_json, paragraph, table
from flows.cli.run import AsJson, AsOf, JobArgument

if TYPE_CHECKING:
    from tasks.suggest import Suggestion

_LEAST_ROWS = 20


@app.command()
def suggest(
    job: JobArgument,
    as_of: AsOf,
    rows: Annotated[int, typer.Option(min=_LEAST_ROWS, help="At most so many rows of the window are looked at.")] = (
        100_000
    ),
    as_json: AsJson = False,
) -> None:
    """Write a first suite for a job, from a sample of one window, for a person to edit. Never overwrites one."""
    from tasks import suggest as stage  # noqa: PLC0415

    found = stage.suggest(job, as_of, most_rows=rows)
    if as_json:
        echo_json(asdict(found))
        return
    _tell(found)
    name_it = "" if found.is_named else f" name it in the job (suite: {found.name});"
    paragraph("", f"Next: edit it;{name_it} then: lamplighter check")


def _tell(found: Suggestion) -> None:
    paragraph(
        f"Wrote {found.path}: {len(found.expectations)} expectations, from {found.rows:,} of {found.window_rows:,} rows.",
        "",
    )
    shown = [
        ("quarantine" if (one.get("meta") or {}).get("on_failure") else one.get("severity", "critical"), _in_words(one))
        for one in found.expectations
    ]
    table(("on failure", "what is expected"), shown)
    for sentence in found.left_out:
        paragraph(f"Left out, as the sample does not bear it: {sentence}")


def _in_words(expectation: dict[str, Any]) -> str:
    return str(expectation.get("description") or f"{expectation['type']} {expectation['kwargs']}")
