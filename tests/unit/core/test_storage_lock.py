"""The lock of a window: one at a time, whoever dies, and nobody is locked out for good."""

import errno
import fcntl
import os
import signal
import time
from pathlib import Path

import pytest

from tasks.core.errors import LakeError, LakeFull, WindowBusy
from tasks.core.storage import Lake
from tests.lake_tools import Killed, everything_in, failing, open_files, processes, run

LOCK = "locks/late 2013-07-01.lock"
HOLD = f"with lake.lock({LOCK!r}, holder='run brave-otter'):\n    print('held', flush=True)\n    sys.stdin.readline()\n"


@pytest.fixture
def holder(lake):
    """Another process that holds the lock until it is told to end, or killed."""
    with run(lake, HOLD) as other:
        assert other.stdout.readline() == "held\n"
        yield other
        other.kill()


def test_a_second_process_is_refused_and_told_who_holds_the_lock(lake, holder):
    started = time.monotonic()
    with pytest.raises(WindowBusy) as refused, lake.lock(LOCK, holder="me"):
        pass
    assert time.monotonic() - started < 1
    assert str(refused.value).startswith(
        "late 2013-07-01 is being run by run brave-otter. That run was not disturbed, and this one changed nothing. "
        "Next: wait for it to end, and run it again"
    )
    # It was refused, and did not take the lock from whoever holds it.
    with pytest.raises(WindowBusy, match="brave-otter"), lake.lock(LOCK, holder="me"):
        pass


def test_whether_a_lock_is_held_can_be_seen_without_taking_it(lake, holder):
    assert lake.is_locked(LOCK) is True
    assert lake.is_locked("locks/late 2013-07-02.lock") is False
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert lake.is_locked(LOCK) is False
    with lake.lock(LOCK, holder="me"):
        assert lake.is_locked(LOCK) is True


def test_another_window_is_free(lake, holder):
    with lake.lock("locks/late 2013-07-02.lock", holder="me"):
        pass


def test_who_waits_gets_the_lock_when_it_is_free(lake, holder):
    with run(
        lake, f"with lake.lock({LOCK!r}, holder='second', wait_seconds=30):\n    print('got it', flush=True)\n"
    ) as waiting:
        with pytest.raises(WindowBusy), lake.lock(LOCK, holder="me", wait_seconds=0.3):
            pass
        assert waiting.poll() is None
        holder.communicate("end\n")
        assert waiting.stdout.readline() == "got it\n"
    assert lake.files() == []


def test_a_lock_is_free_when_its_holder_was_killed(lake, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert lake.names("locks") == ["late 2013-07-01.lock"]
    with lake.lock(LOCK, holder="me"):
        assert lake.read_text(LOCK) == "me"
    assert everything_in(lake) == ["locks"]


def test_who_opened_the_file_of_a_holder_that_leaves_does_not_hold_the_lock(lake, monkeypatch):
    """The holder removes the file between another's opening it and locking it: what that one has locked is no lock."""
    flock, left = fcntl.flock, []

    def leave_first(descriptor, operation):
        if not left:
            left.append(lake.path(LOCK).unlink())
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", leave_first)
    with lake.lock(LOCK, holder="me"):
        assert lake.read_text(LOCK) == "me"
        with pytest.raises(WindowBusy, match="run by me"), lake.lock(LOCK, holder="another"):
            pass


def test_a_lock_leaves_no_file_whatever_the_block_does(lake):
    for raised in (None, ValueError, Killed):
        with pytest.raises(raised) if raised else lake.lock("locks/other", holder="me"), lake.lock(LOCK, holder="me"):
            assert lake.read_text(LOCK) == "me"
            if raised:
                raise raised
        assert everything_in(lake) == ["locks"]


def test_a_process_cannot_take_its_own_lock_twice(lake):
    with lake.lock(LOCK, holder="me"), pytest.raises(WindowBusy), lake.lock(LOCK, holder="me"):
        pass
    assert lake.files() == []


def test_the_lock_does_not_outlive_its_holder_in_a_child_process(lake):
    """A program that the holder started has no part in the lock."""
    body = f"with lake.lock({LOCK!r}, holder='parent'):\n    import subprocess; child = subprocess.Popen(['sleep', '600'])\n    print(child.pid, flush=True); time.sleep(600)\n"
    with run(lake, body) as other:
        child = int(other.stdout.readline())
        try:
            other.kill()
            other.wait()
            with lake.lock(LOCK, holder="me"):
                os.kill(child, 0)
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("call", ["write", "ftruncate"])
def test_a_lock_that_cannot_be_signed_is_not_kept(lake, monkeypatch, call):
    monkeypatch.setattr(os, call, failing(errno.ENOSPC))
    with pytest.raises(LakeFull, match="ould not lock"), lake.lock(LOCK, holder="me"):
        pass
    monkeypatch.undo()
    with lake.lock(LOCK, holder="me"):
        pass
    assert everything_in(lake) == ["locks"]


def test_no_descriptor_is_left_open(lake, monkeypatch):
    before = open_files()
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    with pytest.raises(LakeError, match="No locks available"), lake.lock(LOCK, holder="me"):
        pass
    monkeypatch.undo()
    with lake.lock(LOCK, holder="me"):
        for _ in range(3):
            with pytest.raises(WindowBusy), lake.lock(LOCK, holder="me"):
                pass
    assert open_files() == before


def test_a_lock_file_that_cannot_be_removed_locks_nobody_out(lake, monkeypatch):
    monkeypatch.setattr(Path, "unlink", failing(errno.EACCES))
    with lake.lock(LOCK, holder="me"):
        pass
    with lake.lock(LOCK, holder="me"):
        pass


def _compete(root, barrier, rounds, number, trace):
    lake = Lake(root)
    barrier.wait()
    for _ in range(rounds):
        with lake.lock(LOCK, holder=f"racer {number}", wait_seconds=60):
            # Exclusive by another means: two who were inside at once would meet here.
            descriptor = os.open(trace, os.O_CREAT | os.O_EXCL)
            os.close(descriptor)
            os.unlink(trace)


def test_a_race_of_many_never_lets_two_in(lake, tmp_path, monkeypatch):
    racers, rounds = 6, 25
    barrier = processes.Barrier(racers)
    racing = [
        processes.Process(target=_compete, args=(lake.root, barrier, rounds, number, str(tmp_path / "inside")))
        for number in range(racers)
    ]
    for one in racing:
        one.start()
    for one in racing:
        one.join(100)
    assert [one.exitcode for one in racing] == [0] * racers
    assert everything_in(lake) == ["locks"]
