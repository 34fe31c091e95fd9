"""The door to MLflow, as far as it goes without MLflow; tests/integration/test_mlflow.py goes through it."""

import sys
import types

import pytest

from tasks.core import settings
from tasks.core.errors import DefinitionError
from tasks.core.models.mlflow.registry import Tracking, without_secrets


@pytest.fixture
def environ(monkeypatch, tmp_path):
    """An environment that is empty but for what a test puts there."""
    monkeypatch.chdir(tmp_path)
    found: dict[str, str] = {}
    monkeypatch.setattr(settings, "os", types.SimpleNamespace(environ=found))
    return found


def test_without_an_address_one_paragraph_says_how_to_give_it(environ):
    with pytest.raises(
        DefinitionError, match=r"MLFLOW_TRACKING_URI is not set.*export MLFLOW_TRACKING_URI=http://HOST:PORT"
    ):
        Tracking()


def test_without_the_package_one_paragraph_says_what_to_install(environ, monkeypatch):
    environ["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:1"
    for module in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "mlflow", None)

    with pytest.raises(DefinitionError, match=r"'mlflow-skinny'.*pip install 'lamplighter\[mlflow\]'"):
        Tracking()


def test_the_client_tells_nobody_of_its_use_and_knows_what_stands_in_the_env_file(environ, tmp_path):
    (tmp_path / ".env").write_text("MLFLOW_TRACKING_TOKEN=abc\nMLFLOW_HTTP_REQUEST_TIMEOUT=5\nOTHER=1\n")
    environ["MLFLOW_DISABLE_TELEMETRY"] = "false"
    environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "2"

    settings.prepare_mlflow()

    assert environ == environ | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_TOKEN": "abc",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    }
    assert "OTHER" not in environ


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("https://ann:secret@mlflow.example/base?token=secret#secret", "https://mlflow.example/base"),
        ("https://secret@mlflow", "https://mlflow"),
        ("wasbs://box@account.blob.core.windows.net/x?sig=secret", "wasbs://account.blob.core.windows.net/x"),
        ("databricks", "databricks"),
    ],
)
def test_an_address_is_shown_without_secrets(address, shown):
    assert without_secrets(address) == shown
