"""What a shard may use of the machine that it has come to, where that is one of a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A part of a cluster's machine, lent to one shard of a run, whose name is what its children are ended by.

    `shards`: so many are on the machine at once, and share its cores. `project`: whose modules the children know.
    """

    run: str
    shards: int
    project: str

    def processes(self, wanted: int, cores: int) -> int:
        """The children of all shards on the machine: processes x threads = cores, as on a machine of one's own."""
        return max(1, min(wanted or cores, cores) // self.shards) * self.shards


_lent: ContextVar[Place | None] = ContextVar("lamplighter_place", default=None)
# How many shards the cluster of this run has room for now; None: there is no cluster.
_room: ContextVar[Callable[[], int] | None] = ContextVar("lamplighter_room", default=None)


def here() -> Place | None:
    """The place that this shard works in; None on the run's own machine."""
    return _lent.get()


@contextlib.contextmanager
def lent(place: Place) -> Iterator[None]:
    """What runs in the block works in this place."""
    token = _lent.set(place)
    try:
        yield
    finally:
        _lent.reset(token)


def room() -> int | None:
    """How many shards at once the run's cluster has room for; None where the run's own machine does the work."""
    asked = _room.get()
    return asked() if asked else None


@contextlib.contextmanager
def with_room(asked: Callable[[], int]) -> Iterator[None]:
    """Shards that are dealt out in the block go to a cluster, which is asked for its room each time."""
    token = _room.set(asked)
    try:
        yield
    finally:
        _room.reset(token)
