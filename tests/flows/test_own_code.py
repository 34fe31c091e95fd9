"""Own code in whole runs: found in the parent and in child processes, part of the plan, and told of in every record."""

import json
import sys

import pytest

from tasks.core import layout, own_code, own_modules
from tasks.core.definitions.modelling import Prediction
from tasks.core.definitions.project import Project
from tasks.core.storage import Folder
from tests.flows.conftest import DAY, as_table, open_world, readings, register

FEATURES = """
from sklearn.base import BaseEstimator, TransformerMixin

from ours.scale import FACTOR


class Scaled(TransformerMixin, BaseEstimator):
    def fit(self, rows, truth=None):
        return self

    def transform(self, rows):
        return rows[["x", "y"]].fillna(0) * FACTOR


def build():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(Scaled(), LogisticRegression())
"""
EXPECTATION = """
from great_expectations.expectations.core import ExpectColumnMinToBeBetween


class ExpectColumnHeldAboveOurs(ExpectColumnMinToBeBetween):
    min_value: float = -100.0
"""
NEVER_BELOW = {"type": "expect_column_held_above_ours", "kwargs": {"column": "x"}, "severity": "critical"}


def forget():
    """As a process that begins anew."""
    own_modules._looked_at.cache_clear()
    own_code.join(Folder(own_code.package_folder("tasks").root.parent))


@pytest.fixture
def own(world):
    """The job's production model has a step of the project's own, and its suite an expectation."""
    (world.folder / "ours").mkdir()
    (world.folder / "ours/__init__.py").write_text("")
    (world.folder / "ours/scale.py").write_text("FACTOR = 2.0\n")
    (world.folder / "ours/features.py").write_text(FEATURES)
    (world.folder / "expectations/above.py").write_text(EXPECTATION)
    world.write_suite(NEVER_BELOW)
    world.change_job(model__allowed_types=["ours.features.Scaled"])
    Project(Folder(world.folder)).load("readings")
    register(
        world.lake,
        "readings",
        own_code.named("ours.features:build")(),
        {"x": "float64", "y": "float64"},
        {"probability": Prediction(method="predict_proba", class_=1)},
        as_table(readings()),
    )
    forget()
    yield world
    forget()


@pytest.mark.extras
def test_a_run_finds_own_code_in_child_processes_and_records_it(own, lamplighter):
    own.change_job(limits={"isolate": "always", "workers": 1})
    state = own.score()
    assert state.name == "Published", state.message
    manifest = own.published()
    assert set(manifest.code.modules) == {"ours", "expectations"}
    assert [one.type for one in manifest.suite.expectations] == [NEVER_BELOW["type"]]
    page = own.lake.read_text(layout.window_page("readings", DAY))
    for name, digest in manifest.code.modules.items():
        assert f"Digest of the project&#39;s own {name}" in page
        assert digest in page
    _, out, _ = lamplighter("show", "readings", "--as-of", DAY)
    assert f"the project's own ours, digest {manifest.code.modules['ours'][:16]}" in out
    # What is finished stays, whatever has changed since.
    (own.folder / "ours/scale.py").write_text("FACTOR = 3.0\n")
    forget()
    assert own.score().name == "AlreadyPublished"
    assert own.published().run_id == manifest.run_id


def test_a_change_of_own_code_changes_the_plan_of_what_is_not_finished(own):
    own.write_rows(readings().assign(x=-1000.0))
    own.score()
    first = own.latest()
    assert first.verdict == "blocked"
    own.score()
    assert own.latest().plan_key == first.plan_key
    (own.folder / "ours/scale.py").write_text("FACTOR = 3.0\n")
    forget()
    own.score()
    changed = own.latest()
    assert changed.plan_key != first.plan_key
    assert changed.code.modules["expectations"] == first.code.modules["expectations"]
    assert changed.code.modules["ours"] != first.code.modules["ours"]


