"""The audit asks the package deltalake what it makes of a table: where that is something else, readers get something else."""

import sys
import types

import pyarrow as pa
import pytest

from tasks.core.auditing.second_opinion import differences
from tests import delta_scenes
from tests import recall_scenes as scenes

PATH = f"as_of={scenes.DAY}/part-r.parquet"


@pytest.fixture
def package(lake, monkeypatch):
    """In the place of the package: a table of these paths and this version."""
    delta_scenes.begin(lake)
    scenes.publish(lake, "r", 1)

    def say(paths, version=1):
        def opened(address):
            assert address == lake.address(delta_scenes.TABLE)
            if not isinstance(paths, list):
                raise ValueError(paths)
            return types.SimpleNamespace(version=lambda: version, get_add_actions=lambda: pa.table({"path": paths}))

        monkeypatch.setitem(sys.modules, "deltalake", types.SimpleNamespace(DeltaTable=opened))
        return [one.found for one in differences(lake, scenes.JOB)]

    return say


def test_the_same_files_are_no_finding(package):
    assert package([PATH]) == package([PATH.replace("=", "%3D")]) == []


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        ([], f"others: {PATH}"),
        ([PATH, "x.parquet"], "others: x.parquet"),
        ("no such\n  version", "nothing (no such version)"),
    ],
)
def test_others_are_one(package, paths, found):
    assert package(paths) == [found]


def test_a_table_that_was_changed_meanwhile_is_looked_at_the_next_time(package):
    assert package([], version=2) == []


def test_without_the_package_or_a_delta_table_nobody_is_asked(lake, monkeypatch):
    scenes.publish(lake, "r", 1)
    assert list(differences(lake, scenes.JOB)) == []
    monkeypatch.setitem(sys.modules, "deltalake", None)
    delta_scenes.begin(lake, table=f"shadow/{scenes.JOB}")
    assert list(differences(lake, scenes.JOB)) == []
