"""Runs the flow `score` in forked processes that die, or whose disk fails, and holds what is left against a whole run.

The flow's own body runs, with its stages as plain functions: what Prefect adds costs a second a run and touches no
file of the lake. A fork of a process that has imported everything costs a few milliseconds.
"""

import datetime as dt
import inspect
import json
import logging
import os
import pathlib
import re
import shutil
import signal
import sys
import time
import traceback
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import flows.score
import tasks.challenge
import tasks.pull
import tasks.report
import tasks.watch
from tasks.core import layout
from tasks.core.errors import LamplighterError, WindowFinished
from tasks.core.runs import shards
from tasks.core.runs.run import published_manifest
from tasks.stage import Stage
from tests.crash.points import Points, install_three_step_swaps
from tests.flows.conftest import DAY, World, make_project, readings
from tests.flows.estimating import CBPE, add_estimating_version

# The first attempt and the second: a snapshot that survives keeps the instant at which it was complete.
BEFORE = dt.datetime(2024, 5, 2, tzinfo=dt.UTC)
FIRST = dt.datetime(2024, 5, 2, 1, tzinfo=dt.UTC)
SECOND = dt.datetime(2024, 5, 2, 2, tzinfo=dt.UTC)
_HALF_A_PAGE = re.compile(r"reports/([^/]+/)?\.tmp-[0-9a-f]+$")
_TABLES = (*layout.TABLES, layout.SHADOW)
_OF_TIME = ("timings", "started_at", "finished_at", "peak_memory_bytes")

Install = Callable[[pathlib.Path], Points]


@dataclass(frozen=True)
class Case:
    """What lies in the lake before, and what is asked for."""

    name: str
    prepare: Callable[[World], None]
    rescore: str = ""
    three_step_swaps: bool = False
    takes_up: bool = False  # The run that stood is run again: its snapshot is kept.
    accept: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended:
    """How an attempt ended: killed, or with a verdict or an error; and the points that it passed."""

    killed: bool
    outcome: str = ""
    ours: bool = True
    text: str = ""
    points: tuple[str, ...] = ()


class Broken(AssertionError):
    """A promise of publishing was broken."""


