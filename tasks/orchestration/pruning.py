"""The Prefect server's side of retention: runs of ours that have ended go, with their logs and artifacts.

Ours are those of our deployments, by their tag. A run that has not ended stays, however old it is. Events have no API that
removes them: the server does that by itself, by `PREFECT_SERVER_EVENTS_RETENTION_PERIOD`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from tasks.core.definitions.retention import FOR_EVER
from tasks.core.definitions.schedule import length
from tasks.core.errors import OrchestrationError
from tasks.core.events import JOB_TAG, TAG
from tasks.core.pruning.records import Line, Pruned
from tasks.core.runs.late import Looked
from tasks.core.secret_parts import masked, secrets_in
from tasks.core.source.problems import mask

_OF_JOBS = ("score", "backfill", "challenge", "monitor", "audit", "revisit", "train")
_OF_NONE = ("deadlines", "promote", "rollback", "recall", "prune", "replay")
_ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
# It looks every five minutes, 105,000 times a year: that all was on time is no news for long.
ON_TIME_KEPT = "2d"
_AT_ONCE = 50  # The server deletes no more of them in one request.
_PAGE = 200


@dataclass(frozen=True)
class _Chosen:
    """Runs that are kept for so long: of a job, or of none."""

    job: str
    policy: str
    flows: tuple[str, ...]
    tags: tuple[str, ...]
    state: str = ""

    def filters(self, now: dt.datetime) -> dict[str, Any]:
        """As the server's API wants it: those that ended before they were to."""
        ended: dict[str, Any] = {"type": {"any_": list(_ENDED)}}
        if self.state:
            ended["name"] = {"any_": [self.state]}
        before = (now - length(self.policy)).isoformat()
        runs = {"tags": {"all_": list(self.tags)}, "state": ended, "end_time": {"before_": before}}
        return {"flows": {"name": {"any_": list(self.flows)}}, "flow_runs": runs}


def prune_runs(
    policies: Mapping[str, str], common: str | None, *, now: dt.datetime, applied: Iterable[str]
) -> list[Pruned]:
    """What goes, or would go, of the runs of jobs, by the policy of each; and of those that are of no job (''),
    where `common` is theirs.

    `applied` are the jobs whose runs are removed. OrchestrationError where the server does not answer; what was removed
    until then stays removed.
    """
    remove, address = set(applied), get_current_settings().api.url or ""
    try:
        with get_client(sync_client=True) as client:
            return [
                Pruned(job=job, at=now, applied=job in remove, lines=(_line(client, some, now, remove=job in remove),))
                for job, some in _chosen(policies, common).items()
            ]
    except (httpx.HTTPError, PrefectHTTPStatusError, RuntimeError) as error:
        said = mask(str(error).partition("\n")[0], secrets_in(address))
        # Prefect's own names the address with its password, and so would a traceback.
        raise OrchestrationError(
            f"the Prefect server at {masked(address)} did not answer: {type(error).__name__}: {said}",
            state="what was removed until then stays removed; the lake was looked at all the same",
            next_step="look after the server, and run it again: lamplighter prune",
        ) from None


def _chosen(policies: Mapping[str, str], common: str | None) -> dict[str, list[_Chosen]]:
    of_jobs = {job: [_Chosen(job, policy, _OF_JOBS, (TAG, f"{JOB_TAG}{job}"))] for job, policy in policies.items()}
    if common is None:
        return of_jobs
    on_time = _Chosen("", ON_TIME_KEPT, ("deadlines",), (TAG,), Looked.on_time)
    return of_jobs | {"": [on_time, _Chosen("", common, _OF_NONE, (TAG,))]}


def _line(client: SyncPrefectClient, some: Sequence[_Chosen], now: dt.datetime, *, remove: bool) -> Line:
    wanted = [one for one in some if one.policy != FOR_EVER]
    count = sum(_remove(client, one, now) if remove else _count(client, one, now) for one in wanted)
    return Line(kind="prefect_runs", policy=some[-1].policy, count=count)


def _count(client: SyncPrefectClient, chosen: _Chosen, now: dt.datetime) -> int:
    return int(_ask(client, "/flow_runs/count", chosen.filters(now)))


def _remove(client: SyncPrefectClient, chosen: _Chosen, now: dt.datetime) -> int:
    """How many have gone. Their artifacts first: of a run that is gone nobody finds them any more."""
    filters, gone = chosen.filters(now), 0
    while found := _ask(client, "/flow_runs/filter", {**filters, "limit": _AT_ONCE}):
        ids = [one["id"] for one in found]
        _remove_artifacts(client, ids)
        # The state once more: a run that somebody has started again meanwhile has not ended.
        still = {"id": {"any_": ids}, "state": filters["flow_runs"]["state"]}
        deleted = _ask(client, "/flow_runs/bulk_delete", {"flow_runs": still, "limit": _AT_ONCE})["deleted"]
        gone += len(deleted)
        if not deleted:
            break
    return gone


def _remove_artifacts(client: SyncPrefectClient, runs: Sequence[str]) -> None:
    of_runs = {"artifacts": {"flow_run_id": {"any_": list(runs)}}, "limit": _PAGE}
    while found := _ask(client, "/artifacts/filter", of_runs):
        for one in found:
            _delete(client, f"/artifacts/{one['id']}")


def _ask(client: SyncPrefectClient, path: Any, wanted: Mapping[str, Any]) -> Any:
    return client.request("POST", path, json=dict(wanted)).json()


def _delete(client: SyncPrefectClient, path: Any) -> None:
    try:
        client.request("DELETE", path)
    except PrefectHTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
