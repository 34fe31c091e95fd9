"""What goes of windows and what stays: ages to the second, what recall can bring back, and kills at every change."""

import datetime as dt
import os
import shutil

import pytest

from tasks.core import layout
from tasks.core.errors import SnapshotGone, WindowBusy
from tasks.core.models.registry import Registry
from tasks.core.pruning import pruning
from tasks.core.rows import snapshot
from tasks.core.runs.acceptance import last_blocked
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.publication import publish_staged
from tasks.core.runs.recalling import queue, recalls
from tasks.core.runs.run import load_manifest, manifests, published_manifest, write_manifest
from tasks.core.storage import Lake, system
from tests import recall_scenes as scenes
from tests.lake_tools import Killed, everything_in
from tests.status_scenes import write_job

DAY = dt.timedelta(days=1)
SECOND = dt.timedelta(seconds=1)
# A run at the hour h of the scenes is published an hour later; its snapshot is complete at midnight.
PULLED, PUBLISHED = scenes.MIDNIGHT, scenes.MIDNIGHT + dt.timedelta(hours=1)
REPLACED = scenes.MIDNIGHT + dt.timedelta(hours=2)


@pytest.fixture
def project(tmp_path):
    """Makes the job's YAML say so much of retention."""
    return lambda **retention: write_job(tmp_path / "project", retention=retention or None)


def publish(lake: Lake, run_id: str, version: int, **more) -> Manifest:
    """A run with all that a whole one leaves in its workspace."""
    made = scenes.publish(lake, run_id, version, **more)
    workspace = layout.workspace(scenes.JOB, made.as_of, run_id)
    for name in ("snapshot.json", "rejects.parquet", "duplicates.parquet", "figures.json", "profile.json"):
        lake.write_bytes(f"{workspace}/{name}", b"{}")
    return made


def end(lake: Lake, run_id: str, verdict: str | None, day: str = scenes.DAY, **changes) -> str:
    """A run that was blocked, failed or killed, with its rows; its workspace."""
    staged = scenes.stage(lake, run_id, 1, day=day)
    workspace = layout.workspace(scenes.JOB, day, run_id)
    for name in ("snapshot.json", "batches/000000.parquet", "validated/whole.parquet", "figures.json"):
        lake.write_bytes(f"{workspace}/{name}", b"{}")
    ended = {"state": "concluded", "finished_at": PUBLISHED} if verdict else {"state": "running"}
    write_manifest(lake, workspace, staged.but(verdict=verdict, files={}, **ended, **changes))
    return workspace


def prune(lake: Lake, project, now: dt.datetime):
    return pruning.prune(lake, project, scenes.JOB, now=now)


def gone(found) -> dict[str, int]:
    return {line.kind: line.count for line in found.lines if line.count}


def why(found, kind: str) -> dict[str, int]:
    return next(line.why_kept for line in found.lines if line.kind == kind)


def contents(lake: Lake) -> dict[str, bytes]:
    return {name: lake.path(name).read_bytes() for name in everything_in(lake) if lake.path(name).is_file()}


def names_in(lake: Lake, run_id: str, day: str = scenes.DAY) -> list[str]:
    return lake.names(layout.workspace(scenes.JOB, day, run_id))


# --- Snapshots of what readers see


def test_by_itself_nothing_goes_that_explains_a_published_window(lake, project):
    publish(lake, "one", 1)
    before = contents(lake)
    found = prune(lake, project(), PULLED + 10_000 * DAY)
    assert (gone(found), why(found, "snapshots"), contents(lake)) == ({}, {"kept for ever": 1}, before)


def test_a_snapshot_goes_only_where_the_policy_says_so_and_its_manifest_then_says_what_went(lake, project):
    publish(lake, "one", 1)
    told = project(snapshots="10d")
    assert gone(prune(lake, told, PULLED + 10 * DAY)) == {}
    before, at = contents(lake), PULLED + 10 * DAY + SECOND
    # Only looking changes nothing, and says the same.
    assert gone(pruning.look(lake, told, scenes.JOB, now=at)) == {"snapshots": 1}
    assert contents(lake) == before

    found = prune(lake, told, at)

    (line,) = found.lines
    assert (line.count, line.files, line.bytes, line.oldest) == (1, 4, scenes.SNAPSHOT_BYTES + 3 * len(b"{}"), PULLED)
    assert names_in(lake, "one") == ["figures.json", "manifest.json", "profile.json", "run.parquet"]
    manifest = published_manifest(lake, scenes.JOB, scenes.DAY)
    (removal,) = manifest.pruned
    assert (removal.at, removal.kind, removal.policy) == (at, "snapshots", "10d")
    assert removal.what == ("snapshot.json", "snapshot.parquet", "rejects.parquet", "duplicates.parquet")
    assert removal.sentence == "retention removed it on 2013-07-12 (snapshots: 10d)"
    # Nothing else has changed, but for the list of what went.
    after, kept = contents(lake), {f"runs/late/as_of={scenes.DAY}/one/manifest.json", "pruned/late/2013-07-12.json"}
    assert {name for name in after if after[name] != before.get(name)} == kept
    assert scenes.seen(lake) == [1, 1, 1]


