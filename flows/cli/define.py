"""Commands about definitions: check, schema, deployments."""

from __future__ import annotations

import json

import typer

from flows.cli import app
from flows.cli.output import echo_json, paragraph, table
from flows.cli.run import AsJson
from tasks.core.errors import LamplighterError


@app.command()
def check(as_json: AsJson = False) -> None:
    """Check every job and suite without running any. Exit code 2 if one is wrong."""
    from tasks.core.definitions.project import Project  # noqa: PLC0415
    from tasks.core.settings import Settings  # noqa: PLC0415
    from tasks.core.settings_table import unknown_variables  # noqa: PLC0415
    from tasks.core.storage import Folder  # noqa: PLC0415

    for sentence in unknown_variables():
        typer.echo(f"Warning: {sentence}", err=True)
    project = Project(Folder(Settings().project))
    found = {name: _problem(project, name) for name in project.job_names()}
    if as_json:
        echo_json([{"job": name, "problem": problem} for name, problem in found.items()])
    elif found:
        table(("job", "found"), [(name, problem or "right") for name, problem in found.items()])
    else:
        paragraph(f"There are no jobs in {project.folder.path('deployments/jobs')}.")
    if any(found.values()):
        raise typer.Exit(2)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a job's YAML, for editors."""
    from tasks.core.definitions.job import job_json_schema  # noqa: PLC0415

    typer.echo(json.dumps(job_json_schema(), indent=2))


@app.command()
def deployments() -> None:
    """Print what Prefect is told of this project's jobs: deployments/prefect.yaml."""
    from tasks.core.definitions.deployments import prefect_yaml  # noqa: PLC0415
    from tasks.core.definitions.project import Project  # noqa: PLC0415
    from tasks.core.provenance import code_record  # noqa: PLC0415
    from tasks.core.settings import Settings  # noqa: PLC0415
    from tasks.core.storage import Folder  # noqa: PLC0415

    project = Project(Folder(Settings().project))
    jobs = [project.load(name).job for name in project.job_names()]
    typer.echo(prefect_yaml(jobs, code_record().version, project.models_work_pool()), nl=False)


def _problem(project: object, name: str) -> str | None:
    from tasks.core.definitions.project import Project  # noqa: PLC0415
    from tasks.shards.label_validation import labels_suite_of  # noqa: PLC0415
    from tasks.shards.output_validation import output_suite_of  # noqa: PLC0415
    from tasks.shards.validation import suite_of  # noqa: PLC0415

    assert isinstance(project, Project)  # noqa: S101 - narrowing
    try:
        definition = project.load(name)
        suite_of(definition)
        output_suite_of(definition)
        labels_suite_of(definition)
    except LamplighterError as error:
        return str(error)
    return None
