import pathlib
import re

import pytest
from pydantic import ValidationError

from tasks.core.errors import DefinitionError
from tasks.core.settings import Settings, environment
from tasks.core.settings_table import markdown_table, settings_table, unknown_variables
from tasks.core.storage import Lake

README = pathlib.Path(__file__).parents[3] / "README.md"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LAMPLIGHTER_{name.upper()}", raising=False)
    for name in ("WAREHOUSE_URI", "PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


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


def test_the_project_s_own_file_comes_last_and_its_lake_lies_beside_it(monkeypatch, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / ".env").write_text("WAREHOUSE_URI=of-project\nLAMPLIGHTER_LAKE=./lake\nLAMPLIGHTER_LOG_FORMAT=json\n")
    assert (environment("WAREHOUSE_URI"), Settings().lake) == (None, "./lake")
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", "project")
    assert (environment("WAREHOUSE_URI"), Settings().lake) == ("of-project", "project/./lake")
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(project))
    assert (Settings().lake, Settings().log_format) == (f"{project}/./lake", "json")
    # Where the command is typed counts before it, and the environment before both.
    (tmp_path / ".env").write_text("WAREHOUSE_URI=typed-here\nLAMPLIGHTER_LAKE=./other\n")
    assert (environment("WAREHOUSE_URI"), Settings().lake, Settings().log_format) == ("typed-here", "./other", "json")
    monkeypatch.setenv("LAMPLIGHTER_LAKE", "third")
    assert Settings().lake == "third"


def test_a_lake_in_an_object_store_is_an_address_wherever_it_is_set(monkeypatch, tmp_path):
    for name, value in {"LAKE": "s3://bucket/in/it", "PROJECT": "elsewhere"}.items():
        monkeypatch.setenv(f"LAMPLIGHTER_{name}", value)
    assert Lake(Settings().lake).address() == "s3://bucket/in/it"
    monkeypatch.delenv("LAMPLIGHTER_LAKE")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/.env").write_text("LAMPLIGHTER_LAKE=gs://bucket/of/its/own\n")
    assert Lake(Settings().lake).address() == "gs://bucket/of/its/own"


def test_the_project_that_a_file_names_has_a_file_of_its_own(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / ".env").write_text("LAMPLIGHTER_PROJECT=project\n")
    (tmp_path / "project/.env").write_text("LAMPLIGHTER_LAKE=/absolute\nLAMPLIGHTER_LAKES=1\n")
    assert (Settings().project, Settings().lake) == ("project", "/absolute")
    assert len(unknown_variables()) == 1


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().lake = "elsewhere"


