"""A new project: valid as it stands, never over what is there, and complete after a kill at any instant."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.core import own_code, provenance
from tasks.core.definitions.deployments import prefect_yaml
from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError, LakeError
from tasks.core.starting.new_project import make, name_from, new_project
from tasks.core.storage import Folder, Lake, system

FILES = {
    ".env.example", ".gitignore", "README.md", "churn/__init__.py", "churn/features.py", "expectations/.gitkeep",
    "deployments/job.schema.json", "deployments/jobs/churn.yaml", "deployments/jobs/defaults.yaml",
    "deployments/prefect.yaml",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _left_again():
    yield
    own_code.join(Folder(own_code.package_folder("tasks").root.parent))


def begin(folder, job=""):
    lake = Lake(folder)
    return make(lake, new_project(lake, job))


def content(folder):
    return {key: Folder(folder).read_bytes(key) for key in Folder(folder).files()}


def test_a_project_is_made_whole_and_its_job_is_right(tmp_path):
    made = begin(tmp_path / "churn")
    assert set(made) == set(content(tmp_path / "churn")) == FILES
    assert all(made.values())
    project = Project(Folder(tmp_path / "churn"))
    assert project.job_names() == ["churn"]
    job = project.load("churn").job
    assert (job.source.uri_env, job.owner, job.model.name) == ("WAREHOUSE_URI", "data-team", "churn")
    assert b"@" not in content(tmp_path / "churn")["churn/features.py"]


def test_prefect_s_file_is_the_one_that_lamplighter_makes(tmp_path):
    begin(tmp_path / "churn")
    project = Project(Folder(tmp_path / "churn"))
    made = prefect_yaml([project.load("churn").job], provenance.code_record().version, project.models_work_pool())
    assert content(tmp_path / "churn")["deployments/prefect.yaml"].decode() == made


def test_every_line_that_is_commented_out_may_be_taken_in(tmp_path):
    begin(tmp_path / "churn")
    file = tmp_path / "churn/deployments/jobs/churn.yaml"
    lines = []
    for line in file.read_text().splitlines():
        key = line.strip().removeprefix("# ").partition(":")[0]
        of_the_other_kind = key in ("window", "event_time") and line.lstrip().startswith("#")
        taken = line.replace("# ", "", 1) if line.lstrip().startswith("# ") and key.isidentifier() else line
        lines.append(line if of_the_other_kind else taken)
    (tmp_path / "churn/expectations/churn.json").write_text('{"expectations": []}')
    (tmp_path / "churn/expectations/churn_scores.json").write_text('{"expectations": []}')
    file.write_text("\n".join(lines))
    job = Project(Folder(tmp_path / "churn")).load("churn").job
    assert (job.suite, job.deadline, job.output.shadow, job.output.latest) == ("churn", "3h", True, True)
    assert (job.output.sql.table, job.output.suite) == ("analytics.churn_scores", "churn_scores")
    assert (job.model.allowed_types, job.labels.target) == (("churn.features.Logarithms",), "churned")
    assert (job.schedule.cron, job.limits.batch_rows, job.output.pass_through) == ("30 2 * * *", 100_000, ("plan",))


def test_the_example_s_code_does_what_it_says(tmp_path):
    begin(tmp_path / "churn")
    own_code.join(Folder(tmp_path / "churn"))
    rows = pd.DataFrame({"months": [0, 4], "spend": [0.0, np.e - 1]})
    logarithms = own_code.named("churn.features:Logarithms")()
    assert logarithms.fit_transform(rows)["log_spend"].tolist() == [0.0, 1.0]
    assert logarithms.get_feature_names_out().tolist() == ["months", "spend", "log_spend"]
    assert list(logarithms.feature_names_in_) == ["months", "spend"]
    adapted = own_code.named("churn.features:to_model_input")(rows.assign(spend=[3.0, 8.0]))
    assert adapted["spend_per_month"].tolist() == [3.0, 2.0]
    columns = own_code.named("churn.features:to_columns")(np.array([[0.25, 0.75]]))
    assert columns["probability"].tolist() == [0.75]


def test_a_folder_may_be_called_what_yaml_reads_as_no_text(tmp_path):
    begin(tmp_path / "null")
    assert Project(Folder(tmp_path / "null")).load("job_null").job.model.name == "job_null"


def test_made_again_nothing_changes(tmp_path):
    begin(tmp_path / "churn")
    before = content(tmp_path / "churn")
    assert not any(begin(tmp_path / "churn").values())
    assert content(tmp_path / "churn") == before


def test_what_is_in_the_way_is_named_and_nothing_is_made(tmp_path):
    folder = tmp_path / "churn"
    folder.mkdir()
    (folder / "README.md").write_text("ours")
    (folder / "expectations").write_text("a file, where a folder is to be")
    (folder / ".gitignore").symlink_to("nowhere")
    with pytest.raises(DefinitionError, match=r"holds README\.md, \.gitignore, expectations/\.gitkeep already") as said:
        begin(folder)
    assert "Nothing was made" in str(said.value)
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "README.md", "expectations"]
    assert (folder / "README.md").read_text() == "ours"


def test_what_else_is_in_the_folder_stays(tmp_path):
    (tmp_path / "notebook.ipynb").write_text("{}")
    begin(tmp_path, "churn")
    assert (tmp_path / "notebook.ipynb").read_text() == "{}"


def test_a_folder_whose_modules_stand_in_the_way_is_no_project(tmp_path):
    (tmp_path / "random.py").write_text("")
    with pytest.raises(DefinitionError, match="Python's own module 'random'"):
        begin(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["random.py"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "churn").write_text("")
    with pytest.raises(DefinitionError, match="churn is a file, and a project is a folder"):
        begin(tmp_path / "churn")


def test_where_nobody_may_write(tmp_path, monkeypatch):
    def denied(path, data):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(system, "write_flushed", denied)
    with pytest.raises(LakeError, match=r"0 of 10 files were made\. Next: give a folder that this user may write"):
        begin(tmp_path / "churn")


def test_killed_at_any_instant_it_is_completed_by_the_same_command(tmp_path, monkeypatch):
    begin(tmp_path / "whole/churn")
    whole = content(tmp_path / "whole/churn")

    class Killed(BaseException): ...

    for at in range(len(whole)):
        folder, left = tmp_path / f"{at}/churn", iter(range(at))

        def kill(_change, _key, left=left):
            if next(left, None) is None:
                raise Killed

        monkeypatch.setattr(system, "after_change", kill)
        with pytest.raises(Killed):
            begin(folder)
        monkeypatch.undo()
        assert len(content(folder)) == at + 1
        begin(folder)
        assert content(folder) == whole


def test_two_at_once_make_one(tmp_path):
    project = new_project(Folder(tmp_path / "churn"))
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make(Lake(tmp_path / "churn"), project), range(8)))
    assert {key: sum(one[key] for one in made) for key in FILES} == dict.fromkeys(FILES, 1)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("churn", "churn"), ("Credit-Risk 2", "credit_risk_2"), ("Prévision", "prevision"), ("2013", "job_2013"),
        ("日本", "scores"), ("..", "scores"), ("o'neil \"x\"", "o_neil_x"), ("a" * 200, "a" * 40), ("x\ny", "x_y"),
        ("null", "job_null"), ("On", "job_on"),
    ],
)  # fmt: skip
def test_names_come_from_the_folder(folder, name):
    assert name_from(folder) == name


@pytest.mark.parametrize(
    ("folder", "package"),
    [
        ("numpy", "numpy_code"),
        ("tasks", "tasks_code"),
        ("class", "class_code"),
        ("random", "random_code"),
        ("日本", "scores"),
    ],
)
def test_the_package_hides_nothing(tmp_path, folder, package):
    project = new_project(Folder(tmp_path / folder))
    assert project.package == package
    make(Lake(tmp_path / folder), project)
    own_code.join(Folder(tmp_path / folder))
    assert own_code.named(f"{package}.features:Logarithms").__name__ == "Logarithms"
    readme = (tmp_path / folder / "README.md").read_text()
    assert readme.startswith(f"# {folder}\n")


@pytest.mark.parametrize(
    "job", ["defaults", "Churn", "a b", "a/b", "../x", "1st", "x" * 64, "null", "true", "on", "no"]
)
def test_a_job_s_name_that_is_none(tmp_path, job):
    with pytest.raises(DefinitionError, match="give --job of lower-case letters"):
        begin(tmp_path, job)
    assert list(tmp_path.iterdir()) == []


def test_its_code_is_clean_python(tmp_path):
    begin(tmp_path / "churn")
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "130", "--select", "E,F,I,UP,B,PL,RET", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    for file in (tmp_path / "churn").rglob("*.yaml"):
        assert yaml.safe_load(file.read_text())