def test_run_twice_the_second_finds_nothing_and_changes_nothing(lake, project):
    publish(lake, "one", 1)
    told, at = project(snapshots="10d"), PULLED + 11 * DAY
    prune(lake, told, at)
    before = contents(lake)
    found = prune(lake, told, at + DAY)
    assert (gone(found), contents(lake)) == ({}, before)


def test_who_needs_a_snapshot_that_went_is_told_why(lake, project):
    publish(lake, "one", 1)
    prune(lake, project(snapshots="10d"), PULLED + 11 * DAY)
    with pytest.raises(SnapshotGone, match=r"retention removed it on 2013-07-13 \(snapshots: 10d\)") as told:
        snapshot.required_record(lake, layout.workspace(scenes.JOB, scenes.DAY, "one"))
    assert told.value.next_step.startswith(f"lamplighter score late --as-of {scenes.DAY} --rescore")
    scenes.add_versions(lake, 2)
    (window,) = recalls.plan(lake, scenes.MODEL, 1).windows
    assert window.must_be_pulled


def test_what_waits_to_be_scored_again_keeps_its_rows(lake, project):
    publish(lake, "one", 1)
    entry = queue.Entry(job="late", as_of=scenes.DAY, reason="bad", model="late", version=1, queued_at=PUBLISHED)
    queue.add(lake, entry)
    told, at = project(snapshots="10d"), PULLED + 11 * DAY
    assert why(prune(lake, told, at), "snapshots") == {"its window waits to be scored again": 1}
    queue.drop(lake, entry)
    assert gone(prune(lake, told, at)) == {"snapshots": 1}


# --- What was replaced


def test_what_was_replaced_is_kept_for_so_long_since_it_was_replaced_however_old_it_is(lake, project):
    scenes.add_versions(lake, 2)
    publish(lake, "old", 1)
    later = 300  # Days after which the same version replaces it.
    publish(lake, "new", 1, hour=24 * later)
    replaced_at = scenes.MIDNIGHT + later * DAY + dt.timedelta(hours=1)
    told = project(superseded="90d")
    assert gone(prune(lake, told, replaced_at + 90 * DAY)) == {}
    assert gone(prune(lake, told, replaced_at + 90 * DAY + SECOND)) == {"superseded": 1}
    assert lake.names("superseded/late") == []
    assert names_in(lake, "old") == ["figures.json", "manifest.json", "profile.json", "run.parquet"]
    old = load_manifest(lake, layout.workspace(scenes.JOB, scenes.DAY, "old"))
    assert (old.state, old.superseded_by, old.pruned[0].kind) == ("superseded", "new", "superseded")
    assert scenes.seen(lake) == [1, 1, 1]


def test_what_a_recall_would_bring_back_stays_while_what_replaced_it_is_young(lake, project):
    scenes.add_versions(lake, 3)
    scenes.set_alias(lake, 2)
    publish(lake, "good", 1, rows=2)
    publish(lake, "bad", 2, hour=1)
    # A year later the bad version has scored it again: only the first of its two runs is of no more use.
    publish(lake, "worse", 2, rows=4, hour=24 * 365)
    now = scenes.MIDNIGHT + 366 * DAY
    told = project(superseded="90d")

    found = prune(lake, told, now)

    assert gone(found) == {}
    reasons = {"not older than 90d": 1, "the last one of another version: a recall could bring it back": 1}
    assert why(found, "superseded") == reasons
    recalled = recalls.recall(lake, scenes.order(2, at=now), wait_seconds=0)
    assert [one.restores for one in recalled.windows if one.run_id == "worse"] == ["good"]
    assert scenes.seen(lake) == [1, 1]


def test_a_recall_says_that_retention_took_what_it_would_have_brought_back(lake, project):
    scenes.add_versions(lake, 2)
    scenes.set_alias(lake, 2)
    publish(lake, "good", 1)
    publish(lake, "bad", 2, hour=1)
    prune(lake, project(superseded="90d"), REPLACED + 91 * DAY)
    assert lake.names("superseded/late") == []
    (window,) = recalls.plan(lake, scenes.MODEL, 2).windows
    assert window.restores is None
    assert window.notes == ("run good was not restored: retention removed it on 2013-10-01 (superseded: 90d)",)


