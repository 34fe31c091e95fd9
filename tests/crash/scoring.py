"""Runs of `score` that are killed, or whose disk fails, and what is left held against a whole run."""

import datetime as dt
import inspect
import json
import pathlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import flows.challenge
import flows.score
from tasks.core import layout
from tasks.core.models.registry import Registry
from tasks.core.runs import challenger
from tasks.core.runs.run import published_manifest
from tests import delta_scenes
from tests.crash.harness import (
    BEFORE,
    DONE,
    FIRST,
    SECOND,
    Broken,
    Ended,
    Install,
    age_what_is_hidden,
    forked,
    run_without_prefect,
)
from tests.crash.points import install_three_step_swaps
from tests.flows.conftest import DAY, World, add_wrong_version, make_project, readings
from tests.flows.estimating import CBPE, add_estimating_version

Tables = dict[str, dict[str, object]]

_LATEST = "latest"
_HALF_A_PAGE = re.compile(r"reports/(\w+/)?\.tmp-")
_TABLES = (*layout.TABLES, layout.SHADOW, layout.CHALLENGERS, _LATEST)
_OF_TIME = ("timings", "started_at", "finished_at", "peak_memory_bytes", "digest")


@dataclass(frozen=True)
class Case:
    """What lies in the lake before, and what is asked for."""

    name: str
    prepare: Callable[[World], None]
    rescore: str = ""
    three_step_swaps: bool = False
    takes_up: bool = False  # The run that stood is run again: its snapshot is kept.
    accept: tuple[str, ...] = ()
    has_challenger: bool = False
    is_delta: bool = False


