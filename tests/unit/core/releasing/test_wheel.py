"""The wheel in a release is that of the code which runs."""

import io
import pathlib
import subprocess
import sys
import zipfile

import pytest

from tasks.core import provenance
from tasks.core.errors import ReleaseRefused
from tasks.core.releasing import wheel
from tasks.core.releasing.wheel import assemble_wheel, modules_digest_of

ROOT = pathlib.Path(__file__).parents[4]


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_same_code_gives_the_same_wheel():
    assert assemble_wheel() == assemble_wheel()


def test_it_holds_the_code_that_runs():
    name, content = assemble_wheel()
    assert name == f"lamplighter-{provenance.code_record().version}-py3-none-any.whl"
    assert modules_digest_of(content, "x") == provenance.modules_digest(("tasks", "flows", "expectations"))


def test_it_is_what_the_build_tool_makes_of_the_checkout(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    expected, found = members(built.read_bytes()), members(assemble_wheel()[1])

    assert built.name == assemble_wheel()[0]
    assert set(found) == set(expected)
    # Who made it stands in WHEEL and, by digest, in RECORD; METADATA repeats the README of the installation.
    differ = {name.rpartition("/")[2] for name in found if found[name] != expected[name]}
    assert differ <= {"WHEEL", "RECORD", "METADATA"}


def test_metadata_older_than_the_checkout_is_made_anew(monkeypatch):
    monkeypatch.setattr(wheel, "_is_stale", lambda *_: True)
    found = members(assemble_wheel()[1])
    metadata = next(content for name, content in found.items() if name.endswith("METADATA"))
    assert b"Name: lamplighter\n" in metadata
    assert b"Requires-Dist: cronsim<3,>=2.7\n" in metadata


def test_without_an_installation_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(wheel, "_NAME", "no_such_distribution_of_anybody")
    with pytest.raises(wheel.DefinitionError, match="pip install --no-deps"):
        assemble_wheel()


def test_what_is_no_wheel_is_refused():
    for content in (b"", b"PK", assemble_wheel()[1][:-30]):
        with pytest.raises(ReleaseRefused, match="cannot be read"):
            modules_digest_of(content, "x")


def test_a_wheel_that_swells_is_refused():
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tasks/x.py", bytes(200 << 20))
    with pytest.raises(ReleaseRefused, match="larger than Lamplighter can be"):
        modules_digest_of(sink.getvalue(), "x")