def test_of_what_was_withdrawn_all_rows_go_and_the_record_stays(lake, project):
    scenes.add_versions(lake, 3)
    scenes.set_alias(lake, 2)
    publish(lake, "bad", 2)
    scenes.challenge(lake, "bad", 3)
    at = scenes.order(2).at
    for version in (3, 2):
        recalls.recall(lake, scenes.order(version), wait_seconds=0)
    queue.drop(lake, queue.read(lake, scenes.JOB, scenes.DAY))
    told = project()
    assert gone(prune(lake, told, at + 400 * DAY)) == {}

    assert gone(prune(lake, told, at + 400 * DAY + SECOND)) == {"withdrawn": 2}

    assert lake.names("withdrawn/late") == []
    assert load_manifest(lake, layout.workspace(scenes.JOB, scenes.DAY, "bad")).state == "withdrawn"
    assert set(Registry(lake).recalled(scenes.MODEL)) == {2, 3}


# --- What was never published


@pytest.mark.parametrize(("verdict", "becomes"), [("blocked", "blocked"), ("failed", "failed"), (None, "failed")])
def test_of_a_run_that_did_not_publish_the_rows_go_and_the_record_stays(lake, project, verdict, becomes):
    workspace = end(lake, "lost", verdict)
    since = PUBLISHED if verdict else scenes.MIDNIGHT
    told = project()
    assert gone(prune(lake, told, since + 90 * DAY)) == {}
    assert gone(prune(lake, told, since + 90 * DAY + SECOND)) == {"unpublished": 1}
    assert set(lake.names(workspace)) <= {"figures.json", "manifest.json", "run.parquet"}
    manifest = load_manifest(lake, workspace)
    assert (manifest.state, manifest.verdict, manifest.pruned[0].kind) == ("concluded", becomes, "unpublished")


def test_rows_that_were_blocked_and_went_cannot_be_accepted(lake, project):
    end(lake, "lost", "blocked", blocked_by=("volume",))
    assert last_blocked(lake, scenes.JOB, scenes.DAY).run_id == "lost"
    prune(lake, project(), PUBLISHED + 91 * DAY)
    with pytest.raises(SnapshotGone, match=r"run lost of late 2013-07-01 .* \(unpublished: 90d\)"):
        last_blocked(lake, scenes.JOB, scenes.DAY)


# --- Others at work, records that are damaged, kills


def test_a_window_that_a_run_holds_is_left_for_the_next_time_and_named(lake, project):
    publish(lake, "one", 1)
    publish(lake, "two", 1, day="2013-07-02")
    told, at = project(snapshots="10d"), PULLED + 11 * DAY
    with lake.lock(layout.lock(scenes.JOB, scenes.DAY), holder="a run"):
        found = prune(lake, told, at)
    (line,) = found.lines
    assert (line.count, found.problem) == (1, "")
    assert line.left == (f"{scenes.DAY} one: late {scenes.DAY} is being run by a run",)
    assert "snapshot.parquet" in names_in(lake, "one")
    # What stayed is not on the list of what went.
    assert '"as_of":"2013-07-02"' in (said := lake.read_text("pruned/late/2013-07-13.json").replace(" ", ""))
    assert f'"as_of":"{scenes.DAY}"' not in said
    assert gone(prune(lake, told, at)) == {"snapshots": 1}


def test_a_publication_that_was_cut_short_is_ended_before_anything_is_decided(lake, project, monkeypatch):
    publish(lake, "one", 1)
    hours = 24 * 10
    intent = scenes.stage(lake, "two", 1, hour=hours)

    def kill(change: str, key: str) -> None:
        if (change, key) == ("swap", layout.partition(layout.PREDICTIONS, scenes.JOB, scenes.DAY)):
            raise Killed

    workspace, at = layout.workspace(scenes.JOB, scenes.DAY, "two"), scenes.MIDNIGHT + dt.timedelta(hours=hours + 1)
    with monkeypatch.context() as patch:
        patch.setattr(system, "after_change", kill)
        with pytest.raises(Killed):
            publish_staged(lake, workspace, intent, finished_at=at)
    # Its manifest still says that readers see the first run, whose snapshot is eleven days old.
    assert published_manifest(lake, scenes.JOB, scenes.DAY).run_id == "one"

    prune(lake, project(snapshots="10d"), PULLED + 11 * DAY)

    assert published_manifest(lake, scenes.JOB, scenes.DAY).run_id == "two"
    one = load_manifest(lake, layout.workspace(scenes.JOB, scenes.DAY, "one"))
    assert (one.state, one.pruned) == ("superseded", ())
    assert "snapshot.parquet" in names_in(lake, "one")


