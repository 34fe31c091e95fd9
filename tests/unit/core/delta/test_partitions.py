"""What a window of a Delta table shows, and who is told so: the log alone decides, whatever lies in the folders."""

import datetime as dt

import pyarrow as pa
import pytest

from tasks.core import layout
from tasks.core.delta import log
from tasks.core.errors import DefinitionError, LakeCorrupt
from tasks.core.runs import partitions
from tasks.core.runs.live import live_runs_seen
from tasks.core.runs.publication import is_visible, recover, staged, visible_run
from tasks.core.runs.recalling import recalls, withdrawal
from tasks.core.runs.run import load_manifest, manifests, published_manifest, write_manifest
from tasks.core.runs.showing import live_labels, live_runs, showing, shown_labels
from tests import delta_scenes
from tests import recall_scenes as scenes
from tests.delta_scenes import TABLE

DAY, NEXT = scenes.DAY, "2013-07-02"
PARTITION = f"{TABLE}/as_of={DAY}"


@pytest.fixture
def delta(lake):
    scenes.add_versions(lake, 3)
    delta_scenes.begin(lake)
    return lake


def commits(lake):
    return len(delta_scenes.commits(lake.root))


def test_a_publication_is_one_commit_and_its_file_that_which_was_staged(delta):
    scenes.publish(delta, "first", 1)
    before = commits(delta)
    manifest = scenes.publish(delta, "second", 2, rows=4, hour=1)

    assert commits(delta) == before + 1
    assert delta_scenes.shown(delta.root) == {DAY: ["part-second.parquet"]}
    assert delta.sha256(manifest.files["predictions"].key) == manifest.files["predictions"].sha256
    assert (manifest.replaces, manifest.swapped_atomically) == ("first", True)
    assert is_visible(delta, manifest, layout.PREDICTIONS)
    assert not is_visible(delta, load_manifest(delta, layout.workspace(scenes.JOB, DAY, "first")), layout.PREDICTIONS)
    # What was replaced stays for those who read it, and is kept for a recall.
    kept = f"{layout.superseded(scenes.JOB, DAY, 'first')}/predictions/part-first.parquet"
    assert delta.read_bytes(f"{PARTITION}/part-first.parquet") == delta.read_bytes(kept)
    assert not delta.exists(staged(manifest.workspace, layout.PREDICTIONS))


def test_everybody_who_asks_what_is_shown_is_told_what_the_log_says(delta):
    scenes.publish(delta, "first", 1)
    scenes.publish(delta, "second", 2, hour=1)
    scenes.publish(delta, "next", 2, day=NEXT)
    scenes.write_part(delta, f"{TABLE}/as_of=2013-07-09/part-stray.parquet", 3, 1)

    assert live_labels(delta, scenes.JOB) == shown_labels(delta, scenes.JOB) == [DAY, NEXT]
    assert live_runs(delta, scenes.JOB) == live_runs_seen(delta, scenes.JOB) == {DAY: "second", NEXT: "next"}
    assert visible_run(delta, scenes.JOB, "2013-07-09") is None
    seen = showing(delta, scenes.JOB, DAY)
    assert (seen.run_id, seen.folder, seen.shadow) == ("second", PARTITION, False)


def test_a_recall_brings_the_last_good_file_back_by_one_commit(delta):
    scenes.publish(delta, "good", 1)
    scenes.publish(delta, "bad", 2, hour=1)
    scenes.publish(delta, "alone", 2, day=NEXT)
    before = commits(delta)

    recalls.recall(delta, scenes.order(2), wait_seconds=0)

    assert commits(delta) == before + 2
    assert delta_scenes.shown(delta.root) == {DAY: ["part-good.parquet"]}
    assert (published_manifest(delta, scenes.JOB, DAY).run_id, published_manifest(delta, scenes.JOB, NEXT)) == (
        "good",
        None,
    )
    assert scenes.withdrawn(delta) == [2, 2, 2, 2, 2, 2]
    assert live_runs_seen(delta, scenes.JOB) == {DAY: "good"}
    assert showing(delta, scenes.JOB, NEXT) is None


def test_what_was_damaged_in_the_table_comes_back_whole(delta):
    """Of the file that is to be shown again two names are there; the one in the table is not the one that was checked."""
    scenes.publish(delta, "good", 1)
    scenes.publish(delta, "bad", 2, hour=1)
    path = delta.path(f"{PARTITION}/part-good.parquet")
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:-9])
    recalls.recall(delta, scenes.order(2), wait_seconds=0)
    assert path.read_bytes() == whole


