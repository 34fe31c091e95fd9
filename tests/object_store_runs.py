"""`python -m tests.object_store_runs`: runs of `score` on a lake in an object store, each in a fork of this process, which
has imported everything and asked no store anything. A line of JSON is what to run; a line of JSON is how each ended.
"""

import datetime as dt
import json
import logging
import os
import pathlib
import signal
import sys
import tempfile
import threading
import traceback
import warnings

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

from tasks.core.errors import LamplighterError
from tasks.core.storage import system
from tests.crash.harness import FIRST, run_without_prefect
from tests.crash.scoring import the_flow
from tests.flows.conftest import DAY, make_project, readings


class Hook:
    """Counts the changes, and kills this process after one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.kill_at, self.seen, self.guard = kill_at, [], threading.Lock()

    def __call__(self, change: str, key: str) -> None:
        with self.guard:
            self.seen.append(f"{change} {key}")
            if len(self.seen) == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


def run_one(asked: dict, told: pathlib.Path) -> None:
    logging.disable()
    warnings.simplefilter("ignore")
    os.environ |= asked["environment"]
    hook = Hook(asked.get("kill_at"))
    system.after_change = hook
    try:
        said = {"outcome": "done", "text": str(the_flow("readings", DAY, asked.get("rescore", "")))}
    except LamplighterError as error:
        said = {"outcome": type(error).__name__, "text": str(error)}
    except BaseException:
        said = {"outcome": "crashed", "text": traceback.format_exc()}
    told.write_text(json.dumps(said | {"changes": hook.seen}))


def warm_up(folder: pathlib.Path) -> None:
    """Imports what a run needs, by one on a lake of this machine, so that its forks need not."""
    world = make_project(folder)
    world.write_rows(readings())
    os.environ |= {"LAMPLIGHTER_PROJECT": str(world.folder), "LAMPLIGHTER_LAKE": world.lake.address()}
    logging.disable()
    run_without_prefect(FIRST)
    the_flow("readings", DAY, "")


def main() -> None:
    folder = pathlib.Path(tempfile.mkdtemp())
    warm_up(folder / "warm")
    print("ready", flush=True)
    for line in sys.stdin:
        children = []
        for number, asked in enumerate(json.loads(line)):
            told = folder / f"{number}.json"
            told.unlink(missing_ok=True)
            clock = FIRST + dt.timedelta(seconds=asked.get("later_seconds", 0))
            child = os.fork()
            if child == 0:
                try:
                    run_without_prefect(clock)
                    run_one(asked, told)
                finally:
                    os._exit(0)
            children.append((child, told))
        for child, _ in children:
            os.waitpid(child, 0)
        ended = [json.loads(told.read_text()) if told.exists() else {"outcome": "killed"} for _, told in children]
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main()