def test_a_jobs_variable_comes_from_the_environment_then_the_file(monkeypatch, tmp_path):
    assert environment("WAREHOUSE_URI") is None
    (tmp_path / ".env").write_text("WAREHOUSE_URI=from-file\n")
    assert environment("WAREHOUSE_URI") == "from-file"
    monkeypatch.setenv("WAREHOUSE_URI", "from-environment")
    assert environment("WAREHOUSE_URI") == "from-environment"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("LOG_FORMAT", "xml", "LAMPLIGHTER_LOG_FORMAT is 'xml': input should be 'text' or 'json'"),
        ("LOG_LEVEL", "loud", "LAMPLIGHTER_LOG_LEVEL is 'loud': input should be 'debug', 'info', 'warning' or 'error'"),
        ("PAGES_PORT", "80a", "LAMPLIGHTER_PAGES_PORT is '80a': input should be a valid integer"),
        ("PAGES_PORT", "65536", "LAMPLIGHTER_PAGES_PORT is '65536': input should be less than or equal to 65535"),
    ],
)
def test_a_wrong_value_is_one_paragraph_that_names_the_variable(monkeypatch, variable, value, says):
    monkeypatch.setenv(f"LAMPLIGHTER_{variable}", value)

    with pytest.raises(DefinitionError) as raised:
        Settings()

    assert raised.value.exit_code == 2
    assert str(raised.value).startswith(says)
    assert "lamplighter settings" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_huge_wrong_value_is_not_printed_whole(monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_LOG_FORMAT", "x" * 10_000)

    with pytest.raises(DefinitionError) as raised:
        Settings()

    assert len(str(raised.value)) < 500


def test_levels_and_formats_are_right_in_capitals_too(monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_LOG_LEVEL", "INFO")
    monkeypatch.setenv("LAMPLIGHTER_LOG_FORMAT", "JSON")

    assert (Settings().log_level, Settings().log_format) == ("info", "json")


def test_a_file_that_is_not_text_is_a_clear_error(tmp_path):
    (tmp_path / ".env").write_bytes(b"LAMPLIGHTER_LAKE=\xff\xfe\n")

    with pytest.raises(DefinitionError, match=r"\.env is not UTF-8"):
        Settings()


def test_every_setting_says_what_it_sets():
    assert all(field.description for field in Settings.model_fields.values())


def test_the_table_of_the_readme_is_made_from_the_code():
    """Renew it with: lamplighter settings --markdown."""
    found = re.search(r"<!-- settings -->\n(.*?)\n<!-- /settings -->", README.read_text(), re.DOTALL)

    assert found, "README.md has the table between <!-- settings --> and <!-- /settings -->"
    assert found[1].strip() == markdown_table()


def test_the_markdown_does_not_depend_on_what_is_set(monkeypatch):
    before = markdown_table()
    monkeypatch.setenv("LAMPLIGHTER_LAKE", "/lake")

    assert markdown_table() == before
    assert all(line.count(" | ") == 2 and "``" not in line for line in before.splitlines()[2:])


def test_the_table_tells_what_is_set_and_no_secret(monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_LAKE", "/lake")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:hunter2")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hunter2@mlflow.example/")
    monkeypatch.setenv("PREFECT_API_URL", "http://me:hunter2@prefect.example/api")
    monkeypatch.setenv("LAMPLIGHTER_PAGES_URL", "https://pages.example/x?sig=hunter2")

    table = {one.variable: one for one in settings_table()}

    assert table["LAMPLIGHTER_LAKE"].value == "/lake"
    assert (table["LAMPLIGHTER_LAKE"].default, table["LAMPLIGHTER_LAKE"].is_set) == ("./lake", True)
    assert (table["LAMPLIGHTER_PROJECT"].value, table["LAMPLIGHTER_PROJECT"].is_set) == (".", False)
    assert table["MLFLOW_TRACKING_URI"].value == "https://***@mlflow.example/"
    assert "hunter2" not in repr(table)


def test_a_setting_that_is_wrong_is_told_without_its_secret(monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PAGES_URL", "ftp://me:hunter2@pages.example")

    with pytest.raises(DefinitionError, match=r"LAMPLIGHTER_PAGES_URL is 'ftp://\*\*\*@pages\.example'") as caught:
        Settings()
    assert "hunter2" not in str(caught.value)


def test_a_mistyped_name_is_told_with_the_nearest(monkeypatch, tmp_path):
    assert unknown_variables() == []
    (tmp_path / ".env").write_text("LAMPLIGHTER_LOGFORMAT=json\nOTHER=1\n")
    monkeypatch.setenv("LAMPLIGHTER_LAKES", "/lake")
    monkeypatch.setenv("LAMPLIGHTER_COLOUR_OF_THE_SKY", "blue")
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_SKLEARN17", "/opt/python")

    assert unknown_variables() == [
        "LAMPLIGHTER_COLOUR_OF_THE_SKY is set, and is no setting of Lamplighter. It does nothing.",
        "LAMPLIGHTER_LAKES is set, and is no setting of Lamplighter; LAMPLIGHTER_LAKE is near. It does nothing.",
        "LAMPLIGHTER_LOGFORMAT is set, and is no setting of Lamplighter; LAMPLIGHTER_LOG_FORMAT is near. It does nothing.",
    ]
