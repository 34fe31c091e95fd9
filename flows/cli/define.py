"""Commands about definitions: check, schema, deployments."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from typing import TYPE_CHECKING

import typer

from flows.cli import app
from flows.cli.output import complain, echo_json, paragraph, table
from flows.cli.places import the_project, the_registry
from flows.cli.run import AsJson, scheduled_window
from tasks.core.errors import LamplighterError

if TYPE_CHECKING:
    from tasks.core.definitions.job import Job
    from tasks.core.definitions.project import Project
    from tasks.core.models.registry import Registry


@app.command()
def check(as_json: AsJson = False) -> None:
    """Check every job, suite and module of the project without running any. Exit code 2 if one is wrong."""
    from tasks.core.settings_table import unknown_variables  # noqa: PLC0415
    from tasks.shards.checking import check_jobs  # noqa: PLC0415

    for sentence in unknown_variables():
        complain(f"Warning: {sentence}")
    project, registry = the_project(), the_registry()
    found = check_jobs(project, registry)
    if as_json:
        echo_json([{"job": name, "problem": problem} for name, problem in found.items()])
    elif found:
        table(("job", "found"), [(name, problem or "right") for name, problem in found.items()])
    else:
        paragraph(f"There are no jobs in {project.folder.path('deployments/jobs')}.")
    if any(found.values()):
        raise typer.Exit(2)
    if not as_json:
        paragraph("", f"Next: {_next(project, registry, list(found))}")


def _next(project: Project, registry: Registry, names: list[str]) -> str:
    """What follows when every job is right: of several, of the first whose model is not there yet."""
    from tasks.core.settings import Settings  # noqa: PLC0415

    if not names:
        return f"lamplighter init {Settings().project}"
    jobs = [project.load(name).job for name in names]
    without = next((job for job in jobs if not _has_model(job, registry)), None)
    if without is None:
        job, window = (jobs[0].job, newest_window(jobs[0])) if len(jobs) == 1 else ("JOB", "WINDOW")
        return f"lamplighter score {job} --as-of {window} --dry-run"
    if without.training:
        return f"lamplighter train {without.job}"
    return f"lamplighter register {without.model.name} --model FILE --reference SAMPLE.parquet"


def _has_model(job: Job, registry: Registry) -> bool:
    return job.model.mlflow is not None or job.model.alias in registry.aliases(job.model.name)


def newest_window(job: Job) -> str:
    """The window that the schedule has scored last, or would have; without one the last that has ended."""
    now = dt.datetime.now(dt.UTC)
    with contextlib.suppress(LamplighterError):
        return scheduled_window(job.job, now)
    return job.window.last_ended(now).as_of


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
