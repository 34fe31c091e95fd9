"""Publishing, killed at every change that it makes to the disk: what readers see, and what the records say, must agree."""

import contextlib
import datetime as dt
import errno
import hashlib
import itertools
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core import layout
from tasks.core.errors import DefinitionError, LakeError, LakeFull
from tasks.core.layout import METRICS, PREDICTIONS, QUARANTINE, SHADOW, TABLES
from tasks.core.runs.manifest import CodeRecord, FileRecord, Manifest, ModelRecord, WindowRecord
from tasks.core.runs.publication import is_visible, publish_staged, recover, staged
from tasks.core.runs.run import load_manifest, published_manifest, write_manifest
from tasks.core.runs.showing import Showing, live_labels, showing, shown_labels, table_of
from tasks.core.storage import Lake, system

JOB, AS_OF = "late", "2013-07-01"
START = dt.datetime(2013, 7, 1, 4, tzinfo=dt.UTC)
FINISHED = dt.datetime(2013, 7, 2, 6, tzinfo=dt.UTC)
CHANGES = ("rename", "replace", "link", "unlink", "rmdir", "mkdir")


class Killed(BaseException):
    """What stands for SIGKILL."""


class Mortal:
    """Dies after so many changes; from then on nothing that it does has an effect, not even its `finally`.

    A change is one call that the operating system serves, or (`steps`) one step of Lamplighter's storage.
    """

    def __init__(self, patch: pytest.MonkeyPatch, dies_after: int, *, steps: bool = False, atomic: bool = True) -> None:
        self.left = dies_after
        self.dead = False
        for name in CHANGES:
            patch.setattr(os, name, self._mortal(getattr(os, name), counts=not steps))
        exchange = system._renameat2 if atomic else lambda *_: errno.ENOSYS
        patch.setattr(system, "_renameat2", self._mortal(exchange, counts=not steps and atomic))
        patch.setattr(system, "write_flushed", self._mortal(system.write_flushed, counts=not steps))
        if steps:
            patch.setattr(system, "after_change", self._mortal(lambda *_: None, counts=True))

    def _mortal(self, call, *, counts):
        def wrapped(*args, **kwargs):
            if self.dead:
                raise Killed
            result = call(*args, **kwargs)
            if counts:
                self.left -= 1
                if self.left < 0:
                    self.dead = True
                    raise Killed
            return result

        return wrapped


@dataclass(frozen=True)
class Scene:
    """A window before a publication: what is visible, what is staged, and the name under which the old is kept."""

    lake: Lake
    intent: Manifest
    old: dict[str, dict[str, bytes]]
    new: dict[str, dict[str, bytes]]
    replaced: str | None
    superseded: tuple[str, ...] = ()
    had_run: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where the new predictions are to be seen."""
        return SHADOW if self.intent.shadow else PREDICTIONS

    def copy(self, name: str) -> "Scene":
        root = self.lake.root.with_name(name)
        shutil.copytree(self.lake.root, root)
        return replace(self, lake=Lake(root))

    def publish(self) -> Manifest:
        workspace = layout.workspace(JOB, AS_OF, self.intent.run_id)
        return publish_staged(self.lake, workspace, self.intent, finished_at=FINISHED)


def table(lake: Lake, key: str, value: float, count: int = 3) -> bytes:
    rows = pa.table({"x": [value] * count})
    with lake.parquet_writer(key, rows.schema) as writer:
        writer.write_table(rows)
    return lake.read_bytes(key)


def stage(
    lake: Lake, run_id: str, values: dict[str, float], *, shadow: bool = False
) -> tuple[Manifest, dict[str, dict[str, bytes]]]:
    """A workspace as it stands before it is published, its manifest, and what is to be visible."""
    workspace, name = layout.workspace(JOB, AS_OF, run_id), layout.part(run_id)
    for kept in ("snapshot.parquet", "batches/000000.parquet", "batches/000001.parquet", "validated/000000.parquet"):
        table(lake, f"{workspace}/{kept}", 0)
    content = {one: table(lake, f"{staged(workspace, one)}/{name}", values[one]) for one in TABLES}
    files = {
        one: FileRecord(
            key=f"{layout.partition(table_of(one, shadow=shadow), JOB, AS_OF)}/{name}",
            rows=3,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        for one, data in content.items()
    }
    manifest = Manifest(
        job=JOB,
        as_of=AS_OF,
        run_id=run_id,
        plan_key="p",
        job_digest="j",
        window=WindowRecord(
            kind="interval", start=START, end=START + dt.timedelta(days=1), timezone="America/New_York"
        ),
        model=ModelRecord(name="late", version=1, digest="m", alias="production", format="joblib"),
        code=CodeRecord(version="0", commit=None, dirty=None, digest="c"),
        environment={},
        started_at=START,
        verdict="published",
        shadow=shadow,
        files=files,
    )
    write_manifest(lake, workspace, manifest.but(verdict=None, files={}))
    return manifest, {table_of(one, shadow=shadow): {name: data} for one, data in content.items()}


def visible(lake: Lake) -> dict[str, dict[str, bytes]]:
    """Of each table, the files that a reader of this window finds; no table without the partition's folder."""
    found = {}
    for one in (*TABLES, SHADOW):
        folder = lake.path(layout.partition(one, JOB, AS_OF))
        if folder.exists():
            found[one] = {path.name: path.read_bytes() for path in folder.iterdir()}
    return found


