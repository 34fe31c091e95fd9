"""The command `automations`: what a Prefect server does of itself for this project's jobs."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli import app
from flows.cli.output import paragraph
from flows.cli.places import the_project


@app.command()
def automations(
    apply: Annotated[
        bool, typer.Option("--apply", help="Make them so on the Prefect server that PREFECT_API_URL names.")
    ] = False,
) -> None:
    """Print deployments/automations.yaml: who is told of what, and which runs are taken for dead. With --apply, do it.

    Applied again it changes nothing; what no job asks for any more is removed; automations of others are not touched.
    """
    from tasks.core.definitions.automations import automations as wanted  # noqa: PLC0415
    from tasks.core.definitions.automations import automations_yaml  # noqa: PLC0415

    project = the_project()
    jobs = [project.load(name, suites=False).job for name in project.job_names()]
    if not apply:
        typer.echo(automations_yaml(jobs), nl=False)
        return
    from tasks.core.settings import prepare_prefect  # noqa: PLC0415

    prepare_prefect(quiet=True)
    from tasks.orchestration.automations import apply as apply_to_server  # noqa: PLC0415

    done = apply_to_server(wanted(jobs))
    done.refuse_missing()
    paragraph(str(done))
