"""Moving, removing and swapping in the lake, killed and refused at every step."""

import errno
import os
import time
from pathlib import Path

import pytest

from tasks.core.errors import LakeError
from tasks.core.storage import Lake, system
from tasks.core.storage import lake as lake_module
from tests.lake_tools import Killed, everything_in, failing, rows, run, write


def test_renaming_never_replaces_and_done_is_done(lake):
    lake.write_bytes("a/1", b"1")
    lake.rename("a", "deep/er/b")
    assert everything_in(lake) == ["deep/er/b/1"]
    lake.rename("a", "deep/er/b")
    lake.write_bytes("a/2", b"2")
    with pytest.raises(LakeError, match="File exists"):
        lake.rename("a", "deep/er/b")
    assert lake.try_rename("a", "deep/er/b") is False
    assert lake.try_rename("a", "c") is True
    with pytest.raises(LakeError, match="No such file"):
        lake.try_rename("nothing", "nowhere")
    assert everything_in(lake) == ["c/2", "deep/er/b/1"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.ENOTSUP])
def test_renaming_and_swapping_where_the_system_cannot_do_either_in_one_step(lake, monkeypatch, number):
    monkeypatch.setattr(system, "_renameat2", lambda *_: number)
    for key in ("a/1", "b/2", "c"):
        lake.write_bytes(key, b"")
    with pytest.raises(LakeError, match="File exists"):
        lake.rename("a", "b")
    with pytest.raises(LakeError, match="File exists"):
        lake.rename("c", "b/2")
    assert lake.swap("a", "b") is False
    assert everything_in(lake) == ["a/2", "b/1", "c"]
    lake.rename("a", "d")
    assert everything_in(lake) == ["b/1", "c", "d/2"]


def test_removing(lake):
    lake.write_bytes("a/b/c", b"")
    lake.write_bytes("a/d", b"")
    lake.path("link").symlink_to(lake.path("a"))
    lake.remove("a/d")
    lake.remove("link")
    lake.remove("nothing/there")
    assert everything_in(lake) == ["a/b/c"]
    lake.remove("a")
    assert everything_in(lake) == []


def test_nobody_sees_a_folder_half_removed(lake, monkeypatch):
    lake.write_bytes("t/a/1", b"")
    lake.write_bytes("t/a/2", b"")

    def killed(path):
        (path / "1").unlink()
        raise Killed

    monkeypatch.setattr(lake_module.shutil, "rmtree", killed)
    with pytest.raises(Killed):
        lake.remove("t/a")
    assert lake.names("t") == []
    monkeypatch.undo()
    lake.sweep("t")
    assert everything_in(lake) == ["t"]


def test_sweeping_takes_what_is_hidden_and_nothing_else(lake):
    for key in (
        "runs/w/.tmp-1",
        "runs/w/a/.tmp-2",
        "runs/w/.tmp-3/deep/x",
        "runs/w/a/kept",
        "runs/w/.keep",
        "runs/v/.tmp-4",
    ):
        lake.write_bytes(key, b"")
    lake.sweep("runs/w")
    assert everything_in(lake) == ["runs/v/.tmp-4", "runs/w/.keep", "runs/w/a/kept"]
    lake.sweep("not/there")


def test_sweeping_a_folder_that_others_write_to_leaves_what_is_at_work(lake):
    for key in ("pages/.tmp-1", "pages/.tmp-2", "pages/a/.tmp-3/x", "pages/a/.tmp-4/x", "pages/old"):
        lake.write_bytes(key, b"")
    an_hour_ago = time.time() - 3600
    for key in ("pages/.tmp-1", "pages/a/.tmp-3", "pages/old"):
        os.utime(lake.path(key), (an_hour_ago, an_hour_ago))
    lake.sweep("pages", idle_seconds=3000)
    assert everything_in(lake) == ["pages/.tmp-2", "pages/a/.tmp-4/x", "pages/old"]


def test_sweeping_that_is_refused_is_the_lakes_error(lake, monkeypatch):
    lake.write_bytes("runs/.tmp-1", b"")
    monkeypatch.setattr(Path, "unlink", failing(errno.EACCES))
    with pytest.raises(LakeError, match="Permission denied"):
        lake.sweep("runs")


# Swapping

one_step = pytest.mark.parametrize("atomic", [True, False], ids=["in one step", "in three steps"])


def prepare(lake: Lake, monkeypatch, *, atomic: bool) -> None:
    lake.write_bytes("table/w/old", b"")
    lake.write_bytes("aside/new", b"")
    if not atomic:
        monkeypatch.setattr(system, "exchange", lambda *_: False)


