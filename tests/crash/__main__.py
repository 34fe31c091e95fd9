"""`python -m tests.crash`: kills what changes a lake at many instants, lets its disk fail, and counts what was lost.

`--short` takes a part of the changes of plain tables, and some lines and faults; `--every` takes every point there is.
"""

import argparse
import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile
import time

# A process whose libraries have started threads is not one to fork.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

from tests.crash.breaks import BREAKS
from tests.crash.command_cases import COMMANDS
from tests.crash.commands import CommandBench
from tests.crash.harness import FIRST, Bench, run_without_prefect
from tests.crash.recalling import RECALLS, RecallBench
from tests.crash.scoring import SCORINGS, ScoreBench, the_flow
from tests.crash.sweeping import Sweep, Tally
from tests.flows.conftest import DAY, make_project, readings

CASES = [*SCORINGS, *RECALLS, *COMMANDS]
# What `--short` leaves to the tests of the table formats.
PLAIN = [name for name in CASES if "delta" not in name]


def _bench(name: str, folder: pathlib.Path) -> Bench:
    if name in SCORINGS:
        return ScoreBench(SCORINGS[name], folder)
    return RecallBench(RECALLS[name], folder) if name in RECALLS else CommandBench(COMMANDS[name], folder)


def _sweep(names: list[str], root: pathlib.Path, mode: str, seed: int, told) -> None:
    for name in names:
        sweep = Sweep(_bench(name, root / name.replace(" ", "-")), seed=seed)
        if mode == "changes":
            sweep.check_flushed()
            sweep.kill_at_changes()
        elif mode == "short":
            # A run of `score` takes some tenths of a second, a command some hundredths.
            costly = name in SCORINGS
            sweep.short(every=14 if costly else 6, faults=1, lines=0 if costly else 1, in_a_row=1)
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


def _swept(names: list[str], root: pathlib.Path, mode: str, seed: int) -> Tally:
    """The cases, two at once: more would need more cores. Each is told of as it ends."""
    fork, tally = multiprocessing.get_context("fork"), Tally()
    told = fork.SimpleQueue()
    halves = [half for half in (names[::2], names[1::2]) if half]
    workers = [fork.Process(target=_sweep, args=(half, root, mode, seed, told)) for half in halves]
    for worker in workers:
        worker.start()
    for _ in names:
        while told.empty():
            if any(worker.exitcode for worker in workers):
                raise SystemExit("a sweep ended with an error, which stands above")
            time.sleep(0.05)
        name, found = told.get()
        tally += found
        print(f"{name}: {found.kills} kill points, {found.faults} faults", *found.lost, sep="\n", flush=True)
    for worker in workers:
        worker.join()
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_const", dest="mode", const="short", default="long")
    parser.add_argument("--changes", action="store_const", dest="mode", const="changes", help="every change, no faults")
    parser.add_argument("--every", action="store_const", dest="mode", const="every")
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; may be given again")
    parser.add_argument("--break", choices=BREAKS, dest="broken", help="do it wrongly, to see that it is found")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    names = options.case or (PLAIN if options.mode == "short" else CASES)
    # In memory where there is any: a kill does not empty the page cache, so a disk shows no more.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    root = pathlib.Path(tempfile.mkdtemp(prefix="lamplighter-crash-", dir=memory))
    try:
        if options.broken:
            BREAKS[options.broken]()
        _warm_up(root)
        tally = _swept(names, root, options.mode, options.seed)
    finally:
        shutil.rmtree(root)
    print(f"{tally.kills} kill points, {tally.faults} faults, {len(names)} cases, {len(tally.lost)} lost")
    return 1 if tally.lost else 0


if __name__ == "__main__":
    sys.exit(main())