def alike(value: float) -> dict[str, float]:
    return dict.fromkeys(TABLES, value)


def first_publication(lake: Lake) -> Scene:
    intent, new = stage(lake, "new", alike(2))
    return Scene(lake, intent, {}, new, None)


def republication(lake: Lake) -> Scene:
    first, old = stage(lake, "old", alike(1))
    Scene(lake, first, {}, old, None).publish()
    intent, new = stage(lake, "new", alike(2))
    return Scene(lake, intent, old, new, "old")


def over_a_damaged_file(lake: Lake) -> Scene:
    """The same run again, because one byte of what it had published has changed."""
    first, old = stage(lake, "same", alike(1))
    Scene(lake, first, {}, old, None).publish()
    path = lake.path(layout.partition(PREDICTIONS, JOB, AS_OF)) / layout.part("same")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    intent, new = stage(lake, "same", alike(1))
    return Scene(lake, intent, visible(lake), new, "same")


def with_the_same_predictions(lake: Lake) -> Scene:
    """The same run again, which differs in its figures alone: predictions cannot tell how far it got."""
    first, old = stage(lake, "same", alike(1))
    Scene(lake, first, {}, old, None).publish()
    intent, new = stage(lake, "same", {PREDICTIONS: 1, QUARANTINE: 2, METRICS: 2})
    return Scene(lake, intent, old, new, "same")


def back_to_an_earlier_run(lake: Lake) -> Scene:
    """Published, superseded by another, and published again; and the other had been superseded once before too."""
    for run_id, value in (("old", 0), ("new", 2), ("old", 1)):
        intent, old = stage(lake, run_id, alike(value))
        Scene(lake, intent, {}, old, None).publish()
    earlier = load_manifest(lake, layout.workspace(JOB, AS_OF, "new"))
    assert (earlier.state, earlier.superseded_by) == ("superseded", "old")
    intent, new = stage(lake, "new", alike(2))
    kept = tuple(lake.files("superseded"))
    return Scene(lake, intent.but(superseded_by="old"), old, new, "old", kept, had_run=("new",))


def in_shadow(lake: Lake) -> Scene:
    """A window in shadow is published in shadow again."""
    first, old = stage(lake, "old", alike(1), shadow=True)
    Scene(lake, first, {}, old, None).publish()
    intent, new = stage(lake, "new", alike(2), shadow=True)
    return Scene(lake, intent, old, new, "old")


def leaving_the_shadow(lake: Lake) -> Scene:
    """The team switches over: a window in shadow becomes live."""
    first, old = stage(lake, "old", alike(1), shadow=True)
    Scene(lake, first, {}, old, None).publish()
    intent, new = stage(lake, "new", alike(2))
    return Scene(lake, intent, old, new, "old")


