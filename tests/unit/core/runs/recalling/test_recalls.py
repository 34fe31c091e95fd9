"""Recalling a version: what leaves the tables, what comes back, what is queued, what is recorded; and what stands in the way."""

import json
import os
import shutil
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.core import layout
from tasks.core.errors import Incomplete, LakeCorrupt, LakeError, ModelNotFound
from tasks.core.layout import CHALLENGERS, METRICS, PREDICTIONS, QUARANTINE, TABLES
from tasks.core.models.registry import Registry
from tasks.core.runs.publication import recover
from tasks.core.runs.recalling import queue, recalls
from tasks.core.runs.run import load_manifest, published_manifest, write_manifest
from tasks.core.storage import Lake
from tests.recall_scenes import (
    DAY,
    JOB,
    MODEL,
    SECONDS,
    SNAPSHOT_BYTES,
    add_versions,
    challenge,
    order,
    publish,
    seen,
    set_alias,
    stage,
    withdrawn,
)

NEXT_DAY = "2013-07-02"


@pytest.fixture(autouse=True)
def _without_the_disk(monkeypatch):
    """None of these kills the machine: what is not flushed is there all the same."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def lake(lake):
    add_versions(lake, 4)
    return lake


def recall(lake, version, wait_seconds=0.0, **changes):
    return recalls.recall(lake, order(version, **changes), wait_seconds=wait_seconds)


def everything(lake):
    """Every file of the lake with its bytes."""
    return {str(path.relative_to(lake.root)): path.read_bytes() for path in lake.root.rglob("*") if path.is_file()}


# -- what leaves, and what comes back ----------------------------------------------------------------------------------


def test_what_it_wrote_leaves_every_table_and_is_kept_aside_with_its_record(lake):
    bad = publish(lake, "bad", 1)
    publish(lake, "fine", 2, day=NEXT_DAY)

    record = recall(lake, 1)

    for table in TABLES:
        assert seen(lake, table) == [2, 2, 2]
        assert withdrawn(lake, table) == [1, 1, 1]
    manifest = load_manifest(lake, layout.workspace(JOB, DAY, "bad"))
    assert manifest == load_manifest(lake, layout.withdrawn(JOB, DAY, "bad"))
    assert manifest == bad.but(state="withdrawn", withdrawal=manifest.withdrawal)
    assert (manifest.withdrawal.by, manifest.withdrawal.reason) == ("ann", "it learnt from the future")
    assert published_manifest(lake, JOB, DAY) is None
    assert [(one.as_of, one.rows, one.state, one.restores) for one in record.windows] == [(DAY, 3, "withdrawn", None)]


def test_the_last_good_partition_comes_back_in_every_table(lake):
    good = publish(lake, "good", 1, rows=2)
    publish(lake, "bad", 2, hour=1)

    record = recall(lake, 2)

    for table in TABLES:
        assert (seen(lake, table), withdrawn(lake, table)) == ([1, 1], [2, 2, 2])
    found = published_manifest(lake, JOB, DAY)
    assert found == good.but(restored=found.restored)
    assert (found.restored.instead_of, found.superseded_by) == ("bad", None)
    assert not lake.exists(layout.superseded(JOB, DAY, "good"))
    assert [(one.restores, one.restores_model) for one in record.windows] == [("good", "late/0001")]


def test_in_shadow_it_goes_and_comes_back_in_shadow(lake):
    publish(lake, "good", 1, rows=2, shadow=True)
    publish(lake, "bad", 2, hour=1, shadow=True)

    (window,) = recall(lake, 2).windows

    assert (window.state, window.restores) == ("withdrawn", "good")
    assert (seen(lake, layout.SHADOW), seen(lake), withdrawn(lake)) == ([1, 1], [], [2, 2, 2])
    assert published_manifest(lake, JOB, DAY).shadow


def test_what_was_in_shadow_does_not_become_live_by_a_recall(lake):
    publish(lake, "good", 1, shadow=True)
    publish(lake, "bad", 2, hour=1)

    (window,) = recall(lake, 2).windows

    assert (window.state, window.restores, window.notes) == ("withdrawn", None, ())
    assert (seen(lake, layout.SHADOW), seen(lake), withdrawn(lake)) == ([], [], [2, 2, 2])
    assert queue.labels(lake, JOB) == [DAY]
    assert lake.exists(f"{layout.superseded(JOB, DAY, 'good')}/{PREDICTIONS}/{layout.part('good')}")


def test_what_was_replaced_last_comes_back_whatever_the_clocks_said(lake):
    add_versions(lake, 3)
    set_alias(lake, 3)
    publish(lake, "run1", 1, hour=5)  # On a machine whose clock is ahead.
    publish(lake, "run2", 2, hour=3)
    publish(lake, "run3", 3, hour=6)

    found = recall(lake, 3)

    assert [one.restores for one in found.windows] == ["run2"]


def test_of_several_the_latest_that_is_whole_and_not_recalled_comes_back(lake):
    for hour, (run_id, version) in enumerate([("a", 1), ("b", 1), ("c", 3), ("d", 2), ("bad", 4)]):
        publish(lake, run_id, version, hour=hour)
    Registry(lake).recall(MODEL, 2, at=order(2).at, actor="ann", reason="worse")
    damaged = f"{layout.superseded(JOB, DAY, 'c')}/{QUARANTINE}/{layout.part('c')}"
    lake.write_bytes(damaged, lake.read_bytes(damaged)[:-1] + b"?")

    record = recall(lake, 4)

    (window,) = record.windows
    assert (window.restores, seen(lake)) == ("b", [1, 1, 1])
    assert "run c was not restored" in window.notes[0]
    assert "SHA-256" in window.notes[0]
    assert len(window.notes) == 1
    assert lake.exists(damaged)


@pytest.mark.parametrize("what", ["no file", "no folder", "another file", "no manifest", "a broken manifest"])
def test_a_kept_partition_that_is_not_whole_does_not_come_back(lake, what):
    publish(lake, "good", 1)
    publish(lake, "bad", 2, hour=1)
    kept = layout.superseded(JOB, DAY, "good")
    if what == "no file":
        lake.remove(f"{kept}/{PREDICTIONS}/{layout.part('good')}")
    elif what == "no folder":
        lake.remove(f"{kept}/{METRICS}")
    elif what == "another file":
        lake.write_bytes(f"{kept}/{METRICS}/part-other.parquet", b"?")
    elif what == "no manifest":
        lake.remove(f"{kept}/manifest.json")
    else:
        lake.write_bytes(f"{kept}/manifest.json", b"{}")

    record = recall(lake, 2)

    assert (seen(lake), withdrawn(lake)) == ([], [2, 2, 2])
    assert [bool(one.notes) for one in record.windows] == [what != "no manifest"]


def test_a_version_that_had_come_back_is_recalled_too_and_an_older_one_comes_back(lake):
    publish(lake, "a", 1)
    publish(lake, "b", 2, hour=1)
    publish(lake, "c", 3, hour=2)
    assert (recall(lake, 3).windows[0].restores, seen(lake)) == ("b", [2, 2, 2])

    record = recall(lake, 2)

    assert (record.windows[0].restores, seen(lake), withdrawn(lake)) == ("a", [1, 1, 1], [2, 2, 2, 3, 3, 3])
    assert queue.read(lake, JOB, DAY).restored == "a"
    recall(lake, 1)
    assert (seen(lake), withdrawn(lake)) == ([], [1, 1, 1, 2, 2, 2, 3, 3, 3])


def test_a_damaged_file_is_withdrawn_as_well(lake):
    publish(lake, "bad", 1)
    path = lake.path(f"{layout.partition(PREDICTIONS, JOB, DAY)}/{layout.part('bad')}")
    path.write_bytes(b"nothing that can be read")

    recall(lake, 1)

    assert not path.exists()
    assert lake.read_bytes(f"{layout.withdrawn(JOB, DAY, 'bad')}/{PREDICTIONS}/{layout.part('bad')}") == path_bytes()


def path_bytes():
    return b"nothing that can be read"


def test_what_a_restored_run_needs_is_written_anew_where_its_workspace_is_gone(lake):
    publish(lake, "good", 1)
    publish(lake, "bad", 2, hour=1)
    lake.remove(layout.workspace(JOB, DAY, "good"))

    recall(lake, 2)

    assert published_manifest(lake, JOB, DAY).run_id == "good"


def test_windows_of_every_job_are_found_by_their_manifests_alone(lake):
    publish(lake, "bad", 1, job="gone")
    publish(lake, "bad", 1, job="hourly", day="2013-07-01T0500Z")
    other = publish(lake, "bad", 1)
    write_manifest(
        lake, layout.workspace(JOB, DAY, "bad"), other.but(model=other.model.model_copy(update={"name": "x"}))
    )

    record = recall(lake, 1)

    assert record.touched == [("gone", DAY), ("hourly", "2013-07-01T0500Z")]
    assert seen(lake) == [1, 1, 1]


def test_a_version_that_never_published_is_recalled_and_that_is_all(lake):
    publish(lake, "fine", 2)

    record = recall(lake, 1)

    assert (record.windows, seen(lake)) == ((), [2, 2, 2])
    assert list(Registry(lake).recalled(MODEL)) == [1]


def test_no_such_version_is_refused_and_one_whose_files_are_damaged_is_recalled(lake):
    with pytest.raises(ModelNotFound, match="no version 9"):
        recall(lake, 9)
    with pytest.raises(ModelNotFound, match="no model"):
        recall(lake, 1, model="later")
    assert Registry(lake).history(MODEL) == []
    recall(lake, 1)  # Its manifest holds no SHA-256 of anything.


def test_challengers_rows_that_it_wrote_go_and_another_versions_stay(lake):
    publish(lake, "fine", 2)
    publish(lake, "fine", 2, day=NEXT_DAY)
    challenge(lake, "fine", 1)
    challenge(lake, "fine", 3, day=NEXT_DAY)

    record = recall(lake, 1)

    assert (seen(lake, CHALLENGERS), withdrawn(lake, CHALLENGERS)) == ([3, 3, 3], [1, 1, 1])
    assert len(record.challengers) == 1
    assert not lake.exists(layout.partition(CHALLENGERS, JOB, DAY))
    assert seen(lake) == [2] * 6


# -- the record and the queue ------------------------------------------------------------------------------------------


def test_one_record_says_all_of_it(lake):
    set_alias(lake, 1)
    set_alias(lake, 1, "challenger")
    publish(lake, "good", 2, rows=2)
    publish(lake, "bad", 1, hour=1)
    publish(lake, "bad", 1, day=NEXT_DAY)

    record = recall(lake, 1)

    said = json.loads(lake.read_bytes("models/late/recalls/0001.json"))
    assert recalls.read_record(lake, MODEL, 1) == record
    assert (said["by"], said["reason"], said["at"]) == ("ann", "it learnt from the future", "2013-07-11T00:00:00Z")
    assert said["aliases"] == ["challenger", "production"]
    assert [(one["as_of"], one["rows"], one["state"], one["restores"]) for one in said["windows"]] == [
        (DAY, 3, "withdrawn", "good"),
        (NEXT_DAY, 3, "withdrawn", None),
    ]
    assert str(record) == ("version 1 of late is recalled: 2 windows withdrawn (1 restored); 2 queued for backfill")
    assert record.rows == 6


def test_windows_are_queued_with_the_reason_once(lake):
    publish(lake, "good", 1)
    publish(lake, "bad", 2, hour=1)

    recall(lake, 2, repull=True)
    recall(lake, 2)

    assert queue.labels(lake, JOB) == [DAY]
    entry = queue.read(lake, JOB, DAY)
    assert (entry.model, entry.version, entry.restored, entry.repull) == (MODEL, 2, "good", True)
    assert entry.reason == "version 2 of late was recalled: it learnt from the future"


def test_a_window_that_was_scored_again_is_not_queued_again(lake):
    publish(lake, "bad", 1)
    recall(lake, 1)
    publish(lake, "new", 2, hour=2)
    queue.drop(lake, queue.read(lake, JOB, DAY))
    before = everything(lake)

    again = recall(lake, 1)

    assert queue.labels(lake, JOB) == []
    assert again.windows[0].state == "withdrawn"
    assert everything(lake) == before


def test_a_second_recall_of_the_same_version_changes_nothing(lake):
    publish(lake, "good", 1)
    publish(lake, "bad", 2, hour=1)
    recall(lake, 2)
    before = everything(lake)

    recall(lake, 2, by="ben", reason="again", at=order(2).at.replace(year=2014))

    assert everything(lake) == before


@pytest.mark.parametrize("has_older", [False, True])
def test_what_somebody_put_back_is_withdrawn_again(lake, has_older):
    """Restored from a backup, say: before, no recall and no run could take it out any more."""
    if has_older:
        publish(lake, "good", 1)
    publish(lake, "bad", 2, hour=1)
    recall(lake, 2)
    before = everything(lake)
    (kept,) = lake.path(layout.withdrawn(JOB, DAY, "bad")).glob("predictions/*.parquet")
    partition = lake.path(layout.partition("predictions", JOB, DAY))
    shutil.rmtree(partition, ignore_errors=True)
    partition.mkdir(parents=True)
    shutil.copy(kept, partition)

    recall(lake, 2)

    after = everything(lake)
    assert {key for key in after if key.startswith("withdrawn/")} == {
        key for key in before if key.startswith("withdrawn/")
    }
    assert seen(lake, "predictions") == []


def test_the_entry_of_the_queue_is_done_once_another_run_stands_that_may_be_seen(lake):
    publish(lake, "good", 1)
    publish(lake, "bad", 2, hour=1)
    recall(lake, 2)
    entry = queue.read(lake, JOB, DAY)

    assert not queue.is_settled(lake, entry, None)
    assert not queue.is_settled(lake, entry, published_manifest(lake, JOB, DAY))
    assert not queue.is_settled(lake, entry, publish(lake, "worse", 2, hour=2))
    assert queue.is_settled(lake, entry, publish(lake, "new", 3, hour=3))


# -- plan, and what is kept --------------------------------------------------------------------------------------------


def test_the_plan_says_windows_rows_what_comes_back_and_the_cost_and_changes_nothing(lake):
    publish(lake, "good", 1)
    publish(lake, "bad", 2, rows=5, hour=1)
    publish(lake, "bad", 2, rows=7, day=NEXT_DAY)
    lake.remove(f"{layout.workspace(JOB, NEXT_DAY, 'bad')}/snapshot.parquet")
    before = everything(lake)

    plan = recalls.plan(lake, MODEL, 2)

    assert everything(lake) == before
    assert [(one.as_of, one.rows, one.restores) for one in plan.windows] == [(DAY, 5, "good"), (NEXT_DAY, 7, None)]
    assert [one.must_be_pulled for one in plan.windows] == [False, True]
    assert sum(one.rescore_seconds for one in plan.windows) == 2 * SECONDS
    assert sum(one.snapshot_bytes for one in plan.windows) == 2 * SNAPSHOT_BYTES
    assert sum(one.snapshot_rows for one in plan.windows) == 12


def test_kept_until_replaced_stays_in_sight_until_it_is_and_never_comes_back(lake):
    publish(lake, "good", 1)
    publish(lake, "bad", 2, hour=1)

    record = recall(lake, 2, keep_until_replaced=True)

    assert (seen(lake), withdrawn(lake), record.windows[0].state) == ([2, 2, 2], [], "kept")
    assert queue.labels(lake, JOB) == [DAY]
    assert "1 kept until they are scored again; 1 queued" in str(record)

    publish(lake, "new", 3, hour=2)
    again = recall(lake, 2, keep_until_replaced=True)
    assert again.windows[0].state == "replaced"
    recall(lake, 3)
    assert seen(lake) == [1, 1, 1]


def test_what_was_kept_is_withdrawn_when_the_recall_says_so_later(lake):
    publish(lake, "good", 1)
    publish(lake, "bad", 2, hour=1)
    recall(lake, 2, keep_until_replaced=True)

    record = recall(lake, 2)

    assert (seen(lake), record.windows[0].state) == ([1, 1, 1], "withdrawn")


# -- what stands in the way --------------------------------------------------------------------------------------------


def test_a_window_that_a_run_holds_is_named_the_others_go_and_typed_again_it_ends(lake):
    publish(lake, "bad", 1)
    publish(lake, "bad", 1, day=NEXT_DAY)

    with lake.lock(layout.lock(JOB, DAY), holder="run quick-owl"):
        record = recall(lake, 1)

    assert seen(lake) == [1, 1, 1]
    with pytest.raises(
        Incomplete, match=r"late 2013-07-01: .* is being run by run quick-owl.*run the recall again"
    ) as told:
        recalls.check_complete(record)
    assert told.value.summary is record
    assert [one.state for one in record.windows] == ["seen", "withdrawn"]
    assert recalls.check_complete(recall(lake, 1)).left == ()
    assert seen(lake) == []


def test_it_waits_for_a_run_that_ends_in_time_and_withdraws_what_that_has_published(lake):
    stage(lake, "late", 1)
    at_work, may_end = threading.Event(), threading.Event()

    def run():
        with lake.lock(layout.lock(JOB, DAY), holder="run quick-owl"):
            at_work.set()
            may_end.wait(30)
            publish(lake, "late", 1)

    thread = threading.Thread(target=run)
    thread.start()
    at_work.wait(30)
    real = Lake.lock

    def lock(self, key, **options):
        may_end.set()  # The recall has come to this window.
        return real(self, key, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lake, "lock", lock)
        record = recall(lake, 1, wait_seconds=30)
    thread.join()

    assert (record.left, seen(lake), withdrawn(lake)) == ((), [], [1, 1, 1])
    assert [one.state for one in record.windows] == ["withdrawn"]


def test_a_broken_manifest_beside_what_it_wrote_is_named_and_the_other_windows_go(lake):
    publish(lake, "bad", 1)
    publish(lake, "bad", 1, day=NEXT_DAY)
    lake.write_bytes(f"{layout.workspace(JOB, DAY, 'older')}/manifest.json", b'{"job":')

    record = recall(lake, 1)

    assert seen(lake) == [1, 1, 1]
    (left,) = record.left
    assert (left.as_of, "older/manifest.json" in left.why) == (DAY, True)
    with pytest.raises(Incomplete, match="mend those records"):
        recalls.check_complete(record)
    lake.remove(layout.workspace(JOB, DAY, "older"))
    assert recall(lake, 1).left == ()
    assert seen(lake) == []


def test_a_broken_manifest_where_readers_see_nothing_of_it_is_told_and_stops_nothing(lake):
    publish(lake, "fine", 2)
    lake.write_bytes(f"{layout.workspace(JOB, DAY, 'older')}/manifest.json", b"{}")
    lake.write_bytes(f"{layout.workspace(JOB, NEXT_DAY, 'older')}/manifest.json", b"{}")

    record = recalls.check_complete(recall(lake, 1))

    assert [sentence.rpartition("; ")[2] for sentence in record.passed_over] == [
        "readers see late/0002 there",
        "readers see nothing there",
    ]
    assert seen(lake) == [2, 2, 2]


def test_a_partition_whose_record_is_gone_is_found_by_what_the_file_says(lake):
    publish(lake, "bad", 1)
    lake.remove(layout.runs(JOB, DAY))

    record = recall(lake, 1)

    assert "the manifest of run bad is missing" in record.left[0].why


def test_a_disk_that_fails_at_one_window_stops_no_other(lake, monkeypatch):
    publish(lake, "bad", 1)
    publish(lake, "bad", 1, day=NEXT_DAY)
    real = Lake.rename

    def rename(self, source, target):
        if DAY in target:
            raise LakeError("the disk is full")
        real(self, source, target)

    monkeypatch.setattr(Lake, "rename", rename)
    record = recall(lake, 1)
    monkeypatch.undo()

    assert [(one.as_of, one.why) for one in record.left] == [(DAY, "the disk is full")]
    recover(lake, JOB, DAY)
    assert (seen(lake), withdrawn(lake)) == ([], [1] * 6)
    assert load_manifest(lake, layout.workspace(JOB, DAY, "bad")).state == "withdrawn"


def test_records_that_cannot_be_read_are_named(lake):
    lake.write_bytes("models/late/recalls/0001.json", b"{}")
    lake.write_bytes(layout.queued(JOB, DAY), b"{}")
    with pytest.raises(LakeCorrupt, match=r"recalls/0001\.json"):
        recall(lake, 1)
    with pytest.raises(LakeCorrupt, match="does not say why the window waits"):
        queue.read(lake, JOB, DAY)


def test_two_recalls_at_once_end_as_one_after_the_other(lake):
    for day in (DAY, NEXT_DAY):
        for hour, (run_id, version) in enumerate([("a", 1), ("b", 2), ("c", 3)]):
            publish(lake, run_id, version, day=day, hour=hour)
    start = threading.Barrier(4)

    def one(version):
        start.wait(30)
        recall(lake, version, wait_seconds=30)

    threads = [threading.Thread(target=one, args=(version,)) for version in (2, 3, 3, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert seen(lake) == [1] * 6
    assert {published_manifest(lake, JOB, day).run_id for day in (DAY, NEXT_DAY)} == {"a"}
    assert [recall(lake, version).left for version in (2, 3)] == [(), ()]
    assert seen(lake) == [1] * 6


def test_it_can_never_be_named_again(lake):
    set_alias(lake, 1)
    recall(lake, 1)

    assert Registry(lake).aliases(MODEL) == {}
    with pytest.raises(ModelNotFound, match="it named version 1, recalled at"):
        Registry(lake).alias(MODEL, "production")


# -- whatever happens in whatever order -------------------------------------------------------------------------------

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 4), st.integers(1, 3)),
        st.tuples(st.just("recall"), st.integers(1, 4), st.booleans()),
        st.tuples(st.just("damage"), st.integers(0, 5), st.just(0)),
    ),
    max_size=14,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
def test_rows_are_conserved_and_no_withdrawn_row_is_seen(tmp_path_factory, steps):
    """What was published is seen, superseded or withdrawn, each row once; and no recalled version's is seen."""
    lake = Lake(tmp_path_factory.mktemp("lake"))
    add_versions(lake, 4)
    published, recalled, kept = [], set(), set()
    for number, (step, first, second) in enumerate(steps):
        if step == "publish" and first not in recalled:
            publish(lake, f"run{number}", first, rows=second, hour=number)
            published += [first] * second
        elif step == "recall":
            recall(lake, first, keep_until_replaced=second)
            recalled.add(first)
            kept = kept | {first} if second else kept - {first}
        elif step == "damage":
            for path in sorted((lake.root / "superseded").rglob("*.parquet"))[first : first + 1]:
                path.write_bytes(b"Q" + path.read_bytes()[1:])  # Its rows can be read still.
        now = seen(lake)
        aside = withdrawn(lake)
        superseded = [one for table in [PREDICTIONS] for one in _of(lake, "superseded", table)]
        assert sorted(now + aside + superseded) == sorted(published)
        assert len(set(now)) <= 1
        assert not (recalled - kept) & set(now)
        assert seen(lake, METRICS) == seen(lake, QUARANTINE) == now
        standing = published_manifest(lake, JOB, DAY)
        assert (standing.rows.scored if standing else 0) == len(now)
        assert set(aside) <= recalled


def _of(lake, root, table):
    import pyarrow.parquet as pq

    return [
        version
        for path in sorted((lake.root / root).rglob(f"{table}/*.parquet"))
        for version in pq.read_table(path, partitioning=None)["x"].to_pylist()
    ]
