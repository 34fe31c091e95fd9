"""What Prefect is told of a project: `deployments/prefect.yaml`, made from the jobs, for Prefect's own `prefect deploy --all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from tasks.core.definitions.job import Job
from tasks.core.definitions.operation import WORK_POOL, revisit_cron
from tasks.core.events import HEARTBEAT_SECONDS

# The queues of each work pool: a worker that may start one run more takes it from the first that holds any.
QUEUES = {"high": 1, "normal": 2, "low": 3, "backfill": 4}
# A backfill waits for the runs that it asks for: were all of a worker's places held by those that wait, none would end.
BACKFILLS_AT_ONCE = 2

_HEADER = """\
# Made from the jobs in deployments/jobs by `lamplighter deployments > deployments/prefect.yaml`; a change belongs there.
#
# `lamplighter up` does all of this on one machine, and `lamplighter deploy` the first two steps on any server.
#
#   export PREFECT_API_URL=http://127.0.0.1:4200/api
{pools}
#   prefect --no-prompt deploy --all --prefect-file deployments/prefect.yaml
#   LAMPLIGHTER_PROJECT=$PWD prefect worker start --pool {first}
"""
_POOL = """\
#   prefect work-pool create --type process {pool}
#   prefect work-queue create high --pool {pool} --priority 1
#   prefect work-queue create normal --pool {pool} --priority 2
#   prefect work-queue create low --pool {pool} --priority 3
#   prefect work-queue create backfill --pool {pool} --priority 4 --limit {backfills}"""
_FOR_EACH_JOB = {
    "score": "Scores one window: ",
    "backfill": "Scores a range of windows, or those that wait for it: ",
    "challenge": "Scores a published window with the challenger too: ",
    "monitor": "Looks at what was published, as labels arrive: ",
    "audit": "Scores a sample of what was published again, and reports any difference: ",
}
_FOR_MODELS = {
    "promote": "Holds a version against production on the same labelled rows, and lets the alias name it.",
    "rollback": "Lets the alias name the version again that it named before, and lists what the other one wrote.",
    "recall": "Withdraws a version with all that it wrote, restores what was good, and queues the windows.",
}

_ENVIRONMENT = {
    # A run that is silent for longer is taken for dead, whoever has started its worker.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    # Where a worker stands, no module may take the place of one that is installed.
    "PYTHONSAFEPATH": "1",
}
_OF_DEADLINES = "Tells once of each window of which no run has begun in time, or that is not published by its deadline."
_OF_PRUNE = "Removes what has outlived the retention of the jobs that say so, and lists it of the others."
_WEEKLY = [{"cron": "0 5 * * 0", "timezone": "UTC"}]


def prefect_yaml(jobs: Iterable[Job], version: str, models_pool: str = WORK_POOL) -> str:
    """The file's text: no path of a machine in it, the worker's environment says where the project is."""
    jobs = list(jobs)
    pools = work_pools(jobs, models_pool)
    told = "\n".join(_POOL.format(pool=pool, backfills=BACKFILLS_AT_ONCE) for pool in pools)
    header = _HEADER.format(pools=told, first=pools[0])
    return header + yaml.safe_dump(
        project_of(jobs, version, models_pool), sort_keys=False, allow_unicode=True, width=120
    )


def project_of(jobs: Iterable[Job], version: str, models_pool: str = WORK_POOL) -> dict[str, Any]:
    """What the file holds: the step before each run, and the deployments."""
    return {
        "name": "lamplighter",
        "pull": [{"tasks.deployed.project_folder": {}}],
        "deployments": [{**one, "version": version} for one in deployments(jobs, models_pool)],
    }


def deployments(jobs: Iterable[Job], models_pool: str = WORK_POOL) -> list[dict[str, Any]]:
    """One entry a deployment, as Prefect's file has it, without its version."""
    jobs = list(jobs)
    made = [_of_job(flow, job, says + job.description) for job in jobs for flow, says in _FOR_EACH_JOB.items()]
    made += [_of_job("revisit", job, "Pulls closed windows again: " + job.description) for job in jobs if job.revisit]
    made += [_of_job("train", job, f"Trains {job.model.name}.", pool=models_pool) for job in jobs if job.training]
    made += [_deployment(flow, flow, says, pool=models_pool) for flow, says in _FOR_MODELS.items()]
    made.append(
        _deployment("prune", "prune", _OF_PRUNE, queue="low", parameters={"apply": "policy"}, schedules=_WEEKLY)
    )
    if any(job.schedule for job in jobs):
        made.append(_deployment("deadlines", "deadlines", _OF_DEADLINES, schedules=[{"interval": 300}]))
    return made


def work_pools(jobs: Iterable[Job], models_pool: str = WORK_POOL) -> list[str]:
    """The pools that the deployments name, first that of what belongs to no job."""
    others = {models_pool, *(job.work_pool for job in jobs)} - {WORK_POOL}
    return [WORK_POOL, *sorted(others)]


def replay_deployment(job: Job) -> dict[str, Any]:
    """The demo's: it scores the next day of 2013 each half minute, one at a time."""
    return _deployment(
        "replay",
        job.job,
        "Scores the next day of 2013 that is not published, each half minute.",
        tags=_tags(job),
        schedules=[{"interval": 30}],
    )


def _of_job(flow: str, job: Job, description: str, *, pool: str = "") -> dict[str, Any]:
    parameters = {"job": job.job}
    if flow == "score" and job.schedule:
        parameters["as_of"] = "scheduled"
    return _deployment(
        flow,
        job.job,
        description,
        parameters=parameters,
        tags=_tags(job),
        pool=pool or job.work_pool,
        queue="backfill" if flow == "backfill" else job.priority,
        schedules=_schedules(flow, job),
    )


def _schedules(flow: str, job: Job) -> list[dict[str, Any]]:
    """On the clock of the job's windows. Whoever stops a job's schedule stops what follows from it."""
    crons = {
        "score": job.schedule and job.schedule.cron,
        "revisit": job.revisit and revisit_cron(job.revisit),
        "monitor": job.schedule and job.monitor.cron,
        "audit": job.schedule and job.audit.cron,
    }
    active = job.schedule.active if job.schedule else True
    cron = crons.get(flow)
    return [{"cron": cron, "timezone": job.window.timezone, "active": active}] if cron else []


def _tags(job: Job) -> list[str]:
    return [f"job:{job.job}", *([f"owner:{job.owner}"] if job.owner else [])]


def _deployment(
    flow: str,
    name: str,
    description: str,
    *,
    parameters: dict[str, str] | None = None,
    tags: Iterable[str] = (),
    pool: str = WORK_POOL,
    queue: str = "high",
    **more: Any,
) -> dict[str, Any]:
    return {
        "name": name,
        # A module, not a file: loaded from a file the flow would be imported a second time, under another name.
        "entrypoint": f"flows.{flow}.{flow}",
        "description": description,
        "tags": ["lamplighter", *tags],
        "parameters": parameters or {},
        "work_pool": {"name": pool, "work_queue_name": queue, "job_variables": {"env": _ENVIRONMENT}},
        **{key: value for key, value in more.items() if value},
    }
