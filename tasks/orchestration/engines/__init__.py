"""The engine of a run: which task runner of Prefect its shards go to, and who decides that.

What is set where the run is started comes before what the job says, as the environment does everywhere: an operator may
move every job to a cluster, or away from one that is down, without touching a file of a team's. A job that says `dask` and
no address leaves it to the operator where that is.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from prefect.settings import PREFECT_API_URL
from pydantic import ValidationError

from tasks.core import places
from tasks.core.definitions.engine import Engine
from tasks.core.errors import DefinitionError
from tasks.core.logs import log
from tasks.core.runs.manifest import EngineRecord
from tasks.core.runs.run import Run, manifest_of, record
from tasks.core.settings import Settings
from tasks.orchestration.engines.cluster import Cluster

_cluster: ContextVar[Cluster | None] = ContextVar("lamplighter_cluster", default=None)


def settled(said: Engine, settings: Settings) -> Engine:
    """The settings' engine, and the job's where they say nothing. A job's address is of the kind that the job says."""
    kind = settings.engine or said.kind
    if kind == "local":
        return Engine()
    own = said if said.kind == kind else Engine(kind=kind, wait_for_workers=said.wait_for_workers)
    workers = own.workers if settings.engine_workers is None else settings.engine_workers
    try:
        return Engine(
            kind=kind,
            address=settings.engine_address or own.address,
            workers=workers,
            wait_for_workers=own.wait_for_workers,
        )
    except ValidationError as error:
        raise DefinitionError(
            f"the engine is {kind}, and LAMPLIGHTER_ENGINE_ADDRESS does not go with it: "
            f"{error.errors()[0]['msg'].removeprefix('Value error, ')}",
            state="nothing was started",
            next_step="set LAMPLIGHTER_ENGINE and LAMPLIGHTER_ENGINE_ADDRESS right; lamplighter settings shows them",
        ) from None


@contextlib.contextmanager
def engaged(run: Run) -> Iterator[None]:
    """Has the run's cluster ready for the block, where it has one: reached, with workers, each fit for the run.

    That is found out before anything is pulled. DefinitionError for an extra that is missing or an address that is none,
    WorkerError for a cluster that cannot be used.
    """
    engine = settled(run.job.engine, Settings())
    if engine.kind == "local":
        if manifest_of(run).engine.kind != "local":
            record(run, engine=EngineRecord())
        yield
        return
    api_url = _server_of(engine)
    with _connected(engine) as cluster:
        rooms = cluster.rooms()
        cluster.refuse_unfit(run, api_url)
        found = EngineRecord(kind=engine.kind, workers=cluster.workers(), room=cluster.room())
        record(run, engine=found)
        log.info(
            "Shards go to %s: workers %s on machines %s, room for %s shards at once",
            engine.kind,
            found.workers,
            len(rooms),
            found.room,
        )
        token = _cluster.set(cluster)
        try:
            with places.with_room(cluster.room):
                yield
        finally:
            _cluster.reset(token)


def current() -> Cluster | None:
    """The cluster of the run in hand; None where its own machine does the work."""
    return _cluster.get()


def _server_of(engine: Engine) -> str | None:
    """The Prefect server that workers report to. One that a command starts for itself is known to its children alone."""
    url: str | None = PREFECT_API_URL.value()
    if url is None and engine.address is not None:
        raise DefinitionError(
            f"the engine is {engine.kind} at {engine.address}, and PREFECT_API_URL is not set: its workers would not know "
            "which Prefect server their task runs report to",
            state="nothing was pulled",
            next_step="export PREFECT_API_URL=http://host:4200/api, by a name that the workers reach, or LAMPLIGHTER_ENGINE=local",
        )
    return url


def machine(kind: str) -> str:
    """In a task on a worker: the machine that it works on."""
    name: str = _module(kind).here()
    return name


def _module(kind: str) -> Any:
    """Dask and Ray are imported here, and where they are used alone."""
    return importlib.import_module(f"tasks.orchestration.engines.{kind}_cluster")


def _connected(engine: Engine) -> contextlib.AbstractContextManager[Cluster]:
    try:
        module = _module(engine.kind)
    except ModuleNotFoundError as error:
        raise DefinitionError(
            f"the engine is {engine.kind}, and the module {error.name} is not installed",
            state="nothing was pulled",
            next_step=f"pip install 'lamplighter[{engine.kind}]', here and on the workers, or LAMPLIGHTER_ENGINE=local",
        ) from error
    connected: contextlib.AbstractContextManager[Cluster] = module.connected(engine)
    return connected
