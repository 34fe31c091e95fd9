"""What `check` finds: own code that cannot be had is told of, whatever it does while it is imported, and hurts no other job."""

import importlib
import json
import sys
import types

import pytest
import yaml

from tasks.core import own_code
from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError
from tasks.core.models.registry import Registry
from tasks.core.starting.new_project import make, new_project
from tasks.core.storage import Folder, Lake
from tasks.shards import checking

OWN = "churn.features.Logarithms"
TRAINING = {
    "features": ["spend"],
    "fit": {"first": "2024-01-01", "last": "2024-01-02"},
    "benchmark": {"first": "2024-01-03", "last": "2024-01-04"},
}
LABELS = {"query": "SELECT 1", "target": "churned"}


class Made:
    def __init__(self, folder):
        self.folder = folder
        make(Lake(folder), new_project(Lake(folder)))

    def write(self, key, text):
        (self.folder / key).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / key).write_text(text)

    def job(self, name="churn", *, allowed=(), **changes):
        file = self.folder / "deployments/jobs/churn.yaml"
        job = yaml.safe_load(file.read_text()) | {"job": name} | changes
        job["model"] = {"name": "churn", "allowed_types": list(allowed)}
        self.write(f"deployments/jobs/{name}.yaml", yaml.safe_dump(job))

    def suite(self, name, *expectations):
        self.write(f"expectations/{name}.json", json.dumps({"name": name, "expectations": expectations}))

    def found(self):
        return checking.check_jobs(Project(Lake(self.folder)), Registry(Lake(self.folder / "lake")))


@pytest.fixture
def made(tmp_path):
    yield Made(tmp_path / "churn")
    own_code.join(Folder(own_code.package_folder("tasks").root.parent))


ODD = {
    "raises": ("raise ValueError('no licence')", "churn.raises: ValueError: no licence ("),
    "exits": ("import sys; sys.exit(0)", "it ends the process (sys.exit(0))"),
    "dies": ("import os; os._exit(7)", "the process that worked on the import of churn.dies died"),
    "lacks": ("x = 1", "churn.lacks has no 'Own'"),
}


def test_own_code_that_cannot_be_imported_is_a_paragraph(made, capfd):
    for name, (text, _) in ODD.items():
        made.write(f"churn/{name}.py", f"print('noise')\n{text}")
        made.job(name, allowed=[OWN, f"churn.{name}.Own"])
    made.job(allowed=[OWN, "lightgbm.sklearn.LGBMClassifier"])
    made.job("trained", labels=LABELS, training={"estimator": "churn.features:Logarithms", **TRAINING})
    made.job("untrained", labels=LABELS, training={"estimator": "churn.features:build", **TRAINING})
    found = made.found()
    assert found["churn"] is None
    assert found["trained"] is None
    assert "key 'training.estimator' is 'churn.features:build'" in found["untrained"]
    assert "churn.features has no 'build'" in found["untrained"]
    for name, (_, said) in ODD.items():
        assert said in found[name]
        where = (
            f"deployments/jobs/{name}.yaml: one of key 'model.allowed_types' is 'churn.{name}.Own', which cannot be "
        )
        assert found[name].startswith(where)
        assert found[name].endswith("Next: mend that, then: lamplighter check.")
    # What is printed on the way is not for whoever reads the table.
    assert "noise" not in capfd.readouterr().out


def test_an_adapter_of_the_version_that_would_score(made):
    made.job(allowed=["churn.nowhere.Own"])
    adapters = ("churn.features:to_model_input", "churn.features:to_rows", "elsewhere.module:function")
    signature = types.SimpleNamespace(adapters=adapters, interpreter="sklearn17")
    version = types.SimpleNamespace(signature=signature)
    registry = types.SimpleNamespace(alias=lambda *_: version, lake=Lake(made.folder))
    problem = checking.check_jobs(Project(Lake(made.folder)), registry)["churn"]
    # What only another interpreter has is not looked for here.
    assert "is 'churn.features:to_rows', which cannot be imported" in problem
    assert "churn.features has no 'to_rows'" in problem


