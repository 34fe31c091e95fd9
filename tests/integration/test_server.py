"""`lamplighter up` for a team: PostgreSQL as the server's database, a password on its API, and no word to anybody outside."""

import contextlib
import ipaddress
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import httpx
import pytest

from tests.flows.conftest import DAY, make_project, readings
from tests.integration.conftest import LAMPLIGHTER, wait_for
from tests.integration.up_tools import Up, a_free_port, plain_environment

pytestmark = pytest.mark.extras

AUTH = "lamp:lighter-and-4-more"
BINARIES = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))


@pytest.fixture(scope="module")
def database():
    """Debian's PostgreSQL on a socket in a folder: Prefect wants its extension pg_trgm, which the one by pip does not have."""
    if not BINARIES:
        pytest.skip("PostgreSQL with pg_trgm is not installed: apt-get install postgresql")
    # A short path: that of a socket has at most 107 characters.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pg"))
    # It will not run as root.
    as_owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_owner:
        shutil.chown(folder, "postgres")
    run = lambda *command: subprocess.run([*as_owner, *command], check=True, stdout=subprocess.DEVNULL, cwd=folder)  # noqa: E731
    run(BINARIES[-1] / "initdb", "-D", folder / "data", "--auth=trust", "-U", "prefect", "--no-sync")
    server = [BINARIES[-1] / "pg_ctl", "-D", folder / "data", "-w"]
    run(*server, "-l", folder / "log", "-o", f"-k {folder} -h ''", "start")
    try:
        yield f"postgresql+asyncpg://prefect@/postgres?host={folder}"
    finally:
        run(*server, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = make_project(tmp_path_factory.mktemp("team") / "project")
    made.change_job(schedule={"cron": "* * * * *", "scores": "closed"})
    made.write_rows(readings(200, DAY))
    return made


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """Where every connection is written that a process of the tree asks the kernel for."""
    return tmp_path_factory.mktemp("calls") / "connect"


@pytest.fixture(scope="module")
def up(world, database, calls):
    watching = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto", "-o", str(calls)]
    before = watching if shutil.which("strace") else []
    started = Up(
        world.folder,
        port=a_free_port(),
        before=before,
        PREFECT_API_DATABASE_CONNECTION_URL=database,
        PREFECT_SERVER_API_AUTH_STRING=AUTH,
    )
    try:
        yield started.wait_ready(400)
    finally:
        started.clear_away()


def test_a_scheduled_run_on_postgresql_behind_a_password(up, world):
    assert "the database that the environment names" in up.said
    assert not list(world.folder.glob(".prefect/*.db"))
    (run, *_) = wait_for(
        lambda: [one for one in up.runs("score/readings") if one["auto_scheduled"] and one["end_time"]],
        seconds=300,
        what=f"a scheduled run to end: {up.said}",
    )
    # Of yesterday there are no rows: the source is asked, and the window is blocked or published empty by its rule.
    assert run["state"]["type"] in ("COMPLETED", "FAILED"), run["state"]
    assert run["state"]["type"] != "CRASHED"

    assert up.ended(up.start_run("score/readings", as_of=DAY))["name"] == "Published"
    assert world.published().rows.scored == 200


def test_without_the_password_nothing_is_told(up):
    for auth in (None, ("lamp", "wrong")):
        assert httpx.post(f"{up.url}/flow_runs/filter", json={}, auth=auth).status_code == httpx.codes.UNAUTHORIZED


def test_the_command_line_works_with_the_password_and_says_what_is_missing_without(up, world):
    def deploy(**variables):
        return subprocess.run(
            [LAMPLIGHTER, "deploy"],
            cwd=world.folder,
            env=plain_environment(PREFECT_API_URL=up.url, PREFECT_HOME=str(world.folder / ".prefect"), **variables),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    done = deploy(PREFECT_API_AUTH_STRING=AUTH)
    assert (done.returncode, done.stderr) == (0, "")
    refused = deploy()
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "status 401" in refused.stderr
    assert "PREFECT_API_AUTH_STRING" in refused.stderr


def test_nothing_but_loopback_was_asked_for(up, calls, world):
    if not calls.exists():
        pytest.skip("strace is not installed: apt-get install strace")
    # The UI's page too, which is served from the disk.
    assert httpx.get(up.url.removesuffix("/api"), follow_redirects=True).status_code == httpx.codes.OK
    text = calls.read_text(errors="replace")
    asked = re.findall(r'inet_addr\("([^"]+)"\)', text) + re.findall(r'inet_pton\(AF_INET6, "([^"]+)"', text)
    assert len(asked) > 20
    assert {address for address in asked if not ipaddress.ip_address(address).is_loopback} == set()


def test_it_ends_cleanly(up):
    with contextlib.suppress(ProcessLookupError):
        os.kill(up.supervisor, 15)
    up.process.wait(60)
    assert up.processes() == []
    assert "Everything has ended" in up.said