def test_a_run_that_takes_its_own_place_mends_its_file_without_a_commit(delta):
    manifest = scenes.publish(delta, "first", 1)
    path = delta.path(manifest.files["predictions"].key)
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(b"damaged")
    assert not is_visible(delta, manifest, layout.PREDICTIONS)
    before = commits(delta)

    scenes.publish(delta, "first", 1, hour=1)

    assert (path.read_bytes(), commits(delta)) == (whole, before)
    assert delta_scenes.shown(delta.root) == {DAY: ["part-first.parquet"]}


@pytest.mark.parametrize("is_committed", [False, True])
def test_a_publication_that_was_killed_at_its_commit_is_undone_or_completed(delta, is_committed):
    """The prepared folder has both files then; which of them the table shows says how far it came."""
    scenes.publish(delta, "old", 1)
    intent = scenes.stage(delta, "new", 2, rows=4, hour=1).but(state="publishing", replaces="old")
    workspace = layout.workspace(scenes.JOB, DAY, "new")
    write_manifest(delta, workspace, intent)
    for table in (layout.METRICS, layout.QUARANTINE):
        delta.swap(staged(workspace, table), layout.partition(table, scenes.JOB, DAY))
    prepared = staged(workspace, layout.PREDICTIONS)
    delta.copy(f"{prepared}/part-new.parquet", f"{PARTITION}/part-new.parquet")
    delta.copy(f"{PARTITION}/part-old.parquet", f"{prepared}/part-old.parquet")
    if is_committed:
        partitions._commit(delta, TABLE, DAY, "part-new.parquet", scenes.MIDNIGHT)
    before = commits(delta)

    recover(delta, scenes.JOB, DAY)

    assert commits(delta) == before
    if is_committed:
        assert published_manifest(delta, scenes.JOB, DAY).run_id == "new"
        kept = f"{layout.superseded(scenes.JOB, DAY, 'old')}/predictions"
        assert (delta.names(kept), delta.exists(prepared)) == (["part-old.parquet"], False)
    else:
        assert published_manifest(delta, scenes.JOB, DAY).run_id == "old"
        assert delta.names(prepared) == ["part-new.parquet"]


def test_a_window_leaves_a_plain_shadow_for_a_delta_table(delta):
    scenes.publish(delta, "tried", 1, shadow=True)
    assert showing(delta, scenes.JOB, DAY).shadow
    scenes.publish(delta, "live", 1, hour=1)
    assert delta_scenes.shown(delta.root) == {DAY: ["part-live.parquet"]}
    assert shown_labels(delta, scenes.JOB) == [DAY]
    assert delta.names(f"{layout.superseded(scenes.JOB, DAY, 'tried')}/predictions") == ["part-tried.parquet"]
    assert delta.names(f"shadow/{scenes.JOB}") == []


def test_a_window_leaves_a_shadow_that_is_a_delta_table_itself(delta):
    delta_scenes.begin(delta, table=f"shadow/{scenes.JOB}")
    scenes.publish(delta, "tried", 1, shadow=True)
    assert delta_scenes.shown(delta.root, f"shadow/{scenes.JOB}") == {DAY: ["part-tried.parquet"]}
    assert delta_scenes.shown(delta.root) == {}
    scenes.publish(delta, "live", 1, hour=1)
    assert delta_scenes.shown(delta.root, f"shadow/{scenes.JOB}") == {}
    assert delta_scenes.shown(delta.root) == {DAY: ["part-live.parquet"]}


def test_a_name_is_kept_while_somebody_may_read_the_file(delta):
    scenes.publish(delta, "old", 1)
    scenes.publish(delta, "new", 1, hour=1)
    replaced_at = scenes.MIDNIGHT + dt.timedelta(hours=2)

    def keeps(run_id, now):
        return partitions.keeps_name(delta, PARTITION, layout.part(run_id), now=now)

    assert keeps("new", replaced_at + dt.timedelta(days=100))
    assert keeps("old", replaced_at + dt.timedelta(days=7))
    assert not keeps("old", replaced_at + dt.timedelta(days=7, seconds=1))
    assert not keeps("never", replaced_at)
    assert not partitions.keeps_name(delta, f"metrics/late/as_of={DAY}", layout.part("new"), now=replaced_at)


def test_a_new_column_comes_with_the_commit_of_the_first_file_that_has_it(delta):
    scenes.publish(delta, "old", 1)
    workspace = layout.workspace(scenes.JOB, NEXT, "wide")
    key = f"{workspace}/wide/part-wide.parquet"
    rows = pa.table({"x": pa.array([1], pa.int64()), "more": ["a"]})
    with delta.parquet_writer(key, rows.schema) as writer:
        writer.write_table(rows)
    before = commits(delta)
    partitions.swap(delta, f"{workspace}/wide", f"{TABLE}/as_of={NEXT}", at=scenes.MIDNIGHT)
    assert commits(delta) == before + 1
    assert [one["name"] for one in log.read(delta, TABLE).fields] == ["x", "as_of", "more"]
    scenes.publish(delta, "narrow", 1, hour=1)
    assert [one["name"] for one in log.read(delta, TABLE).fields] == ["x", "as_of", "more"]


