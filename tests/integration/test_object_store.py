"""Whole runs on a lake in an object store: killed, two at once, through faults; looked at, audited, recalled; and read."""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow.dataset
import pytest

from tasks.core.storage import Lake, leases, system
from tests.flows.conftest import DAY, World, add_wrong_version, make_project, readings, typist
from tests.object_store_server import (
    CUT_ANSWER,
    CUT_REQUEST,
    LOSE_ANSWER,
    SLOW_ANSWER,
    STATUS,
    Fault,
    environment_of,
    make_bucket,
    proxy_to,
    s3_server,
    set_environment,
)
from tests.pages_server import asked as pages_asked
from tests.pages_server import served

pytestmark = pytest.mark.extras

PREDICTIONS = f"predictions/readings/as_of={DAY}"


def copied(source: Lake, target: Lake) -> Lake:
    for key in source.files():
        target.write_bytes(key, source.read_bytes(key))
    return target


@pytest.fixture(scope="module")
def s3():
    pytest.importorskip("moto.server")
    with s3_server() as address:
        yield address


@pytest.fixture
def proxy(s3, monkeypatch):
    with proxy_to(s3) as proxy:
        set_environment(monkeypatch, proxy)
        yield proxy


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> World:
    """A project with its rows, and a lake on this machine that holds its model."""
    made = make_project(tmp_path_factory.mktemp("made") / "project")
    made.write_rows(readings())
    return made


@pytest.fixture
def new_lake(made, proxy):
    """Makes a lake in a bucket of its own that holds what the project's has."""

    def make() -> Lake:
        return copied(made.lake, Lake(f"s3://{make_bucket(proxy)}/team/lake"))

    return make


@pytest.fixture
def world(made, new_lake, monkeypatch):
    """Its job has four batches: they are worked on in child processes, which open the lake by its address."""
    lake = new_lake()
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(made.folder))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", lake.address())
    with changed(made, limits__batch_rows=50):
        yield World(made.folder, lake)


class Runner:
    """Runs of `score`, each in a process of its own."""

    def __init__(self, process: subprocess.Popen, folder: Path) -> None:
        self._process, self._folder = process, folder

    def __call__(self, *asked: dict) -> list[dict]:
        """How each ended; all are begun at once."""
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def score(self, proxy, lake: Lake, **options) -> dict:
        return self(self.of(proxy, lake, **options))[0]

    def of(self, proxy, lake: Lake, **options) -> dict:
        place = {"LAMPLIGHTER_LAKE": lake.address(), "LAMPLIGHTER_PROJECT": str(self._folder)}
        return {"environment": environment_of(proxy) | place, **options}


