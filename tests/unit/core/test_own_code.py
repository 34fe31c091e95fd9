"""A project's own Python: the last on the path, refused where it would be taken for another module, and told when it fails."""

import importlib
import sys

import pytest

import expectations
from tasks.core import own_code
from tasks.core.errors import DefinitionError
from tasks.core.models.elsewhere.process import _code_folders
from tasks.core.own_code import NotImportable
from tasks.core.storage import Folder
from tasks.core.workers import Workers, dismiss

CHECKOUT = own_code.package_folder("tasks").root.parent


@pytest.fixture(autouse=True)
def _alone():
    """What other tests have joined is left before, and what a test joins after."""
    own_code.join(Folder(CHECKOUT))
    yield
    own_code.join(Folder(CHECKOUT))


def made(folder, files):
    for key, text in files.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_text(text)
    return Folder(folder)


def test_the_project_is_last_on_the_path_and_once(tmp_path, monkeypatch):
    project = made(tmp_path, {"ours_a/__init__.py": "", "ours_a/model.py": "scale = 3\n"})
    # As a worker of Prefect has it.
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for _ in range(2):
        own_code.join(project)
        assert sys.path[-1] == str(tmp_path)
        assert sys.path.count(str(tmp_path)) == 1
    assert own_code.joined() == project
    assert own_code.named("ours_a.model:scale") == 3


def test_of_two_projects_the_last_joined_counts(tmp_path):
    one = made(tmp_path / "one", {"ours_b.py": "which = 1\n", "expectations/ours_x.py": "which = 1\n"})
    other = made(tmp_path / "other", {"ours_b.py": "which = 2\n", "expectations/ours_x.py": "which = 2\n"})
    for project, which in ((one, 1), (other, 2), (one, 1)):
        own_code.join(project)
        assert own_code.named("ours_b:which") == which
        assert own_code.named("expectations.ours_x:which") == which
    assert str(other.root) not in sys.path
    assert expectations.__path__ == [str(one.path("expectations")), str(CHECKOUT / "expectations")]
    own_code.join(Folder(CHECKOUT))
    assert expectations.__path__ == [str(CHECKOUT / "expectations")]
    with pytest.raises(NotImportable, match="ours_b"):
        own_code.imported("ours_b")


def test_nothing_of_a_project_that_was_left_is_imported(tmp_path):
    files = {"ours_j/later.py": "", "ours_k.py": "from ours_j import made\nfrom expectations import ours_z\n"}
    for which in (1, 2):
        made_of = {"ours_j/made.py": f"which = {which}\n", "expectations/ours_z.py": f"which = {which}\n"}
        own_code.join(made(tmp_path / str(which), files | made_of))
        assert own_code.named("ours_k:made.which") == which
        assert own_code.named("ours_k:ours_z.which") == which
    assert own_code.named("ours_j:made").__file__ == f"{tmp_path}/2/ours_j/made.py"


def test_a_link_to_a_project_is_that_project(tmp_path, monkeypatch):
    made(tmp_path / "real", {"ours_l.py": "def fails():\n    raise ValueError\n"})
    (tmp_path / "link").symlink_to("real")
    # As an installation in place has it, far ahead of what is installed.
    monkeypatch.setattr(sys, "path", [str(tmp_path / "real"), *sys.path])
    imported = importlib.import_module("ours_l")
    own_code.join(Folder(tmp_path / "link"))
    assert (sys.path[-1], str(tmp_path / "real") in sys.path) == (str(tmp_path / "link"), False)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - its words do not count
        imported.fails()
    assert f"ValueError ({tmp_path}/real/ours_l.py, line 2)" in own_code._why(raised.value)
    own_code.join(Folder(CHECKOUT))
    assert "ours_l" not in sys.modules


def test_lamplighters_own_stay_its_own(tmp_path, monkeypatch):
    # Another test may have imported the checkout's.
    monkeypatch.delitem(sys.modules, "expectations.consistent_schedule", raising=False)
    project = made(tmp_path, {"expectations/consistent_schedule.py": "ours = True\n", "expectations/more.py": ""})
    own_code.join(project)
    assert own_code.package_folder("expectations").root == CHECKOUT / "expectations"
    assert own_code.custom_expectations(project) == ["expectations.consistent_schedule", "expectations.more"]
    # The project's is found first.
    assert own_code.named("expectations.consistent_schedule:ours") is True
    assert own_code.custom_expectations(Folder(CHECKOUT)) == []