def test_one_prune_of_a_job_at_a_time(lake, project):
    publish(lake, "one", 1)
    told = project()
    with lake.lock(layout.prune_lock(scenes.JOB), holder="another"), pytest.raises(WindowBusy, match="another"):
        prune(lake, told, PULLED)
    assert pruning.attempt(lake, told, "nobody", now=PULLED, apply=True).problem.startswith("there is no job 'nobody'")


def test_of_a_window_whose_record_is_damaged_nothing_goes(lake, project):
    publish(lake, "one", 1)
    end(lake, "lost", "failed")
    lake.write_bytes(f"{layout.workspace(scenes.JOB, scenes.DAY, 'one')}/manifest.json", b"{")
    before = contents(lake)
    found = prune(lake, project(snapshots="1d", unpublished="1d"), PULLED + 400 * DAY)
    assert (gone(found), why(found, "snapshots")) == ({}, {"a record of its window cannot be read": 1})
    assert contents(lake) == before


def _scene(lake: Lake) -> None:
    """Of each kind that lies in windows one that goes, and one that stays."""
    scenes.add_versions(lake, 3)
    scenes.set_alias(lake, 3)
    publish(lake, "old", 1)
    publish(lake, "new", 2, hour=1)
    publish(lake, "bad", 3, day="2013-07-02")
    recalls.recall(lake, scenes.order(3), wait_seconds=0)
    queue.drop(lake, queue.read(lake, scenes.JOB, "2013-07-02"))
    end(lake, "lost", "blocked", day="2013-07-03")
    end(lake, "killed", None, day="2013-07-03")
    for day in (scenes.DAY, "2013-07-02"):
        lake.write_bytes(layout.window_page(scenes.JOB, day), b"page")
    lake.write_bytes("dry_runs/late/as_of=2013-07-01/dry/manifest.json", _dry(lake))
    lake.write_bytes("dry_runs/late/as_of=2013-07-01/dry/predictions/part.parquet", b"rows")


def _dry(lake: Lake) -> bytes:
    found = manifests(lake, scenes.JOB, scenes.DAY)[0]
    return found.but(state="dry_run", run_id="dry").to_json()


EVERY = {"snapshots": "10d", "reports": "10d"}
LATE = scenes.MIDNIGHT + 1000 * DAY


@pytest.mark.parametrize("each", [5, pytest.param(1, marks=pytest.mark.slow)], ids=["some", "all"])
def test_killed_at_a_change_the_next_one_ends_it_and_readers_see_what_they_saw(tmp_path, project, monkeypatch, each):
    told = project(**EVERY)
    start, whole = Lake(tmp_path / "start"), Lake(tmp_path / "whole")
    _scene(start)
    shutil.copytree(start.root, whole.root)
    changes = _changes(whole, told, monkeypatch)
    assert changes > 40
    expected, seen = contents(whole), scenes.seen(start)
    assert len(everything_in(whole)) < len(everything_in(start))
    for number in range(0, changes, each):
        lake = Lake(tmp_path / f"killed-{number}")
        # Linked, not copied: nothing writes into a file that stands.
        shutil.copytree(start.root, lake.root, copy_function=os.link)
        _kill_at(lake, told, number, monkeypatch)
        assert scenes.seen(lake) == seen, number
        _check_records(lake)
        prune(lake, told, LATE)
        assert contents(lake) == expected, number
        shutil.rmtree(lake.root)


def _check_records(lake: Lake) -> None:
    """No snapshot passes for a whole one that is not there, and what is not there the manifest says."""
    for path in lake.root.glob("runs/late/*/*/manifest.json"):
        names = {one.name for one in path.parent.iterdir()}
        assert "snapshot.parquet" in names or "snapshot.json" not in names, path
        if not {"snapshot.json", "snapshot.parquet"} <= names:
            assert Manifest.model_validate_json(path.read_bytes()).pruned, path


def _changes(lake: Lake, told, monkeypatch) -> int:
    """How many changes a prune makes."""
    made = []
    with monkeypatch.context() as patch:
        patch.setattr(system, "after_change", lambda *change: made.append(change))
        prune(lake, told, LATE)
    return len(made)


def _kill_at(lake: Lake, told, number: int, monkeypatch) -> None:
    left = [number]

    def kill(*_) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(system, "after_change", kill)
        with pytest.raises(Killed):
            prune(lake, told, LATE)