@pytest.fixture(scope="module")
def runner(made):
    command = [sys.executable, "-m", "tests.object_store_runs"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield Runner(process, made.folder)
        process.stdin.close()


def tables(lake: Lake, *names: str) -> dict[str, bytes]:
    """What readers see, with its bytes; not the metrics, which say how long each stage took."""
    kept = tuple(f"{name}/" for name in names or ("predictions", "quarantine"))
    return {key: lake.read_bytes(key) for key in lake.files() if key.startswith(kept)}


@dataclass
class Whole:
    """A lake after a run that nothing disturbed, and the changes that it made."""

    lake: Lake
    changes: list[str]

    @property
    def bucket(self) -> str:
        return self.lake.address().split("/")[2]


def whole_run(runner, proxy, lake: Lake, **options) -> Whole:
    ended = runner.score(proxy, lake, **options)
    assert ended["outcome"] == "done", ended
    return Whole(lake, ended["changes"])


@pytest.fixture(scope="module")
def whole(runner, s3, made) -> Whole:
    with proxy_to(s3) as proxy, pytest.MonkeyPatch.context() as patch:
        set_environment(patch, proxy)
        return whole_run(runner, proxy, copied(made.lake, Lake(f"s3://{make_bucket(proxy)}/team/lake")))


def publishing(changes: list[str]) -> range:
    """The changes, from 1, from the intent to the record that it is done."""
    swaps = [number for number, one in enumerate(changes, 1) if one.startswith("swap ")]
    return range(swaps[0] - 3, min(swaps[-1] + 10, len(changes)) + 1)


def kill_and_run_again(runner, proxy, new_lake, whole: Whole, points) -> None:
    expected = tables(whole.lake)
    assert len(expected) == 2
    for number in points:
        lake, at = new_lake(), whole.changes[number - 1]
        assert runner.score(proxy, lake, kill_at=number)["outcome"] == "killed"
        # What readers see in the meantime is all of it, or nothing.
        assert tables(lake, "predictions").items() <= expected.items(), at
        again = runner.score(proxy, lake)
        assert again["outcome"] in ("done", "WindowFinished"), (at, again)
        assert tables(lake) == expected, at
        assert lake.files("locks") == [], at


def test_a_run_that_is_killed_as_it_publishes_and_run_again_writes_the_same_bytes(runner, proxy, new_lake, whole):
    first = next(
        number for number, one in enumerate(whole.changes, 1) if one.startswith("copy") and "/predictions/" in one
    )
    kill_and_run_again(runner, proxy, new_lake, whole, [first - 2, first])


@pytest.mark.slow
def test_a_run_that_is_killed_after_any_change_and_run_again_writes_the_same_bytes(runner, proxy, new_lake, whole):
    kill_and_run_again(runner, proxy, new_lake, whole, range(1, len(whole.changes) + 1))


def kill_republication(runner, proxy, new_lake, made, whole: Whole, chosen) -> set[int]:
    """How many files readers saw of the window after a kill."""
    made.write_rows(readings(150))
    try:
        again = whole_run(runner, proxy, copied(whole.lake, new_lake()), rescore="new rows")
        new, seen = tables(again.lake), set()
        assert new.keys() != tables(whole.lake).keys()
        for number in chosen(again.changes):
            lake, at = copied(whole.lake, new_lake()), again.changes[number - 1]
            assert runner.score(proxy, lake, rescore="new rows", kill_at=number)["outcome"] == "killed"
            # Never both: at the worst none, until whoever comes next.
            seen.add(len(lake.names(PREDICTIONS)))
            ended = runner.score(proxy, lake, rescore="new rows")
            assert ended["outcome"] in ("done", "NothingToDo", "WindowFinished"), (at, ended)
            assert tables(lake) == new, at
            assert len(lake.names(f"superseded/readings/as_of={DAY}")) == 1, at
        return seen
    finally:
        made.write_rows(readings())


@pytest.mark.slow
def test_a_republication_that_is_killed_shows_the_old_the_new_or_none(runner, proxy, new_lake, made, whole):
    def chosen(changes: list[str]) -> list[int]:
        swap = next(number for number, one in enumerate(changes, 1) if one.startswith(f"swap {PREDICTIONS}"))
        # The old is removed, and the new is not there.
        return [swap - 5]

    assert kill_republication(runner, proxy, new_lake, made, whole, chosen) == {0}


@pytest.mark.slow
def test_a_republication_that_is_killed_after_any_change(runner, proxy, new_lake, made, whole):
    assert kill_republication(runner, proxy, new_lake, made, whole, publishing) == {0, 1}


def test_of_two_runs_at_once_one_publishes(runner, proxy, new_lake):
    lake = new_lake()
    ended = runner(runner.of(proxy, lake), runner.of(proxy, lake))
    assert sorted(one["outcome"] for one in ended) in (["WindowBusy", "done"], ["WindowFinished", "done"])
    busy = [one["text"] for one in ended if one["outcome"] == "WindowBusy"]
    assert all("is being run by run" in text for text in busy)
    assert len(lake.names(PREDICTIONS)) == 1


SLOW_DOWN = Fault(STATUS, 503, "SlowDown")


def run_through(runner, proxy, new_lake, whole: Whole, faults: list[Fault]) -> None:
    lake = new_lake()
    bucket, met = lake.address().split("/")[2], []

    def spoil(asked):
        """One request in eight, whichever that is."""
        if bucket not in asked.path or asked.number % 8:
            return None
        met.append(asked.kind)
        return faults[len(met) % len(faults)]

    proxy.spoil = spoil
    ended = runner.score(proxy, lake)
    proxy.spoil = lambda _one: None
    assert ended["outcome"] == "done", ended
    assert len(met) > 20
    assert {"GET", "PUT", "HEAD", "LIST"} <= set(met)
    assert tables(lake) == tables(whole.lake)


def test_a_run_through_faults_of_every_kind_writes_the_same_bytes(runner, proxy, new_lake, whole):
    faults = [SLOW_DOWN, Fault(LOSE_ANSWER), Fault(STATUS), Fault(CUT_ANSWER), Fault(SLOW_ANSWER), Fault(CUT_REQUEST)]
    run_through(runner, proxy, new_lake, whole, faults)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [SLOW_DOWN, Fault(LOSE_ANSWER), Fault(CUT_ANSWER), Fault(CUT_REQUEST)], ids=lambda one: one.kind
)
def test_a_run_through_faults_of_one_kind_writes_the_same_bytes(runner, proxy, new_lake, whole, fault):
    run_through(runner, proxy, new_lake, whole, [fault])