@pytest.mark.parametrize(
    ("file", "said", "renamed"),
    [
        ("random.py", "Python's own module 'random'", "own_random.py"),
        ("yaml/__init__.py", "the module 'yaml' in", "own_yaml"),
        ("numpy.py", "the module 'numpy' in", "own_numpy.py"),
        ("numpy.pyc", "the module 'numpy' in", "own_numpy.pyc"),
        ("flows/__init__.py", "Lamplighter's own package 'flows'", "own_flows"),
        ("tasks/nightly.py", "Lamplighter's own package 'tasks'", "own_tasks"),
        ("tasks.py", "Lamplighter's own package 'tasks'", "own_tasks.py"),
        ("expectations.py", "Lamplighter's own package 'expectations'", "own_expectations.py"),
    ],
)
def test_what_would_be_taken_for_another_is_refused_by_name(tmp_path, file, said, renamed):
    project = made(tmp_path, {file: ""})
    before = list(sys.path)
    with pytest.raises(DefinitionError) as refused:
        own_code.join(project)
    text = str(refused.value)
    assert str(tmp_path / file.partition("/")[0]) in text
    assert said in text
    assert f"rename it, such as {renamed}, with what imports it; then: lamplighter check" in text
    assert sys.path == before


def test_all_that_stand_in_the_way_are_named_at_once(tmp_path):
    project = made(tmp_path, {"random.py": "", "yaml.py": "", "flows/x.py": "", "ours_c.py": ""})
    with pytest.raises(
        DefinitionError, match=r"flows has the name .*; and so with random.py \(.*yaml.py \("
    ) as refused:
        own_code.refuse_clashes(project)
    assert "ours_c" not in str(refused.value)


def test_expectations_are_no_package_of_a_project(tmp_path):
    project = made(tmp_path, {"expectations/__init__.py": "", "expectations/ours.py": ""})
    with pytest.raises(DefinitionError, match=r"holds an __init__\.py.*Next: rm .*/expectations/__init__\.py, then"):
        own_code.refuse_clashes(project)
    # A copy of Lamplighter's own, as an image made from its checkout mounts it, hides nothing.
    made(tmp_path, {"expectations/__init__.py": (CHECKOUT / "expectations/__init__.py").read_text()})
    own_code.refuse_clashes(project)


@pytest.mark.parametrize(
    "file",
    ["tests/__init__.py", "test/__init__.py", "setup.py", "conftest.py", "docs/conf.py", "yaml/x.csv", "yaml/x.py",
     "my-package/random.py", "flows/readme.md", "data/random.py", "lake/predictions/x.py", "numpy.txt", "été.py"],
)  # fmt: skip
def test_what_stands_in_nobodys_way_is_left_alone(tmp_path, file):
    own_code.refuse_clashes(made(tmp_path, {file: ""}))


def test_lamplighters_own_checkout_is_a_project(monkeypatch):
    own_code.refuse_clashes(Folder(CHECKOUT))
    before = list(sys.path)
    own_code.join(Folder(CHECKOUT))
    assert sys.path == before


