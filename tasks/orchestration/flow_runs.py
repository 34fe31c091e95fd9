"""The one door to flow runs of a Prefect server: created as parts of another run, looked at, and cancelled."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx
from prefect import Flow, Task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Cancelling, Crashed, Pending
from prefect.utilities.callables import get_call_parameters

from tasks.core.errors import LamplighterError

T = TypeVar("T")

_TAGS = ("backfill",)
_PAUSE_SECONDS = 2.0
_SERVER_ERROR = 500


@contextlib.contextmanager
def parts_of(run_id: UUID | str, *, patience_seconds: float = 600.0) -> Iterator[FlowRuns]:
    """The runs that are parts of this one, on the server that it runs with."""
    with get_client(sync_client=True) as client:
        yield FlowRuns(client, UUID(str(run_id)), patience_seconds)


class FlowRuns:
    """Asks a server, which may be busy or be restarting: for so long each question is asked again."""

    def __init__(self, client: SyncPrefectClient, parent: UUID, patience_seconds: float) -> None:
        self._client = client
        self._parent = parent
        self._patience_seconds = patience_seconds

    def deployment(self, name: str) -> DeploymentResponse | None:
        """The deployment `flow/name`, or None."""
        return self._found(lambda: self._client.read_deployment_by_name(name))

    def has_queue(self, name: str, work_pool: str) -> bool:
        return self._found(lambda: self._client.read_work_queue_by_name(name, work_pool)) is not None

    def create(self, flow: Flow[..., Any], name: str, parameters: dict[str, Any]) -> FlowRun:
        """A run of the flow for a process of this machine, which is to begin it."""
        given = flow.serialize_parameters(get_call_parameters(flow.fn, (), parameters))
        placeholder = self._placeholder(name)
        return self._patiently(
            lambda: self._client.create_flow_run(
                flow, name=name, parameters=given, tags=_TAGS, state=Pending(), parent_task_run_id=placeholder
            )
        )

    def create_of(
        self, deployment: DeploymentResponse, name: str, parameters: dict[str, Any], *, key: str, queue: str | None
    ) -> FlowRun:
        """A run of the deployment, for a worker; asked for twice by the same key it is one run."""
        placeholder = self._placeholder(name)
        return self._patiently(
            lambda: self._client.create_flow_run_from_deployment(
                deployment.id,
                name=name,
                parameters=parameters,
                tags=_TAGS,
                idempotency_key=key,
                parent_task_run_id=placeholder,
                work_queue_name=queue,
            )
        )

    def read(self, ids: Sequence[UUID]) -> list[FlowRun]:
        """The runs as they are now; one that somebody has deleted is missing."""
        chosen = FlowRunFilter.model_validate({"id": {"any_": list(ids)}})
        return self._patiently(lambda: self._client.read_flow_runs(flow_run_filter=chosen)) if ids else []

    def unfinished(self) -> list[FlowRun]:
        """The parts that have not ended, and will: the run may be a second attempt, and the first one was killed."""
        kinds = [kind for kind in StateType if kind not in (*_FINAL, StateType.CANCELLING)]
        chosen = FlowRunFilter.model_validate(
            {"parent_flow_run_id": {"any_": [self._parent]}, "state": {"type": {"any_": kinds}}}
        )
        return self._patiently(lambda: self._client.read_flow_runs(flow_run_filter=chosen))

    def cancel(self, run_id: UUID, why: str) -> None:
        """Asks that the run ends: one that nobody has begun is cancelled at once, the worker of another ends it."""
        self._patiently(lambda: self._client.set_flow_run_state(run_id, Cancelling(message=why)))

    def write_off(self, run_id: UUID, why: str, *, cancelled: bool = False) -> None:
        """The final state of a run whose process is gone, unless it has one."""
        found = self._patiently(lambda: self._client.read_flow_run(run_id))
        if found.state is None or not found.state.is_final():
            state: State[Any] = Cancelled(message=why) if cancelled else Crashed(message=why)
            self._patiently(lambda: self._client.set_flow_run_state(run_id, state, force=True))

    def environment(self) -> dict[str, str]:
        """The variables by which another process reaches this server, the embedded one too."""
        known = get_current_settings().to_environment_variables(exclude_unset=True)
        return {**known, "PREFECT_API_URL": str(self._client.api_url).rstrip("/")}

    def hurried(self, seconds: float) -> FlowRuns:
        """The same with less patience."""
        return FlowRuns(self._client, self._parent, seconds)

    def _placeholder(self, name: str) -> UUID:
        """The task run in the parent's picture that stands for a part."""
        task: Task[..., Any] = Task(_nothing, name=name)
        pending: State[Any] = Pending()
        key = uuid4()

        def ask() -> UUID:
            made = self._client.create_task_run(task, self._parent, str(key), id=key, name=name, state=pending)
            return made.id

        return self._patiently(ask)

    def _found(self, ask: Callable[[], T]) -> T | None:
        try:
            return self._patiently(ask)
        except ObjectNotFound:
            return None

    def _patiently(self, ask: Callable[[], T]) -> T:
        end = time.monotonic() + self._patience_seconds
        while True:
            try:
                return ask()
            except (httpx.TransportError, PrefectHTTPStatusError) as error:
                if not _may_pass(error):
                    raise
                if time.monotonic() >= end:
                    raise LamplighterError(
                        f"the Prefect server did not answer for {self._patience_seconds:.0f} s: {error!r}",
                        state="the runs that were asked for go on by themselves",
                        next_step="look after the server, and run the same again, which does what is left",
                    ) from error
            time.sleep(_PAUSE_SECONDS)


_FINAL = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)


def _nothing() -> None:
    """What the placeholder of a part does."""


def _may_pass(error: Exception) -> bool:
    return not isinstance(error, PrefectHTTPStatusError) or error.response.status_code >= _SERVER_ERROR
