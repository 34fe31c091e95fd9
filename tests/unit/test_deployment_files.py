"""The Dockerfile and the compose file, read: what they promise of safety is written in them."""

import re
import tomllib

import pytest
import yaml

from tests.container_tools import COMPOSE, DOCKERFILE, ROOT, compose, context_files, instructions, interpolated, stages

REQUIRED = {"PREFECT_API_AUTH_STRING": "admin:pass", "LAMPLIGHTER_DATABASE_PASSWORD": "database-pass"}
OURS = ("server", "deploy", "worker", "pages")


def of_stage(number, name):
    return [words for one, words in stages(DOCKERFILE.read_text())[number] if one == name]


def test_the_image_is_made_in_two_stages_and_the_last_installs_nothing():
    assert len(stages(DOCKERFILE.read_text())) == 2
    assert of_stage(1, "COPY") == ["--from=build /opt/lamplighter /opt/lamplighter"]
    assert not any("pip" in words or "apt" in words for words in of_stage(1, "RUN"))


def test_all_that_is_installed_is_a_wheel_with_a_digest_of_the_lock():
    (locked,) = [words for words in of_stage(0, "RUN") if "requirements.lock" in words]
    assert "--require-hashes" in locked
    assert "--only-binary :all:" in locked
    assert "--no-deps" in locked
    assert not any("apt" in words or "curl" in words for words in of_stage(0, "RUN"))


def test_it_runs_as_a_user_with_a_number_of_its_own():
    *_, last = of_stage(1, "USER")
    user, group = last.split(":")
    assert int(user) == int(group) > 1000
    *others, _ = [name for name, _ in stages(DOCKERFILE.read_text())[1] if name in ("USER", "CMD", "HEALTHCHECK")]
    assert others[0] == "USER"


def test_it_holds_no_secret_and_knows_the_lake_and_the_project():
    text = " ".join(words for _, words in instructions(DOCKERFILE.read_text()))
    assert not re.search(r"password|secret|token|auth", text, re.IGNORECASE)
    (environment,) = of_stage(1, "ENV")
    assert "LAMPLIGHTER_LAKE=/lake" in environment
    assert "LAMPLIGHTER_PROJECT=/project" in environment


def test_nothing_in_it_calls_home():
    (environment,) = of_stage(1, "ENV")
    assert {
        "PREFECT_SERVER_ANALYTICS_ENABLED=false",
        "PREFECT_SERVER_UI_V2_ENABLED=false",
        "DO_NOT_TRACK=1",
    } <= set(environment.split())


def test_a_health_check_is_there():
    (check,) = of_stage(1, "HEALTHCHECK")
    assert "/health" in check


@pytest.mark.extras
def test_the_build_is_sent_what_it_copies_and_nothing_else():
    files = context_files()
    copied = [word for words in of_stage(0, "COPY") for word in words.split()[:-1]]
    for source in copied:
        assert any(name == source or name.startswith(f"{source}/") for name in files), source
    assert {name.split("/")[0] for name in files} == set(copied)
    assert not any(name.startswith(".") or "/." in name or name.endswith(".pyc") for name in files)


@pytest.mark.parametrize("name", [".env", "lake/secret", ".git/config", "tests/x.py", ".venv/x", "deployments/.env"])
def test_what_may_hold_a_secret_is_not_sent(name, tmp_path, monkeypatch):
    from tests import container_tools

    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert container_tools._ignored(name, patterns)
    assert not container_tools._ignored("tasks/core/storage/lake.py", patterns)


@pytest.mark.parametrize("missing", REQUIRED)
def test_nothing_starts_without_the_secrets(missing):
    given = {name: value for name, value in REQUIRED.items() if name != missing}
    with pytest.raises(KeyError, match=missing):
        interpolated(COMPOSE.read_text(), given)
    with pytest.raises(KeyError, match=missing):
        interpolated(COMPOSE.read_text(), given | {missing: ""})


def test_a_password_of_any_characters_is_a_password():
    strange = {"PREFECT_API_AUTH_STRING": "admin:p@ss/w:rd?", "LAMPLIGHTER_DATABASE_PASSWORD": "p@ss/w:rd?&%23"}
    server = compose(strange)["services"]["server"]["environment"]
    # No address is made of it, in which it would have to be quoted.
    assert server["PREFECT_SERVER_DATABASE_PASSWORD"] == strange["LAMPLIGHTER_DATABASE_PASSWORD"]
    assert "PREFECT_SERVER_DATABASE_CONNECTION_URL" not in server


def test_the_api_asks_for_a_password_and_each_client_has_it():
    services = compose(REQUIRED)["services"]
    assert services["server"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"] == "admin:pass"
    for name in ("worker", "deploy"):
        assert services[name]["environment"]["PREFECT_API_AUTH_STRING"] == "admin:pass"


def test_every_port_is_loopbacks():
    ports = [port for one in compose(REQUIRED)["services"].values() for port in one.get("ports", [])]
    assert ports == ["127.0.0.1:4200:4200", "127.0.0.1:8090:8090"]


@pytest.mark.parametrize("name", ["database", *OURS])
def test_each_service_has_no_right_that_it_does_not_need(name):
    service = compose(REQUIRED)["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert "privileged" not in service
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))
    assert service["restart"] == ("no" if name == "deploy" else "unless-stopped")


def test_the_pages_see_the_reports_and_cannot_write_them():
    assert compose(REQUIRED)["services"]["pages"]["volumes"] == ["../lake/reports:/lake/reports:ro"]


def test_only_the_worker_can_write_the_lake_and_nobody_the_project():
    writable = {
        (name, volume.split(":")[1])
        for name, service in compose(REQUIRED)["services"].items()
        for volume in service.get("volumes", [])
        if not volume.endswith(":ro")
    }
    assert writable == {("worker", "/lake"), ("database", "/var/lib/postgresql/data")}


def test_images_are_pinned_and_ours_has_the_version_of_this_code():
    services = compose(REQUIRED)["services"]
    assert re.fullmatch(r"postgres:\d+\.\d+-bookworm", services["database"]["image"])
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {services[name]["image"] for name in OURS} == {f"lamplighter:{version}"}
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11-slim-bookworm$", DOCKERFILE.read_text(), re.MULTILINE)


def test_services_wait_for_what_they_need():
    services = compose(REQUIRED)["services"]
    assert services["server"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    for name in ("worker", "deploy"):
        assert services[name]["depends_on"] == {"server": {"condition": "service_healthy"}}
    assert all("healthcheck" in services[name] for name in ("database", "server", "pages"))
    assert int(services["worker"]["environment"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]) >= 30


def test_no_secret_is_written_in_the_compose_file():
    for service in yaml.safe_load(COMPOSE.read_text())["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|AUTH", name):
                assert str(value).startswith("${"), name
