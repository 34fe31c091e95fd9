"""A file of the lake under a second key: the same bytes, there as a whole, whatever the file system can do."""

import errno
import os
import pathlib

import pytest

from tasks.core.errors import LakeError
from tasks.core.storage import system


def test_it_is_a_second_name_and_outlives_the_first(lake):
    lake.write_bytes("a/one", b"rows")
    lake.copy("a/one", "b/two")
    assert lake.path("a/one").stat().st_ino == lake.path("b/two").stat().st_ino
    lake.write_bytes("a/one", b"others")
    lake.remove("a")
    assert (lake.read_bytes("b/two"), lake.names("b")) == (b"rows", ["two"])


def test_it_takes_the_place_of_what_stands_there_also_of_itself(lake):
    lake.write_bytes("one", b"rows")
    lake.write_bytes("two", b"old")
    for _ in range(2):
        lake.copy("one", "two")
        assert (lake.read_bytes("two"), lake.files()) == (b"rows", ["one", "two"])


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_there_are_no_second_names_it_is_copied_and_flushed(lake, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    flushed = []
    lake.write_bytes("one", b"rows")
    monkeypatch.setattr(pathlib.Path, "hardlink_to", refuse)
    monkeypatch.setattr(system, "flush_file", lambda path: flushed.append(path.read_bytes()))
    lake.copy("one", "two")
    assert (lake.read_bytes("two"), flushed) == (b"rows", [b"rows"])
    assert lake.path("one").stat().st_ino != lake.path("two").stat().st_ino


def test_what_is_not_there_cannot_be_copied(lake):
    with pytest.raises(LakeError, match=r"could not copy .*one: No such file"):
        lake.copy("one", "two")
    assert lake.files() == []
