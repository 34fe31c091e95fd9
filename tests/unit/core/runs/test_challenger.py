"""The challenger's record and partition: it pairs with what readers see, or it does not stand; readers see no part of it."""

import datetime as dt
import json
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core import layout
from tasks.core.errors import LakeCorrupt, LakeError
from tasks.core.models.registry import Registry
from tasks.core.runs import challenger
from tasks.core.runs.challenger import Beside, Challenge
from tasks.core.runs.manifest import CodeRecord, FileRecord
from tasks.core.runs.publication import recover, visible_run
from tasks.core.storage import Lake
from tests.page_samples import manifest as a_manifest
from tests.unit.core.runs.test_publication import killed_after, republication

CODE = CodeRecord(version="0.1.0", commit=None, dirty=None, digest="0" * 64)
AT = dt.datetime(2013, 7, 28, tzinfo=dt.UTC)
JOB, AS_OF = "late", "2013-07-27"
TABLE = f"challengers/{JOB}/as_of={AS_OF}"


def run(run_id="run1", **changes):
    return a_manifest(job=JOB, as_of=AS_OF, run_id=run_id, **changes)


def challenge(run_id="run1", version=2, **changes):
    key = f"{TABLE}/{layout.challenger_part(run_id, version)}"
    values = {
        "job": JOB,
        "as_of": AS_OF,
        "run_id": run_id,
        "model": "late",
        "version": version,
        "verdict": "scored",
        "code": CODE,
        "file": FileRecord(key=key, rows=3, bytes=1, sha256="0" * 64),
        "started_at": AT,
    }
    return Challenge(**values | changes)


def stage(lake, manifest, version=2, rows=3):
    """A staged file that says which version scored it, as the stage writes it."""
    table = pa.table({"x": [float(version)] * rows})
    says = json.dumps({"model": f"late/{version:04d}"})
    with lake.parquet_writer(
        challenger.staged(manifest, version), table.schema, metadata={"lamplighter": says}
    ) as writer:
        writer.write_table(table, row_group_size=100)


def put(lake, manifest, version=2, rows=3):
    stage(lake, manifest, version, rows)
    challenger.put(lake, manifest)


def in_table(lake):
    return lake.names(TABLE)


def test_a_record_is_read_as_it_was_written(lake):
    assert challenger.read(lake, run()) is None

    challenger.write(lake, run(), challenge(unscored_reasons={"null_input(x)": 2}))

    assert challenger.read(lake, run()) == challenge(unscored_reasons={"null_input(x)": 2})
    assert challenger.required(lake, run()) == challenger.read(lake, run())
    assert challenger.read(lake, run("run2")) is None


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"challenge_version": 2}', b"\xff"])
def test_a_damaged_record_is_named_and_takes_no_page_with_it(lake, content):
    lake.write_bytes(f"runs/{JOB}/as_of={AS_OF}/run1/challenger.json", content)

    with pytest.raises(LakeCorrupt, match=r"run1/challenger\.json is not a challenger's record"):
        challenger.read(lake, run())
    assert challenger.of_run(lake, run()) == Beside(None)


def test_what_is_put_stands_under_the_run_and_the_version(lake):
    put(lake, run())

    assert in_table(lake) == ["part-run1-0002.parquet"]
    assert challenger.published(run(), 2) == f"{TABLE}/part-run1-0002.parquet"
    challenger.write(lake, run(), challenge())
    assert challenger.of_run(lake, run()) == Beside(challenge(), stands=True)


def test_another_version_takes_the_place_in_one_step_and_what_it_replaced_is_removed_by_the_next(lake):
    put(lake, run(), version=2)
    put(lake, run(), version=3)

    assert in_table(lake) == ["part-run1-0003.parquet"]
    assert lake.names(challenger.scratch(run(), "staged")) == ["part-run1-0002.parquet"]
    challenger.prepare(lake, run())
    assert not lake.exists(f"runs/{JOB}/as_of={AS_OF}/run1/challenger")
    assert in_table(lake) == ["part-run1-0003.parquet"]


def test_taken_out_is_out_and_may_be_repeated(lake):
    challenger.take_out(lake, run())
    put(lake, run())
    stage(lake, run(), version=3)

    challenger.take_out(lake, run())
    challenger.take_out(lake, run())

    assert in_table(lake) == []
    challenger.write(lake, run(), challenge())
    assert challenger.of_run(lake, run()).stands is False


