"""Runs what changes a lake in forked processes that die, or whose disk fails, and says how they ended.

The flows' own bodies run, with their stages as plain functions: what Prefect adds costs a second a run and touches no
file of the lake. A fork of a process that has imported everything costs a few milliseconds.
"""

import datetime as dt
import json
import logging
import os
import pathlib
import signal
import sys
import time
import traceback
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import flows.score
import tasks.alarms
import tasks.audit
import tasks.challenge
import tasks.monitor
import tasks.promote
import tasks.pull
import tasks.recall
import tasks.report
import tasks.watch
from tasks.core.errors import LamplighterError, NothingToDo
from tasks.core.runs import shards
from tasks.core.storage import Lake
from tasks.stage import Stage
from tests.crash.points import Points

# The first attempt and the second: a snapshot that survives keeps the instant at which it was complete.
BEFORE = dt.datetime(2024, 5, 2, tzinfo=dt.UTC)
FIRST = dt.datetime(2024, 5, 2, 1, tzinfo=dt.UTC)
SECOND = dt.datetime(2024, 5, 2, 2, tzinfo=dt.UTC)
DONE = "done"
_TWO_DAYS_SECONDS = 172_800

Install = Callable[[pathlib.Path], Points]


@dataclass(frozen=True)
class Ended:
    """How an attempt ended: killed, or with an outcome in a word, or with an error; and the points that it passed."""

    killed: bool
    outcome: str = ""
    ours: bool = True
    text: str = ""
    points: tuple[str, ...] = ()
    killed_at: str = ""


class Broken(AssertionError):
    """A promise was broken."""


class Bench(Protocol):
    """One case in a folder of its own: what lies in the lake before, attempts, and what must be true after any of them.

    A command gets its cases by a `Command` (tests.crash.commands), and needs no bench of its own.
    """

    name: str
    lake_root: pathlib.Path

    def reset(self) -> None:
        """The lake as it was before."""

    def attempt(self, clock: dt.datetime, install: Install | None = None, *, kill_after: float | None = None) -> Ended:
        """One attempt in a fork; `install` puts points into it, `kill_after` seconds it is killed from outside."""

    def check_visible(self, *, killed_in: str) -> None:
        """What readers see at this instant: the old, or the new; Broken if anything else."""

    def check_recovered(self, *, killed_in: str) -> None:
        """Whoever comes next ends it, and all is as after a whole run; then once more, which is to change nothing."""

    def worth_killing(self, points: tuple[str, ...]) -> list[int]:
        """Of the changes (numbered from 1), those that `--short` chooses from."""


def forked(
    folder: pathlib.Path,
    act: Callable[[], str],
    install: Install | None = None,
    kill_after: float | None = None,
    *,
    beforehand: Callable[[], None] | None = None,
) -> Ended:
    """Calls `act` in a fork, on the lake in `folder`: it returns how it ended, or raises. `beforehand` is called first."""
    told, killed_at = folder / "ended.json", folder / "killed_at"
    told.unlink(missing_ok=True)
    killed_at.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            _in_child(folder, act, install, told, beforehand)
        finally:
            os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return Ended(killed=True, killed_at=killed_at.read_text() if killed_at.exists() else "")
    assert told.exists(), "the child ended without a word"
    return Ended(killed=False, **{k: tuple(v) if k == "points" else v for k, v in json.loads(told.read_text()).items()})


def _in_child(
    folder: pathlib.Path,
    act: Callable[[], str],
    install: Install | None,
    told: pathlib.Path,
    beforehand: Callable[[], None] | None,
) -> None:
    logging.disable()
    # Arrow closes a file once more when it is let go, and cannot say that this failed too.
    sys.unraisablehook = lambda _: None
    warnings.simplefilter("ignore")
    os.environ |= {"LAMPLIGHTER_PROJECT": str(folder), "LAMPLIGHTER_LAKE": str(folder / "lake")}
    os.fsync = lambda _descriptor: None
    if beforehand:
        beforehand()
    points = install(folder / "lake") if install else None
    said: dict[str, object] = {}
    try:
        said["outcome"] = act()
    except BaseException as error:
        sys.settrace(None)
        said = {"outcome": type(error).__name__, "ours": isinstance(error, LamplighterError)}
        said["text"] = str(error) if isinstance(error, LamplighterError) else traceback.format_exc()
        if isinstance(error, NothingToDo):
            said["text"] = ""
    sys.settrace(None)
    said["points"] = points.seen if points else []
    # Not through pathlib: its methods may be counted, or fail.
    with open(told, "w") as file:
        json.dump(said, file)


def run_without_prefect(clock: dt.datetime) -> None:
    """From here on stages are plain functions, all work is done in this process, and it is `clock` o'clock."""
    still = types.SimpleNamespace(datetime=types.SimpleNamespace(now=lambda _: clock), UTC=dt.UTC)
    Stage.__call__ = lambda self, *args, **kwargs: self.task.fn.__wrapped__(*args, **kwargs)
    flows.score.on_each = lambda stage, run, dealt: [stage.task.fn.__wrapped__(run, one) for one in dealt]
    shards.worker_count = lambda *_: 0
    tasks.pull.warm_up = lambda *_: None
    tasks.challenge.Workers = Here
    tasks.watch._Artifacts.show = lambda *_: None
    for module, names in _SHOWN_IN_PREFECT.items():
        for name in names:
            setattr(module, name, lambda *_, **__: None)
    for module in (tasks.pull, tasks.promote, tasks.recall, tasks.challenge, tasks.audit):
        module.dt = still
    tasks.report._now = lambda: clock
    tasks.monitor.scheduled_at = lambda: clock
    # A server that stays has taken every event.
    tasks.alarms.events.tell = lambda *_, **__: True
    tasks.alarms.events.has_server = lambda: True


_SHOWN_IN_PREFECT = {
    tasks.report: ("_write_artifacts", "show_look"),
    tasks.promote: ("create_markdown_artifact", "create_table_artifact"),
    tasks.recall: ("show_table",),
}


class Here:
    """In the place of child processes: the work is done by whoever asks for it."""

    count = 1

    def __init__(self, *_: object) -> None:
        pass

    def call(self, _what, function, *args):
        return function(*args)


def everything_in(lake_root: pathlib.Path) -> dict[str, bytes]:
    """Every file with its bytes, and every folder (its key ends with '/'), hidden ones too; Broken if a lock is held.

    But for the locks themselves: the file of one whose holder is dead keeps nobody out, and goes when it is next let go.
    """
    lake, found = Lake(lake_root), {}
    for path in lake_root.rglob("*"):
        key = str(path.relative_to(lake_root))
        if key.startswith("locks/"):
            if lake.is_locked(key):
                raise Broken(f"{key} is held by nobody who lives")
        else:
            found[f"{key}{'/' if path.is_dir() else ''}"] = path.read_bytes() if path.is_file() else b""
    return found


def age_what_is_hidden(lake_root: pathlib.Path) -> None:
    """What killed writers have left half written becomes two days old, and so nobody's."""
    long_ago = time.time() - _TWO_DAYS_SECONDS
    for path in lake_root.rglob(".tmp-*"):
        os.utime(path, (long_ago, long_ago))


def hidden_below(lake_root: pathlib.Path) -> list[str]:
    """What killed writers have left half written: each folder counts once."""
    found = (path.relative_to(lake_root) for path in lake_root.rglob(".tmp-*"))
    return sorted(str(path) for path in found if not any(part.startswith(".tmp-") for part in path.parts[:-1]))
