"""A server's address may hold a password: what is said of a server that does not answer shows none."""

import traceback

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli.up import _say_where
from tasks.core.errors import OrchestrationError
from tasks.orchestration import automations, deploying, pruning
from tasks.orchestration.server import Place

ADDRESS = "http://bob:CAN4RY-xyz@prefect.example:4200/api"


@pytest.fixture
def away(monkeypatch):
    """What Prefect's client says of a server that it does not reach."""

    def fail(*_, **__):
        raise RuntimeError(f"Failed to reach API at {ADDRESS}/")

    for module in (deploying, automations, pruning):
        monkeypatch.setattr(module, "get_client", fail)
    with temporary_settings({PREFECT_API_URL: ADDRESS}):
        yield


@pytest.mark.parametrize(
    "ask",
    [
        lambda: deploying.deploy({"deployments": [], "pull": []}, []),
        lambda: automations.apply([]),
        lambda: pruning.prune_runs({}, None, now=None, applied=[]),
    ],
    ids=["deploy", "automations", "prune"],
)
def test_a_server_that_is_away_is_named_without_its_password(away, ask):
    with pytest.raises(OrchestrationError, match=r"http://\*\*\*@prefect\.example:4200/api did not") as caught:
        ask()
    told = "".join(traceback.format_exception(caught.value))
    assert "CAN4RY" not in told


def test_another_server_is_named_without_its_password(capsys):
    _say_where(Place("127.0.0.1", 4200, {"PREFECT_API_URL": ADDRESS}))
    said = capsys.readouterr().out
    assert ("PREFECT_API_URL names http://***@prefect.example:4200:" in said, "CAN4RY" in said) == (True, False)
