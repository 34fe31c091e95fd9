"""Who may score and who may change a model: what the lake's permissions enforce, and no flow could."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.flows.conftest import DAY, make_project, readings

pytestmark = pytest.mark.extras

LAMPLIGHTER = str(pathlib.Path(sys.executable).with_name("lamplighter"))


@pytest.fixture
def scorer(tmp_path):
    """Runs a command as somebody who may read the folder `models/` of the lake, and not write there."""
    world = make_project(tmp_path / "project")
    world.write_rows(readings())
    models = world.folder / "lake/models"
    folders = [models, *(path for path in models.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    environment = os.environ | {
        "LAMPLIGHTER_PROJECT": str(world.folder),
        "LAMPLIGHTER_LAKE": str(world.folder / "lake"),
    }
    # Root may write everywhere, unless it gives that power up.
    prefix = ["setpriv", "--bounding-set", "-dac_override"] if os.getuid() == 0 else []

    def run(*arguments):
        command = [*prefix, LAMPLIGHTER, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    yield world, run
    for folder in folders:
        folder.chmod(0o755)


@pytest.mark.slow
def test_who_may_not_write_models_scores_all_the_same_and_recalls_nothing(scorer):
    world, run = scorer
    assert os.getuid() or shutil.which("setpriv")

    scored = run("score", "readings", "--as-of", DAY)
    assert (scored.returncode, scored.stderr) == (0, "")
    assert len(world.table()) == 200

    recalled = run("recall", "readings", "--version", "1", "--reason", "it may not")
    assert recalled.returncode == 1
    assert "Permission denied" in recalled.stderr or "not permitted" in recalled.stderr, recalled.stderr
    assert recalled.stderr.count("\n") == 1
    assert len(world.table()) == 200
