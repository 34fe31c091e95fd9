"""What Prefect is told of a project: `deployments/prefect.yaml`, made from the jobs, for Prefect's own `prefect deploy --all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from tasks.core.definitions.job import Job

WORK_POOL = "lamplighter"
_HEADER = """\
# Made from the jobs in deployments/jobs by `lamplighter deployments`; a change belongs there.
#
#   prefect work-pool create --type process lamplighter
#   prefect --no-prompt deploy --all --prefect-file deployments/prefect.yaml
#   LAMPLIGHTER_PROJECT=$PWD prefect worker start --pool lamplighter
"""
_FOR_EACH_JOB = {
    "score": "Scores one window: ",
    "backfill": "Scores a range of windows, or those that wait for it: ",
    "challenge": "Scores a published window with the challenger too: ",
}
_FOR_MODELS = {
    "promote": "Holds a version against production on the same labelled rows, and lets the alias name it.",
    "rollback": "Lets the alias name the version again that it named before, and lists what the other one wrote.",
    "recall": "Withdraws a version with all that it wrote, restores what was good, and queues the windows.",
}


def prefect_yaml(jobs: Iterable[Job], version: str) -> str:
    """The file's text: no path of a machine in it, the worker's environment says where the project is."""
    jobs = list(jobs)
    deployments = [_of_job(flow, job, says + job.description) for job in jobs for flow, says in _FOR_EACH_JOB.items()]
    deployments += [_of_job("train", job, f"Trains {job.model.name}.") for job in jobs if job.training]
    deployments += [_deployment(flow, flow, says, {}, []) for flow, says in _FOR_MODELS.items()]
    content = {
        "name": "lamplighter",
        "pull": [{"tasks.deployed.project_folder": {}}],
        "deployments": [{**one, "version": version} for one in deployments],
    }
    return _HEADER + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def _of_job(flow: str, job: Job, description: str) -> dict[str, Any]:
    tags = [f"job:{job.job}", *([f"owner:{job.owner}"] if job.owner else [])]
    return _deployment(flow, job.job, description, {"job": job.job}, tags)


def _deployment(flow: str, name: str, description: str, parameters: dict[str, str], tags: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        # A module, not a file: loaded from a file the flow would be imported a second time, under another name.
        "entrypoint": f"flows.{flow}.{flow}",
        "description": description,
        "tags": ["lamplighter", *tags],
        "parameters": parameters,
        "work_pool": {"name": WORK_POOL},
    }