class ScoreBench:
    """One case in a folder of its own: its lake as it was before, whole runs to compare with, and attempts."""

    def __init__(self, case: Case, folder: pathlib.Path) -> None:
        self.case, self.name, self.folder = case, case.name, folder
        self.world = make_project(folder)
        self.lake_root = folder / "lake"
        case.prepare(self.world)
        self._before = folder / "before"
        shutil.copytree(self.lake_root, self._before)
        self.old = self._tables()
        self.whole: dict[dt.datetime, Tables] = {}
        for clock in (FIRST, SECOND):
            self.reset()
            ended = self.attempt(clock)
            assert ended.outcome == DONE, ended
            self.whole[clock] = self._tables()
            manifest = self.manifest()
            pulled_at = BEFORE if case.takes_up else clock
            assert manifest["snapshot"]["complete_at"] == pulled_at.isoformat().replace("+00:00", "Z")
            assert bool(self.whole[clock][layout.CHALLENGERS]) == case.has_challenger
            assert delta_scenes.is_delta(self.lake_root, f"{layout.PREDICTIONS}/readings") == case.is_delta
            self.whole[clock]["manifest"] = manifest
            self.files, self.commits = self._files(), self._commits()

    def reset(self) -> None:
        """The lake as it was before."""
        shutil.rmtree(self.lake_root)
        shutil.copytree(self._before, self.lake_root)

    def attempt(self, clock: dt.datetime, install: Install | None = None, *, kill_after: float | None = None) -> Ended:
        """Runs the flow in a fork; `install` puts points into it, `kill_after` seconds it is killed from outside."""
        return score_forked(self.folder, self.case, clock, install, kill_after)

    def worth_killing(self, points: tuple[str, ...]) -> list[int]:
        """Every change of a first run; of one that replaces another those of its publication, and of its quarantine."""
        changes = [n for n, point in enumerate(points, 1) if point.startswith("after ")]
        if not self.case.rescore:
            return changes
        staged = min(n for n in changes if "staged/" in points[n - 1])
        return [n for n in changes if n > staged or ".rejects" in points[n - 1]]

    def check_visible(self, *, killed_in: str) -> None:
        """What readers see at this instant: of each table the old partition, or a new one; never a mixture."""
        visible, new = self._tables(), [self.whole[FIRST], self.whole[SECOND]]
        before = f"{self.name}, {killed_in}"
        for table in _TABLES:
            may_be = [self.old[table], *(one[table] for one in new)]
            # The rows of a challenger leave with those that they are beside, and others come later.
            if self.case.three_step_swaps or table == layout.CHALLENGERS:
                may_be.append({})
            if visible[table] not in may_be:
                raise Broken(f"{before}: readers see of {table} {sorted(visible[table])}")
        self._check_beside(visible, new, before)
        if self.old[layout.SHADOW] and not (visible[layout.SHADOW] or visible[layout.PREDICTIONS]):
            raise Broken(f"{before}: the window left the shadow, and is nowhere")

    def _check_beside(self, visible: Tables, new: list[Tables], before: str) -> None:
        """Of what stands beside the predictions some comes before them, and some after."""
        predictions = visible[layout.PREDICTIONS]
        if predictions and predictions != self.old[layout.PREDICTIONS]:
            for table in (layout.METRICS, layout.QUARANTINE):
                if visible[table] not in [one[table] for one in new]:
                    raise Broken(f"{before}: new predictions with the old {table}")
        elif predictions not in [one[layout.PREDICTIONS] for one in new]:
            for table in (_LATEST, layout.CHALLENGERS):
                if visible[table] not in (self.old[table], {}):
                    raise Broken(f"{before}: new rows in {table} beside the old predictions")

    def check_recovered(self, *, killed_in: str) -> None:
        """Runs it to the end, and compares with a whole run; then once more, which is to change nothing."""
        before = f"{self.name}, {killed_in}"
        age_what_is_hidden(self.lake_root)
        expected = self.whole[FIRST if self._has_new_snapshot() else SECOND]
        ended = self.attempt(SECOND)
        if ended.outcome not in (DONE, "WindowFinished"):
            raise Broken(f"{before}: the next run ended with {ended.outcome}: {ended.text}")
        if self.case.has_challenger:
            self._challenge_unless_scored(before)
        self._compare(before, expected)
        again = score_forked(self.folder, Case("again", self.case.prepare), SECOND)
        if again.outcome != "WindowFinished":
            raise Broken(f"{before}: a run after that ended with {again.outcome}: {again.text}")
        self._compare(f"{before}, twice", expected)

    def _challenge_unless_scored(self, before: str) -> None:
        """No run waits for its challenger: what was cut short of that, a command of its own does again."""
        published = published_manifest(self.world.lake, "readings", DAY)
        found = challenger.read(self.world.lake, published) if published else None
        if found and found.verdict == "scored":
            return
        ended = forked(self.folder, lambda: _challenge(SECOND))
        if ended.outcome != DONE:
            raise Broken(f"{before}: the challenge ended with {ended.outcome}: {ended.text}")

    def _compare(self, before: str, expected: Tables) -> None:
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
        # Nor is an old snapshot that cannot be read a reason to publish nothing: how many rows have changed is not known.
        if manifest["changes"] is None and "killed" not in before:
            differs -= {"changes"}
        if differs:
            raise Broken(f"{before}: the manifest differs: {[(key, manifest[key]) for key in sorted(differs)]}")
        self._compare_files(before)

    def _compare_files(self, before: str) -> None:
        if (files := self._files()) != self.files:
            raise Broken(f"{before}: left over: {sorted(files - self.files)}; missing: {sorted(self.files - files)}")
        if (commits := self._commits()) != self.commits:
            raise Broken(f"{before}: the commits are {commits}, and not {self.commits}")

    def _commits(self) -> list[list[str]]:
        """What each commit of the Delta tables did: there is one a publication, however often it was killed."""
        tables = (f"{name}/readings" for name in (layout.PREDICTIONS, layout.SHADOW))
        return [
            sorted(kind for action in commit for kind in action)
            for table in tables
            if delta_scenes.is_delta(self.lake_root, table)
            for commit in delta_scenes.commits(self.lake_root, table)
        ]

    def manifest(self) -> dict[str, object]:
        """What the standing manifest says, but for times."""
        found = published_manifest(self.world.lake, "readings", DAY)
        if found is None:
            raise Broken(f"{self.name}: no manifest is published")
        said = found.model_dump(mode="json")
        said["files"].pop(layout.METRICS)
        for one in said["acceptances"]:
            one.pop("at")
        return {key: value for key, value in said.items() if key not in _OF_TIME}

    def _has_new_snapshot(self) -> bool:
        """Whether the first attempt's snapshot is complete: one whose instant is the first attempt's."""
        records = (json.loads(path.read_text()) for path in self.lake_root.glob("runs/*/*/*/snapshot.json"))
        return any(record["complete_at"].startswith(FIRST.strftime("%Y-%m-%dT%H:%M")) for record in records)

    def _tables(self) -> Tables:
        """What a reader's glob finds: every file under the tables, hidden or not. Metrics hold times: without them."""
        return {
            table: {
                str(path.relative_to(self.lake_root)): _without_times(path)
                if table == layout.METRICS
                else path.read_bytes()
                for path in self._seen_in(table)
            }
            for table in _TABLES
        }

    def _seen_in(self, table: str) -> list[pathlib.Path]:
        if delta_scenes.is_delta(self.lake_root, f"{table}/readings"):
            return delta_scenes.files(self.lake_root, f"{table}/readings")
        return [path for path in (self.lake_root / table).rglob("*") if path.is_file()]

    def _files(self) -> set[str]:
        """Every file and folder of the lake, hidden ones too.

        But what a challenger's attempt leaves to the next one, and of pages what is half written: it goes with the next run.
        """
        found = (str(path.relative_to(self.lake_root)) for path in self.lake_root.rglob("*"))
        return {path for path in found if "/challenger/staged" not in path and not _HALF_A_PAGE.match(path)}


def score_forked(
    folder: pathlib.Path,
    case: Case,
    clock: dt.datetime,
    install: Install | None = None,
    kill_after: float | None = None,
) -> Ended:
    beforehand = install_three_step_swaps if case.three_step_swaps else None
    return forked(folder, lambda: _score_once(case, clock), install, kill_after, beforehand=beforehand)


# The flows' own bodies, without what tells Prefect of them.
the_flow = inspect.unwrap(flows.score.score.fn)
the_challenge = inspect.unwrap(flows.challenge.challenge.fn)


