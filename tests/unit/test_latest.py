"""The stage that keeps the table of latest rows: whom it fails, and what it does where the table cannot follow."""

import os
import types

import pytest

import tasks.latest
from tasks.core import layout
from tasks.core.errors import Incomplete, NotDelivered, SourceError, WindowFinished
from tasks.core.runs.latest import refresh
from tasks.core.runs.recalling.recalls import Recall
from tasks.core.storage import Lake
from tasks.latest import check_latest, keep_latest_of, keep_latest_of_jobs, latest_kept
from tests.unit.core.runs.test_latest import JOB, a_job, publish, rows, withdraw

FIRST, LAST = "2024-05-01", "2024-05-02"
BOTH, ONE = [("a", 1.0, "r1"), ("b", 2.0, "r2")], [("a", 1.0, "r1")]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Two windows that are in the table; the job's definition is there."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(tmp_path / "lake"))
    monkeypatch.setattr(tasks.latest, "_WAIT_SECONDS", 0.0)
    definition = tmp_path / f"deployments/jobs/{JOB}.yaml"
    definition.parent.mkdir(parents=True)
    definition.write_text(a_job().model_dump_json(by_alias=True, exclude_unset=True))
    lake = Lake(tmp_path / "lake")
    publish(lake, FIRST, "r1", {"a": 1.0})
    publish(lake, LAST, "r2", {"b": 2.0})
    refresh(lake, a_job())
    assert rows(lake) == BOTH
    return types.SimpleNamespace(lake=lake, definition=definition)


@pytest.fixture
def lake(world):
    return world.lake


@pytest.mark.parametrize("fault", ["", "no definition", "broken definition", "another window is damaged"])
def test_after_a_recall_no_row_is_left_of_what_was_withdrawn(world, fault):
    withdraw(world.lake, LAST)
    if fault == "no definition":
        world.definition.unlink()
    elif fault == "broken definition":
        world.definition.write_text("job: [")
    elif fault:
        publish(world.lake, "2024-05-03", "r3", {"c": 3.0})
        (file,) = world.lake.path(layout.partition(layout.PREDICTIONS, JOB, "2024-05-03")).glob("*.parquet")
        file.write_bytes(b"PAR1xxxxPAR1")
    assert keep_latest_of_jobs([(JOB, LAST)]) == []
    assert rows(world.lake) == (None if fault else ONE)


def test_a_table_that_has_nothing_of_what_was_withdrawn_stays(world):
    world.definition.unlink()
    assert keep_latest_of_jobs([(JOB, LAST), ("gone", FIRST)]) == []
    assert rows(world.lake) == BOTH


def test_a_recall_is_told_of_a_table_that_another_run_is_at(lake):
    withdraw(lake, LAST)
    record = Recall(model="late", version=2)
    with lake.lock(layout.latest_lock(JOB), holder="run quick-owl"):
        left = keep_latest_of_jobs([(JOB, LAST)])
    assert len(left) == 1
    assert left[0].startswith("latest/late: ")
    with pytest.raises(Incomplete, match=r"in 1 table of latest rows: latest/late: .* by run quick-owl") as told:
        check_latest(record, left)
    assert told.value.summary is record
    assert "lamplighter recall late --version 2" in told.value.next_step
    assert keep_latest_of_jobs([(JOB, LAST)]) == []
    assert (rows(lake), check_latest(record, [])) == (ONE, record)


def test_a_run_in_shadow_brings_it_up_too(lake):
    withdraw(lake, LAST)
    job = a_job().model_copy(update={"output": a_job().output.model_copy(update={"shadow": True})})
    keep_latest_of(types.SimpleNamespace(is_dry_run=True, job=job))
    assert rows(lake) == BOTH
    keep_latest_of(types.SimpleNamespace(is_dry_run=False, job=job))
    assert rows(lake) == ONE


@pytest.mark.parametrize("ends", [WindowFinished, SourceError, NotDelivered, ZeroDivisionError])
def test_however_a_run_ends_the_table_has_what_it_found_published(lake, ends):
    """A run may find a publication that was killed, and end it, before it fails itself."""
    publish(lake, "2024-05-03", "r3", {"c": 3.0})
    with pytest.raises(ends), latest_kept(JOB, dry_run=True):
        raise ends("why")
    assert rows(lake) == BOTH
    with pytest.raises(ends), latest_kept(JOB, dry_run=False):
        raise ends("why")
    assert rows(lake) == [*BOTH, ("c", 3.0, "r3")]


def test_of_a_run_that_failed_nothing_more_is_said(world, caplog):
    world.definition.unlink()
    for job in (JOB, "nobody", "../nobody"):
        with pytest.raises(SourceError, match="why"), latest_kept(job, dry_run=False):
            raise SourceError("why")
    assert caplog.text == ""
