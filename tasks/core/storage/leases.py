"""Locks in an object store: leases, taken and renewed by conditional PUTs, which end by themselves when their owner is dead.

Whether one has ended is judged by the store's clock alone: when the lease was last renewed, against when a probe was
written. A process that died on this very machine is seen to be dead at once. Who holds a lease counts from the instant at
which its last renewal was sent, so it knows that it may have lost it before anybody else can have taken it.
"""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
import functools
import os
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ValidationError

from tasks.core.errors import LakeError, WindowBusy
from tasks.core.storage.locks import BUSY
from tasks.core.storage.object_store import Found, Store

LEASE_SECONDS = 60.0
# Renewed four times in its life. What is nearer to its end than the margin is renewed before anything is changed.
_RENEWALS, _MARGIN_SECONDS = 4, 10.0
# The store tells instants by the second.
_CLOCK_SECONDS = 3.0
_CLOCK_IS_GOOD_SECONDS = 300.0
_LONGEST_PAUSE_SECONDS = 2.0
_LOOKS = 5


class Record(BaseModel):
    """What lies in the store: who holds the lease, for how long after each renewal, and in which process."""

    holder: str
    owner: str
    turn: int
    seconds: float
    process: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: bytes) -> Record | None:
        try:
            return cls.model_validate_json(data)
        except ValidationError:
            return None

    @property
    def is_of_a_dead_process_here(self) -> bool:
        """Whether its process was one of this machine, and is no more."""
        if len(self.process) != len(_this_process()) or self.process[:2] != _this_process()[:2]:
            return False
        return _is_dead(self.process[2], self.process[3])


_held: contextvars.ContextVar[tuple[Lease, ...]] = contextvars.ContextVar("held_leases", default=())


def refuse_lost() -> None:
    """LakeError where this run does not hold a lease any more that it took. To be asked before anything is changed."""
    for lease in _held.get():
        lease.check()


@contextlib.contextmanager
def lease(store: Store, quick: Store, key: str, *, name: str, holder: str, wait_seconds: float) -> Iterator[None]:
    """Holds a lease; WindowBusy, with the holder, when another does."""
    taken = _acquire(store, quick, key, name, holder, time.monotonic() + wait_seconds)
    _held.set((*_held.get(), taken))
    try:
        with taken.renewed():
            yield
    finally:
        _held.set(tuple(one for one in _held.get() if one is not taken))
        taken.release()


def is_held(store: Store, key: str) -> bool:
    """Whether somebody holds it now. Who may not write there has no clock but their own."""
    if store.head(key) is None:
        return False
    try:
        data, found = store.get(key)
    except LakeError:
        return store.head(key) is not None
    try:
        return not _is_over(store, Record.of(data), found)
    except LakeError:
        age = (dt.datetime.now(dt.UTC) - found.modified_at).total_seconds()
        return age < LEASE_SECONDS + _CLOCK_SECONDS


