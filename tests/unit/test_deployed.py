"""Where a worker's runs stand: in the project, which its environment has to name so that it is found from anywhere."""

import pytest

from tasks.core.errors import DefinitionError
from tasks.core.storage import Folder
from tasks.deployed import project_folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "real"
    (folder / "deployments/jobs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_run_goes_to_the_project(project, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", f"{project}/")
    assert project_folder() == {"directory": str(Folder(project).root)}
    # A pool may start its runs in the project.
    monkeypatch.chdir(project)
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", ".")
    assert project_folder() == {"directory": str(project)}


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("real", "is the relative path 'real' in the worker's environment"),
        ("../real", "is the relative path '../real'"),
        (".", "there is no .*/deployments/jobs"),
        ("/nowhere/at/all", "there is no /nowhere/at/all/deployments/jobs"),
        ("", "is not set"),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_name_that_is_none_from_elsewhere_is_refused(named, said, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", named)
    with pytest.raises(DefinitionError, match=said) as refused:
        project_folder()
    assert "Next: LAMPLIGHTER_PROJECT=/path/to/the/project prefect worker start" in str(refused.value)
