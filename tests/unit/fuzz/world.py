"""A small lake in which every command has left its files, and the commands that people type at it, in forks."""

import contextlib
import datetime as dt
import importlib
import inspect
import io
import json
import os
import pathlib
import resource
import shutil
import signal
import sqlite3
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import flows.audit
import flows.backfill
import flows.challenge
import flows.cli
import flows.cli.run
import flows.monitor
import flows.promote
import flows.recall
import flows.score
import flows.train
import tasks.audit
import tasks.prune
import tasks.shards.dry_run
import tasks.shards.examination
from tasks.core.workers import Workers
from tasks.shards.validating import gx
from tests.crash.harness import Here, run_without_prefect
from tests.flows.conftest import LABELS, World, add_wrong_version, make_project, make_warehouse

DAYS = FIRST, SECOND, THIRD = ("2024-05-01", "2024-05-02", "2024-05-03")
NOW = dt.datetime(2024, 5, 9, 12, tzinfo=dt.UTC)
HANG_SECONDS = 30
_MOST_BYTES = 3 << 30  # Above what the process has: a declared size is no reason to ask for more.
_MODULES = "LAMPLIGHTER_FUZZ_MODULES"  # A file for the modules that a command has imported.
_IMPORTED = {"flows", "tasks", "pandas", "scipy", "sklearn", "pyarrow", "great_expectations", "yaml", "rich", "joblib"}
_FLOWS = ("score", "monitor", "audit", "train", "promote", "challenge", "recall")


@dataclass(frozen=True)
class Typed:
    """How a command ended: its exit code, or -signal; and what it said."""

    code: int
    out: str = ""
    err: str = ""
    unforeseen: str = ""


class _Direct:
    """A flow without Prefect: what it returns or raises, as its final state would say it."""

    name = "Completed"

    def __init__(self, module: str) -> None:
        self._body = inspect.unwrap(getattr(importlib.import_module(f"flows.{module}"), module).fn)

    def __call__(self, *arguments: object, **_: object) -> "_Direct":
        self._said = self._body(*arguments)
        return self

    def result(self) -> object:
        return self._said


def typed(folder: pathlib.Path, *words: str) -> Typed:
    """Types a command in a fork, in the project in `folder`; one that does not end is killed."""
    told = folder.parent / f"{folder.name}.told"
    told.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(HANG_SECONDS)
            _type(folder, words, told)
        finally:
            os._exit(77)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Typed(-os.WTERMSIG(status))
    return Typed(**json.loads(told.read_text())) if told.exists() else Typed(77)


def _type(folder: pathlib.Path, words: Sequence[str], told: pathlib.Path) -> None:
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MOST_BYTES, used + _MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    os.fsync = lambda _descriptor: None
    os.environ |= {"LAMPLIGHTER_PROJECT": str(folder), "LAMPLIGHTER_LAKE": str(folder / "lake")}
    os.chdir(folder)
    _without_prefect()
    out, err, unforeseen, code = io.StringIO(), io.StringIO(), "", 0
    sys.stdout, sys.stderr, sys.argv = out, err, ["lamplighter", *words]
    try:
        flows.cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
        cause = end.__context__
        if "This was not foreseen" in err.getvalue() and cause:
            unforeseen = "".join(traceback.format_exception(cause))
    except BaseException:
        unforeseen, code = traceback.format_exc(), 99
    said = {"code": code, "out": out.getvalue(), "err": err.getvalue(), "unforeseen": unforeseen}
    if _MODULES in os.environ:
        pathlib.Path(os.environ[_MODULES]).write_text("\n".join(sys.modules))
    # Not by way of what was replaced.
    with open(told, "w", errors="surrogateescape") as file:
        json.dump(said, file)


