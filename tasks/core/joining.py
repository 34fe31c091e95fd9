"""What a worker of a cluster must have in common with the run whose shards it is given: code, versions, lake, server."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from multiprocessing import current_process

from tasks.core import places, progress, provenance
from tasks.core.errors import LamplighterError, WorkerError
from tasks.core.places import Place
from tasks.core.runs.run import Run

_SECONDS = 5.0
# What else is installed there may differ.
_DECISIVE = (*provenance.PACKAGES, "python")


class Joining:
    """What a run expects of each worker, and which part of a machine a shard gets there.

    `rooms`: by machine, how many shards are on it at once. It is no dataclass, as `Run` is none: Prefect would take it apart.
    """

    def __init__(self, run: Run, rooms: dict[str, int], api_url: str | None) -> None:
        self.run = run
        self.rooms = rooms
        self.api_url = api_url
        self.code = provenance.code_of(run.job, run.project, run.model)
        self.environment = provenance.environment()

    @property
    def name(self) -> str:
        """Of one attempt: another that takes its work up is not stopped with it."""
        return f"{self.run.plan_key} {self.run.started_at.isoformat()}"

    def fault(self) -> str:
        """Why this process cannot work for the run; '' where it can."""
        return self._other_versions() or self._other_modules() or self._no_lake()

    def fault_at_first(self) -> str:
        """The same before anything is pulled: whether its task runs can be reported is asked once, and not by each shard."""
        return self.fault() or self._no_server()

    @contextlib.contextmanager
    def joined(self, machine: str) -> Iterator[None]:
        """Lends the shard its place; WorkerError where this process cannot work for the run."""
        if why := self.fault():
            raise unfit(f"{machine}, process {current_process().pid}", why)
        # A worker of Dask under a nanny may have no children as it is; ours end with it, however it ends.
        current_process().daemon = False
        # One that has come since is like the others.
        shards = self.rooms.get(machine) or max(self.rooms.values(), default=1)
        place = Place(self.name, shards, str(self.run.project.root))
        try:
            with places.lent(place):
                yield
        finally:
            progress.forget(self.run.name)

    def _other_versions(self) -> str:
        """Of Lamplighter it is known by then that it is the same: that is asked before this is read."""
        there = provenance.environment()
        differing = [name for name in _DECISIVE if there[name] != self.environment[name]]
        if not differing:
            return ""
        told = ", ".join(f"{name} {there[name]} and not {self.environment[name]}" for name in differing)
        return f"it has {told}, which may change a number"

    def _other_modules(self) -> str:
        wanted = self.code.modules
        if not wanted:
            return ""
        try:
            found = provenance.code_of(self.run.job, self.run.project, self.run.model).modules
        except LamplighterError as error:
            return f"it cannot read the project's own code: {error.failed}"
        differing = sorted(name for name in wanted if found.get(name) != wanted[name])
        if not differing:
            return ""
        root = self.run.project.root
        if not self.run.project.exists(""):
            return f"it does not have the project's folder {root}, whose modules the job uses ({', '.join(differing)})"
        return f"of the project's own modules in {root} it has others, or had when it began: {', '.join(differing)}"

    def _no_lake(self) -> str:
        key = self.run.key("manifest.json")
        try:
            if self.run.lake.exists(key):
                return ""
        except LamplighterError as error:
            return f"it cannot read the lake: {error.failed}"
        return f"it does not find {self.run.lake.address(key)}, so it does not have the run's lake"

    def _no_server(self) -> str:
        if self.api_url is None:
            return ""
        try:
            # The address is the operator's own.
            urllib.request.urlopen(f"{self.api_url}/health", timeout=_SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError:
            # It answers, and wants to know who asks.
            return ""
        except OSError as error:
            why = getattr(error, "reason", error)
            return f"it does not reach the Prefect server at {self.api_url} ({why}), to which its task runs report"
        return ""


def unfit(worker: str, why: str) -> WorkerError:
    """The one paragraph about a worker that cannot take part."""
    return WorkerError(
        f"the cluster's worker {worker} cannot work for this run: {why}",
        state="nothing was published; complete batches are kept",
        next_step="give every worker the run's Lamplighter and packages, its lake and its project, at the same paths or "
        "addresses, and a PREFECT_API_URL that it reaches; restart the workers, and run it again",
    )
