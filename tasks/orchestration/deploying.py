"""Tells a Prefect server of a project: its work pools, queues and deployments, as `prefect deploy --all` would, and at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from tasks.core.definitions.deployments import BACKFILLS_AT_ONCE, QUEUES
from tasks.core.errors import DefinitionError, OrchestrationError
from tasks.core.secret_parts import masked, secrets_in
from tasks.core.source.problems import mask

_MOST_FOUND = 200
_SOON = timedelta(seconds=10)


@dataclass(frozen=True)
class Deployed:
    """What a server was told, as `flow/name`; and what it still has, or had, of jobs that the project has no more."""

    address: str
    pools: tuple[str, ...]
    deployments: tuple[str, ...]
    gone: tuple[str, ...]


def deploy(
    project: Mapping[str, Any], pools: Sequence[str], *, kept: Sequence[str] = (), prune: bool = False
) -> Deployed:
    """Creates pools and queues that are missing, and makes every deployment what `project` (as prefect.yaml) says.

    With `prune`, deployments of ours that it does not name are removed, but those named in `kept`. OrchestrationError if the server does not
    answer or refuses; what was deployed until then stands, and the next call goes on.
    """
    address = server_address()
    try:
        return asyncio.run(_deploy(project, pools, address, kept, prune=prune))
    except (httpx.HTTPError, PrefectHTTPStatusError, RuntimeError) as error:
        # Prefect's own names the address with its password, and so would a traceback.
        raise _refused(address, error) from None


def server_address() -> str:
    """The API's address that Prefect's own settings name; DefinitionError where they name none."""
    address = get_current_settings().api.url
    if not address:
        raise DefinitionError(
            "PREFECT_API_URL is not set, so no server is named to which this could be deployed",
            state="nothing was deployed",
            next_step="PREFECT_API_URL=http://127.0.0.1:4200/api lamplighter deploy; or start a server here: lamplighter up",
        )
    return address


async def _deploy(
    project: Mapping[str, Any], pools: Sequence[str], address: str, kept: Sequence[str], *, prune: bool
) -> Deployed:
    async with get_client() as client:
        for pool in pools:
            await _ensure_pool(client, pool)
        names = []
        for one in project["deployments"]:
            flow = _flow(one["entrypoint"])
            await _put(client, flow, one, project["pull"])
            names.append(f"{flow.name}/{one['name']}")
        gone = await _gone(client, set(names), kept, prune=prune)
    return Deployed(masked(address), tuple(pools), tuple(names), gone)


async def _ensure_pool(client: PrefectClient, name: str) -> None:
    """The pool with its queues. What somebody has set since in the UI, such as a limit or a pause, is left as it is."""
    try:
        await client.read_work_pool(name)
    except ObjectNotFound:
        # Prefect's own command asks the network for the template; the worker has it.
        template = ProcessWorker.get_default_base_job_template()
        await client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
    known = {queue.name for queue in await client.read_work_queues(work_pool_name=name)}
    for queue, priority in QUEUES.items():
        if queue not in known:
            limit = BACKFILLS_AT_ONCE if queue == "backfill" else None
            await client.create_work_queue(name=queue, work_pool_name=name, priority=priority, concurrency_limit=limit)


async def _put(client: PrefectClient, flow: Any, one: Mapping[str, Any], pull: Sequence[Mapping[str, Any]]) -> None:
    made = await client.create_deployment(
        flow_id=await client.create_flow_from_name(flow.name),
        name=one["name"],
        version=one["version"],
        schedules=[_schedule(given) for given in one.get("schedules", ())],
        parameters=one["parameters"],
        description=one["description"],
        work_pool_name=one["work_pool"]["name"],
        work_queue_name=one["work_pool"]["work_queue_name"],
        tags=one["tags"],
        entrypoint=one["entrypoint"],
        parameter_openapi_schema=form_of(flow),
        pull_steps=[dict(step) for step in pull],
        enforce_parameter_schema=True,
        job_variables=one["work_pool"]["job_variables"],
    )
    if any("interval" in given for given in one.get("schedules", ())):
        await _forget_late(client, made)


def _interval(length: timedelta) -> IntervalSchedule:
    """It begins soon, and not a whole interval from now: somebody waits to see the first run."""
    return IntervalSchedule(interval=length, anchor_date=datetime.now(UTC) + _SOON - length)


def form_of(flow: Any) -> dict[str, Any]:
    """The schema of the flow's parameters; a name that is none is refused too, which Prefect's own command leaves out."""
    return parameter_schema(flow).model_dump(exclude_unset=True) | {"additionalProperties": False}


async def _forget_late(client: PrefectClient, deployment: UUID) -> None:
    """What an interval has missed is not caught up: unlike a cron's, its ticks name no window."""
    of_it = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
    waiting = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    for run in await client.read_flow_runs(flow_run_filter=waiting, deployment_filter=of_it):
        if run.auto_scheduled:
            await client.delete_flow_run(run.id)


def _schedule(given: Mapping[str, Any]) -> DeploymentScheduleCreate:
    kind: Any = (
        _interval(timedelta(seconds=given["interval"]))
        if "interval" in given
        else CronSchedule(cron=given["cron"], timezone=given["timezone"])
    )
    return DeploymentScheduleCreate(schedule=kind, active=given.get("active", True))


def _flow(entrypoint: str) -> Any:
    module, _, name = entrypoint.rpartition(".")
    return getattr(import_module(module), name)


async def _gone(client: PrefectClient, wanted: set[str], kept: Sequence[str], *, prune: bool) -> tuple[str, ...]:
    """Ours, by their tag, which the project does not name."""
    flows = {flow.id: flow.name for flow in await client.read_flows()}
    found = []
    for one in await _ours(client):
        name = f"{flows.get(one.flow_id)}/{one.name}"
        if name in wanted or one.name in kept:
            continue
        found.append(name)
        if prune:
            await client.delete_deployment(one.id)
    return tuple(sorted(found))


async def _ours(client: PrefectClient) -> list[Any]:
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=["lamplighter"]))
    found: list[Any] = []
    while page := await client.read_deployments(deployment_filter=tagged, limit=_MOST_FOUND, offset=len(found)):
        found += page
    return found


def _refused(address: str, error: Exception) -> OrchestrationError:
    if isinstance(error, PrefectHTTPStatusError):
        code = error.response.status_code
        said = f"refused with status {code}: {mask(error.response.text[:300], secrets_in(address))}"
        next_step = (
            "set PREFECT_API_AUTH_STRING (or PREFECT_API_KEY) to what the server asks for"
            if code == httpx.codes.UNAUTHORIZED
            else ""
        )
    else:
        said, next_step = (
            f"did not answer: {type(error).__name__}: {mask(str(error), secrets_in(address))}",
            "see that it runs, or: lamplighter up",
        )
    return OrchestrationError(
        f"the Prefect server at {masked(address)} {said}",
        state="what was deployed until then stands",
        next_step=next_step or "mend that, then: lamplighter deploy",
    )
