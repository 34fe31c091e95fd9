"""The lock of a lake in an object store: one at a time, whoever dies, and who has lost it changes nothing any more."""

import json
import os
import signal
import threading
import time

import pytest

from tasks.core.errors import LakeError, WindowBusy
from tasks.core.storage import Lake, leases, object_store
from tests.lake_tools import everything_in, run, until
from tests.object_store_server import HOLD as HOLD_BACK
from tests.object_store_server import LOSE_ANSWER, STATUS, Fault, forget_stores
from tests.unit.core.test_storage_lock import HOLD, LOCK

pytestmark = pytest.mark.extras


@pytest.fixture
def holder(lake):
    """Another process that holds the lock until it is told to end, or killed."""
    with run(lake, HOLD) as other:
        assert other.stdout.readline() == "held\n"
        yield other
        other.kill()


@pytest.fixture
def elsewhere(monkeypatch):
    """Nobody can see whether a process is dead that runs on another machine."""
    monkeypatch.setattr(leases.Record, "is_of_a_dead_process_here", False)


def kill(process) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def record(lake: Lake) -> dict:
    return json.loads(lake.read_bytes(LOCK))


def test_the_lock_of_a_process_that_was_killed_on_this_machine_is_free_at_once(lake, holder):
    kill(holder)
    assert everything_in(lake) == [LOCK]
    assert lake.is_locked(LOCK) is False
    with lake.lock(LOCK, holder="me"):
        assert record(lake)["holder"] == "me"
    assert everything_in(lake) == []


@pytest.mark.parametrize("error", [PermissionError, FileNotFoundError, OSError])
def test_where_proc_hides_a_process_its_lock_is_not_taken_while_it_lives(lake, holder, monkeypatch, error):
    here, started = os.getpid(), leases._started

    def hidden(process):
        if process == here:
            return started(process)
        raise error

    monkeypatch.setattr(leases, "_started", hidden)
    assert lake.is_locked(LOCK) is True
    with pytest.raises(WindowBusy, match="brave-otter"):
        lake.lock(LOCK, holder="me").__enter__()
    # Another user's: whether it is there is not said.
    with monkeypatch.context() as others:
        others.setattr(os, "kill", refused)
        assert lake.is_locked(LOCK) is True
    kill(holder)
    assert lake.is_locked(LOCK) is (error is not FileNotFoundError)


def refused(*_):
    raise PermissionError


def test_that_of_one_killed_elsewhere_is_held_until_it_ends_by_the_store_s_clock(lake, holder, elsewhere, monkeypatch):
    kill(holder)
    assert lake.is_locked(LOCK) is True
    with pytest.raises(WindowBusy, match=r"brave-otter.*one that is dead holds the window for 60 seconds at most"):
        lake.lock(LOCK, holder="me").__enter__()
    # The store's clock goes on; this machine's may say what it likes.
    clock, (then, at) = leases._clocks, next(iter(leases._clocks.values()))
    clock[next(iter(clock))] = (then, at - leases.LEASE_SECONDS - 10)
    assert lake.is_locked(LOCK) is False
    with lake.lock(LOCK, holder="me"):
        assert record(lake)["holder"] == "me"


def test_clocks_of_machines_are_not_asked(lake, holder, elsewhere, monkeypatch):
    """A machine whose clock is a day off takes no lease that is held."""
    monkeypatch.setattr(time, "time", lambda: 4e9)
    with pytest.raises(WindowBusy, match="brave-otter"):
        lake.lock(LOCK, holder="me").__enter__()