def _score_once(case: Case, clock: dt.datetime) -> str:
    run_without_prefect(clock)
    why = "it is right" if case.accept else ""
    manifest = the_flow("readings", DAY, case.rescore, accept=case.accept, reason=why)
    return DONE if manifest.is_published else f"{manifest.state} {manifest.verdict}"


def _challenge(clock: dt.datetime) -> str:
    run_without_prefect(clock)
    the_challenge("readings", DAY)
    return DONE


def _without_times(path: pathlib.Path) -> object:
    file = pq.ParquetFile(pa.BufferReader(path.read_bytes()))
    # Nor the estimates, which the manifest is compared by.
    rows = [row for row in file.read().to_pylist() if not row["metric"].startswith(("stage_seconds", "estimated_"))]
    return rows, file.metadata.metadata[b"lamplighter"]


def _short(table: dict[str, object]) -> str:
    return ", ".join(
        f"{name} ({pq.read_table(pa.BufferReader(data)).to_pydict() if isinstance(data, bytes) and data[:4] == b'PAR1' else data})"
        for name, data in table.items()
    )


# -- the cases ------------------------------------------------------------------------------------------------------


def score_before(world: World) -> None:
    """The window is published before anything is killed."""
    ended = score_forked(world.folder, Case("before", score_before), BEFORE)
    assert ended.outcome == DONE, ended


def prepare_new(world: World) -> None:
    world.change_job(suite=None, limits__batch_rows=40)
    world.write_rows(readings(60))


def _prepare_estimated(world: World) -> None:
    """As before, with a version whose performance is estimated."""
    prepare_new(world)
    add_estimating_version(world, CBPE)


def write_other_rows(world: World) -> None:
    world.write_rows(readings(70).iloc[20:].assign(x=lambda rows: rows["x"] + 1))


def _prepare_republication(world: World) -> None:
    prepare_new(world)
    score_before(world)
    write_other_rows(world)


def _prepare_challenged(world: World) -> None:
    """Version 2 scores beside version 1, and has done so before."""
    prepare_new(world)
    add_wrong_version(world)
    registry = Registry(world.lake)
    for alias, version in (("production", 1), ("challenger", 2)):
        registry.set_alias("readings", alias, version, at=BEFORE, actor="test", reason="a test")
    score_before(world)
    write_other_rows(world)


def _prepare_leaving_the_shadow(world: World) -> None:
    """The window is in shadow, and the team has switched over."""
    world.change_job(output__shadow=True)
    _prepare_republication(world)
    world.change_job(output__shadow=None)


def _prepare_delta(world: World) -> None:
    """The window is published into a Delta table, and its rows have changed."""
    world.change_job(output__format="delta")
    _prepare_republication(world)


def _prepare_conversion(world: World) -> None:
    """The window is published as plain Parquet, and the job says Delta now."""
    _prepare_republication(world)
    world.change_job(output__format="delta")


def _prepare_leaving_the_shadow_of_delta(world: World) -> None:
    world.change_job(output__format="delta")
    _prepare_leaving_the_shadow(world)


def _prepare_republication_with_quarantine(world: World) -> None:
    world.change_job(limits__batch_rows=40, limits__quarantine_share=0.5)
    rows = readings(60)
    rows.loc[3, "kind"] = "lukewarm"
    world.write_rows(rows)
    score_before(world)
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
    ended = score_forked(world.folder, Case("before", _prepare_acceptance), BEFORE)
    assert ended.outcome == "Blocked", ended
    (world.folder / "data/a.parquet").unlink()


def _prepare_mending(world: World) -> None:
    """The published file is damaged, and the same rows are scored again: a run takes its own place."""
    prepare_new(world)
    score_before(world)
    (file,) = (world.folder / "lake/predictions").rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-8])


def _prepare_mending_rows(world: World) -> None:
    """The rows that were pulled are damaged: they are pulled again, and the run that published makes way for its like."""
    prepare_new(world)
    score_before(world)
    (file,) = (world.folder / "lake/runs").rglob("snapshot.parquet")
    file.write_bytes(file.read_bytes()[:-8])


SCORINGS = {
    case.name: case
    for case in (
        Case("publish", _prepare_estimated),
        Case("republish", _prepare_republication, "other rows"),
        Case("republish with quarantine", _prepare_republication_with_quarantine, "other rows"),
        Case("republish in three steps", _prepare_republication, "other rows", three_step_swaps=True),
        Case("republish beside a challenger", _prepare_challenged, "other rows", has_challenger=True),
        Case("leave the shadow", _prepare_leaving_the_shadow, "it is right"),
        Case("mend", _prepare_mending, "it is damaged", takes_up=True),
        Case("mend the snapshot", _prepare_mending_rows, "its snapshot is damaged"),
        Case("republish delta", _prepare_delta, "other rows", is_delta=True),
        Case("convert to delta", _prepare_conversion, "other rows", is_delta=True),
        Case("leave the shadow of delta", _prepare_leaving_the_shadow_of_delta, "it is right", is_delta=True),
        Case("accept", _prepare_acceptance, accept=("expect_table_row_count_to_be_between",)),
    )
}
