import pytest
from pydantic import ValidationError

from tasks.core.settings import Settings, environment


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("LAKE", "PROJECT"):
        monkeypatch.delenv(f"LAMPLIGHTER_{name}", raising=False)
    monkeypatch.delenv("WAREHOUSE_URI", raising=False)


def test_defaults():
    settings = Settings()
    assert (settings.lake, settings.project) == ("./lake", ".")


def test_the_environment_comes_before_the_file(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("LAMPLIGHTER_LAKE=/from/file\nLAMPLIGHTER_PROJECT=/file/project\nOTHER_TOOL=1\n")
    assert Settings().lake == "/from/file"
    assert Settings().project == "/file/project"
    monkeypatch.setenv("LAMPLIGHTER_LAKE", "/from/environment")
    assert Settings().lake == "/from/environment"


def test_an_empty_variable_counts_as_not_set(monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_LAKE", "")
    monkeypatch.setenv("WAREHOUSE_URI", "")
    assert Settings().lake == "./lake"
    assert environment("WAREHOUSE_URI") is None


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().lake = "elsewhere"


def test_a_jobs_variable_comes_from_the_environment_then_the_file(monkeypatch, tmp_path):
    assert environment("WAREHOUSE_URI") is None
    (tmp_path / ".env").write_text("WAREHOUSE_URI=from-file\n")
    assert environment("WAREHOUSE_URI") == "from-file"
    monkeypatch.setenv("WAREHOUSE_URI", "from-environment")
    assert environment("WAREHOUSE_URI") == "from-environment"
