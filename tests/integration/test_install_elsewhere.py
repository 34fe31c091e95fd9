"""A release goes to a machine that has the locked packages and nothing of this checkout: its own wheel is what runs there.

The environment is a new one; only what the lock names is shared with this one, through a path file.
"""

import hashlib
import json
import os
import pathlib
import shlex
import shutil
import site
import stat
import subprocess
import sys
import tarfile
from dataclasses import dataclass

import pandas as pd
import pytest
import yaml

from tasks.core.storage import Lake
from tests.flows.conftest import DAY, World, make_project, readings

pytestmark = pytest.mark.extras

ROOT = pathlib.Path(__file__).parents[2]
WORKFLOW = yaml.safe_load((ROOT / "deployments/github-workflow.yaml").read_text())


@dataclass
class Machine:
    """A project, a lake, and the environment whose `lamplighter` is typed there."""

    folder: pathlib.Path
    bin: pathlib.Path
    prefect: pathlib.Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("LAMPLIGHTER_", "PYTHONPATH"))
        }
        return kept | {
            "PATH": f"{self.bin}:{kept['PATH']}",
            "LAMPLIGHTER_PROJECT": str(self.folder),
            "LAMPLIGHTER_LAKE": str(self.folder / "lake"),
            "PREFECT_HOME": str(self.prefect),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
            "PYTHONWARNINGS": "",
        }

    def types(self, command: str, **more: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environment | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def does(self, command: str, **more: str) -> str:
        done = self.types(command, **more)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def published(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "lake/predictions/readings").sort_values("sensor", ignore_index=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Machine:
    """Where a window of `readings` was scored, with the code of this checkout."""
    made = Machine(
        make_project(tmp_path_factory.mktemp("home") / "project").folder,
        pathlib.Path(sys.executable).parent,
        tmp_path_factory.mktemp("prefect-home"),
    )
    _give_rows(made)
    made.does(f"lamplighter score readings --as-of {DAY}")
    return made


@pytest.fixture(scope="module")
def release(home) -> pathlib.Path:
    home.does("lamplighter release readings -o dist/readings-1.tar.gz")
    return home.folder / "dist/readings-1.tar.gz"


@pytest.fixture(scope="module")
def elsewhere(release, tmp_path_factory) -> Machine:
    """An environment in which nothing but the release's wheel was installed, beside what the lock names."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with tarfile.open(release) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (wheel,) = (folder / "unpacked/wheel").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    (packages,) = (folder / "venv/lib").glob("python*/site-packages")
    # A path that a .pth names is no site folder: the path file of this checkout's own installation is not read from it.
    (packages / "locked.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    (folder / "project").mkdir()
    machine = Machine(folder / "project", folder / "venv/bin", folder / "prefect")
    machine.does(f"python -m pip install -q --no-deps --no-index {shlex.quote(str(wheel))}")
    where = machine.does("python -c 'import tasks, flows, expectations; print(tasks.__file__)'")
    assert where.startswith(str(packages))
    return machine


def test_it_is_installed_checked_and_scores_the_same_bytes(home, release, elsewhere):
    said = elsewhere.does(f"lamplighter install {release} --yes")
    assert "bit for bit" in said
    assert "Installed readings 1: production of readings is version 1." in said
    elsewhere.does("lamplighter check")
    before = _digests(elsewhere)
    assert "is installed already" in elsewhere.does(f"lamplighter install {release} --yes")
    assert _digests(elsewhere) == before

    _give_rows(elsewhere)
    elsewhere.does(f"lamplighter score readings --as-of {DAY}")

    scored = ["sensor", "at", "probability", "kind", "model_version"]
    pd.testing.assert_frame_equal(elsewhere.published()[scored], home.published()[scored], check_exact=True)


def test_what_it_prints_for_another_lamplighter_is_what_helps(release, elsewhere, tmp_path):
    (module,) = elsewhere.bin.parent.glob("lib/python*/site-packages/tasks/__init__.py")
    module.write_text(module.read_text() + "\n# Another version.\n")
    other = Machine(tmp_path / "project", elsewhere.bin, elsewhere.prefect)
    other.folder.mkdir()

    refused = other.types(f"lamplighter install {release} --yes")

    assert refused.returncode == 3
    command = refused.stderr.partition("Next: ")[2].partition(", then install")[0]
    assert command.startswith("python -m pip install --no-deps --force-reinstall ")
    other.does(f"PIP_NO_INDEX=1 {command}")
    assert "Another version" not in module.read_text()
    assert "Installed readings 1" in other.does(f"lamplighter install {release} --yes")


def test_two_at_once_end_as_one(release, elsewhere, tmp_path):
    machine = Machine(tmp_path / "project", elsewhere.bin, elsewhere.prefect)
    machine.folder.mkdir()
    one = f"lamplighter install {release} --yes"

    done = machine.types(f"({one} && echo 0 > a || echo $? > a) & ({one} && echo 0 > b || echo $? > b) & wait; cat a b")

    codes = sorted(int(line) for line in done.stdout.splitlines() if line.isdecimal())
    assert codes in ([0, 0], [0, 1]), done.stdout + done.stderr
    assert (machine.folder / "lake/releases/readings/0001.json").exists()
    assert [path.name for path in (machine.folder / "lake/models/readings/versions").iterdir()] == ["0001"]
    assert not (machine.folder / "lake/models/.installing").exists()
    machine.does(one)


def test_each_command_of_the_github_workflow_runs_in_a_clone_of_a_users_repository(home, tmp_path):
    """But for pip, which the Makefile's own commands are the test of, and GitHub's `gh`, in whose place a script stands."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    shutil.copytree(home.folder, origin, ignore=shutil.ignore_patterns("lake", "dist", "data"))
    (origin / "tests").mkdir()
    (origin / "tests/test_ours.py").write_text("def test_ours():\n    assert True\n")
    git = "git -c user.name=a -c user.email=a@b.c -c init.defaultBranch=main"
    at = Machine(origin, home.bin, home.prefect)
    at.does(f"{git} init -q . && {git} add . && {git} commit -q -m first && {git} tag readings-2024.05")
    at.does(f"git clone -q {origin} {clone}")
    typed = tmp_path / "gh-was-typed"
    gh = tmp_path / "bin/gh"
    gh.parent.mkdir()
    gh.write_text(f'#!/bin/sh\nfor each in "$@"; do echo "$each" >> {typed}; done\ntest -f "$4"\n')
    gh.chmod(gh.stat().st_mode | stat.S_IXUSR)
    runner = Machine(clone, home.bin, home.prefect)
    given = {
        "LAMPLIGHTER_PROJECT": ".",
        "LAMPLIGHTER_LAKE": str(home.folder / "lake"),
        "GITHUB_REF_NAME": "readings-2024.05",
        "RUNNER_TEMP": str(tmp_path),
        "PATH": f"{gh.parent}:{home.bin}:{os.environ['PATH']}",
    }
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step]
    ran = []
    for step in steps:
        if "pip install" not in step["run"]:
            runner.does(step["run"], **given)
            ran.append(step["name"])

    assert ran == ["Lint", "Check every job and suite", "Test", "Make the release", "Attach it to the tag"]
    assert "dist/readings-2024.05.tar.gz" in typed.read_text().splitlines()
    assert "sha256 " in (tmp_path / "notes.txt").read_text()
    with tarfile.open(clone / "dist/readings-2024.05.tar.gz") as archive:
        manifest = json.load(archive.extractfile("release.json"))
    assert (manifest["name"], manifest["created_at"] is not None) == ("2024.05", True)


def _give_rows(machine: Machine) -> None:
    (machine.folder / "data").mkdir(exist_ok=True)
    World(machine.folder, Lake(machine.folder / "lake")).write_rows(readings())


def _digests(machine: Machine) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in machine.folder.rglob("*")
        if path.is_file() and "/locks/" not in str(path)
    }
