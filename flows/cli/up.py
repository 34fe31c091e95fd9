"""The command `up`: a Prefect server with workers, every deployment and automation, kept alive until Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.deploy import right_jobs
from flows.cli.output import paragraph
from flows.cli.places import the_project
from tasks.core.secret_parts import masked

if TYPE_CHECKING:
    from tasks.orchestration.processes import Supervisor
    from tasks.orchestration.server import Place


class _Ended(BaseException):
    """Somebody asked this process to end."""


@app.command()
def up(
    host: Annotated[str, typer.Option(help="Where the server listens; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 4200,
    *,
    demo: Annotated[
        bool, typer.Option("--demo", help="Load the demo too, and replay 2013, a day each half minute.")
    ] = False,
    runs_at_once: Annotated[
        int, typer.Option(min=3, max=1000, help="How many runs a worker has at once; others wait in their queues.")
    ] = 4,
) -> None:
    """Start a Prefect server and workers, deploy every job, and keep it all alive until Ctrl-C."""
    from tasks.core.settings import prepare_prefect  # noqa: PLC0415

    prepare_prefect(quiet=True)
    from tasks.orchestration import server  # noqa: PLC0415
    from tasks.orchestration.processes import Supervisor  # noqa: PLC0415

    here = server.place(host, port)
    with server.held(here):
        supervisor = Supervisor(_say)
        try:
            with _ended_by_signals():
                _say_where(here)
                _start(supervisor, here, demo=demo, runs_at_once=runs_at_once)
                supervisor.watch()
        except _Ended:
            _say("Stopping.")
        finally:
            supervisor.stop()
    _say("Everything has ended. Schedules stand as they are, and go on with the next lamplighter up.")


def _start(supervisor: Supervisor, here: Place, *, demo: bool, runs_at_once: int) -> None:
    from tasks.core.definitions.deployments import work_pools  # noqa: PLC0415
    from tasks.orchestration import server  # noqa: PLC0415

    project = the_project()
    jobs, _ = right_jobs(project)
    environment = server.environment_of(here)
    began = time.monotonic()
    server.start_server(supervisor, here, environment)
    _say(f"The server answers, after {time.monotonic() - began:.0f} s.")
    prune = ["--prune"] if here.is_the_project_s_own else []
    if demo:
        supervisor.run("Loading the demo", server.lamplighter("demo", "--load"), environment)
    replay = ["--replay"] if demo else []
    supervisor.run("Deploying", server.lamplighter("deploy", *prune, *replay), environment, fine=(0, 2))
    for pool in work_pools(jobs, project.models_work_pool()):
        supervisor.start(server.worker_of(here, environment, pool, runs_at_once))
        _say(f"A worker of the work pool {pool} is started: at most {runs_at_once} runs at once.")
    _say(f"Prefect's UI: {here.address}   Ctrl-C ends everything.")


def _say_where(here: Place) -> None:
    if here.elsewhere:
        _say(
            f"PREFECT_API_URL names {masked(here.elsewhere)}: that server is left alone, and what is started here uses its own. "
            "To deploy there: lamplighter deploy"
        )
    if here.is_open:
        _say(
            f"Whoever reaches this machine at port {here.port} may start runs: set PREFECT_SERVER_API_AUTH_STRING "
            "to user:password, or leave --host out."
        )
    database = "the database that the environment names" if here.database else f"a database in {here.home.root}"
    _say(f"Starting a Prefect server at {here.address}, with {database}; logs in {here.home.root}.")


def _say(text: str) -> None:
    paragraph(text)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Within the block Ctrl-C and SIGTERM end it, whatever it does; after it they do nothing: the end is under way."""

    def end(*_: object) -> None:
        _ignore_signals()
        raise _Ended

    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, end)
    try:
        yield
    finally:
        _ignore_signals()


def _ignore_signals() -> None:
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, signal.SIG_IGN)