SCENES = [
    first_publication,
    republication,
    over_a_damaged_file,
    with_the_same_predictions,
    back_to_an_earlier_run,
    in_shadow,
    leaving_the_shadow,
]


@pytest.fixture
def lake(monkeypatch):
    """A lake in memory where there is such a folder: hundreds of copies of it are made."""
    memory = Path("/dev/shm")
    monkeypatch.setattr(os, "fsync", lambda _: None)
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Lake(Path(folder) / "lake")


@pytest.fixture(params=SCENES, ids=lambda scene: scene.__name__)
def scene(request, lake):
    return request.param(lake)


in_one_step_or_three = pytest.mark.parametrize("atomic", [True, False], ids=["in one step", "in three steps"])


def killed_after(scene: Scene, changes: int, *, recovering: bool = False, **how) -> bool:
    """Publishes (or recovers) and dies after so many changes; False if it came to its end before."""
    with pytest.MonkeyPatch.context() as patch:
        mortal = Mortal(patch, changes, **how)
        with contextlib.suppress(Killed):
            recover(scene.lake, JOB, AS_OF) if recovering else scene.publish()
    return mortal.dead


def assert_settled(scene: Scene, *, may_be: tuple[str, ...] = ("old", "new")) -> str:
    """All is old or all is new, and every record says so. Which it is."""
    lake, new_id = scene.lake, scene.intent.run_id
    workspace = layout.workspace(JOB, AS_OF, new_id)
    now, manifest = visible(lake), load_manifest(lake, workspace)
    assert now in (scene.old, scene.new)
    outcome = "new" if manifest.state == "concluded" else "old"
    assert outcome in may_be
    assert now == (scene.new if outcome == "new" else scene.old)
    left = set(lake.names(workspace))
    if outcome == "new":
        assert (manifest.verdict, manifest.replaces, manifest.superseded_by) == ("published", scene.replaced, None)
        assert manifest.finished_at == FINISHED
        assert published_manifest(lake, JOB, AS_OF) == manifest
        assert all(is_visible(lake, manifest, one) for one in TABLES)
        assert left == {"manifest.json", "run.parquet", "snapshot.parquet"}
        assert_kept_aside(scene)
    else:
        assert (manifest.state, manifest.verdict, manifest.finished_at) == ("running", None, None)
        # What has come to a verdict before keeps its row.
        row = {"run.parquet"} if new_id in (scene.replaced, *scene.had_run) else set()
        assert left == {"manifest.json", "snapshot.parquet", "batches", "validated", "staged"} | row
        assert lake.names(f"{workspace}/staged") == sorted(TABLES)
        assert {one: content(lake, staged(workspace, one)) for one in TABLES} == by_name(scene.new)
        if scene.replaced not in (None, new_id):
            assert published_manifest(lake, JOB, AS_OF).run_id == scene.replaced
        else:
            assert published_manifest(lake, JOB, AS_OF) is None
        assert tuple(lake.files("superseded")) == scene.superseded
    assert not [key for key in lake.files() if ".tmp-" in key or key.endswith(".old")]
    return outcome


def assert_kept_aside(scene: Scene) -> None:
    """What was visible before lies in superseded/, with the record of its run."""
    lake = scene.lake
    if scene.replaced is None:
        assert not lake.exists("superseded")
        return
    kept = layout.superseded(JOB, AS_OF, scene.replaced)
    if scene.old.get(scene.place) != scene.new[scene.place]:
        assert {one: content(lake, f"{kept}/{one}") for one in TABLES} == by_name(scene.old)
    if scene.replaced != scene.intent.run_id:
        record = load_manifest(lake, kept)
        assert (record.run_id, record.state, record.superseded_by) == (
            scene.replaced,
            "superseded",
            scene.intent.run_id,
        )
        assert load_manifest(lake, layout.workspace(JOB, AS_OF, scene.replaced)) == record


def by_name(tables: dict[str, dict[str, bytes]]) -> dict[str, dict[str, bytes]]:
    """As they are kept where no reader looks: predictions are predictions there."""
    return {PREDICTIONS if table == SHADOW else table: files for table, files in tables.items()}


