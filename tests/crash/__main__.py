"""`python -m tests.crash`: kills `score` and `recall` at many instants, lets their disk fail, and counts what was lost.

`--short` takes the changes alone, and fewer of them; `--every` takes every point there is.
"""

import argparse
import errno
import functools
import itertools
import multiprocessing
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass

# A process whose libraries have started threads is not one to fork.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

from tasks.core.rows import rejects
from tasks.core.runs import publication
from tasks.core.runs.recalling import withdrawal
from tests.crash.harness import CASES, FIRST, Bench, Broken, run_without_prefect, the_flow
from tests.crash.points import install_faults, install_kills
from tests.crash.recalling import RECALLS, RecallBench
from tests.flows.conftest import DAY, make_project, readings

_KILLS, _TIMERS, _FAULTS, _IN_A_ROW = 170, 40, 80, 20


@dataclass
class Tally:
    kills: int = 0
    faults: int = 0
    lost: tuple[str, ...] = ()

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.kills + other.kills, self.faults + other.faults, self.lost + other.lost)


class Sweep:
    """One case, killed and failed."""

    def __init__(self, name: str, folder: pathlib.Path, *, seed: int) -> None:
        self.bench = Bench(CASES[name], folder) if name in CASES else RecallBench(RECALLS[name], folder)
        self.tally = Tally()
        self.random = random.Random(f"{seed} {name}")
        started = time.monotonic()
        self.points = self._points(lambda root: install_kills(root, 0))
        self.seconds = time.monotonic() - started

    def short(self) -> None:
        """A third of the changes, and some faults."""
        self.kill_at_changes(every=3)
        for number, at in zip(itertools.cycle((errno.ENOSPC, errno.EIO)), _spread(len(self.points), 4), strict=False):
            self.fail_at(at, number, persistent=number == errno.ENOSPC)
        self.kill_in_a_row(3)

    def kill_at_changes(self, *, every: int = 1) -> None:
        """Every change of a first run; of one that replaces another those of its publication, and of its quarantine."""
        changes = [n for n, point in enumerate(self.points, 1) if point.startswith("after ")]
        if self.bench.case.rescore:
            staged = min(n for n in changes if "staged/" in self.points[n - 1])
            changes = [n for n in changes if n > staged or ".rejects" in self.points[n - 1]]
        for at in changes[self.random.randrange(every) :: every]:
            self.kill_at(at)

    def long(self, *, every: bool) -> None:
        kills = len(self.points) if every else _KILLS
        changes = {n for n, point in enumerate(self.points, 1) if point.startswith("after ")}
        for at in sorted({*changes, *_spread(len(self.points), kills)}):
            self.kill_at(at)
        for _ in range(_TIMERS):
            self.kill_by_timer(self.random.uniform(0, self.seconds))
        failing = len(self._points(lambda root: install_faults(root, 0, errno.EIO, persistent=False)))
        kinds = itertools.cycle(
            [(errno.ENOSPC, False), (errno.ENOSPC, True), (errno.EIO, False), (errno.EIO, True), (errno.EACCES, True)]
        )
        for at, (number, persistent) in zip(_spread(failing, failing if every else _FAULTS), kinds, strict=False):
            self.fail_at(at, number, persistent=persistent)
        self.kill_in_a_row(_IN_A_ROW)

    def kill_at(self, at: int) -> None:
        self.tally.kills += 1
        self._judged(f"killed at point {at} ({self.points[at - 1]})", lambda root: install_kills(root, at), dies=True)

    def kill_by_timer(self, seconds: float) -> None:
        self.tally.kills += 1
        self._judged(f"killed after {seconds:.4f} s", None, kill_after=seconds)

    def fail_at(self, at: int, number: int, *, persistent: bool) -> None:
        self.tally.faults += 1
        when = "from point" if persistent else "at point"
        self._judged(
            f"{errno.errorcode[number]} {when} {at}",
            lambda root: install_faults(root, at, number, persistent=persistent),
        )

    def kill_in_a_row(self, count: int) -> None:
        """One run after another is killed on the same lake, and nothing is put back in between."""
        killed_in = f"killed {count} times in a row"
        try:
            self.bench.reset()
            for _ in range(count):
                self.tally.kills += 1
                at = self.random.randint(1, len(self.points))
                self.bench.attempt(FIRST, functools.partial(install_kills, at=at))
                self.bench.check_visible(killed_in=killed_in)
            self.bench.check_recovered(killed_in=killed_in)
        except Broken as broken:
            self.tally.lost += (str(broken),)

    def _judged(self, killed_in: str, install, *, kill_after: float | None = None, dies: bool = False) -> None:
        try:
            self.bench.reset()
            ended = self.bench.attempt(FIRST, install, kill_after=kill_after)
            if dies and not ended.killed:
                raise Broken(f"{self.bench.case.name}, {killed_in}: it was not killed: {ended.outcome}")
            if not ended.ours:
                raise Broken(f"{self.bench.case.name}, {killed_in}: {ended.outcome} is not of the tree: {ended.text}")
            self.bench.check_visible(killed_in=killed_in)
            self.bench.check_recovered(killed_in=killed_in)
        except Broken as broken:
            self.tally.lost += (str(broken),)

    def _points(self, install) -> tuple[str, ...]:
        self.bench.reset()
        ended = self.bench.attempt(FIRST, install)
        assert ended.outcome == "published", ended
        return ended.points


