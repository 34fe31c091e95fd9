"""Clusters of several processes on this machine, for tests: Dask's scheduler with its workers, Ray's head with its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_BIN = Path(sys.executable).parent
# A worker finds Lamplighter and the tests' model as whoever runs the tests does, and imports nothing from where it stands.
_ROOT = Path(__file__).parents[2]


def environment(**more):
    """Ours, without what says where a test's own lake, project and server are: a run tells its workers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAMPLIGHTER_", "PREFECT_"))}
    return kept | {"PYTHONPATH": str(_ROOT), "RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1"} | more


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class DaskCluster:
    """A scheduler and its workers, each a process of its own; `address` is the scheduler's."""

    kind = "dask"

    def __init__(self, folder):
        self.folder = folder
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self._logs = []
        self._processes = []
        self.workers = []
        port = self.address.rpartition(":")[2]
        self.scheduler = self._begin("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")

    def begin_worker(self, nanny=False, **more):
        place = ["--local-directory", str(self.folder), "--memory-limit", "0", "--no-dashboard"]
        how = ["--nthreads", "1", "--nanny" if nanny else "--no-nanny"]
        self.workers.append(self._begin("worker", self.address, *how, *place, **more))
        return self.workers[-1]

    def replace_the_dead(self):
        for process in [process for process in self.workers if process.poll() is not None]:
            self.workers.remove(process)
            self.begin_worker()

    def _begin(self, *arguments, **more):
        log = (self.folder / f"{arguments[0]}-{len(self._logs)}.log").open("w")
        self._logs.append(log)
        command = [_BIN / "dask", *arguments]
        process = subprocess.Popen(
            command, env=environment(**more), cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
        )
        self._processes.append(process)
        return process

    def end(self):
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for log in self._logs:
            log.close()


class RayCluster:
    """A head with so many processors, started by Ray's own command; its processes are those of one folder."""

    kind = "ray"

    def __init__(self, folder, processors):
        self.folder = folder
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        log = (folder / "ray.log").open("w")
        command = [_BIN / "ray", "start", "--head", "--node-ip-address", "127.0.0.1", "--port", str(port), "--block"]
        more = ["--num-cpus", str(processors), "--include-dashboard=false", "--disable-usage-stats"]
        more += ["--object-store-memory", str(100_000_000), "--temp-dir", str(folder)]
        self._log = log
        self._process = subprocess.Popen(
            [*command, *more],
            env=environment(),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def end(self):
        # It ends the processes that it has begun, and no others of that name on this machine.
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()


def answers(address):
    """Whether anybody listens there."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def worker_above(child):
    """The cluster's worker whose child it is; between the two may be the server that forks children."""
    process = _parent(child)
    while b"forkserver" in Path(f"/proc/{process}/cmdline").read_bytes():
        process = _parent(process)
    return process


def _parent(process):
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found