def test_a_run_says_what_check_would_have_said(own, lamplighter):
    (own.folder / "random.py").write_text("")
    (own.folder / "flows").mkdir()
    (own.folder / "flows/score.py").write_text("")
    refusals = [lamplighter(*command) for command in (("check",), ("score", "readings", "--as-of", DAY))]
    assert {code for code, _, _ in refusals} == {2}
    assert refusals[0][2] == refusals[1][2]
    assert "flows has the name of Lamplighter's own package 'flows'" in refusals[0][2]
    assert "random.py (Python's own module 'random')" in refusals[0][2]
    assert own.published() is None


def test_expectations_that_cannot_be_imported_end_a_run_in_a_paragraph(own):
    (own.folder / "expectations/above.py").write_text("import sys\nsys.exit(0)\n")
    forget()
    state = own.score()
    assert state.is_failed()
    assert (
        "a module of custom expectations cannot be imported: expectations.above: it ends the process" in state.message
    )
    assert own.published() is None


def test_check_says_what_is_next(world, lamplighter):
    code, out, _ = lamplighter("check")
    assert code == 0
    assert out.rstrip().splitlines()[-1].startswith("Next: lamplighter score readings --as-of 2")
    assert out.rstrip().endswith(" --dry-run")
    world.change_job(model__name="another")
    assert lamplighter("check")[1].rstrip().endswith(
        "Next: lamplighter register another --model FILE --reference SAMPLE.parquet"
    )  # fmt: skip
    world.change_job(model__name="readings", schedule={"cron": "30 2 * * *", "scores": "opened", "offset": 1000})
    assert " --as-of 20" in lamplighter("check")[1]
    (world.job_file.parent / "readings.yaml").rename(world.job_file.parent / "readings.txt")
    assert f"Next: lamplighter init {world.folder}" in " ".join(lamplighter("check")[1].split())


def test_init_from_anywhere(tmp_path, monkeypatch, lamplighter):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LAMPLIGHTER_LAKE")
    code, out, err = lamplighter("init", "my own/credit-risk", "--job", "credit")
    assert (code, err) == (0, "")
    assert "credit_risk/features.py" in out
    assert out.rstrip().splitlines()[-1].startswith("Next: cd 'my own/credit-risk'; cp .env.example .env")
    folder = tmp_path / "my own/credit-risk"
    # From another folder, by name; then in it, without.
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(folder))
    assert lamplighter("check")[0] == 0
    monkeypatch.chdir(folder)
    monkeypatch.delenv("LAMPLIGHTER_PROJECT")
    code, out, _ = lamplighter("check")
    assert (code, out.split()[2:4]) == (0, ["credit", "right"])
    again = json.loads(lamplighter("init", ".", "--job", "credit", "--json")[1])
    assert set(again["files"].values()) == {"there already"}
    assert not again["next"].startswith("cd ")
    made = lamplighter("deployments")[1]
    assert made == (folder / "deployments/prefect.yaml").read_text()
    (folder / "deployments/jobs/credit.yaml").write_text("job: mine\n")
    code, _, err = lamplighter("init", ".", "--job", "credit")
    assert (code, "holds deployments/jobs/credit.yaml already" in err) == (2, True)
    assert lamplighter("init", "")[0] == 2
    assert str(folder) not in sys.path or sys.path[-1] == str(folder)


@pytest.mark.extras
def test_a_release_takes_own_code_along(own, tmp_path, monkeypatch, lamplighter):
    from flows.cli.places import the_lake, the_project
    from tasks.release import make_release

    assert own.score().name == "Published"
    (tmp_path / "readings-x.tar.gz").write_bytes(make_release(the_lake(), the_project(), "readings", "x").content)
    (tmp_path / "away").mkdir()
    away = open_world(tmp_path / "away", monkeypatch)
    forget()
    code, _, err = lamplighter("install", str(tmp_path / "readings-x.tar.gz"), "--yes", "--force", "--reason", "a test")
    assert code == 0, err
    for key in ("ours/__init__.py", "ours/features.py", "ours/scale.py", "expectations/above.py"):
        assert (away.folder / key).read_bytes() == (own.folder / key).read_bytes()
    (away.folder / "data").mkdir()
    away.write_rows(readings())
    assert away.score().name == "Published"
    assert away.published().code.modules == own.published().code.modules