def test_a_module_that_is_installed_too_is_refused_and_of_the_project_itself_is_not(tmp_path, monkeypatch):
    project = made(tmp_path / "project", {"ours_d/__init__.py": ""})
    # Installed in place: the path names the project itself.
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "project/../project")])
    own_code.refuse_clashes(project)
    made(tmp_path / "venv/site-packages", {"ours_d/__init__.py": ""})
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "venv/site-packages")])
    with pytest.raises(DefinitionError, match=r"the module 'ours_d' in .*site-packages/ours_d"):
        own_code.refuse_clashes(project)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ValueError('no licence')", "ValueError: no licence ("),
        ("import sys\nsys.exit(3)", "it ends the process (sys.exit(3)) ("),
        ("def broken(:", "SyntaxError"),
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all' ("),
        ("x = 1 / 0", "ZeroDivisionError: division by zero ("),
    ],
)
def test_what_a_module_raises_is_told_with_its_line(tmp_path, text, said):
    own_code.join(made(tmp_path, {"ours_e/__init__.py": "", "ours_e/model.py": f"\n{text}\n"}))
    with pytest.raises(NotImportable) as told:
        own_code.named("ours_e.model:build")
    assert said in str(told.value)
    assert f"{tmp_path}/ours_e/model.py, line {2 + text.count(chr(10))})" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_name_that_is_not_there(tmp_path):
    own_code.join(made(tmp_path, {"ours_f.py": "class Outer:\n    class Inner: ...\n"}))
    with pytest.raises(NotImportable, match="ours_f has no 'build'"):
        own_code.named("ours_f:build")
    assert own_code.named("ours_f:Outer.Inner").__qualname__ == "Outer.Inner"


def test_where_a_module_lies(tmp_path):
    project = made(tmp_path, {"ours/__init__.py": "", "ours/deep/model.py": "", "one.py": "", "flows/x.py": ""})
    found = {
        name: own_code.file_of(name, project)
        for name in ("ours", "ours.deep.model", "one", "os", "flows.x", "..x", "a/b")
    }
    assert found == {
        "ours": "ours/__init__.py", "ours.deep.model": "ours/deep/model.py", "one": "one.py",
        "os": None, "flows.x": None, "..x": None, "a/b": None,
    }  # fmt: skip


def test_a_module_far_below_makes_a_package(tmp_path):
    project = made(tmp_path, {
        "team/credit/risk/features.py": "x = 1\n", "team/readme.md": "", "numbers_of/as_of=2024/x.py": "", "other/.x/y.py": "",
        "others/__pycache__/y.py": "",
    })  # fmt: skip
    (tmp_path / "team/around").symlink_to(tmp_path)
    (tmp_path / "rounds").mkdir()
    (tmp_path / "rounds/again").symlink_to("../rounds")
    (tmp_path / "rounds/broken").symlink_to("broken")
    names = ("team", "numbers_of", "other", "others", "rounds", "nowhere")
    assert [name for name in names if own_code.lies_in(name, project)] == ["team"]
    assert own_code.file_of("team.credit.risk.features", project) == "team/credit/risk/features.py"
    assert list(own_code.modules_below("team", project)) == ["team/credit/risk/features.py"]
    own_code.join(project)
    assert own_code.named("team.credit.risk.features:x") == 1


@pytest.mark.parametrize(("wanted", "free"), [("ours", "ours"), ("numpy", "numpy_code"), ("flows", "flows_code"), ("lake", "lake_code"), ("tests", "tests_code")])  # fmt: skip
def test_a_name_that_hides_nothing(tmp_path, wanted, free):
    assert own_code.free_package_name(wanted, Folder(tmp_path)) == free


def _in_child(reference):
    return own_code.named(reference), sys.flags.safe_path


def test_child_processes_know_the_project_of_their_parent(tmp_path):
    try:
        for which in (1, 2):
            own_code.join(
                made(tmp_path / str(which), {"ours_g.py": f"which = {which}\n", "expectations/ours_y.py": "y = 4\n"})
            )
            workers = Workers(1, timeout_seconds=60, pool="own code")
            assert workers.call("the import", _in_child, "ours_g:which") == (which, True)
            assert workers.call("the import", _in_child, "expectations.ours_y:y") == (4, True)
    finally:
        dismiss("own code")


def test_another_interpreter_is_told_where_the_project_is(tmp_path):
    own_code.join(made(tmp_path, {"ours_i.py": ""}))
    assert _code_folders()[-1] == str(tmp_path)


def test_a_module_added_later_is_found(tmp_path):
    project = made(tmp_path, {"ours_h/__init__.py": ""})
    own_code.join(project)
    importlib.import_module("ours_h")
    made(tmp_path, {"ours_h/later.py": "x = 1\n", "expectations/later_too.py": "x = 2\n"})
    importlib.invalidate_caches()
    assert own_code.named("ours_h.later:x") == 1
    assert own_code.named("expectations.later_too:x") == 2
