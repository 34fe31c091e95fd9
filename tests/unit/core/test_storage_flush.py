"""What a loss of power would take: folders that a file lies in reach the disk as the file does."""

import os
from pathlib import Path

import pytest

from tasks.core.errors import LakeError
from tasks.core.storage import system
from tests.lake_tools import rows, write


@pytest.fixture
def flushed(monkeypatch):
    """What has been flushed, in its order, by inode."""
    found = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: found.append(os.fstat(descriptor).st_ino))
    return found


def inode(path):
    return Path(path).stat().st_ino


@pytest.mark.parametrize(
    "put",
    [
        lambda lake: lake.write_bytes("a/b/c", b"1"),
        lambda lake: lake.create("a/b/c", b"1"),
        lambda lake: write(lake, "a/b/c", rows()),
        lambda lake: (lake.write_bytes("d/c", b"1"), lake.rename("d", "a/b"))[0],
        lambda lake: (lake.write_bytes("d/c", b"1"), lake.swap("d", "a/b"))[0],
    ],
    ids=["written", "created", "table", "moved", "swapped"],
)
def test_a_file_its_folder_and_each_new_folder_above_it_are_flushed(lake, flushed, put):
    lake.write_bytes("before", b"")
    flushed.clear()

    put(lake)

    assert {inode(lake.path(key)) for key in ("", "a", "a/b", "a/b/c")} <= set(flushed)
    # The bytes before the name that stands for them.
    assert flushed.index(inode(lake.path("a/b/c"))) < len(flushed) - 1 - flushed[::-1].index(inode(lake.path("a/b")))


def test_of_folders_that_are_there_only_that_of_the_file_is_flushed(lake, flushed):
    lake.write_bytes("a/b/c", b"1")
    flushed.clear()

    lake.write_bytes("a/b/c", b"2")

    assert flushed == [inode(lake.path("a/b/c")), inode(lake.path("a/b"))]


def test_a_file_where_a_folder_should_be_is_an_error(lake):
    lake.write_bytes("a", b"1")

    with pytest.raises(LakeError, match="could not write"):
        lake.write_bytes("a/b", b"2")


def test_what_is_flushed_is_the_whole_file_and_not_what_python_still_holds(lake, monkeypatch):
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    lake.write_bytes("a", b"12345")
    assert 5 in sizes


def test_a_swap_that_is_mended_is_flushed_where_it_was_and_where_it_is(lake, monkeypatch):
    lake.write_bytes("staged/t.old/part", b"")
    lake.write_bytes("table/other", b"")
    folders = []
    monkeypatch.setattr(system, "flush_folder", folders.append)
    lake.mend_swap("staged/t", "table/t")
    assert set(folders) == {lake.path("staged"), lake.path("table")}