@pytest.mark.slow
def test_a_store_that_goes_away_as_a_run_publishes_fails_it_and_the_next_ends_it(runner, proxy, new_lake, whole):
    lake = new_lake()
    bucket = lake.address().split("/")[2]
    gone = []

    def spoil(asked):
        if bucket in asked.path and (gone or (asked.kind == "COPY" and "/quarantine/" in asked.path)):
            gone.append(asked)
            return Fault(STATUS, 403, "AccessDenied")
        return None

    proxy.spoil = spoil
    failed = runner.score(proxy, lake)
    proxy.spoil = lambda _one: None
    assert failed["outcome"] == "LakeError"
    assert "the object store refuses these credentials" in failed["text"]
    assert lake.names(PREDICTIONS) == []
    assert runner.score(proxy, lake)["outcome"] == "done"
    assert tables(lake) == tables(whole.lake)


def test_what_a_user_s_own_readers_see(proxy, whole):
    place = whole.lake.address("predictions/readings")
    expected = readings()["sensor"].tolist()
    # By nothing but the environment and the address.
    assert sorted(pd.read_parquet(place)["sensor"]) == expected
    options = {
        "aws_access_key_id": "a-key",
        "aws_secret_access_key": "a-secret",
        "aws_region": "us-east-1",
        "aws_endpoint_url": proxy.address,
        "aws_allow_http": "true",
    }
    frame = pl.scan_parquet(f"{place}/**/*.parquet", storage_options=options, hive_partitioning=True).collect()
    assert sorted(frame["sensor"].to_list()) == expected
    assert "as_of" in frame.columns
    assert pyarrow.dataset.dataset(place, partitioning="hive").count_rows() == 200


def test_a_delta_table_is_republished_by_one_commit(runner, proxy, new_lake, made):
    deltalake = pytest.importorskip("deltalake")
    lake, table = new_lake(), "predictions/readings"
    with changed(made, output__format="delta"):
        assert runner.score(proxy, lake)["outcome"] == "done"
        made.write_rows(readings(150))
        try:
            ended = runner.score(proxy, lake, rescore="new rows")
        finally:
            made.write_rows(readings())
    assert ended["outcome"] == "done", ended
    # By nothing but the environment and the address.
    opened = deltalake.DeltaTable(lake.address(table))
    assert opened.to_pyarrow_table().num_rows == 150
    options = {name.lower(): value for name, value in environment_of(proxy).items()}
    assert pl.read_delta(lake.address(table), storage_options=options).height == 150
    opened.load_as_version(opened.version() - 1)
    assert opened.to_pyarrow_table().num_rows == 200


@contextlib.contextmanager
def changed(made: World, **changes):
    """The job is another one for as long as the block runs."""
    before = made.job_file.read_bytes()
    made.change_job(**changes)
    try:
        yield
    finally:
        made.job_file.write_bytes(before)


def test_commands_on_a_lake_in_an_object_store(prefect_harness, world, proxy, monkeypatch, capsys):
    lamplighter = typist(monkeypatch, capsys)
    place = world.lake.address()
    said = []

    def type_(*words: str, code: int = 0) -> str:
        found, out, err = lamplighter(*words)
        said.append(out + err)
        assert found == code, out + err
        return out + err

    assert place in type_("settings")
    assert "right" in type_("check")
    proxy.asked.clear()
    held = {}
    monkeypatch.setattr(system, "after_change", lambda *change: held.update({change: leases._held.get()}))
    assert "200 of 200 rows scored" in type_("score", "readings", "--as-of", DAY)
    # Another request or two a run is nobody's harm; twice as many would be.
    assert len(proxy.asked) < 900, proxy.counts()
    # Whoever publishes knows the lease that the run holds, in whichever thread Prefect lets it work.
    assert [one._key for one in held["swap", PREDICTIONS]] == [f"team/lake/locks/readings {DAY}.lock"]
    assert "200 pulled = 200 scored" in type_("show", "readings", "--as-of", DAY)
    assert "all is well" in type_("status")
    assert "is published" in type_("score", "readings", "--as-of", DAY)
    assert "none differs" in type_("audit", "readings")
    add_wrong_version(world)
    assert "200 of 200 rows scored" in type_("score", "readings", "--as-of", DAY, "--rescore", "a new model")
    assert len(world.lake.names(PREDICTIONS)) == 1
    assert len(world.lake.names(f"superseded/readings/as_of={DAY}")) == 1
    manifest = world.published()
    assert (manifest.model.version, manifest.swapped_atomically) == (2, False)
    # What the last good version had published comes back.
    assert "1 restored" in type_("recall", "readings", "--version", "2", "--reason", "it says the opposite")
    assert world.published().model.version == 1
    type_("prune", "readings")
    type_("show", "readings", "--as-of", DAY)
    assert not [text for text in said if "a-secret-that-nobody-may-see" in text]
    with served(world.lake.address("reports")) as port:
        assert DAY in pages_asked(port, f"/readings/as_of={DAY}.html").body
        assert pages_asked(port, "/nothing.html").status == 404
    assert not [key for key in world.lake.files() if key.startswith("locks/")]