class Lease:
    """One that this process has taken."""

    def __init__(self, store: Store, key: str, record: Record, found: Found, sent_at: float) -> None:
        self._store, self._key, self._record, self._found = store, key, record, found
        self._sent_at = sent_at
        self._is_lost = self._is_released = False
        self._guard, self._ended = threading.Lock(), threading.Event()

    @property
    def _left_seconds(self) -> float:
        return self._sent_at + self._record.seconds - _now()

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renews it in a thread while the block runs: its requests need Python for microseconds."""
        thread = threading.Thread(target=self._renew_until_ended, name=f"lease {self._key}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def check(self) -> None:
        """LakeError where somebody else may hold it by now."""
        if self._is_released or (not self._is_lost and self._left_seconds > _MARGIN_SECONDS):
            return
        with contextlib.suppress(LakeError):
            self._renew()
        if self._is_lost or self._left_seconds <= _MARGIN_SECONDS:
            raise LakeError(
                f"the lock {self._store.container}/{self._key} is lost: this run ({self._record.holder}) has not renewed it for "
                f"{self._record.seconds - self._left_seconds:.0f} seconds, and another may have it now",
                state="this run changes nothing any more; whoever holds the lock ends what it has begun",
                next_step="run it again",
            )

    def release(self) -> None:
        """Lets go of it, if it is certain to be this one that is removed; else it ends by itself."""
        with contextlib.suppress(LakeError):
            if self._left_seconds < self._record.seconds / 2:
                self._renew()
            if not self._is_lost and self._left_seconds > self._record.seconds / 2:
                self._store.delete([self._key])
        self._is_released = True

    def _renew_until_ended(self) -> None:
        pause = self._record.seconds / _RENEWALS
        while not self._ended.wait(pause) and not self._is_lost:
            pause = self._record.seconds / _RENEWALS
            try:
                self._renew()
            except LakeError:
                # It is still held: another attempt comes before it ends.
                pause = _LONGEST_PAUSE_SECONDS

    def _renew(self) -> None:
        with self._guard:
            if self._is_lost:
                return
            for _ in range(2):
                sent_at, record = _now(), self._record.model_copy(update={"turn": self._record.turn + 1})
                found = self._store.replace(self._key, record.model_dump_json().encode(), self._found)
                if found is not None:
                    self._record, self._found, self._sent_at = record, found, sent_at
                    return
                there = _looked_at(self._store, self._key)
                if there is None or there[0] is None or there[0].owner != self._record.owner:
                    break
                # It is ours: of a renewal whose answer did not arrive.
                self._record, self._found = there[0], there[1]
            self._is_lost = True


def _acquire(store: Store, quick: Store, key: str, name: str, holder: str, deadline: float) -> Lease:
    record = Record(holder=holder, owner=uuid.uuid4().hex, turn=0, seconds=LEASE_SECONDS, process=_this_process())
    mine, pause = record.model_dump_json().encode(), 0.05
    while True:
        sent_at = _now()
        if found := store.create(key, mine):
            return Lease(quick, key, record, found, sent_at)
        theirs = _looked_at(store, key)
        if theirs is not None:
            other, seen = theirs
            if _is_over(store, other, seen):
                sent_at = _now()
                if taken := store.replace(key, mine, seen):
                    return Lease(quick, key, record, taken, sent_at)
            elif time.monotonic() >= deadline:
                raise _busy(name, other)
        time.sleep(min(pause, max(deadline - time.monotonic(), 0.01)))
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _looked_at(store: Store, key: str) -> tuple[Record | None, Found] | None:
    """The lease as it is now; None where it is gone."""
    for looks_left in reversed(range(_LOOKS)):
        if store.head(key) is None:
            return None
        try:
            data, found = store.get(key)
        except LakeError as error:
            # Let go of between the two requests, and maybe another's by now.
            if not looks_left or not isinstance(error.__cause__, FileNotFoundError):
                raise
        else:
            return Record.of(data), found
    return None


def _is_over(store: Store, record: Record | None, found: Found) -> bool:
    if record is not None and record.is_of_a_dead_process_here:
        return True
    seconds = record.seconds if record else LEASE_SECONDS
    return (_store_now(store, found.key) - found.modified_at).total_seconds() > seconds + _CLOCK_SECONDS


def _busy(name: str, record: Record | None) -> WindowBusy:
    seconds = record.seconds if record else LEASE_SECONDS
    return WindowBusy(
        f"{name} {BUSY} {record.holder if record else 'another run'}",
        state="that run was not disturbed, and this one changed nothing",
        next_step=f"wait for it to end, and run it again; one that is dead holds the window for {seconds:.0f} seconds at most",
    )


# -- clocks and processes ---------------------------------------------------------------------------------------------

_clocks: dict[str, tuple[dt.datetime, float]] = {}


def store_now(store: Store, beside: str) -> dt.datetime:
    """The present by the store's clock, or a little before; found out by a probe beside a key, and kept for minutes."""
    return _store_now(store, beside)


def _store_now(store: Store, beside: str) -> dt.datetime:
    known = _clocks.get(store.container)
    if known is None or _now() - known[1] > _CLOCK_IS_GOOD_SECONDS:
        probe = f"{beside.rpartition('/')[0]}/.tmp-clock-{uuid.uuid4().hex}".lstrip("/")
        store.put(probe, b"")
        written = store.head(probe)
        store.delete([probe])
        if written is None:
            raise LakeError(
                f"{store.container}/{probe} is gone, which was just written",
                next_step="see that nobody else removes what lies there",
            )
        known = _clocks[store.container] = written.modified_at, _now()
    return known[0] + dt.timedelta(seconds=_now() - known[1])


def _now() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@functools.cache
def _machine() -> tuple[str, str]:
    """The boot of the machine, and the namespace in which its processes have their numbers."""
    try:
        boot, space = Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - no path
    except OSError:
        return "", uuid.uuid4().hex
    return boot, space


def _this_process() -> tuple[str, ...]:
    started = ""
    with contextlib.suppress(OSError):
        started = _started(os.getpid())
    return (*_machine(), str(os.getpid()), started)


def _is_dead(process: str, started: str) -> bool:
    """Whether it is certain that this process is no more: of one that cannot be looked at, the lease ends by itself."""
    try:
        return bool(started) and _started(int(process)) != started
    except (FileNotFoundError, ProcessLookupError):
        # /proc may be of another kind, or hide what is another user's.
        return _is_unknown(int(process))
    except (OSError, ValueError):
        return False


def _is_unknown(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _started(process: int) -> str:
    """When a process was started, in the kernel's ticks; nothing where it is dead and not yet buried."""
    state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]
