"""Where `lamplighter up` keeps its server, and what everything that it starts finds in its environment."""

import socket

import pytest

from tasks.core.errors import OrchestrationError
from tasks.orchestration import server
from tasks.orchestration.server import Place, check_free, environment_of, held


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(tmp_path / "project"))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(tmp_path / "lake"))
    return lambda host="127.0.0.1", port=4321, **given: Place(host, port, given)


def test_it_keeps_what_is_its_own_with_the_project(here, tmp_path):
    assert here().home.root == tmp_path / "project/.prefect"
    assert here().is_the_project_s_own


@pytest.mark.parametrize("name", ["PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"])
def test_a_database_or_a_home_that_somebody_chose_may_hold_what_is_others(here, tmp_path, name):
    chosen = here(**{name: "postgresql+asyncpg://prefect@db/prefect"})
    assert chosen.database == "postgresql+asyncpg://prefect@db/prefect"
    assert not chosen.is_the_project_s_own
    assert environment_of(chosen)[name] == chosen.database
    assert not here(PREFECT_HOME=str(tmp_path)).is_the_project_s_own


def test_a_server_that_is_named_elsewhere_gets_neither_our_runs_nor_its_key(here):
    given = here(PREFECT_API_URL="https://prefect.example.com/api", PREFECT_API_KEY="secret")
    assert given.elsewhere == "https://prefect.example.com"
    found = environment_of(given)
    assert found["PREFECT_API_URL"] == "http://127.0.0.1:4321/api"
    assert "PREFECT_API_KEY" not in found
    assert here(PREFECT_API_URL="http://127.0.0.1:4321/api/").elsewhere is None
    assert here(PREFECT_API_URL="http://localhost:4321/api").elsewhere is None


def test_nothing_calls_home_and_no_proxy_stands_between(here, tmp_path):
    found = environment_of(here(PREFECT_SERVER_ANALYTICS_ENABLED="true", NO_PROXY="intranet"))
    assert found["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert found["DO_NOT_TRACK"] == "1"
    assert found["NO_PROXY"] == "intranet,127.0.0.1,localhost,::1"
    assert found["PREFECT_UI_API_URL"] == "/api"
    assert found["PREFECT_SERVER_UI_V2_ENABLED"] == "false"
    assert found["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert found["LAMPLIGHTER_LAKE"] == str(tmp_path / "lake")


def test_the_password_of_the_server_is_that_of_its_clients(here):
    assert environment_of(here(PREFECT_SERVER_API_AUTH_STRING="a:b"))["PREFECT_API_AUTH_STRING"] == "a:b"
    other = here(PREFECT_SERVER_API_AUTH_STRING="a:b", PREFECT_API_AUTH_STRING="c:d")
    assert environment_of(other)["PREFECT_API_AUTH_STRING"] == "c:d"


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "http://127.0.0.1:4321"), ("::", "http://[::1]:4321"), ("::1", "http://[::1]:4321"), ("box", "http://box:4321")],
)  # fmt: skip
def test_it_is_reached_on_this_machine(here, host, address):
    assert here(host).address == address


def test_who_lets_others_in_without_a_password_is_told(here):
    assert here("0.0.0.0").is_open
    assert not here("0.0.0.0", PREFECT_SERVER_API_AUTH_STRING="a:b").is_open
    assert not here("localhost").is_open


def test_a_port_that_is_taken_and_a_host_that_is_not_ours(here):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OrchestrationError, match=r"cannot be used: .*in use"):
            check_free(here(port=taken.getsockname()[1]))
    with pytest.raises(OrchestrationError, match=r"port 4321 of 203\.0\.113\.7 cannot be used"):
        check_free(here("203.0.113.7"))


def test_one_at_a_time_works_with_a_home(here, monkeypatch):
    monkeypatch.setattr(server, "check_free", lambda _: None)
    with (
        held(here()),
        pytest.raises(OrchestrationError, match=r"already: one at http://127\.0\.0\.1:4321"),
        held(here(port=5)),
    ):
        pass
    with held(here(port=5)):
        pass