class Bench:
    """One case in a folder of its own: its lake as it was before, whole runs to compare with, and attempts."""

    def __init__(self, case: Case, folder: pathlib.Path) -> None:
        self.case, self.folder = case, folder
        self.world = make_project(folder)
        self.lake = folder / "lake"
        case.prepare(self.world)
        self._before = folder / "before"
        shutil.copytree(self.lake, self._before)
        self.old = self._tables()
        self.whole: dict[dt.datetime, dict[str, dict[str, object]]] = {}
        for clock in (FIRST, SECOND):
            self.reset()
            ended = self.attempt(clock)
            assert ended.outcome == "published", ended
            self.whole[clock] = self._tables()
            manifest = self.manifest()
            pulled_at = BEFORE if case.takes_up else clock
            assert manifest["snapshot"]["complete_at"] == pulled_at.isoformat().replace("+00:00", "Z")
            self.whole[clock]["manifest"] = manifest
            self.files = self._files()

    def reset(self) -> None:
        """The lake as it was before."""
        shutil.rmtree(self.lake)
        shutil.copytree(self._before, self.lake)

    def attempt(self, clock: dt.datetime, install: Install | None = None, *, kill_after: float | None = None) -> Ended:
        """Runs the flow in a fork; `install` puts points into it, `kill_after` seconds it is killed from outside."""
        return run_forked(self.folder, self.case, clock, install, kill_after)

    def check_visible(self, *, killed_in: str) -> None:
        """What readers see at this instant: of each table the old partition, or a new one; never a mixture."""
        visible, new = self._tables(), [self.whole[FIRST], self.whole[SECOND]]
        for table in _TABLES:
            may_be = [self.old[table], *(one[table] for one in new)]
            if self.case.three_step_swaps:
                may_be.append({})
            if visible[table] not in may_be:
                raise Broken(f"{self.case.name}, {killed_in}: readers see of {table} {sorted(visible[table])}")
        if visible[layout.PREDICTIONS] != self.old[layout.PREDICTIONS]:
            for table in (layout.METRICS, layout.QUARANTINE):
                if visible[table] not in [one[table] for one in new] and visible[layout.PREDICTIONS]:
                    raise Broken(f"{self.case.name}, {killed_in}: new predictions with the old {table}")
        if self.old[layout.SHADOW] and not (visible[layout.SHADOW] or visible[layout.PREDICTIONS]):
            raise Broken(f"{self.case.name}, {killed_in}: the window left the shadow, and is nowhere")

    def check_recovered(self, *, killed_in: str) -> None:
        """Runs it to the end, and compares with a whole run; then once more, which is to change nothing."""
        before = f"{self.case.name}, {killed_in}"
        expected = self.whole[FIRST if self._has_new_snapshot() else SECOND]
        ended = self.attempt(SECOND)
        if ended.outcome not in ("published", "WindowFinished"):
            raise Broken(f"{before}: the next run ended with {ended.outcome}: {ended.text}")
        self._compare(before, expected)
        again = run_forked(self.folder, Case("again", self.case.prepare), SECOND, None, None)
        if again.outcome != "WindowFinished":
            raise Broken(f"{before}: a run after that ended with {again.outcome}: {again.text}")
        self._compare(f"{before}, twice", expected)

    def _compare(self, before: str, expected: dict[str, dict[str, object]]) -> None:
        found = self._tables()
        for table in _TABLES:
            if found[table] != expected[table]:
                raise Broken(f"{before}: {table} is {_short(found[table])}, and not {_short(expected[table])}")
        manifest = self.manifest()
        differs = {key for key in expected["manifest"] if manifest[key] != expected["manifest"][key]}
        # Whoever takes over from a killed run cannot know how its swap was done.
        if manifest["swapped_atomically"] is None:
            differs -= {"swapped_atomically"}
        # A disk that fails while the performance is estimated costs the estimate alone.
        if not manifest["estimates"] and "killed" not in before:
            differs -= {"estimates", "estimate_note"}
        if differs:
            raise Broken(f"{before}: the manifest differs: {[(key, manifest[key]) for key in sorted(differs)]}")
        if (files := self._files()) != self.files:
            raise Broken(f"{before}: left over: {sorted(files - self.files)}; missing: {sorted(self.files - files)}")

    def manifest(self) -> dict[str, object]:
        """What the standing manifest says, but for times."""
        found = published_manifest(self.world.lake, "readings", DAY)
        if found is None:
            raise Broken(f"{self.case.name}: no manifest is published")
        said = found.model_dump(mode="json")
        said["files"].pop(layout.METRICS)
        for one in said["acceptances"]:
            one.pop("at")
        return {key: value for key, value in said.items() if key not in _OF_TIME}

    def _has_new_snapshot(self) -> bool:
        """Whether the first attempt's snapshot is complete: one whose instant is the first attempt's."""
        records = (json.loads(path.read_text()) for path in self.lake.glob("runs/*/*/*/snapshot.json"))
        return any(record["complete_at"].startswith(FIRST.strftime("%Y-%m-%dT%H:%M")) for record in records)

    def _tables(self) -> dict[str, dict[str, object]]:
        """What a reader's glob finds: every file under the tables, hidden or not. Metrics hold times: without them."""
        return {
            table: {
                str(path.relative_to(self.lake)): _without_times(path) if table == layout.METRICS else path.read_bytes()
                for path in (self.lake / table).rglob("*")
                if path.is_file()
            }
            for table in _TABLES
        }

    def _files(self) -> set[str]:
        """Every file and folder of the lake, hidden ones too; of the pages, those that a later report takes away."""
        found = {str(path.relative_to(self.lake)) for path in self.lake.rglob("*")}
        return {path for path in found if not _HALF_A_PAGE.match(path)}


def run_forked(
    folder: pathlib.Path, case: Case, clock: dt.datetime, install: Install | None, kill_after: float | None
) -> Ended:
    return forked(folder, lambda told: _in_child(folder, case, clock, install, told), kill_after)


def forked(folder: pathlib.Path, attempt: Callable[[pathlib.Path], None], kill_after: float | None) -> Ended:
    """Calls `attempt` in a fork; it writes how it ended into the file that it is given, as JSON."""
    told = folder / "ended.json"
    told.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            attempt(told)
        finally:
            os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        return Ended(killed=True)
    assert told.exists(), "the child ended without a word"
    return Ended(killed=False, **{k: tuple(v) if k == "points" else v for k, v in json.loads(told.read_text()).items()})


def _in_child(
    folder: pathlib.Path, case: Case, clock: dt.datetime, install: Install | None, told: pathlib.Path
) -> None:
    logging.disable()
    # Arrow closes a file once more when it is let go, and cannot say that this failed too.
    sys.unraisablehook = lambda _: None
    warnings.simplefilter("ignore")
    os.environ |= {"LAMPLIGHTER_PROJECT": str(folder), "LAMPLIGHTER_LAKE": str(folder / "lake")}
    run_without_prefect(clock)
    os.fsync = lambda _descriptor: None
    if case.three_step_swaps:
        install_three_step_swaps()
    points = install(folder / "lake") if install else None
    said: dict[str, object] = {}
    try:
        why = "it is right" if case.accept else ""
        manifest = the_flow("readings", DAY, case.rescore, accept=case.accept, reason=why)
        said["outcome"] = "published" if manifest.is_published else f"{manifest.state} {manifest.verdict}"
    except BaseException as error:
        said = {"outcome": type(error).__name__, "ours": isinstance(error, LamplighterError)}
        said["text"] = str(error) if isinstance(error, LamplighterError) else traceback.format_exc()
        if isinstance(error, WindowFinished):
            said["text"] = ""
    said["points"] = points.seen if points else []
    # Not through pathlib: its methods may be counted, or fail.
    with open(told, "w") as file:
        json.dump(said, file)


