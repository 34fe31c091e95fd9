"""The kernel's library: compiled once a machine, of Lamplighter's own text, and the reason where it cannot be had."""

import importlib.resources
import shutil
import subprocess

import pytest

from tasks.core.models.trees import library
from tasks.core.models.trees.library import NoLibrary

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler on this machine")


@pytest.fixture(autouse=True)
def anew(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    library.library.cache_clear()
    yield
    library.library.cache_clear()


def test_is_compiled_once_and_found_by_the_next_process(monkeypatch, tmp_path):
    assert library.library().sum_by_walking
    library.library.cache_clear()
    monkeypatch.setattr(subprocess, "run", None)
    assert library.library().sum_by_tables_32
    (kept,) = (tmp_path / ".cache/lamplighter").iterdir()
    assert kept.name.startswith("trees-")


def test_a_half_of_it_is_made_anew(tmp_path):
    source = importlib.resources.files("tasks.core.models.trees") / "kernel.c"
    kept = tmp_path / ".cache/lamplighter" / f"trees-{library._key(source.read_bytes())}.so"
    kept.parent.mkdir(parents=True, mode=0o700)
    kept.write_bytes(b"")
    assert library.library().sum_by_walking
    assert kept.stat().st_size


def test_another_text_or_other_flags_are_another_library(monkeypatch):
    first = library._key(b"text")
    assert library._key(b"texts") != first
    monkeypatch.setattr(library, "_FLAGS", ("-O2",))
    assert library._key(b"text") != first


@pytest.mark.parametrize(
    ("compiler", "says"),
    [("false", "false failed on Lamplighter's own C"), ("nothing-of-the-kind", "there is no C compiler here")],
)
def test_without_a_compiler_that_works_it_says_why(monkeypatch, compiler, says):
    monkeypatch.setattr(library, "_COMPILERS", (compiler,))
    with pytest.raises(NoLibrary, match=says):
        library.library()


def test_what_cannot_be_loaded_says_so(monkeypatch):
    monkeypatch.setattr(library, "_compile", lambda _, path: path.write_bytes(b"no library"))
    with pytest.raises(NoLibrary, match="cannot be loaded"):
        library.library()
