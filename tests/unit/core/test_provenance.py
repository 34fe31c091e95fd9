"""What ran: the digest moves with the code, and a commit is named only where it is the code's own."""

import subprocess
import sys

import pytest

from tasks.core import provenance


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two modules that can be imported."""
    folder = tmp_path / "ours_of_this_test"
    (folder / "deep").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "deep/model.py").write_text("a = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    sys.modules.pop(folder.name, None)


def test_the_digest_is_of_names_and_bytes_of_modules_alone(package):
    digest = provenance.modules_digest((package.name,))
    assert len(digest) == 64
    (package / "notes.txt").write_text("else")
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__/model.cpython-311.pyc").write_bytes(b"x")
    assert provenance.modules_digest((package.name,)) == digest
    changed = {digest}
    for change in (
        lambda: (package / "deep/model.py").write_text("a = 2\n"),
        lambda: (package / "deep/model.py").rename(package / "deep/other.py"),
        lambda: (package / "deep/more.py").write_text(""),
        # The same bytes, cut elsewhere.
        lambda: [(package / "deep/more.py").write_text("a = 2\n"), (package / "deep/other.py").write_text("")],
    ):
        change()
        changed.add(provenance.modules_digest((package.name,)))
    assert len(changed) == 5


def test_the_environment_names_what_a_number_may_hang_on():
    found = provenance.environment()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"numpy", "pandas", "pyarrow", "scikit-learn", "great-expectations", "prefect", "joblib"} <= set(found)
    assert all(found.values())


def code_record(monkeypatch, root):
    monkeypatch.setattr(provenance, "_package_folder", lambda package: str(root / package))
    provenance.code_record.cache_clear()
    try:
        return provenance.code_record()
    finally:
        provenance.code_record.cache_clear()


@pytest.fixture
def checkout(tmp_path):
    """A repository of somebody's, in which Lamplighter is installed in an environment that is not tracked."""

    def git(*arguments):
        identity = ["-c", "user.name=us", "-c", "user.email=us@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    for folder in (tmp_path, tmp_path / "env"):
        for package in ("tasks", "flows", "expectations"):
            (folder / package).mkdir(parents=True)
            (folder / package / "__init__.py").write_text("")
    (tmp_path / ".gitignore").write_text("env\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    return tmp_path


def test_a_checkout_names_its_commit_and_whether_it_was_changed(checkout, monkeypatch):
    clean = code_record(monkeypatch, checkout)
    assert len(clean.commit) == 40
    assert clean.dirty is False
    (checkout / "notes.txt").write_text("not code")
    assert code_record(monkeypatch, checkout) == clean
    (checkout / "tasks/new.py").write_text("")
    changed = code_record(monkeypatch, checkout)
    assert (changed.commit, changed.dirty) == (clean.commit, True)
    assert changed.digest != clean.digest


def test_an_environment_within_another_checkout_does_not_take_its_commit(checkout, monkeypatch):
    record = code_record(monkeypatch, checkout / "env")
    assert (record.commit, record.dirty) == (None, None)
    assert len(record.digest) == 64


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    record = code_record(monkeypatch, checkout)
    assert (record.commit, record.dirty) == (None, None)
