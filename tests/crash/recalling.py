"""Recalls that are killed, or whose disk fails, and what is left held against a whole recall: the very bytes of the lake."""

import datetime as dt
import functools
import json
import pathlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from tasks.core import layout
from tasks.core.delta.actions import CHECKPOINT_EACH
from tasks.core.runs.publication import recover, staged
from tasks.core.runs.recalling import recalls
from tasks.core.runs.recalling.footprint import every_window
from tasks.core.runs.run import write_manifest
from tasks.core.storage import Lake
from tests import delta_scenes
from tests import recall_scenes as scenes
from tests.crash.harness import DONE, FIRST, SECOND, Broken, Ended, Install, age_what_is_hidden, everything_in, forked
from tests.crash.points import install_three_step_swaps

DAYS = ("2013-07-01", "2013-07-02", "2013-07-03", "2013-07-04")
BAD = 3
_TABLES = (*layout.TABLES, layout.CHALLENGERS)


@dataclass(frozen=True)
class RecallCase:
    """What versions have published before version 3 is recalled; no window is scored here."""

    name: str
    prepare: Callable[[Lake], None]
    three_step_swaps: bool = False
    keep_until_replaced: bool = False
    is_delta: bool = False


class RecallBench:
    """One case in a folder of its own: its lake as it was before, whole recalls to compare with, and attempts."""

    def __init__(self, case: RecallCase, folder: pathlib.Path) -> None:
        self.case, self.name, self.folder = case, case.name, folder
        self._checks = 0
        self.lake = Lake(folder / "lake")
        self.lake_root = self.lake.root
        if case.is_delta:
            delta_scenes.begin(self.lake)
        case.prepare(self.lake)
        self._before = folder / "before"
        shutil.copytree(self.lake.root, self._before)
        self.published = self._rows()
        self.whole: dict[dt.datetime, dict[str, bytes]] = {}
        for clock in (FIRST, SECOND):
            self.reset()
            ended = self.attempt(clock)
            assert ended.outcome == DONE, ended
            self.whole[clock] = everything_in(self.lake_root)
            visible = {version for table in _TABLES for version in scenes.seen(self.lake, table)}
            assert case.keep_until_replaced or BAD not in visible

    def reset(self) -> None:
        """The lake as it was before."""
        shutil.rmtree(self.lake.root)
        shutil.copytree(self._before, self.lake.root)

    def attempt(self, clock: dt.datetime, install: Install | None = None, *, kill_after: float | None = None) -> Ended:
        """Recalls version 3 in a fork; `install` puts points into it, `kill_after` seconds it is killed from outside."""
        beforehand = install_three_step_swaps if self.case.three_step_swaps else None
        act = functools.partial(_recall_once, self.lake, self.case, clock)
        return forked(self.folder, act, install, kill_after, beforehand=beforehand)

    def worth_killing(self, points: tuple[str, ...]) -> list[int]:
        """Every change."""
        return [n for n, point in enumerate(points, 1) if point.startswith("after ")]

    def check_visible(self, *, killed_in: str) -> None:
        """What readers see at this instant: of each window and table the bad rows, the good rows, or none; and no row twice."""
        for table in layout.TABLES:
            for day in DAYS:
                files = self._seen_in(table, day)
                if len(files) > 1:
                    raise Broken(f"{self.name}, {killed_in}: {table} of {day} has {len(files)} files")
        if (rows := self._rows()) != self.published:
            raise Broken(f"{self.name}, {killed_in}: rows are lost or doubled: {rows}, and not {self.published}")

    def check_recovered(self, *, killed_in: str) -> None:
        """Recalls once more; every second time a run of each window comes first, which ends what it finds."""
        before = f"{self.name}, {killed_in}"
        expected = self.whole[FIRST if self._was_recalled() else SECOND]
        age_what_is_hidden(self.lake_root)
        self._checks += 1
        if self._checks % 2:
            self._check_runs_recover(before)
        self._recall_again(before, expected)
        self._recall_again(f"{before}, twice", expected)

    def _check_runs_recover(self, before: str) -> None:
        """What a run does first, before it scores: what readers see is then of one piece, and no record says otherwise."""
        for job, as_of in every_window(self.lake):
            recover(self.lake, job, as_of)
            seen = [self._seen_in(table, as_of) for table in layout.TABLES]
            if seen[1:] != seen[:-1]:
                raise Broken(f"{before}, recovered: the tables of {as_of} hold {seen}")
        states = [json.loads(path.read_bytes())["state"] for path in self.lake.root.glob("runs/*/*/*/manifest.json")]
        if "withdrawing" in states:
            raise Broken(f"{before}, recovered: a window is still being withdrawn")

    def _recall_again(self, before: str, expected: dict[str, bytes]) -> None:
        ended = self.attempt(SECOND)
        if ended.outcome != DONE:
            raise Broken(f"{before}: the next recall ended with {ended.outcome}: {ended.text}")
        found = everything_in(self.lake_root)
        if differs := sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key)):
            raise Broken(f"{before}: these differ from those of a whole recall: {differs}")

    def _was_recalled(self) -> bool:
        """Whether the first attempt came so far that its instant stands in the history."""
        events = [json.loads(path.read_bytes()) for path in self.lake.root.glob("models/*/events/[0-9]*.json")]
        return any(one["action"] == "recall" and one["version"] == BAD for one in events)

    def _rows(self) -> list[str]:
        """Every file of rows that lies anywhere, by name: none is ever removed, and none is there twice.

        But in a Delta table, which has what it does not show any more for whoever still reads it.
        """
        found = sorted(path.name for path in self.lake.root.rglob("part-*.parquet"))
        return sorted(set(found)) if self.case.is_delta else found

    def _seen_in(self, table: str, as_of: str) -> list[str]:
        """The files that readers see of a window, by name."""
        if table == layout.PREDICTIONS and self.case.is_delta:
            return delta_scenes.shown(self.lake.root).get(as_of, [])
        return sorted(
            path.name for path in self.lake.path(layout.partition(table, scenes.JOB, as_of)).rglob("*.parquet")
        )


