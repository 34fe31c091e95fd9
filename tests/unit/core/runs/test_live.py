"""Which run each live window shows: what is kept of the last look never hides what has changed since."""

import pytest

from tasks.core import layout
from tasks.core.runs.live import live_runs_seen
from tasks.core.runs.showing import live_runs
from tests import recall_scenes as scenes
from tests.status_scenes import DAYS
from tests.year_scenes import counting

CACHE = f"{layout.live_seen(scenes.JOB)}/windows.json"


@pytest.fixture
def three(lake):
    scenes.add_versions(lake, 2)
    scenes.set_alias(lake, 2)
    for day in DAYS[:3]:
        scenes.publish(lake, f"one-{day}", 1, day=day)
    live_runs_seen(lake, scenes.JOB, keep=True)
    return lake


def looked_into(lake, monkeypatch, **more):
    """What is seen, and into how many windows was looked for it."""
    with counting(monkeypatch, lake) as asked:
        found = live_runs_seen(lake, scenes.JOB, **more)
    assert found == live_runs(lake, scenes.JOB)
    return asked["names"]


def test_a_window_that_stands_as_it_did_is_not_looked_into(three, monkeypatch):
    assert looked_into(three, monkeypatch) == 0


def test_windows_that_were_replaced_added_or_withdrawn_are_seen(three, monkeypatch):
    scenes.publish(three, "two", 2, day=DAYS[0], hour=1)
    scenes.publish(three, "new", 1, day=DAYS[3])
    three.rename(layout.partition(layout.PREDICTIONS, scenes.JOB, DAYS[1]), "withdrawn/late/x")
    assert looked_into(three, monkeypatch, keep=True) == 2
    assert looked_into(three, monkeypatch) == 0


def test_one_that_is_brought_back_is_seen(three, monkeypatch):
    from tasks.core.runs.recalling import recalls

    scenes.publish(three, "two", 2, day=DAYS[0], hour=1)
    assert looked_into(three, monkeypatch, keep=True) == 1
    recalls.recall(three, scenes.order(2), wait_seconds=0)
    assert looked_into(three, monkeypatch, keep=True) == 1
    assert live_runs(three, scenes.JOB)[DAYS[0]] == f"one-{DAYS[0]}"


def test_without_keep_nothing_is_written(three, monkeypatch):
    before = three.read_bytes(CACHE)
    scenes.publish(three, "two", 2, day=DAYS[0], hour=1)
    looked_into(three, monkeypatch)
    assert three.read_bytes(CACHE) == before


@pytest.mark.parametrize("damage", [b"", b"{", b'{"windows": 3}', b"\xff", None])
def test_what_was_kept_may_be_lost_or_damaged(three, monkeypatch, damage):
    three.remove(CACHE) if damage is None else three.write_bytes(CACHE, damage)
    assert looked_into(three, monkeypatch, keep=True) == 3
    assert looked_into(three, monkeypatch) == 0


def test_of_a_lake_that_was_copied_every_window_is_looked_into_once(three, monkeypatch, tmp_path):
    import shutil

    from tasks.core.storage import Lake

    copy = Lake(tmp_path / "copy")
    shutil.copytree(three.root, copy.root)
    assert looked_into(copy, monkeypatch, keep=True) == 3
    assert looked_into(copy, monkeypatch) == 0


def test_no_window_no_run(lake):
    assert live_runs_seen(lake, scenes.JOB, keep=True) == {}
    assert not lake.exists(CACHE)