def content(lake: Lake, folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in lake.path(folder).iterdir()}


@in_one_step_or_three
def test_publishing_that_nobody_kills(scene, atomic, monkeypatch):
    if not atomic:
        monkeypatch.setattr(system, "exchange", lambda *_: False)
    told = []
    monkeypatch.setattr(system, "after_change", lambda change, key: told.append((change, key)))
    done = scene.publish()
    assert assert_settled(scene) == "new"
    assert done == load_manifest(scene.lake, layout.workspace(JOB, AS_OF, done.run_id))
    # Where nothing stood before there was nothing to exchange.
    assert done.swapped_atomically is (atomic or scene.replaced is None)
    # The intent first; what explains the predictions before them; the verdict last.
    assert told[0] == ("write", f"runs/late/as_of=2013-07-01/{done.run_id}/manifest.json")
    assert [key.split("/")[0] for change, key in told if change == "swap"] == ["metrics", "quarantine", scene.place]
    assert told[-1] == told[0]
    # Whoever comes next finds nothing to do.
    told.clear()
    recover(scene.lake, JOB, AS_OF)
    assert told == []


@in_one_step_or_three
def test_a_kill_at_every_change_is_mended(scene, atomic):
    outcomes = []
    for changes in itertools.count():
        one = scene.copy(f"killed-{changes}")
        if not killed_after(one, changes, atomic=atomic):
            break
        seen = visible(one.lake).get(scene.place)
        assert scene.replaced is None or not atomic or {PREDICTIONS, SHADOW} & set(visible(one.lake))
        intended = load_manifest(one.lake, layout.workspace(JOB, AS_OF, one.intent.run_id)).state != "running"
        if atomic or scene.replaced is None:
            # A reader finds the one or the other in full at any instant.
            assert seen in (scene.old.get(scene.place), scene.new[scene.place])
        recover(one.lake, JOB, AS_OF)
        expected = (
            ("new",) if intended and seen == scene.new[scene.place] else ("old", "new") if seen is None else ("old",)
        )
        outcomes.append(assert_settled(one, may_be=expected))
        if outcomes[-1] == "old":
            # It is run again, and ends as if it had never been killed.
            one.publish()
            assert assert_settled(one) == "new"
        shutil.rmtree(one.lake.root)
    # It was killed often, before its commit point and after, and never went back behind that.
    assert len(outcomes) >= 20
    assert outcomes == sorted(outcomes, reverse=True)
    assert outcomes[0] == "old"
    assert outcomes[-1] == "new"


# In shadow the steps are those of any republication, in another folder.
@pytest.mark.parametrize(
    "scene", [one for one in SCENES if one is not in_shadow], indirect=True, ids=lambda one: one.__name__
)
@in_one_step_or_three
def test_a_kill_of_the_recovery_at_every_step_is_mended_too(scene, atomic):
    recoveries = 0
    for changes in itertools.count():
        one = scene.copy("killed")
        if not killed_after(one, changes, steps=True, atomic=atomic):
            break
        for more in itertools.count():
            again = one.copy("killed-again")
            died = killed_after(again, more, recovering=True, steps=True, atomic=atomic)
            recover(again.lake, JOB, AS_OF)
            assert_settled(again)
            shutil.rmtree(again.lake.root)
            recoveries += died
            if not died:
                break
        shutil.rmtree(one.lake.root)
    assert recoveries >= 10


def test_the_next_run_does_not_take_a_window_for_finished_whose_publication_was_cut_short(lake):
    scene = republication(lake)
    assert killed_after(scene, 2, steps=True)
    # Metrics and quarantine are new, predictions are old: nobody is told that the new run is published.
    assert visible(lake) == scene.new | {PREDICTIONS: scene.old[PREDICTIONS]}
    assert published_manifest(lake, JOB, AS_OF).run_id == "old"


def test_a_live_window_is_not_replaced_from_shadow(lake):
    scene = republication(lake)
    with pytest.raises(DefinitionError, match="late 2013-07-01 is live: readers of predictions/ see run old"):
        replace(scene, intent=scene.intent.but(shadow=True)).publish()
    assert visible(lake) == scene.old
    assert load_manifest(lake, layout.workspace(JOB, AS_OF, "new")).state == "running"