def test_a_project_that_a_link_names_and_an_installation_in_place_knows_is_right(tmp_path, monkeypatch):
    made = Made(tmp_path / "real")
    made.write("ours_linked/model.py", "class Own: ...")
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "real")])
    importlib.import_module("ours_linked.model")
    own_code.join(Folder(tmp_path / "link"))
    try:
        assert checking._try_named("ours_linked.model", "Own") == ""
    finally:
        own_code.join(Folder(own_code.package_folder("tasks").root.parent))


def test_another_module_of_the_same_name_is_told(made, monkeypatch, tmp_path):
    made.write("ours_taken/model.py", "class Own: ...")
    (tmp_path / "other/ours_taken").mkdir(parents=True)
    (tmp_path / "other/ours_taken/model.py").write_text("class Own: ...")
    (tmp_path / "other/ours_taken/theirs.py").write_text("class Own: ...")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "other"), *sys.path])
    own_code.join(Folder(made.folder))
    try:
        assert "Python takes ours_taken.model from" in checking._try_named("ours_taken.model", "Own")
        # A module that the project does not have is not the project's.
        assert checking._try_named("ours_taken.theirs", "Own") == ""
    finally:
        for name in [name for name in sys.modules if name.startswith("ours_taken")]:
            del sys.modules[name]


def test_own_code_that_hangs_is_ended(made, monkeypatch):
    monkeypatch.setattr(checking, "IMPORT_SECONDS", 3)
    made.write("churn/hangs.py", "import time\nwhile True: time.sleep(1)")
    made.job(allowed=["churn.hangs.Own"])
    assert "the import of churn.hangs did not end within 3 s, and its process was ended" in made.found()["churn"]


def test_a_module_of_expectations_that_fails_hurts_the_jobs_with_a_suite_alone(made):
    made.write("expectations/ours.py", "raise RuntimeError('not today')\n")
    made.suite("churn")
    made.job("with_suite", suite="churn")
    found = made.found()
    assert found["churn"] is None
    assert "the custom expectations in expectations/ours cannot be imported" in found["with_suite"]
    assert "RuntimeError: not today" in found["with_suite"]


@pytest.mark.extras
def test_a_suite_names_the_project_s_own_expectation(made):
    made.write(
        "expectations/never_negative.py",
        "from great_expectations.expectations.core import ExpectColumnMinToBeBetween\n\n\n"
        "class ExpectColumnNeverNegative(ExpectColumnMinToBeBetween):\n    min_value: float = 0\n",
    )
    made.suite("churn", {"type": "expect_column_never_negative", "kwargs": {"column": "spend"}})
    made.suite("wrong", {"type": "expect_column_never_positive", "kwargs": {"column": "spend"}})
    made.job("with_suite", suite="churn")
    made.job("wrong", suite="wrong")
    found = made.found()
    assert found["with_suite"] is None
    assert "expect_column_never_positive" in found["wrong"]


def test_drivers_that_are_not_installed_are_named(made):
    made.job(source={"type": "sql", "driver": "nowhere", "uri_env": "X", "query": "SELECT 1"})
    assert "key 'source.driver' is 'nowhere', which is not installed. Next: pip install 'adbc-driver-nowhere'" in made.found()["churn"]  # fmt: skip


def test_what_stands_in_the_way_is_told_before_anything_is_imported(made):
    made.write("tasks/__init__.py", "raise SystemExit(1)")
    with pytest.raises(DefinitionError, match="Lamplighter's own package 'tasks'"):
        made.found()


def test_without_own_code_no_process_is_started(made, monkeypatch):
    monkeypatch.setattr(checking, "_workers", lambda: pytest.fail("a child was started"))
    made.suite("churn")
    made.job(suite="churn", allowed=["lightgbm.sklearn.LGBMClassifier"])
    assert made.found() == {"churn": None}
