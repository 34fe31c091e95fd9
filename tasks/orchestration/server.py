"""A Prefect server with its workers, on this machine: where they are, what they find in their environment, when they answer."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.error import URLError

from tasks.core.errors import OrchestrationError, WindowBusy
from tasks.core.events import HEARTBEAT_SECONDS
from tasks.core.settings import Settings, whole_environment
from tasks.core.storage import Folder, Lake
from tasks.orchestration.processes import Service, Supervisor

_HOME = ".prefect"
_LOOPBACK = "127.0.0.1"
_ANYWHERE = {"": _LOOPBACK, "0.0.0.0": _LOOPBACK, "::": "[::1]"}  # noqa: S104 - an address that is asked for
# On a slow disk the first start, which makes the database, takes a minute and more.
_START_SECONDS = 300
_DATABASE = ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL")
_AUTH = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING")


@dataclass(frozen=True)
class Place:
    """Where the server listens, and where it keeps what is its own: database, logs, settings."""

    host: str
    port: int
    given: Mapping[str, str]

    @property
    def address(self) -> str:
        """The server, as a browser or a client on this machine reaches it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{_ANYWHERE.get(self.host, host)}:{self.port}"

    @property
    def home(self) -> Lake:
        """PREFECT_HOME; where nobody set it, a folder of the project's own, so that projects do not meet in one database."""
        return Lake(self.given.get("PREFECT_HOME") or f"{Settings().project}/{_HOME}")

    @property
    def database(self) -> str | None:
        """The address of a database that somebody chose; None: SQLite in `home`."""
        return next((self.given[name] for name in _DATABASE if self.given.get(name)), None)

    @property
    def is_the_project_s_own(self) -> bool:
        """Nobody else can have deployed anything there."""
        return not (self.database or self.given.get("PREFECT_HOME"))

    @property
    def elsewhere(self) -> str | None:
        """The server that PREFECT_API_URL names, where that is another one."""
        named = self.given.get("PREFECT_API_URL", "").removesuffix("/").removesuffix("/api")
        return named if named and named not in (self.address, f"http://localhost:{self.port}") else None

    @property
    def is_open(self) -> bool:
        """Other machines reach it, and nobody is asked who they are."""
        return self.host not in (_LOOPBACK, "localhost", "::1") and not self.given.get(_AUTH[0])


def place(host: str, port: int) -> Place:
    return Place(host, port, whole_environment())


def environment_of(here: Place) -> dict[str, str]:
    """What server, worker and runs find: this server and no other, nothing that calls home, and where the project is."""
    settings, given = Settings(), dict(here.given)
    defaults = {
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_WORKER_QUERY_SECONDS": "5",
        # Without it the UI of any port asks port 4200. So it asks whoever served it, under whatever name.
        "PREFECT_UI_API_URL": given.get("PREFECT_SERVER_UI_API_URL") or "/api",
        # The second UI of 3.8 asks amplitude.com for its settings even where analytics are off.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        # Events go by themselves after seven days; with this, so does what belonged to runs that are gone.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",
        # Python would keep back what a log should show at once.
        "PYTHONUNBUFFERED": "1",
    }
    if given.get(_AUTH[0]):
        defaults[_AUTH[1]] = given[_AUTH[0]]
    # A key is for the server that PREFECT_API_URL named.
    given.pop("PREFECT_API_KEY", None)
    return {
        **defaults,
        **{name: value for name, value in given.items() if value},
        "PREFECT_API_URL": f"{here.address}/api",
        "PREFECT_HOME": str(here.home.root),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": _with_loopback(given.get("NO_PROXY") or given.get("no_proxy", "")),
        "LAMPLIGHTER_PROJECT": str(Folder(settings.project).root),
        "LAMPLIGHTER_LAKE": Lake(settings.lake).address(),
    }


def server_of(here: Place, environment: Mapping[str, str]) -> Service:
    command = ("-m", "prefect", "server", "start", "--host", here.host or "0.0.0.0", "--port", str(here.port))  # noqa: S104
    return Service("The server", command, environment, here.home, "server.log")


def worker_of(here: Place, environment: Mapping[str, str], pool: str, runs_at_once: int) -> Service:
    command = ("-m", "prefect", "worker", "start", "--type", "process", "--pool", pool)
    # The pool is there, with its queues: one that the worker made would lack them.
    options = ("--limit", str(runs_at_once), "--no-create-pool-if-not-found", "--name", f"lamplighter up ({pool})")
    return Service(f"The worker of {pool}", (*command, *options), environment, here.home, f"worker-{pool}.log")


def lamplighter(*arguments: str) -> Sequence[str]:
    """Our own command line in a process of its own: what it imports does not stay with who supervises."""
    return ("-c", "from flows.cli import main; main()", *arguments)


@contextmanager
def held(here: Place) -> Iterator[None]:
    """Holds the port and the database for one server; OrchestrationError says who has them."""
    try:
        with here.home.lock("up.lock", holder=f"one at {here.address}"):
            check_free(here)
            yield
    except WindowBusy as busy:
        raise OrchestrationError(
            f"another `lamplighter up` works with {here.home.root} already: {busy.failed.partition(' by ')[2]}",
            state="that one was not disturbed",
            next_step="use it, or end it with Ctrl-C; for a second one set LAMPLIGHTER_PROJECT or PREFECT_HOME, and --port",
        ) from busy


def check_free(here: Place) -> None:
    """OrchestrationError where something listens on that port already, or the host is not this machine's."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            here.host or None, here.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server does: a connection that is just closing does not hold a port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        what = "a Prefect server answers there" if answers(here) else str(error)
        raise OrchestrationError(
            f"port {here.port} of {here.host} cannot be used: {what}",
            state="nothing was started",
            next_step=f"end what uses it, or give another --host or --port, such as lamplighter up --port {here.port + 1}",
        ) from error


def answers(here: Place) -> bool:
    """The server's API says that it is well; no proxy is asked."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{here.address}/api/health", timeout=5) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004
    except (URLError, OSError, ValueError):
        return False


def start_server(supervisor: Supervisor, here: Place, environment: Mapping[str, str]) -> None:
    """Returns when it answers. OrchestrationError with its last words, where it ends before it ever did."""
    service = server_of(here, environment)
    supervisor.start(service)
    end = time.monotonic() + _START_SECONDS
    while not answers(here):
        if service.has_ended or time.monotonic() > end:
            why = "ended" if service.has_ended else f"did not answer within {_START_SECONDS} s"
            raise OrchestrationError(
                f"the Prefect server {why}. It said: {service.said or 'nothing'}",
                state="nothing else was started",
                next_step=f"read {here.home.path('server.log')}",
            )
        time.sleep(0.2)


def _with_loopback(hosts: str) -> str:
    return ",".join(dict.fromkeys([*filter(None, hosts.split(",")), _LOOPBACK, "localhost", "::1"]))
