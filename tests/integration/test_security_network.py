"""Whole runs under the eyes of the kernel: no process of theirs asks for an address but that of the Prefect server."""

import functools
import re
import shutil
import subprocess

import pytest

from tests.flows.conftest import make_project, make_warehouse
from tests.integration.conftest import LAMPLIGHTER

DAYS = ("2024-05-01", "2024-05-02", "2024-05-03")
CALL = re.compile(
    r"(?:connect|sendto|sendmsg|sendmmsg)\(.*?sa_family=(AF_INET6?).*?htons\((\d+)\).*?\"([0-9a-fA-F.:]+)\""
)
TRACED = "connect,sendto,sendmsg,sendmmsg,execve"
COMMANDS = {
    "score": ("score", "readings", "--as-of", DAYS[0]),
    "monitor": ("monitor", "readings", "--as-of", "2024-06-01"),
    "audit": ("audit", "readings"),
    "train": ("train", "readings"),
    "prune": ("prune", "--apply"),
    "score_dry": ("score", "readings", "--as-of", DAYS[1], "--dry-run"),
    "backfill": ("backfill", "readings", "--from", DAYS[1], "--to", DAYS[2], "--reason", "they are missing"),
    "check": ("check",),
}
# The others take as long each, and are of the long suite.
SOON = ("score",)


def addresses_in(text):
    """Every (address, port) of the internet's families that a process wanted to reach, by whatever protocol."""
    return {(address, int(port)) for _, port, address in CALL.findall(text)}


@pytest.fixture(scope="module")
def watched(tmp_path_factory, prefect_server):
    """What a command asked for, its children and theirs too; all of them in one project, each once."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    world = make_project(tmp_path_factory.mktemp("watched") / "project", batch_rows=60)
    make_warehouse(world).close()
    world.change_job(limits__isolate="always", limits__workers=2, retention={"snapshots": "7d"})
    environment = prefect_server.environment | {
        "LAMPLIGHTER_PROJECT": str(world.folder),
        "LAMPLIGHTER_LAKE": str(world.folder / "lake"),
    }
    calls = tmp_path_factory.mktemp("calls")

    @functools.cache
    def watch(name):
        log = calls / name
        strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", f"trace={TRACED}", "-o", str(log)]
        done = subprocess.run(
            [*strace, LAMPLIGHTER, *COMMANDS[name]],
            env=environment,
            cwd=world.folder,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, (name, done.stdout, done.stderr)
        return log.read_text(errors="replace")

    return watch


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.extras if name in SOON else pytest.mark.slow) for name in COMMANDS],
)
def test_nothing_but_the_server_is_asked_for(watched, prefect_server, name):
    port = int(prefect_server.url.rsplit(":", 1)[1].partition("/")[0])
    asked = addresses_in(watched(name))
    assert {one for one in asked if one not in (("127.0.0.1", port), ("::1", port))} == set()
    # It did talk to the server; only `check` has no need to.
    assert asked or name == "check"


@pytest.mark.extras
def test_children_are_watched_too(watched):
    # Each line begins with the process that called.
    assert len({line.split()[0] for line in watched("score").splitlines()}) > 2
    assert watched("score").count("execve(") > 2


@pytest.mark.extras
def test_the_check_finds_a_grandchild_that_asks_for_a_name(tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    ask = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('192.0.2.1', 53))"
    command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(tmp_path / "log"), "sh", "-c"]
    subprocess.run([*command, f'python3 -c "{ask}" & wait'], check=True, timeout=60)
    assert addresses_in((tmp_path / "log").read_text()) == {("192.0.2.1", 53)}
