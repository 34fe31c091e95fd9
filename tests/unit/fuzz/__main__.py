"""`python -m tests.unit.fuzz`: changes files of a small lake in thousands of ways, and types every command at them."""

import argparse
import os
import pathlib
import random
import sys
import tempfile
import time
from collections import Counter

# A process whose libraries have started threads is not one to fork.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

from tasks.core.settings import prepare_prefect

prepare_prefect(quiet=True)

from tasks.core.storage import Lake
from tests.flows.conftest import World
from tests.unit.fuzz.cases import drawn
from tests.unit.fuzz.judging import tried
from tests.unit.fuzz.world import make_fuzzed, warm_all


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="Files whose path holds this.")
    parser.add_argument("--command", default="", help="Commands that begin with this.")
    parser.add_argument("--keep", type=pathlib.Path, help="A folder for the lake, which is used again.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = _made(asked.keep or pathlib.Path(folder))
        began, broken, codes = time.monotonic(), 0, Counter()
        for number, case in enumerate(
            drawn(world.folder, asked.cases, random.Random(asked.seed), asked.only, asked.command), 1
        ):
            judged = tried(world.folder, case)
            codes[judged.ended.code] += 1
            if judged.faults:
                broken += 1
                print(f"--- {judged}", flush=True)
            if number % 100 == 0:
                print(f"{number:,} cases, {broken} broken, {time.monotonic() - began:.0f} s, {dict(codes)}", flush=True)
    print(f"{asked.cases:,} cases, {broken} broken; exit codes {dict(sorted(codes.items()))}")
    return 1 if broken else 0


def _made(folder: pathlib.Path) -> World:
    if (folder / "project/readings-1.tar.gz").exists():
        warm_all(folder / "project")
        return World(folder / "project", Lake(folder / "project/lake"))
    folder.mkdir(exist_ok=True)
    return make_fuzzed(folder)


if __name__ == "__main__":
    sys.exit(main())