def test_a_prepared_folder_of_several_files_is_not_published(delta):
    for name in ("a", "b"):
        scenes.write_part(delta, f"x/{name}.parquet", 1, 1)
    with pytest.raises(LakeCorrupt, match="holds 2"):
        partitions.swap(delta, "x", PARTITION, at=scenes.MIDNIGHT)
    assert delta_scenes.shown(delta.root) == {}


def test_what_killed_writers_left_in_the_table_goes(delta):
    scenes.publish(delta, "first", 1)
    hidden = delta.path(f"{PARTITION}/.tmp-killed")
    hidden.write_bytes(b"half")
    recover(delta, scenes.JOB, DAY)
    assert not hidden.exists()


def publish_text(lake, run_id, version, **changes):
    """A run of a contract in which x is text."""

    def write_text(lake, key, version, rows):
        table = pa.table({"x": [str(version)] * rows})
        with lake.parquet_writer(key, table.schema) as writer:
            writer.write_table(table)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "write_part", write_text)
        return scenes.publish(lake, run_id, version, **changes)


def test_a_recall_passes_over_what_the_table_cannot_show(lake):
    """The job's contract had changed before the table became a Delta table."""
    scenes.add_versions(lake, 3)
    scenes.publish(lake, "older", 1)
    publish_text(lake, "text", 1, hour=1)
    scenes.publish(lake, "bad", 2, hour=2)
    delta_scenes.begin(lake)

    record = recalls.recall(lake, scenes.order(2), wait_seconds=0)

    assert record.left == ()
    assert delta_scenes.shown(lake.root) == {DAY: ["part-older.parquet"]}
    ((restores, (note,)),) = [(one.restores, one.notes) for one in record.windows]
    assert restores == "older"
    assert note.startswith("run text was not restored: the Delta table predictions/late has the column 'x' as long")


def test_a_recall_that_had_chosen_what_the_table_cannot_show_ends_without_it(lake, monkeypatch):
    scenes.add_versions(lake, 3)
    publish_text(lake, "text", 1)
    scenes.publish(lake, "bad", 2, hour=1)
    scenes.publish(lake, "bad", 2, day=NEXT)
    delta_scenes.begin(lake)
    with monkeypatch.context() as patch:
        patch.setattr(withdrawal, "_why_not_shown", lambda *_: None)
        (left,) = recalls.recall(lake, scenes.order(2), wait_seconds=0).left
    # The other window goes all the same.
    assert (left.as_of, "'x' as long" in left.why) == (DAY, True)
    assert delta_scenes.shown(lake.root) == {DAY: ["part-bad.parquet"]}

    recover(lake, scenes.JOB, DAY)

    assert delta_scenes.shown(lake.root) == {}
    assert scenes.withdrawn(lake) == [2] * 6
    found = load_manifest(lake, layout.workspace(scenes.JOB, DAY, "bad"))
    assert (found.state, found.withdrawal.restores, len(found.withdrawal.notes)) == ("withdrawn", None, 1)
    kept = layout.superseded(scenes.JOB, DAY, "text")
    assert [lake.names(f"{kept}/{table}") for table in layout.TABLES] == [["part-text.parquet"]] * 3
    assert recalls.recall(lake, scenes.order(2), wait_seconds=0).left == ()


def test_what_the_table_cannot_show_is_undone_at_once(delta):
    old = scenes.publish(delta, "old", 1)
    with pytest.raises(DefinitionError, match="'x' as long, and the job would publish it as string"):
        publish_text(delta, "text", 1, hour=1)
    assert delta_scenes.shown(delta.root) == {DAY: ["part-old.parquet"]}
    assert all(is_visible(delta, old, table) for table in layout.TABLES)
    assert load_manifest(delta, layout.workspace(scenes.JOB, DAY, "text")).state == "running"


def test_a_run_whose_commit_was_seen_after_it_was_undone_replaces_the_one_before(delta):
    """An object store may put in place what it did not answer for; else two runs would count as published."""
    scenes.publish(delta, "old", 1)
    scenes.stage(delta, "new", 2, hour=1)
    workspace = layout.workspace(scenes.JOB, DAY, "new")
    delta.copy(f"{staged(workspace, layout.PREDICTIONS)}/part-new.parquet", f"{PARTITION}/part-new.parquet")
    partitions._commit(delta, TABLE, DAY, "part-new.parquet", scenes.MIDNIGHT)

    assert scenes.publish(delta, "new", 2, hour=1).replaces == "old"

    assert [one.run_id for one in manifests(delta, scenes.JOB, DAY) if one.is_published] == ["new"]
    assert load_manifest(delta, layout.workspace(scenes.JOB, DAY, "old")).superseded_by == "new"