@one_step
def test_swapping_exchanges_two_folders(lake, monkeypatch, atomic):
    prepare(lake, monkeypatch, atomic=atomic)
    assert lake.swap("aside", "table/w") is atomic
    assert everything_in(lake) == ["aside/old", "table/w/new"]
    lake.mend_swap("aside", "table/w")
    assert everything_in(lake) == ["aside/old", "table/w/new"]


@one_step
def test_swapping_where_nothing_stands_moves_the_folder_there(lake, monkeypatch, atomic):
    prepare(lake, monkeypatch, atomic=atomic)
    assert lake.swap("aside", "table/v") is True
    assert everything_in(lake) == ["table/v/new", "table/w/old"]


@one_step
def test_swapping_what_is_not_prepared_changes_nothing(lake, monkeypatch, atomic):
    prepare(lake, monkeypatch, atomic=atomic)
    for target in ("table/w", "table/v"):
        with pytest.raises(LakeError, match="No such file"):
            lake.swap("nothing", target)
    assert everything_in(lake) == ["aside/new", "table/w/old"]


def test_swapping_in_one_step_leaves_no_instant_without_a_folder(lake):
    """Another process looks all the time, and is never told that there is none."""
    lake.write_bytes("table/w/part-0", b"")
    lake.write_bytes("aside/part-1", b"")
    body = (
        "print('looking', flush=True)\n"
        "for _ in range(20000):\n"
        "    assert len(os.listdir(lake.path('table/w'))) == 1\n"
        "print('done')\n"
    )
    with run(lake, body) as looker:
        assert looker.stdout.readline() == "looking\n"
        swaps = 0
        while looker.poll() is None:
            lake.swap("aside", "table/w")
            swaps += 1
        assert looker.stdout.read() == "done\n"
    assert looker.returncode == 0
    assert swaps > 20


@pytest.mark.parametrize(
    ("renames", "mended"),
    [(1, ["aside/new", "table/w/old"]), (2, ["aside/old", "table/w/new"]), (3, ["aside/old", "table/w/new"])],
)
def test_a_kill_at_each_step_of_a_swap_in_three_is_mended(lake, monkeypatch, renames, mended):
    prepare(lake, monkeypatch, atomic=False)
    done = []
    rename = Path.rename

    def rename_then_die(path, target):
        rename(path, target)
        done.append(target)
        if len(done) == renames:
            raise Killed

    monkeypatch.setattr(Path, "rename", rename_then_die)
    with pytest.raises(Killed):
        lake.swap("aside", "table/w")
    assert everything_in(lake) != ["aside/new", "table/w/old"]
    monkeypatch.setattr(Path, "rename", rename)
    lake.mend_swap("aside", "table/w")
    assert everything_in(lake) == mended
    lake.mend_swap("aside", "table/w")
    assert everything_in(lake) == mended
    assert lake.swap("aside", "table/w") is False


def test_a_swap_in_three_steps_that_fails_puts_back_what_was(lake, monkeypatch):
    prepare(lake, monkeypatch, atomic=False)
    rename = Path.rename

    def refuse_the_new(path, target):
        if path == lake.path("aside"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_the_new)
    with pytest.raises(LakeError, match="Input/output error"):
        lake.swap("aside", "table/w")
    assert everything_in(lake) == ["aside/new", "table/w/old"]


def test_a_swap_that_the_system_refuses_is_not_tried_in_three_steps(lake, monkeypatch):
    prepare(lake, monkeypatch, atomic=True)
    monkeypatch.setattr(system, "_renameat2", lambda *_: errno.EACCES)
    with pytest.raises(LakeError, match="Permission denied"):
        lake.swap("aside", "table/w")
    assert everything_in(lake) == ["aside/new", "table/w/old"]


# The hook that the tests of kills hang on


def test_every_change_is_told_once_with_its_key(lake, monkeypatch):
    told = []
    monkeypatch.setattr(system, "after_change", lambda change, key: told.append((change, key)))
    lake.write_bytes("a/1", b"")
    lake.append("a/log", b"")
    lake.create("a/2", b"")
    lake.create("a/2", b"")
    write(lake, "a/3", rows())
    lake.rename("a", "b")
    lake.rename("a", "b")
    lake.write_bytes("c/1", b"")
    lake.swap("c", "b")
    lake.mend_swap("c", "b")
    lake.remove("c")
    with lake.lock("d", holder="me"):
        pass
    assert told == [
        ("write", "a/1"),
        ("append", "a/log"),
        ("create", "a/2"),
        ("write", "a/3"),
        ("rename", "b"),
        ("write", "c/1"),
        ("swap", "b"),
        ("remove", "c"),
    ]