def _conclude_early() -> None:
    """The record says 'concluded' before what was replaced is out of sight."""
    finish = publication._finish

    def early(lake, workspace, manifest):
        publication.write_manifest(lake, workspace, manifest.but(state="concluded"))
        return finish(lake, workspace, manifest)

    publication._finish = early


def _no_undo() -> None:
    """What a kill left is taken for published."""
    publication._undo = publication._finish


def _stale_rejects() -> None:
    """A batch that is scored again leaves out what an attempt that was killed had rejected."""
    rejects.read_taken_out_before_scoring = rejects.read_taken_out


def _forget_intent() -> None:
    """A recall withdraws a window without having said so: whoever comes next cannot know how far it came."""
    plain = withdrawal.write_manifest

    def write(lake, workspace, manifest):
        if manifest.state != "withdrawing":
            plain(lake, workspace, manifest)

    withdrawal.write_manifest = write


BREAKS = {
    "conclude-early": _conclude_early,
    "no-undo": _no_undo,
    "stale-rejects": _stale_rejects,
    "forget-intent": _forget_intent,
}


def _spread(points: int, count: int) -> list[int]:
    """About so many of the numbers from 1 to `points`, evenly."""
    return sorted({1 + round(n * (points - 1) / max(count - 1, 1)) for n in range(min(count, points))})


def _sweep(names: list[str], root: pathlib.Path, mode: str, seed: int, told) -> None:
    for name in names:
        sweep = Sweep(name, root / name.replace(" ", "-"), seed=seed)
        if mode == "changes":
            sweep.kill_at_changes()
        elif mode == "short":
            sweep.short()
        else:
            sweep.long(every=mode == "every")
        told.put((name, sweep.tally))


def _warm_up(root: pathlib.Path) -> None:
    """Imports and compiles what a run needs, so that its forks need not."""
    world = make_project(root / "warm")
    world.write_rows(readings())
    os.environ |= {"LAMPLIGHTER_PROJECT": str(world.folder), "LAMPLIGHTER_LAKE": str(world.lake.root)}
    run_without_prefect(FIRST)
    the_flow("readings", DAY, "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_const", dest="mode", const="short", default="long")
    parser.add_argument("--changes", action="store_const", dest="mode", const="changes", help="as short, no faults")
    parser.add_argument("--every", action="store_const", dest="mode", const="every")
    parser.add_argument("--case", action="append", choices=[*CASES, *RECALLS], help="only this one; may be given again")
    parser.add_argument("--break", choices=BREAKS, dest="broken", help="publish wrongly, to see that it is found")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    names, tally = options.case or [*CASES, *RECALLS], Tally()
    # In memory where there is any: a kill does not empty the page cache, so a disk shows no more.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    root = pathlib.Path(tempfile.mkdtemp(prefix="lamplighter-crash-", dir=memory))
    try:
        if options.broken:
            BREAKS[options.broken]()
        _warm_up(root)
        fork = multiprocessing.get_context("fork")
        told = fork.SimpleQueue()
        # Two at once: more would need more cores.
        halves = [half for half in (names[::2], names[1::2]) if half]
        workers = [fork.Process(target=_sweep, args=(half, root, options.mode, options.seed, told)) for half in halves]
        for worker in workers:
            worker.start()
        for _ in names:
            while told.empty():
                if any(worker.exitcode for worker in workers):
                    raise SystemExit("a sweep ended with an error, which stands above")
                time.sleep(0.05)
            name, found = told.get()
            tally += found
            print(f"{name}: {found.kills} kill points, {found.faults} faults", flush=True)
        for worker in workers:
            worker.join()
    finally:
        shutil.rmtree(root)
    for lost in tally.lost:
        print(lost)
    print(f"{tally.kills} kill points, {tally.faults} faults, {len(names)} cases, {len(tally.lost)} lost")
    return 1 if tally.lost else 0


if __name__ == "__main__":
    sys.exit(main())
