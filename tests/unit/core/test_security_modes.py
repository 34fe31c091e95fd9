"""Under a umask of nothing too, the world may write nothing that the door to files makes."""

import os
import stat

import pyarrow as pa
import pytest

from tasks.core.storage import Lake, system


@pytest.fixture
def careless():
    before = os.umask(0)
    yield
    os.umask(before)


def written(lake):
    """A file of every kind, by every way, in a lake that is not there yet; and what of it the world may write."""
    lake.write_bytes("a/b/bytes", b"x")
    assert lake.create("a/created", b"x")
    lake.append("scratch/appended", b"x")
    lake.append("scratch/appended", b"y")
    with lake.parquet_writer("t/as_of=2024-05-01/part-1.parquet", pa.schema([("n", pa.int64())])) as writer:
        writer.write_table(pa.table({"n": [1]}))
    lake.write_bytes("staged/part-2.parquet", b"x")
    lake.swap("staged", "t/as_of=2024-05-01")
    lake.rename("a/created", "moved/created")
    with lake.lock("locks/one.lock", holder="a test"):
        modes = {path.relative_to(lake.root): path.stat().st_mode for path in lake.root.rglob("*")}
    modes["the lake"], modes["above it"] = lake.root.stat().st_mode, lake.root.parent.stat().st_mode
    assert lake.path("scratch/appended").read_bytes() == b"xy"
    assert len(modes) > 14
    return [str(path) for path, mode in modes.items() if mode & stat.S_IWOTH]


def test_nobody_else_may_write_it(careless, tmp_path):
    assert written(Lake(tmp_path / "srv/lake")) == []


def test_the_group_may_as_the_umask_says(careless, tmp_path):
    lake = Lake(tmp_path / "lake")
    lake.write_bytes("a/b", b"x")
    assert [oct(path.stat().st_mode & 0o777) for path in (lake.path("a"), lake.path("a/b"))] == ["0o775", "0o664"]
    os.umask(0o027)
    lake.write_bytes("c/d", b"x")
    assert [oct(path.stat().st_mode & 0o777) for path in (lake.path("c"), lake.path("c/d"))] == ["0o750", "0o640"]


def test_the_check_finds_what_is_wrong(careless, tmp_path, monkeypatch):
    monkeypatch.setattr(system, "_FILE_MODE", 0o666)
    assert "a/b/bytes" in written(Lake(tmp_path / "lake"))
