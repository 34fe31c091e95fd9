"""What the door to files says of folders: their marks, what lies in them and how large, and what killed writers left."""

import os

import pytest

from tasks.core.errors import LakeError
from tests.lake_tools import failing


def test_a_folder_that_is_put_in_another_s_place_has_another_mark(lake):
    for name in ("b", "a"):
        lake.write_bytes(f"table/{name}/part", b"1")
    lake.write_bytes("table/file", b"no folder")
    lake.write_bytes("table/.hidden/part", b"no name")
    before = lake.folder_marks("table")
    assert list(before) == ["a", "b"]
    assert lake.folder_marks("table") == before
    lake.write_bytes("prepared/part", b"3")
    lake.swap("prepared", "table/a")
    after = lake.folder_marks("table")
    assert (after["b"], after["a"] != before["a"]) == (before["b"], True)
    assert lake.folder_marks("nowhere") == lake.folder_marks("table/file") == {}


def test_a_folder_that_has_changed_has_another_mark_under_the_same_number(lake):
    """A file system gives the number of a folder that is gone to the next one."""
    lake.write_bytes("table/a/part", b"1")
    before, folder = lake.folder_marks("table"), lake.path("table/a")
    number = folder.stat().st_ino
    for _ in range(100_000):  # The clock of a file system ticks every few milliseconds.
        folder.chmod(0o755)
        if lake.folder_marks("table") != before:
            break
    assert folder.stat().st_ino == number
    assert lake.folder_marks("table") != before


def test_the_sizes_of_a_file_and_of_all_below_a_folder(lake):
    lake.write_bytes("a/one", b"1")
    lake.write_bytes("a/b/.tmp-two", b"22")
    assert lake.sizes_bytes("a") == {"a/one": 1, "a/b/.tmp-two": 2}
    assert lake.sizes_bytes("a/one") == {"a/one": 1}
    assert lake.sizes_bytes("nowhere") == {}


def test_a_link_out_of_the_lake_is_not_measured_through(lake, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/large").write_bytes(b"x" * 5000)
    lake.write_bytes("a/one", b"1")
    os.symlink(tmp_path / "outside", lake.path("a/link"))
    assert lake.sizes_bytes("a") == {"a/one": 1}


def test_what_sweep_would_remove_is_said_with_its_bytes_and_then_removed(lake):
    for key in ("a/.tmp-old", "a/b/.tmp-folder/in/it", "a/.tmp-young", "a/stays"):
        lake.write_bytes(key, b"123")
    for key in ("a/.tmp-old", "a/b/.tmp-folder"):
        os.utime(lake.path(key), (1, 1))
    found = lake.litter_bytes("", idle_seconds=60)
    assert found == {"a/.tmp-old": 3, "a/b/.tmp-folder": 3}
    lake.sweep("a", idle_seconds=60, below=False)
    assert lake.litter_bytes("", idle_seconds=60) == {"a/b/.tmp-folder": 3}
    lake.sweep("", idle_seconds=60)
    assert lake.files() == ["a/.tmp-young", "a/stays"]


def test_an_empty_folder_is_removed_and_one_with_anything_in_it_is_not(lake):
    lake.write_bytes("a/b/c", b"1")
    lake.remove_empty("a")
    lake.remove_empty("nowhere")
    assert lake.files() == ["a/b/c"]
    lake.remove("a/b/c")
    lake.remove_empty("a/b")
    assert not lake.exists("a/b")


@pytest.mark.parametrize("look", ["folder_marks", "sizes_bytes"])
def test_a_folder_that_cannot_be_listed_is_an_error_and_not_empty(lake, monkeypatch, look):
    lake.write_bytes("a/one", b"1")
    monkeypatch.setattr(os, "scandir", failing(13))
    with pytest.raises(LakeError, match="could not"):
        getattr(lake, look)("a")


def test_a_file_is_held_only_where_it_lies_in_the_folder_itself(lake, tmp_path):
    lake.write_bytes("a/kept", b"")
    (tmp_path / "outside").write_bytes(b"")
    for name, target in (("in", lake.path("a/kept")), ("out", tmp_path / "outside"), ("loop", lake.path("a/loop"))):
        lake.path(f"a/{name}").symlink_to(target)

    held = {key: lake.holds_file(key) for key in ("a/kept", "a/in", "a/out", "a/loop", "a", "a/nothing")}

    assert held == {"a/kept": True, "a/in": True, "a/out": False, "a/loop": False, "a": False, "a/nothing": False}
