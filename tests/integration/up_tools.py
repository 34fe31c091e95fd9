"""`lamplighter up` in a process of its own, and what a person sees of it: what it prints, its API, its processes."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
import uuid

import httpx

from tasks.orchestration.processes import marked
from tests.integration.conftest import LAMPLIGHTER, wait_for
from tests.integration.told_model import TYPE

ROOT = pathlib.Path(__file__).parents[2]
READY = "Ctrl-C ends everything"
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def a_free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def plain_environment(**variables):
    """The environment of a person who has set nothing for Prefect or Lamplighter but these variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "LAMPLIGHTER_"))}
    # Models of the tests are looked for by the runs, which start elsewhere.
    return kept | {"PYTHONPATH": str(ROOT)} | variables


class Up:
    """One that runs. Its processes are found by the mark that they carry."""

    def __init__(self, folder, *options, port, before=(), **variables):
        self.folder, self.port = pathlib.Path(folder), port
        self.url = f"http://127.0.0.1:{port}/api"
        self.environment = plain_environment(**variables)
        self.is_watched = bool(before)
        auth = variables.get("PREFECT_SERVER_API_AUTH_STRING")
        self.client = httpx.Client(base_url=self.url, timeout=60, auth=tuple(auth.split(":")) if auth else None)
        self.lines = []
        self.process = subprocess.Popen(
            [*before, LAMPLIGHTER, "up", "--port", str(port), *options],
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with self.process.stdout:
            self.lines.extend(self.process.stdout)

    @property
    def said(self):
        return "".join(self.lines)

    @property
    def supervisor(self):
        """Its process; under a watcher that one's child."""
        if not self.is_watched:
            return self.process.pid
        return int(pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])

    def wait_ready(self, seconds=300):
        wait_for(lambda: READY in self.said or self.process.poll() is not None, seconds=seconds, what=self.said)
        assert READY in self.said, self.said
        return self

    def ask(self, method, path, **json):
        """The answer. A server that is just starting, or a busy one on SQLite, is asked again."""

        def answer():
            with contextlib.suppress(httpx.TransportError):
                given = self.client.request(method, path, **({"json": json} if method != "GET" else {}))
                return None if given.status_code == httpx.codes.SERVICE_UNAVAILABLE else given.raise_for_status()

        given = wait_for(answer, seconds=180, what=f"an answer to {path}")
        return given.json() if given.content else None

    def start_run(self, deployment, **parameters):
        found = self.ask("GET", f"/deployments/name/{deployment}")
        wanted = {"parameters": parameters, "idempotency_key": str(uuid.uuid4())}
        return self.ask("POST", f"/deployments/{found['id']}/create_flow_run", **wanted)["id"]

    def runs(self, deployment):
        """The runs of a deployment, in the order of their scheduled times."""
        found = self.ask("GET", f"/deployments/name/{deployment}")
        chosen = {"id": {"any_": [found["id"]]}}
        return self.ask("POST", "/flow_runs/filter", deployments=chosen, sort="EXPECTED_START_TIME_ASC", limit=200)

    def state(self, run):
        return self.ask("GET", f"/flow_runs/{run}")["state"]

    def ended(self, run, seconds=300):
        def final():
            found = self.state(run)
            return found if found["type"] in FINAL else None

        return wait_for(final, seconds=seconds, what=f"run {run} to end; {self.said}")

    def processes(self, *words):
        """The processes of this one whose command line has all these words, as their ids."""
        found = {}
        for pid in self._marked():
            with contextlib.suppress(OSError):
                line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if all(word in line for word in words):
                    found[pid] = line
        return sorted(found)

    def _marked(self):
        """Also when the supervisor is gone: the mark is asked for once, of the server's environment."""
        if not hasattr(self, "_mark"):
            for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
                with contextlib.suppress(OSError):
                    variables = path.read_bytes().decode(errors="replace").split("\0")
                    if f"PREFECT_API_URL={self.url}" in variables:
                        marks = [one for one in variables if one.startswith("STARTED_BY_LAMPLIGHTER_UP=")]
                        if marks:
                            self._mark = marks[0].partition("=")[2]
                            break
            else:
                return set()
        return marked(self._mark)

    def kill(self, *words):
        """SIGKILL for all of those processes; how many they were."""
        found = self.processes(*words)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def end(self, kind=signal.SIGTERM, seconds=40):
        """Asks it to end: its exit code, and after how many seconds it came."""
        began = time.monotonic()
        if self.process.poll() is None:
            os.kill(self.supervisor, kind)
        return self.process.wait(seconds), time.monotonic() - began

    def clear_away(self):
        """After the test, whatever has happened."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.end()
        self.process.kill()
        for pid in self._marked():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.client.close()


def make_told(world):
    """The job's model waits, or dies, at the row that the folder's file `what` names; batches of 20 rows, one after the other."""
    from tests.flows.conftest import numbered, register
    from tests.integration.told_model import Told

    folder = world.folder / "told"
    folder.mkdir()
    tell = (folder / "what").write_text
    tell("score")
    world.change_job(model__allowed_types=[TYPE], limits={"batch_rows": 20, "quarantine_share": 0.1, "workers": 1})
    from tasks.core.definitions.modelling import Prediction
    from tests.flows.conftest import as_table

    sample = as_table(numbered(20).assign(x=[-1.0 - number for number in range(20)]))
    outputs = {"probability": Prediction(method="predict_proba", class_=1)}
    register(world.lake, "readings", Told(folder), {"x": "float64"}, outputs, sample)
    return folder


def scored_rows(folder):
    """The first row of each batch that the model was asked for, in order, and the process that it was in."""
    log = folder / "log"
    return [tuple(map(int, line.split())) for line in log.read_text().splitlines()] if log.exists() else []