def _recall_once(lake: Lake, case: RecallCase, clock: dt.datetime) -> str:
    order = scenes.order(BAD, at=clock, keep_until_replaced=case.keep_until_replaced)
    recalls.check_complete(recalls.recall(lake, order, wait_seconds=0))
    return DONE


def _prepare_good(lake: Lake) -> None:
    """Version 3 stands over good partitions, of which one is damaged; a challenger goes with it, another's stays."""
    scenes.add_versions(lake, 4)
    scenes.set_alias(lake, BAD)
    for day in DAYS[:2]:
        scenes.publish(lake, "first", 1, rows=2, day=day)
        scenes.publish(lake, "second", 2, rows=3, day=day, hour=1)
        scenes.publish(lake, "bad", BAD, rows=4, day=day, hour=2)
    damaged = lake.path(f"{layout.superseded(scenes.JOB, DAYS[1], 'second')}/{layout.METRICS}/{layout.part('second')}")
    damaged.write_bytes(damaged.read_bytes() + b"?")
    scenes.publish(lake, "fine", 2, day=DAYS[2])
    scenes.challenge(lake, "bad", 4, day=DAYS[0])
    scenes.challenge(lake, "fine", BAD, day=DAYS[2])


def _prepare_before_a_checkpoint(lake: Lake) -> None:
    """As before, and with the next commit the table's log gets a checkpoint."""
    _prepare_good(lake)
    for hour, run_id in enumerate(("old", "new")):
        scenes.publish(lake, run_id, 2, day=DAYS[3], hour=hour)
    assert len(delta_scenes.commits(lake.root)) == CHECKPOINT_EACH


def _prepare_none(lake: Lake) -> None:
    """Version 3 is all that the windows have had, once over another run of its own; and one window is half published."""
    scenes.add_versions(lake, 3)
    scenes.set_alias(lake, BAD)
    scenes.publish(lake, "bad", BAD, day=DAYS[0])
    scenes.publish(lake, "bad", BAD, rows=5, day=DAYS[1])
    scenes.publish(lake, "worse", BAD, rows=6, day=DAYS[1], hour=1)
    scenes.publish(lake, "fine", 1, day=DAYS[2])
    killed = scenes.stage(lake, "killed", BAD, day=DAYS[3])
    workspace = layout.workspace(scenes.JOB, DAYS[3], "killed")
    write_manifest(lake, workspace, killed.but(state="publishing"))
    lake.swap(staged(workspace, layout.METRICS), layout.partition(layout.METRICS, scenes.JOB, DAYS[3]))


RECALLS = {
    case.name: case
    for case in (
        RecallCase("recall", _prepare_good),
        RecallCase("recall with nothing to restore", _prepare_none),
        RecallCase("recall in three steps", _prepare_good, three_step_swaps=True),
        RecallCase("recall and keep", _prepare_good, keep_until_replaced=True),
        RecallCase("recall of delta", _prepare_before_a_checkpoint, is_delta=True),
        RecallCase("recall of delta with nothing to restore", _prepare_none, is_delta=True),
    )
}
