"""What is built is what runs: the wheel alone, away from the checkout, has all that its commands need."""

import json
import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def _python(code: str, site: pathlib.Path, cwd: pathlib.Path) -> str:
    start = f"import sys; sys.path.insert(0, {str(site)!r}); import tasks; assert tasks.__file__.startswith({str(site)!r}); "
    # Of where other tests have set a project.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAMPLIGHTER_")}
    done = subprocess.run(
        [sys.executable, "-c", start + code], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_holds_no_tests_and_nothing_of_the_checkout(unpacked):
    assert {path.name for path in unpacked.iterdir()} == {
        "flows",
        "tasks",
        "expectations",
        "lamplighter-0.1.0.dist-info",
    }


def test_pages_are_drawn_and_suites_are_read_from_the_wheel(unpacked, tmp_path):
    drawn = _python("from tasks.core.pages import render_home; print(len(render_home([])))", unpacked, tmp_path)
    assert int(drawn) > 1000
    checked = _python(
        "import pathlib, expectations; from tasks.shards import validating; import pyarrow as pa; "
        "text = pathlib.Path(expectations.__path__[0], 'flight_delays.json').read_text(); print(len(text))",
        unpacked,
        tmp_path,
    )
    assert int(checked) > 1000


def test_a_project_begins_from_the_wheel(unpacked, tmp_path):
    folder = tmp_path / "churn"
    start = "from flows.cli import main; sys.argv = ['lamplighter', {}]; main()"
    made = _python(start.format(f"'init', {str(folder)!r}, '--json'"), unpacked, tmp_path)
    assert set(json.loads(made)["files"].values()) == {"made"}
    found = json.loads(_python(start.format("'check', '--json'"), unpacked, folder))
    assert found == [{"job": "churn", "problem": None}]


def test_schema_command_runs_from_the_wheel(unpacked, tmp_path):
    printed = _python("from flows.cli import main; sys.argv = ['lamplighter', 'schema']; main()", unpacked, tmp_path)
    assert json.loads(printed)["title"] == "Lamplighter job"