def warm(folder: pathlib.Path, *commands: Sequence[str]) -> None:
    """Imports what these commands need, so that a fork of this process has it; their changes are thrown away."""
    told, copied = folder.parent / "modules", folder.parent / "warm"
    gx.great_expectations()
    for words in commands:
        shutil.copytree(folder, copied)
        os.environ[_MODULES] = str(told)
        typed(copied, *words)
        del os.environ[_MODULES]
        shutil.rmtree(copied)
        for name in told.read_text().splitlines():
            if name.partition(".")[0] in _IMPORTED:
                with contextlib.suppress(Exception):
                    importlib.import_module(name)


def warm_all(folder: pathlib.Path) -> None:
    """Imports what the commands of a lake that is there already need."""
    warm(
        folder,
        ("score", "readings", "--as-of", FIRST, "--rescore", "once more"),
        ("audit", "readings", "--seed", "1"),
        ("leak-check", "readings", "--as-of", FIRST),
        ("compare", "readings", "--as-of", FIRST, "--against", "lake/predictions/readings"),
    )


def _without_prefect() -> None:
    run_without_prefect(NOW)
    for name in _FLOWS:
        setattr(sys.modules[f"flows.{name}"], name, _Direct(name))
    tasks.audit.Workers = Here
    tasks.prune.prune_server = lambda *_: tasks.prune.Summary()
    tasks.shards.examination.worker_count = lambda *_: 0
    tasks.shards.dry_run.Workers = lambda *_: Workers(0, 0)
    from flows.cli.output import console

    console.width = 200
    type(console).file = property(lambda _: sys.stdout, lambda *_: None)


def make_fuzzed(folder: pathlib.Path) -> World:
    """Three days scored, of which one was scored again and one has rows in quarantine; labels, a look, an audit, a recall."""
    world = make_project(folder / "project", batch_rows=100)
    make_warehouse(world).close()
    world.change_job(
        labels=LABELS | {"delay": "1d", "revisit": ["2d"]},
        schedule={"cron": "30 2 * * *"},
        retention={"snapshots": "90d"},
    )
    (world.folder / "deployments/jobs/defaults.yaml").write_text("owner: network-operations\n")
    with sqlite3.connect(world.folder / "warehouse.sqlite") as database:
        database.execute("UPDATE readings SET kind = 'lukewarm' WHERE sensor LIKE 's00003%'")
    database.close()

    def run(*words: str, code: int = 0) -> Typed:
        ended = typed(world.folder, *words)
        assert ended.code == code, (words, ended)
        return ended

    run("train", "readings")
    warm(world.folder, ("score", "readings", "--as-of", FIRST), ("status",))
    run("promote", "readings", "--version", "2", "--reason", "it was trained", "--force")
    run("score", "readings", "--as-of", FIRST)
    add_wrong_version(world)
    run("score", "readings", "--as-of", SECOND)
    run("rollback", "readings", "--reason", "it says the opposite")
    run("recall", "readings", "--version", "3", "--reason", "it says the opposite")
    with sqlite3.connect(world.folder / "warehouse.sqlite") as database:
        database.execute("UPDATE readings SET x = x + 1 WHERE sensor LIKE 's00004%'")
    database.close()
    run("score", "readings", "--as-of", FIRST, "--rescore", "it was corrected")
    add_wrong_version(world)
    run("rollback", "readings", "--reason", "it says the opposite")
    run("promote", "readings", "--version", "4", "--reason", "beside it", "--alias", "challenger")
    run("score", "readings", "--as-of", THIRD)
    run("monitor", "readings", "--as-of", "2024-05-06")
    run("audit", "readings", "--seed", "1")
    run("release", "readings", "-o", str(world.folder / "readings-1.tar.gz"), "--created-at", "2024-05-05")
    run("install", str(world.folder / "readings-1.tar.gz"), "--yes", "--force", "--reason", "it is the same")
    run("score", "readings", "--as-of", THIRD, "--dry-run")
    run("prune")
    warm(
        world.folder,
        ("leak-check", "readings", "--as-of", FIRST),
        ("compare", "readings", "--as-of", FIRST, "--against", "lake/predictions/readings"),
    )
    return world