def test_a_lease_is_renewed_while_it_is_held(lake, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(leases, "_MARGIN_SECONDS", 0.2)
    with lake.lock(LOCK, holder="me"):
        until(lambda: record(lake)["turn"] >= 2)
        lake.write_bytes("a", b"1")
    assert everything_in(lake) == ["a"]


def stolen(lake: Lake) -> None:
    """Somebody else takes the lease, as after its end."""
    lake._store.put(lake._whole(LOCK), json.dumps(record(lake) | {"owner": "another", "holder": "another"}).encode())


def test_who_has_lost_the_lease_changes_nothing_any_more(lake, monkeypatch):
    lake.write_bytes("staged/part-1", b"1")
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(leases, "_MARGIN_SECONDS", 0.9)
    uses = [
        lambda: lake.write_bytes("a", b""),
        lambda: lake.create("a", b""),
        lambda: lake.remove("staged"),
        lambda: lake.rename("staged", "a"),
        lambda: lake.swap("staged", "a"),
        lambda: lake.try_rename("staged", "b"),
    ]
    with lake.lock(LOCK, holder="me"):
        stolen(lake)
        until(lambda: lost(uses[0]))
        before = lake.files()
        for use in uses:
            with pytest.raises(
                LakeError,
                match=r"the lock s3://.*is lost: this run \(me\) has not renewed it .* changes nothing any more",
            ):
                use()
        assert lake.files() == before
    # The other's lease is not taken from it.
    assert record(lake)["owner"] == "another"
    lake.write_bytes("b", b"")


def lost(use) -> bool:
    try:
        use()
    except LakeError:
        return True
    return False


def test_a_publication_that_loses_its_lease_between_two_requests_stops_there(lake, proxy, monkeypatch):
    lake.write_bytes("staged/part-new", b"new")
    lake.write_bytes("table/w/part-old", b"old")
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(leases, "_MARGIN_SECONDS", 0.9)
    with lake.lock(LOCK, holder="me"):
        proxy.asked.clear()

        def slow(asked):
            if asked.kind == "COPY" and not proxy.released.is_set():
                proxy.released.set()
                stolen(lake)
                until(lambda: lost(leases.refuse_lost))

        watched = leases._held.get()
        proxy.spoil = lambda asked: slow_in(watched, asked, slow)
        with pytest.raises(LakeError, match="is lost"):
            lake.swap("staged", "table/w")
    assert lake.read_bytes("table/w/part-old") == b"old"
    assert lake.names("table/w") == ["part-old"]


@pytest.mark.parametrize("kind", ["COPY", "DELETE"])
def test_a_change_that_fails_in_passing_is_not_sent_again_once_the_lease_is_lost(lake, proxy, monkeypatch, kind):
    """A removal that arrives late would take the only copy from whoever holds the lease by then."""
    lake.write_bytes("staged/part", b"1")
    sent = []
    with lake.lock(LOCK, holder="me"):
        (held,) = leases._held.get()

        def spoil(asked):
            if asked.kind == kind:
                held._is_lost = len(sent) == 1
                sent.append(asked)
                return Fault(STATUS, 503, "SlowDown")
            return None

        proxy.spoil = spoil
        with pytest.raises(LakeError, match="is lost"):
            lake.rename("staged", "done")
    # Once more while it was held, and then no more.
    assert len(sent) == 2
    assert lake.read_bytes("staged/part") == b"1"


def test_a_removal_ends_before_the_lease_of_whoever_was_allowed_it(lake, proxy, monkeypatch):
    """With one request for new credentials, and the client sends none again."""
    options = object_store._REMOVAL
    assert {float(one.removesuffix("s")) for one in options.values()} == {4.0}
    assert leases._MARGIN_SECONDS > 2 * 4.0
    monkeypatch.setattr(object_store, "_REMOVAL", dict.fromkeys(options, "200ms"))
    monkeypatch.setattr(object_store, "_RETRY", object_store._RETRY | {"max_retries": 0})
    forget_stores()
    lake.write_bytes("a", b"1")
    proxy.spoil = lambda one: Fault(HOLD_BACK) if one.kind == "DELETE" else None
    started = time.monotonic()
    with pytest.raises(LakeError, match="did not answer in time"):
        lake.remove("a")
    assert time.monotonic() - started < 5
    assert [one.kind for one in proxy.asked].count("DELETE") == 1


def slow_in(held, asked, slow):
    """In the proxy's thread, which holds nothing: as whoever holds these leases."""
    leases._held.set(held)
    slow(asked)


def test_a_renewal_whose_answer_is_lost_is_no_loss(lake, proxy, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 2.0)
    monkeypatch.setattr(leases, "_MARGIN_SECONDS", 0.5)
    with lake.lock(LOCK, holder="me"):
        spoilt = []
        proxy.spoil = lambda one: (
            Fault(LOSE_ANSWER) if "if-match" in one.headers and len(spoilt) < 3 and not spoilt.append(one) else None
        )
        until(lambda: len(spoilt) == 3 and record(lake)["turn"] >= 4)
        lake.write_bytes("a", b"")
    assert everything_in(lake) == ["a"]


def test_a_store_that_is_away_for_longer_than_the_lease_ends_the_run(lake, proxy, monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(leases, "_MARGIN_SECONDS", 0.9)
    with lake.lock(LOCK, holder="me"):
        proxy.spoil = lambda one: Fault(STATUS, 503, "SlowDown") if "if-match" in one.headers else None
        until(lambda: lost(leases.refuse_lost))
        proxy.spoil = lambda _one: None
        # It was not taken meanwhile: it is renewed, and the run goes on.
        lake.write_bytes("a", b"")


def test_an_acquisition_whose_answer_is_lost_is_known_as_its_own(lake, proxy):
    lost_ones = []
    proxy.spoil = lambda one: (
        Fault(LOSE_ANSWER) if one.is_conditional and not lost_ones and not lost_ones.append(one) else None
    )
    with lake.lock(LOCK, holder="me"):
        assert record(lake)["holder"] == "me"
    assert lost_ones
    assert everything_in(lake) == []


def test_of_many_that_find_a_lease_over_one_takes_it(lake, holder):
    kill(holder)
    inside, most, guard = [], [], threading.Lock()

    def race(number):
        mine = Lake(lake.address())
        with mine.lock(LOCK, holder=f"racer {number}", wait_seconds=60):
            with guard:
                inside.append(number)
                most.append(len(inside))
            mine.write_bytes(f"trace/{number}", b"")
            with guard:
                inside.remove(number)

    racers = [threading.Thread(target=race, args=(number,)) for number in range(5)]
    for one in racers:
        one.start()
    for one in racers:
        one.join(60)
    assert most == [1] * 5
    assert len(lake.names("trace")) == 5


def test_a_lease_that_changes_hands_as_it_is_looked_at_is_looked_at_again(lake, holder, proxy):
    gone = []
    # That of the refused creation, and that of the look.
    proxy.spoil = lambda one: (
        Fault(STATUS, 404, "NoSuchKey") if one.kind == "GET" and len(gone) < 2 and not gone.append(one) else None
    )
    with pytest.raises(WindowBusy, match="brave-otter"):
        lake.lock(LOCK, holder="me").__enter__()
    assert len(gone) == 2


def test_a_lock_leaves_nothing_behind_whatever_the_block_does(lake):
    for raised in (None, ValueError, KeyboardInterrupt):
        try:
            with lake.lock(LOCK, holder="me"):
                if raised:
                    raise raised
        except (ValueError, KeyboardInterrupt):
            pass
        assert everything_in(lake) == []
    assert not [one for one in threading.enumerate() if one.name.startswith("lease ")]


def test_a_lock_that_says_nothing_we_know_is_one_that_ends(lake, elsewhere):
    lake.write_bytes(LOCK, b"by another version")
    with pytest.raises(WindowBusy, match="is being run by another run"):
        lake.lock(LOCK, holder="me").__enter__()
    assert lake.is_locked(LOCK) is True
