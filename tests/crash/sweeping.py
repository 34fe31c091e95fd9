"""One case, killed and failed at its instants: which, how often, and what was lost."""

import errno
import functools
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.crash.flushing import install_flushes
from tests.crash.harness import DONE, FIRST, Bench, Broken, Install, hidden_below
from tests.crash.points import install_faults, install_kills, install_lines

# The cases of what is done most: each is killed at two hundred instants at the least, and fails at as many points with
# either of two errors, as far as it has so many.
MAIN = ("publish", "republish", "republish with quarantine", "recall", "promote")


@dataclass(frozen=True)
class Extent:
    """How many kills: at points, beside all changes; at lines; by the clock; one after another; in all, at the least."""

    points: int
    lines: int
    timers: int
    in_a_row: int
    fewest: int
    faults: int  # Points that fail, with each of two errors.


_OF_MAIN, _OF_OTHERS = Extent(170, 40, 40, 20, 210, 200), Extent(60, 30, 20, 10, 120, 25)


@dataclass
class Tally:
    kills: int = 0
    faults: int = 0
    lost: tuple[str, ...] = ()

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.kills + other.kills, self.faults + other.faults, self.lost + other.lost)


class Sweep:
    """One case, killed and failed."""

    def __init__(self, bench: Bench, *, seed: int) -> None:
        self.bench = bench
        self.tally = Tally()
        self.random = random.Random(f"{seed} {bench.name}")
        started = time.monotonic()
        self.points = self._points(lambda root: install_kills(root, 0))
        self.seconds = time.monotonic() - started

    def short(self, *, every: int, faults: int, lines: int, in_a_row: int) -> None:
        """A part of the changes, some lines, and some faults."""
        self.check_flushed()
        self.kill_at_changes(every=every)
        self.kill_at_lines(lines)
        kinds = itertools.cycle(((errno.ENOSPC, True), (errno.EIO, False)))
        for at, (number, persistent) in zip(_spread(len(self.points), faults), kinds, strict=False):
            self.fail_at(at, number, persistent=persistent)
        self.kill_in_a_row(in_a_row)

    def long(self, *, every: bool) -> None:
        self.check_flushed()
        extent = _OF_MAIN if self.bench.name in MAIN else _OF_OTHERS
        kills = len(self.points) if every else extent.points
        changes = {n for n, point in enumerate(self.points, 1) if point.startswith("after ")}
        for at in sorted({*changes, *_spread(len(self.points), kills)}):
            self.kill_at(at)
        for _ in range(extent.timers):
            self.kill_by_timer(self.random.uniform(0, self.seconds))
        self.kill_in_a_row(extent.in_a_row)
        self.kill_at_lines(max(extent.lines, extent.fewest - self.tally.kills))
        self.fail(len(self.points) if every else extent.faults)

    def check_flushed(self) -> None:
        """A whole attempt, in which nothing is put in place that a loss of power would take."""
        self.bench.reset()
        ended = self.bench.attempt(FIRST, install_flushes)
        found = ended.points if ended.outcome == DONE else (ended.text,)
        self.tally.lost += tuple(f"{self.bench.name}, {one}" for one in dict.fromkeys(found))

    def kill_at_changes(self, *, every: int = 1) -> None:
        worth = self.bench.worth_killing(self.points)
        for at in worth[self.random.randrange(every) :: every]:
            self.kill_at(at)

    def kill_at(self, at: int) -> None:
        self._judged(f"killed at point {at} ({self.points[at - 1]})", lambda root: install_kills(root, at), dies=True)

    def kill_at_lines(self, count: int) -> None:
        """Between two lines of our own code, whichever: those that are reached once are as likely as those of a loop."""
        if not count:
            return
        reached = Counter({line: int(times) for line, times in map(str.split, self._points(install_lines))})
        lines = sorted(reached)
        for _ in range(count):
            line = self.random.choice(lines)
            nth = self.random.randint(1, reached[line])
            what = f"killed before {line}, when it was reached for the {nth}. time"
            self._judged(what, functools.partial(install_lines, line=line, nth=nth))

    def kill_by_timer(self, seconds: float) -> None:
        self._judged(f"killed after {seconds:.4f} s", None, kill_after=seconds)

    def fail(self, wanted: int) -> None:
        """Each point with ENOSPC and with EIO, once or from then on; where there are few points, both."""
        points = len(self._points(lambda root: install_faults(root, 0, errno.EIO, persistent=False)))
        both = itertools.cycle([(False,), (True,)]) if points >= wanted else itertools.cycle([(False, True)])
        for at, how in zip(_spread(points, wanted), both, strict=False):
            for number, persistent in itertools.product((errno.ENOSPC, errno.EIO), how):
                self.fail_at(at, number, persistent=persistent)
        for at in _spread(points, 5):
            self.fail_at(at, errno.EACCES, persistent=True)

    def fail_at(self, at: int, number: int, *, persistent: bool) -> None:
        self.tally.faults += 1
        when = "from point" if persistent else "at point"
        self._judged(
            f"{errno.errorcode[number]} {when} {at}",
            lambda root: install_faults(root, at, number, persistent=persistent),
        )

    def kill_in_a_row(self, count: int) -> None:
        """One attempt after another is killed on the same lake, and nothing is put back in between."""
        killed_in = f"killed {count} times in a row"
        try:
            self.bench.reset()
            for _ in range(count):
                at = self.random.randint(1, len(self.points))
                ended = self.bench.attempt(FIRST, functools.partial(install_kills, at=at))
                self.tally.kills += ended.killed
                self.bench.check_visible(killed_in=killed_in)
            if len(left := hidden_below(self.bench.lake_root)) > count:
                raise Broken(f"{self.bench.name}, {killed_in}: more was left than there were kills: {left}")
            self.bench.check_recovered(killed_in=killed_in)
        except Broken as broken:
            self.tally.lost += (str(broken),)

    def _judged(
        self, killed_in: str, install: Install | None, *, kill_after: float | None = None, dies: bool = False
    ) -> None:
        try:
            self.bench.reset()
            ended = self.bench.attempt(FIRST, install, kill_after=kill_after)
            self.tally.kills += ended.killed
            if dies and not ended.killed:
                raise Broken(f"{self.bench.name}, {killed_in}: it was not killed: {ended.outcome}")
            if not ended.ours:
                raise Broken(f"{self.bench.name}, {killed_in}: {ended.outcome} is not of the tree: {ended.text}")
            self.bench.check_visible(killed_in=killed_in)
            self.bench.check_recovered(killed_in=killed_in)
        except Broken as broken:
            self.tally.lost += (str(broken),)

    def _points(self, install: Callable) -> tuple[str, ...]:
        self.bench.reset()
        ended = self.bench.attempt(FIRST, install)
        assert ended.outcome == DONE, ended
        return ended.points


def _spread(points: int, count: int) -> list[int]:
    """About so many of the numbers from 1 to `points`, evenly."""
    return sorted({1 + round(n * (points - 1) / max(count - 1, 1)) for n in range(min(count, points))})