def test_the_partition_of_another_run_does_not_stand_and_comes_back_with_its_run(lake):
    put(lake, run("run1"))
    (before,) = (lake.read_bytes(f"{TABLE}/{name}") for name in in_table(lake))

    challenger.pair(lake, JOB, AS_OF, "run1")
    assert in_table(lake) == ["part-run1-0002.parquet"]
    for _ in range(2):
        challenger.pair(lake, JOB, AS_OF, "run2")
        assert in_table(lake) == []
    put(lake, run("run2"), version=3)
    for _ in range(2):
        challenger.pair(lake, JOB, AS_OF, "run1")
        assert in_table(lake) == ["part-run1-0002.parquet"]
    assert lake.read_bytes(f"{TABLE}/part-run1-0002.parquet") == before
    challenger.pair(lake, JOB, AS_OF, "run2")
    assert in_table(lake) == ["part-run2-0003.parquet"]


def test_where_readers_see_nothing_no_challenger_stands(lake):
    put(lake, run())

    challenger.pair(lake, JOB, AS_OF, None)

    assert in_table(lake) == []


def test_rows_of_a_version_that_was_recalled_meanwhile_do_not_come_back(lake, monkeypatch):
    put(lake, run("run1"))
    challenger.pair(lake, JOB, AS_OF, "run2")
    monkeypatch.setattr(Registry, "recalled", lambda self, name: {2: None} if name == "late" else {})

    challenger.pair(lake, JOB, AS_OF, "run1")

    assert in_table(lake) == []


def test_rows_that_do_not_say_who_scored_them_do_not_come_back(lake):
    aside = f"runs/{JOB}/as_of={AS_OF}/run1/challenger/aside/part-run1-0002.parquet"
    with lake.parquet_writer(aside, pa.schema([("x", pa.float64())])) as writer:
        writer.write_table(pa.table({"x": [1.0]}))

    with pytest.raises(LakeCorrupt, match="does not say which version"):
        challenger.pair(lake, JOB, AS_OF, "run1")
    assert in_table(lake) == []


@pytest.mark.parametrize(
    ("named", "published", "expected"),
    [({"challenger": 5}, True, 5), ({"challenger": 3}, True, None), ({}, True, None), ({"challenger": 5}, False, None)],
)
def test_a_window_that_no_challenger_has_scored_says_which_could(lake, monkeypatch, named, published, expected):
    monkeypatch.setattr(Registry, "aliases", lambda self, name: named)
    manifest = run(verdict="published" if published else "blocked")  # Scored by version 3.

    assert challenger.of_run(lake, manifest) == Beside(None, could=expected)


def test_wherever_a_publication_is_killed_they_stand_beside_the_run_that_readers_see(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)
    scene = republication(Lake(tmp_path / "start"))
    partition = layout.partition(layout.CHALLENGERS, scene.intent.job, scene.intent.as_of)
    name = layout.challenger_part("old", 2)
    with scene.lake.parquet_writer(f"{partition}/{name}", pa.schema([("x", pa.float64())])) as writer:
        writer.write_table(pa.table({"x": [1.0]}))
    outcomes = []
    for changes in range(1000):
        copied = scene.copy(f"copy{changes}")
        is_dead = killed_after(copied, changes, steps=True)
        recover(copied.lake, copied.intent.job, copied.intent.as_of)
        outcomes.append(visible_run(copied.lake, copied.intent.job, copied.intent.as_of))
        assert copied.lake.names(partition) == ([name] if outcomes[-1] == "old" else []), changes
        if outcomes[-1] == "new":
            aside = f"{layout.workspace(copied.intent.job, copied.intent.as_of, 'old')}/challenger/aside"
            assert copied.lake.names(aside) == [name]
        if not is_dead:
            break
    assert {"old", "new"} == set(outcomes)


def test_a_challengers_partition_that_cannot_be_moved_costs_no_publication(lake, monkeypatch):
    scene = republication(lake)

    def refuse(*_):
        raise LakeError("it may not be moved")

    monkeypatch.setattr(challenger, "pair", refuse)

    assert scene.publish().is_published


def test_a_reader_sees_one_version_or_the_other_in_full(lake, monkeypatch):
    """The readers that hammer a partition of predictions are in tests/crash; here, that this one is put likewise."""
    monkeypatch.setattr("os.fsync", lambda _: None)
    put(lake, run(), version=2, rows=2000)
    stop, seen, wrong = threading.Event(), set(), []

    def read():
        while not stop.is_set():
            try:
                (name,) = in_table(lake)
                found = pq.read_table(lake.path(f"{TABLE}/{name}"), partitioning=None)["x"].to_pylist()
            except (FileNotFoundError, ValueError):
                continue
            seen.add(found[0])
            if found not in ([2.0] * 2000, [3.0] * 1000):
                wrong.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(120):
            challenger.prepare(lake, run())
            put(lake, run(), *((3, 1000) if number % 2 else (2, 2000)))
    finally:
        stop.set()
        reader.join()
    assert wrong == []
    assert seen == {2.0, 3.0}
