"""What is installed is what was locked: every package by its exact version and its digests, and from nowhere but the index.

Whether a version has a known hole is asked of a database on the network (docs/security.md); this is what holds without one.
"""

import pathlib
import re
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
LOCKS = [ROOT / "requirements.lock", *sorted((ROOT / ".ci").glob("*.lock"))]
# name[extra]==version ; marker
PINNED = re.compile(r"([a-z0-9][a-z0-9._-]*)(\[[a-z0-9,._-]+\])?==[0-9][\w.!+-]*( ; [^@#:\\]+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries(text):
    """Each requirement with its digests, as pip joins the lines."""
    lines = text.replace("\\\n", "").split("\n")
    return [re.split(r"\s+(?=--)", line.strip()) for line in lines if line.strip() and not line.startswith("#")]


def faults(text):
    """The entries that are no exact version with digests: addresses, paths, options such as another index."""
    return [
        entry[0][:200]
        for entry in entries(text)
        if not (PINNED.fullmatch(entry[0].strip()) and entry[1:] and all(map(HASH.fullmatch, entry[1:])))
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_package_is_pinned_and_hashed_and_comes_from_the_index(lock):
    text = lock.read_text()
    assert len(entries(text)) > 50
    assert faults(text) == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_no_package_stands_twice_for_one_environment(lock):
    """The same name again is right where markers tell them apart; and only then."""
    seen = {}
    for entry in entries(lock.read_text()):
        requirement, _, marker = entry[0].partition(" ; ")
        seen.setdefault(PINNED.match(requirement)[1].replace("_", "-").replace(".", "-"), []).append(marker)
    assert {name: markers for name, markers in seen.items() if len(set(markers)) < len(markers)} == {}


def test_what_is_installed_is_installed_by_its_digest():
    """Of every lock, by pip as by uv, and nothing is resolved again."""
    makefile = (ROOT / "Makefile").read_text()
    dockerfile = (ROOT / "deployments/Dockerfile").read_text()
    installs = [line for line in makefile.splitlines() if "pip install" in line and " -r " in line]
    assert installs
    assert all("--require-hashes" in line and "--no-deps" in line for line in installs)
    assert "--require-hashes" in dockerfile


def test_the_locks_hold_what_the_project_needs():
    """A dependency that was added without `make lock` would be resolved by whoever installs."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.match(r"[\w.-]+", one)[0].lower() for one in needed}
    locked = {PINNED.match(entry[0])[1] for entry in entries(LOCKS[0].read_text())}
    assert names - locked == set()


@pytest.mark.parametrize(
    "line",
    [
        "prefect>=3.8.8",
        "prefect==3.8.*",
        "prefect",
        "prefect==3.8.8",
        "prefect @ https://example.org/prefect-3.8.8.whl",
        "git+https://example.org/prefect.git@main",
        "https://example.org/prefect-3.8.8.tar.gz",
        "-e .",
        "./wheels/prefect.whl",
        "--index-url https://example.org/simple",
        "--extra-index-url https://example.org/simple",
        "--find-links https://example.org",
        "--trusted-host example.org",
        "-r other.txt",
        "prefect==3.8.8 --hash=md5:0123456789abcdef0123456789abcdef",
        f"prefect==3.8.8 --hash=sha256:{'0' * 64} --global-option=x",
    ],
)
def test_the_check_finds_what_is_wrong(line):
    right = f"numpy==2.4.0 ; python_full_version >= '3.11' \\\n    --hash=sha256:{'a' * 64} \\\n    --hash=sha256:{'b' * 64}\n"
    assert faults(right) == []
    assert len(faults(f"{right}{line}\n")) == 1