def test_while_a_window_leaves_the_shadow_it_shows_what_is_live(lake):
    scene = leaving_the_shadow(lake)
    assert showing(lake, JOB, AS_OF) == Showing("old", layout.partition(SHADOW, JOB, AS_OF), shadow=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.core.runs.publication._finish", lambda *_: None)
        scene.publish()
    assert {PREDICTIONS, SHADOW} <= set(visible(lake))
    assert showing(lake, JOB, AS_OF) == Showing("new", layout.partition(PREDICTIONS, JOB, AS_OF), shadow=False)
    assert shown_labels(lake, JOB) == live_labels(lake, JOB) == [AS_OF]
    recover(lake, JOB, AS_OF)
    assert assert_settled(scene) == "new"


def test_recovering_a_window_that_nobody_ran(lake):
    recover(lake, JOB, AS_OF)
    assert lake.files() == []


def test_recovering_leaves_other_windows_alone(lake):
    scene = republication(lake)
    lake.write_bytes("runs/late/as_of=2013-07-02/other/.tmp-1", b"")
    assert killed_after(scene, 4, steps=True)
    recover(lake, JOB, "2013-07-02")
    recover(lake, "another", AS_OF)
    assert load_manifest(lake, layout.workspace(JOB, AS_OF, "new")).state == "publishing"


@pytest.mark.parametrize("written", range(4))
def test_a_disk_that_fills_does_not_halve_a_publication(lake, monkeypatch, written):
    """After so many records no more can be written; folders can still be moved."""
    scene = republication(lake)
    left, write = [written], system.write_flushed

    def fill(path, data):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(system, "write_flushed", fill)
    with pytest.raises(LakeFull) as failed:
        scene.publish()
    if written == 0:
        assert visible(lake) == scene.old
        assert "What was published stands as it was" in str(failed.value)
    else:
        assert visible(lake) == scene.new
        assert "the new predictions are visible" in str(failed.value).lower()
        assert "stands as it was" not in str(failed.value)
    monkeypatch.setattr(system, "write_flushed", write)
    recover(lake, JOB, AS_OF)
    assert assert_settled(scene) == ("new" if written else "old")


@pytest.mark.parametrize("refused", TABLES)
def test_a_swap_that_is_refused_is_undone_at_once(lake, monkeypatch, refused):
    scene = republication(lake)
    exchange = system.exchange

    def refuse(one, other):
        if refused in str(other) and "staged" in str(one) and not done:
            done.append(other)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return exchange(one, other)

    done = []
    monkeypatch.setattr(system, "exchange", refuse)
    with pytest.raises(LakeError, match="Input/output error") as failed:
        scene.publish()
    assert "stands as it was" in str(failed.value)
    assert assert_settled(scene) == "old"
    scene.publish()
    assert assert_settled(scene) == "new"


def test_a_file_of_the_same_name_is_visible_only_with_the_same_bytes(lake):
    scene = over_a_damaged_file(lake)
    assert not is_visible(lake, scene.intent, PREDICTIONS)
    assert is_visible(lake, scene.intent, METRICS)
    scene.publish()
    assert is_visible(lake, scene.intent, PREDICTIONS)
    assert pq.read_table(lake.path(layout.partition(PREDICTIONS, JOB, AS_OF)))["x"].to_pylist() == [1, 1, 1]


def test_a_run_whose_predictions_somebody_took_away_is_replaced_all_the_same(lake):
    """Else two runs would count as published."""
    first, old = stage(lake, "old", alike(1))
    Scene(lake, first, {}, old, None).publish()
    lake.remove(layout.partition(PREDICTIONS, JOB, AS_OF))
    intent, new = stage(lake, "new", alike(2))

    published = Scene(lake, intent, {}, new, "old").publish()

    assert (published.replaces, visible(lake)) == ("old", new)
    assert load_manifest(lake, layout.workspace(JOB, AS_OF, "old")).state == "superseded"
    assert published_manifest(lake, JOB, AS_OF).run_id == "new"
