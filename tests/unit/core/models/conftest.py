"""A project of somebody's own, for models that need its code."""

import sys

import pytest

from tasks.core import own_code
from tasks.core.storage import Folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, whose modules are importable while the test runs."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(folder))
    monkeypatch.setattr(sys, "path", list(sys.path))
    # What is written twice within a second would be taken for what it was.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield folder
    own_code.join(Folder(own_code.package_folder("tasks").root.parent))
