"""Runs of `score` on a table, each in a fork without Prefect; its shards in as many processes as are asked for."""

import multiprocessing
import os
import pathlib
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from tests.any_table import Table
from tests.any_table_truth import Left, check_nothing, left_in, suite_of
from tests.crash.harness import DONE, FIRST, Ended, forked, run_without_prefect
from tests.flows.conftest import DAY, World, make_project, readings


class Bench:
    """A project whose model is registered, of which every run gets a copy; and the process that runs are forked from."""

    def __init__(self, folder: pathlib.Path, ask: Connection) -> None:
        self.folder, self._ask, self._runs = folder, ask, 0
        self.project = make_project(folder / "project")
        # The first run imports what later forks need not.
        warm = self.copied("warm")
        warm.write_rows(readings(3))
        self.ask(warm.folder, 0)

    @property
    def lake(self) -> pathlib.Path:
        return self.project.folder / "lake"

    def copied(self, name: str) -> World:
        shutil.copytree(self.project.folder, self.folder / name)
        return World(self.folder / name, self.project.lake)

    def run(self, table: Table, shards: int = 1) -> tuple[Ended, Left]:
        """One run on this table."""

        def prepare(world: World) -> None:
            world.change_job(**_asked_by(table))
            world.write_suite(*suite_of(table))
            table.write(world.folder / "data")

        return self.run_on(prepare, shards)

    def run_on(self, prepare: Callable[[World], object], shards: int = 1) -> tuple[Ended, Left]:
        """One run on a project of its own, which is removed: how it ends, and what it leaves.

        It publishes, or it refuses in one paragraph and nothing is visible.
        """
        self._runs += 1
        world = self.copied(f"run-{self._runs}")
        try:
            prepare(world)
            ended, left = self.ask(world.folder, shards), left_in(world.folder / "lake")
        finally:
            shutil.rmtree(world.folder)
        assert ended.ours, ended.text
        if ended.outcome != DONE:
            check_nothing(left)
            check_paragraph(ended.text)
        return ended, left

    def ask(self, project: pathlib.Path, shards: int) -> Ended:
        self._ask.send((project, shards))
        ended: Ended = self._ask.recv()
        return ended


@contextmanager
def bench(folder: pathlib.Path) -> Iterator[Bench]:
    """The bench; its process ends with the block."""
    spawn = multiprocessing.get_context("spawn")
    ask, answer = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(answer,), daemon=False)
    process.start()
    answer.close()
    try:
        yield Bench(folder, ask)
    finally:
        ask.close()
        process.join(60)
        process.close()


def check_paragraph(text: str) -> None:
    """One paragraph, which a person can read on a screen."""
    assert text, "it ended without a word"
    assert "\n" not in text.strip(), text
    assert "Traceback" not in text, text
    assert len(text) < 3000, len(text)
    assert text.rstrip()[-1] in ".!?'`", text


def _asked_by(table: Table) -> dict[str, Any]:
    return {
        "columns": table.columns,
        "keys": list(table.keys),
        "output__pass_through": list(table.pass_through),
        "limits__batch_rows": table.batch_rows,
        "limits__quarantine_share": table.quarantine_share,
        "suite": "readings" if table.expectations else None,
        "source__format": table.format,
    }


# -- in the process that runs are forked from -------------------------------------------------------------------------


def _serve(asked: Connection) -> None:
    run_without_prefect(FIRST)
    while True:
        try:
            project, shards = asked.recv()
        except EOFError:
            return
        if shards == 0:
            os.environ |= {"LAMPLIGHTER_PROJECT": str(project), "LAMPLIGHTER_LAKE": str(project / "lake")}
            _score(1)
        asked.send(forked(project, lambda shards=shards: _score(max(shards, 1))))


def _score(shards: int) -> str:
    import flows.score
    from tasks.core.rows.snapshot import required_record
    from tests.crash.scoring import the_flow

    def deal(run: Any) -> list[tuple[int, ...]]:
        batches = required_record(run.lake, run.workspace).batches
        return [tuple(range(shard, batches, shards)) for shard in range(min(shards, max(batches, 1)))]

    run_without_prefect(FIRST)
    flows.score.deal = deal
    if shards > 1:
        flows.score.on_each = _each_in_a_process
    manifest = the_flow("readings", DAY)
    return DONE if manifest.is_published else f"{manifest.state} {manifest.verdict}"


def _each_in_a_process(stage: Any, run: Any, dealt: Sequence[tuple[int, ...]]) -> list[Any]:
    """All at once, as the real ones; the last is begun first."""
    begun = [_begin(stage, run, shard) for shard in reversed(dealt)]
    results = [pickle.loads(_all_of(reading)) for reading in begun]
    for _ in begun:
        os.wait()
    for result in reversed(results):
        if isinstance(result, BaseException):
            raise result
    return results[::-1]


def _begin(stage: Any, run: Any, shard: tuple[int, ...]) -> int:
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        return reading
    try:
        try:
            result = stage.task.fn.__wrapped__(run, shard)
        except Exception as error:
            result = error
        with open(writing, "wb") as file:
            file.write(pickle.dumps(result))
    finally:
        sys.stdout.flush()
        os._exit(0)


def _all_of(reading: int) -> bytes:
    with open(reading, "rb") as file:
        return file.read()
