"""The command `deploy`: a Prefect server is told of the project's jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.output import complain, echo_json, paragraph
from flows.cli.places import the_project
from flows.cli.run import AsJson
from tasks.core.errors import DefinitionError, LamplighterError

if TYPE_CHECKING:
    from tasks.core.definitions.job import Job
    from tasks.core.definitions.project import Project
    from tasks.orchestration.deploying import Deployed


@app.command()
def deploy(
    *,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove deployments of Lamplighter that no job here has.")
    ] = False,
    replay: Annotated[bool, typer.Option("--replay", help="With the demo's replay of 2013.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell the server that PREFECT_API_URL names of every job: work pools, queues, deployments, automations.

    The same as Prefect's own `prefect deploy --all` with deployments/prefect.yaml. Exit code 2 if a job is wrong; the
    others are deployed.
    """
    from tasks.core.definitions.deployments import project_of, replay_deployment, work_pools  # noqa: PLC0415
    from tasks.core.provenance import code_record  # noqa: PLC0415
    from tasks.core.settings import prepare_prefect  # noqa: PLC0415

    prepare_prefect(quiet=True)
    from tasks.orchestration.deploying import deploy as tell_server  # noqa: PLC0415

    project = the_project()
    jobs, wrong = right_jobs(project)
    pool = project.models_work_pool()
    told = project_of(jobs, code_record().version, pool)
    if replay:
        told["deployments"] += [
            {**replay_deployment(job), "version": code_record().version} for job in jobs if job.job == "flight_delays"
        ]
    # Of a job whose file is wrong nothing is removed: it is not gone.
    done = tell_server(told, work_pools(jobs, pool), kept=tuple(wrong), prune=prune)
    missed = [f"Not deployed: {sentence}" for sentence in wrong.values()]
    automations, missing = _automate(jobs) if not wrong else ("", "")
    if as_json:
        echo_json(
            {"server": done.address, "deployments": done.deployments, "pools": done.pools, "gone": done.gone}
            | {"automations": automations, "wrong": wrong}
        )
    else:
        _tell(done, len(jobs), prune=prune)
        paragraph(automations or "Automations stand as they are until every job's file is right.")
    for sentence in filter(None, (*missed, missing)):
        complain(sentence)
    if missed or missing:
        raise typer.Exit(2)


def _automate(jobs: list[Job]) -> tuple[str, str]:
    """What became of the automations, and what is missing for some of them."""
    from tasks.core.definitions.automations import automations  # noqa: PLC0415
    from tasks.orchestration.automations import apply  # noqa: PLC0415

    done = apply(automations(jobs))
    try:
        done.refuse_missing()
    except DefinitionError as error:
        return str(done), str(error)
    return str(done), ""


def right_jobs(project: Project) -> tuple[list[Job], dict[str, str]]:
    """The jobs, and what is wrong with those that are left out, by their names."""
    jobs, wrong = [], {}
    for name in project.job_names():
        try:
            jobs.append(project.load(name).job)
        except LamplighterError as error:
            wrong[name] = str(error)
    return jobs, wrong


def _tell(done: Deployed, jobs: int, *, prune: bool) -> None:
    pools = ", ".join(done.pools)
    paragraph(
        f"Deployed {len(done.deployments)} deployments of {jobs} {'job' if jobs == 1 else 'jobs'} to {done.address}; work pools: {pools}."
    )
    if done.gone and prune:
        paragraph(f"Removed, as no job here has them: {', '.join(done.gone)}.")
    elif done.gone:
        paragraph(
            f"No job here has these, and they stand: {', '.join(done.gone)}. If no other project has them either: "
            "lamplighter deploy --prune"
        )