# The flow's own body, without what tells Prefect of it.
the_flow = inspect.unwrap(flows.score.score.fn)


def run_without_prefect(clock: dt.datetime) -> None:
    """From here on stages are plain functions, all batches are worked on in this process, and pulls end at `clock`."""
    Stage.__call__ = lambda self, *args, **kwargs: self.task.fn.__wrapped__(*args, **kwargs)
    flows.score.on_each = lambda stage, run, dealt: [stage.task.fn.__wrapped__(run, one) for one in dealt]
    shards.worker_count = lambda *_: 0
    tasks.report._write_artifacts = lambda *_: None
    tasks.watch._Artifacts.show = lambda *_: None
    tasks.pull.dt = types.SimpleNamespace(datetime=types.SimpleNamespace(now=lambda _: clock), UTC=dt.UTC)


def _without_times(path: pathlib.Path) -> object:
    file = pq.ParquetFile(pa.BufferReader(path.read_bytes()))
    # Nor the estimates, which the manifest is compared by.
    rows = [row for row in file.read().to_pylist() if not row["metric"].startswith(("stage_seconds", "estimated_"))]
    return rows, file.metadata.metadata[b"lamplighter"]


def _short(table: dict[str, object]) -> str:
    return ", ".join(
        f"{name} ({pq.read_table(pa.BufferReader(data)).to_pydict() if isinstance(data, bytes) else data})"
        for name, data in table.items()
    )


# -- the cases ------------------------------------------------------------------------------------------------------


def _score(world: World) -> None:
    ended = run_forked(world.folder, Case("before", _score), BEFORE, None, None)
    assert ended.outcome == "published", ended


def _prepare_new(world: World) -> None:
    world.change_job(suite=None, limits__batch_rows=40)
    world.write_rows(readings(60))


def _prepare_estimated(world: World) -> None:
    """As before, with a version whose performance is estimated."""
    _prepare_new(world)
    add_estimating_version(world, CBPE)


def _prepare_republication(world: World) -> None:
    _prepare_new(world)
    _score(world)
    world.write_rows(readings(70).iloc[20:].assign(x=lambda rows: rows["x"] + 1))


def _prepare_leaving_the_shadow(world: World) -> None:
    """The window is in shadow, and the team has switched over."""
    world.change_job(output__shadow=True)
    _prepare_republication(world)
    world.change_job(output__shadow=None)


def _prepare_republication_with_quarantine(world: World) -> None:
    world.change_job(limits__batch_rows=40, limits__quarantine_share=0.5)
    rows = readings(60)
    rows.loc[3, "kind"] = "lukewarm"
    world.write_rows(rows)
    _score(world)
    rows = readings(70).iloc[20:].reset_index(drop=True)
    rows.loc[5, "kind"] = "lukewarm"
    rows.loc[7, "x"] = float("inf")
    rows.loc[9, "sensor"] = None
    # One stands there twice, one with two values, in different batches.
    world.write_rows(pd.concat([rows, rows.iloc[[11]], rows.iloc[[13]].assign(x=99.0)]))


def _prepare_acceptance(world: World) -> None:
    """The window is blocked, and its source has forgotten the rows that were."""
    world.change_job(limits__batch_rows=40)
    rows = readings(60)
    rows.loc[3, "kind"] = "lukewarm"
    world.write_rows(rows)
    too_few = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 100}, "severity": "critical"}
    suite = json.loads((world.folder / "expectations/readings.json").read_text())
    world.write_suite(*suite["expectations"], too_few)
    ended = run_forked(world.folder, Case("before", _prepare_acceptance), BEFORE, None, None)
    assert ended.outcome == "Blocked", ended
    (world.folder / "data/a.parquet").unlink()


def _prepare_mending(world: World) -> None:
    """The published file is damaged, and the same rows are scored again: a run takes its own place."""
    _prepare_new(world)
    _score(world)
    (file,) = (world.folder / "lake/predictions").rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-8])


CASES = {
    case.name: case
    for case in (
        Case("publish", _prepare_estimated),
        Case("republish", _prepare_republication, "other rows"),
        Case("republish with quarantine", _prepare_republication_with_quarantine, "other rows"),
        Case("republish in three steps", _prepare_republication, "other rows", three_step_swaps=True),
        Case("leave the shadow", _prepare_leaving_the_shadow, "it is right"),
        Case("mend", _prepare_mending, "it is damaged", takes_up=True),
        Case("accept", _prepare_acceptance, accept=("expect_table_row_count_to_be_between",)),
    )
}
