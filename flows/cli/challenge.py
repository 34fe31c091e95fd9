"""The command `challenge`: a published window is scored by the model's challenger as well."""

from __future__ import annotations

import typer

from flows.cli import app
from flows.cli.output import echo_json, paragraph
from flows.cli.run import AsJson, AsOf, JobArgument, definition_of, progress_bar, run_flow


@app.command()
def challenge(context: typer.Context, job: JobArgument, as_of: AsOf, as_json: AsJson = False) -> None:
    """Score the rows of a published window with the model's challenger, and compare. Production stands as it is."""
    definition_of(job).job.window.parse(as_of)
    with progress_bar(enabled=not as_json):
        done = run_flow("flows.challenge", "challenge", job, as_of, debug=bool(context.obj))
    if as_json:
        echo_json(done.model_dump(mode="json"))
        return
    from tasks.core.pages import challenger_sentence  # noqa: PLC0415
    from tasks.core.runs.challenger import Beside  # noqa: PLC0415

    paragraph(f"{challenger_sentence(Beside(done, stands=True))}. Next: lamplighter show {job} --as-of {as_of}")
