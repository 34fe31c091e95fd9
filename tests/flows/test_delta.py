"""A job whose table is a Delta table, whole runs: what readers get with deltalake, Polars and DuckDB, and nothing of ours."""

import datetime as dt
import json
import pathlib
import shutil

import duckdb
import pandas as pd
import polars
import pytest

from flows.audit import audit
from flows.backfill import backfill
from flows.recall import recall
from tasks.core.definitions.project import Project
from tasks.core.pages import reading
from tasks.core.pages.inputs import OtherTables
from tasks.core.pruning import pruning
from tasks.core.runs import formats
from tasks.core.runs.run import manifests
from tasks.core.storage import Folder
from tests.flows.conftest import DAY, World, add_wrong_version, make_project, open_world, readings, typist

pytestmark = pytest.mark.extras

NEXT = "2024-05-02"
ROWS = {DAY: 200, NEXT: 100}


def DeltaTable(*args, **kwargs):
    # The package is there where the extras are.
    import deltalake

    return deltalake.DeltaTable(*args, **kwargs)


@pytest.fixture(scope="module")
def made(tmp_path_factory, prefect_harness) -> World:
    """A job with format delta, two days of rows, and the first of them published."""
    with pytest.MonkeyPatch.context() as patch:
        world = make_project(tmp_path_factory.mktemp("delta") / "project")
        open_world(world.folder, patch)
        world.write_rows(readings())
        world.write_rows(readings(100, NEXT), "b.parquet")
        world.change_job(output__format="delta")
        assert world.score().name == "Published"
        return world


@pytest.fixture
def world(made, tmp_path, monkeypatch) -> World:
    return open_world(tmp_path / "project", monkeypatch, like=made)


@pytest.fixture
def lamplighter(monkeypatch, capsys):
    return typist(monkeypatch, capsys)


def path(world, table="predictions"):
    return str(world.folder / "lake" / table / "readings")


def table(world, name="predictions") -> pd.DataFrame:
    return DeltaTable(path(world, name)).to_pandas().sort_values(["as_of", "sensor"], ignore_index=True)


def counts(world, name="predictions"):
    """By reader the rows of each window."""
    with_deltalake = table(world, name).groupby("as_of").size().to_dict()
    with_polars = dict(polars.scan_delta(path(world, name)).group_by("as_of").len().collect().iter_rows())
    scores = DeltaTable(path(world, name)).to_pyarrow_dataset()
    with_duckdb = dict(duckdb.sql("select as_of, count(*) from scores group by 1").fetchall())
    assert scores.count_rows() == sum(with_deltalake.values())
    assert with_deltalake == with_polars == with_duckdb
    return with_deltalake


def version(world, name="predictions"):
    return DeltaTable(path(world, name)).version()


def test_the_rows_are_those_of_the_plain_format(world):
    """All but what tells one run from the other."""
    of_delta, run = table(world), world.published().run_id
    assert counts(world) == {DAY: 200}
    assert set(of_delta["run_id"]) == {run}
    plain = World(world.folder, world.lake)
    shutil.rmtree(path(world))
    shutil.rmtree(world.folder / "lake/runs")
    plain.change_job(output__format=None)
    assert plain.score().name == "Published"
    found = plain.table().astype({"as_of": "string"})
    its_own = ["run_id", "scored_at"]
    pd.testing.assert_frame_equal(
        of_delta.drop(columns=its_own), found.drop(columns=its_own), check_dtype=False, check_categorical=False
    )


def test_the_file_is_explained_by_its_manifest_and_by_the_commit(world):
    manifest = world.published()
    log = DeltaTable(path(world))
    (file,) = log.file_uris()
    record = manifest.files["predictions"]
    assert pathlib.Path(file) == world.lake.path(record.key)
    assert world.lake.sha256(record.key) == record.sha256
    (said, _) = log.history()
    assert (said["lamplighter"], said["operation"]) == ({"as_of": DAY, "run_id": manifest.run_id}, "WRITE")
    assert [(one.name, one.type.type) for one in log.schema().fields] == [
        ("sensor", "string"),
        ("at", "timestamp"),
        ("window_start", "timestamp"),
        ("probability", "double"),
        ("kind", "string"),
        ("model_version", "string"),
        ("run_id", "string"),
        ("scored_at", "timestamp"),
        ("as_of", "string"),
    ]
    stats = polars.DataFrame(log.get_add_actions(flatten=True)).to_dicts()[0]
    assert (stats["num_records"], stats["min.sensor"], stats["max.sensor"]) == (200, "s00000", "s00199")


def test_a_finished_window_is_left_alone_and_the_same_rows_make_no_commit(world):
    before = version(world)
    assert world.score().name == "AlreadyPublished"
    assert world.score(rescore="to see").name == "AlreadyPublished"
    assert version(world) == before


def test_a_blocked_run_leaves_the_log_alone(world):
    before, rows = version(world), table(world)
    world.write_rows(readings().assign(kind="lukewarm"))
    assert world.score(rescore="a new feed").name == "Blocked"
    assert version(world) == before
    pd.testing.assert_frame_equal(table(world), rows)


def test_a_window_is_replaced_by_one_commit_and_earlier_versions_are_still_read(world):
    before, old = version(world), table(world)
    world.write_rows(readings(150))
    assert world.score(rescore="a new feed").name == "Published"
    assert (version(world), counts(world)) == (before + 1, {DAY: 150})
    earlier = DeltaTable(path(world), version=before).to_pandas().sort_values("sensor", ignore_index=True)
    pd.testing.assert_frame_equal(earlier, old)
    # The table of the latest rows, and everybody who asks, has followed.
    assert len(pd.read_parquet(world.folder / "lake/latest/readings")) == 150


def test_what_a_recalled_version_wrote_goes_and_the_last_good_rows_come_back(world, lamplighter):
    good = table(world)
    add_wrong_version(world)
    assert world.score(rescore="a new version").name == "Published"
    assert world.score(NEXT).name == "Published"
    assert (counts(world), set(table(world)["model_version"])) == (ROWS, {"readings/0002"})
    before = version(world)

    assert recall("readings", 2, "it learnt from the future", return_state=True).is_completed()

    assert version(world) == before + 2
    pd.testing.assert_frame_equal(table(world), good)
    assert counts(world) == {DAY: 200}
    assert lamplighter("published", "readings", "--as-of", DAY)[0] == 0
    assert lamplighter("published", "readings", "--as-of", NEXT)[0] == 1
    assert audit("readings", return_state=True).is_completed()


def test_a_job_in_shadow_has_a_delta_table_there_until_it_is_live(world):
    world.change_job(output__shadow=True)
    assert world.score(NEXT).name == "Published"
    assert (counts(world), counts(world, "shadow")) == ({DAY: 200}, {NEXT: 100})
    world.change_job(output__shadow=None)
    assert world.score(NEXT, rescore="it is right").name == "Published"
    assert (counts(world), version(world, "shadow")) == (ROWS, 2)
    assert len(table(world, "shadow")) == 0


def test_a_plain_table_becomes_a_delta_table_with_the_next_publication(tmp_path, monkeypatch, lamplighter):
    world = make_project(tmp_path / "project")
    open_world(world.folder, monkeypatch)
    world.write_rows(readings())
    world.write_rows(readings(100, NEXT), "b.parquet")
    assert world.score().name == "Published"
    before = world.partition_bytes()
    world.change_job(output__format="delta", output__version=2, output__pass_through=["kind", "x"])
    assert lamplighter("check")[0] == 0

    assert world.score(NEXT).name == "Published"

    assert (counts(world), world.partition_bytes()) == (ROWS, before)
    # The rows of the earlier contract have no value in the new column.
    assert table(world).groupby("as_of")["x"].count().to_dict() == {DAY: 0, NEXT: 100}
    assert audit("readings", return_state=True).is_completed()
    # Whoever would go back is told how.
    world.change_job(output__format="parquet")
    for code, _, told in (
        lamplighter("score", "readings", "--as-of", NEXT, "--rescore", "as it was"),
        lamplighter("check"),
    ):
        assert code == 2, told
    (state, message) = (found := world.score(NEXT, rescore="as it was")).name, found.message
    assert (state, "is a Delta table" in message, version(world)) == ("Failed", True, 1)
    assert len(list(manifests(world.lake, "readings", NEXT))) == 1


def test_without_the_package_nothing_is_pulled(world, monkeypatch, lamplighter):
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    code, out, _ = lamplighter("check", "--json")
    assert (code, "pip install 'lamplighter[delta]'" in json.loads(out)[0]["problem"]) == (2, True)
    state = world.score(NEXT)
    assert (state.name, "needs the package 'deltalake'" in state.message) == ("Failed", True)
    assert not (world.folder / f"lake/runs/readings/as_of={NEXT}").exists()


@pytest.mark.slow
def test_windows_at_once_commit_to_one_log(tmp_path, monkeypatch):
    """Each in a process of its own, none of them knows of the others, and the first has the table to make."""
    days = [f"2024-05-0{number}" for number in range(1, 5)]
    world = make_project(tmp_path / "project")
    open_world(world.folder, monkeypatch)
    for day in days:
        world.write_rows(readings(50, day), f"{day}.parquet")
    world.change_job(output__format="delta")
    state = backfill("readings", days[0], days[-1], "at once", at_once=2, return_state=True)
    assert state.is_completed(), state.message
    assert (counts(world), version(world)) == (dict.fromkeys(days, 50), 4)


def test_what_is_damaged_is_found_and_mended_under_a_name_of_its_own(world):
    """The rows are the same and the run too, but not the bytes: a Delta reader may have the old file open under its name."""
    before = world.published()
    (world.folder / f"lake/{before.workspace}/snapshot.parquet").write_bytes(b"damaged")
    assert audit("readings", return_state=True).name != "Completed"
    old = table(world)

    assert world.score(rescore="its snapshot is damaged").name == "Published"

    after = world.published()
    assert (after.run_id != before.run_id, after.replaces) == (True, before.run_id)
    assert after.run_id.partition("-")[0] == before.run_id.partition("-")[0]
    assert audit("readings", return_state=True).is_completed()
    its_own = ["run_id", "scored_at"]
    pd.testing.assert_frame_equal(table(world).drop(columns=its_own), old.drop(columns=its_own))
    earlier = DeltaTable(path(world), version=version(world) - 1).to_pandas()
    pd.testing.assert_frame_equal(earlier.sort_values("sensor", ignore_index=True), old)


def test_a_file_that_was_removed_by_hand_is_found(world):
    (file,) = DeltaTable(path(world)).file_uris()
    pathlib.Path(file).unlink()
    state = audit("readings", return_state=True)
    assert not state.is_completed()
    assert world.score(rescore="it is gone").name == "Published"
    assert counts(world) == {DAY: 200}


def test_prune_takes_replaced_files_a_week_later(world):
    world.write_rows(readings(150))
    assert world.score(rescore="a new feed").name == "Published"
    project, now = Project(Folder(world.folder)), dt.datetime.now(dt.UTC)
    folder = world.folder / f"lake/predictions/readings/as_of={DAY}"
    for days, left, gone in ((6, 2, {}), (8, 1, {"delta_files": 1})):
        found = pruning.prune(world.lake, project, "readings", now=now + dt.timedelta(days=days))
        assert {one.kind: one.count for one in found.lines if one.count} == gone
        assert len(list(folder.iterdir())) == left
    assert counts(world) == {DAY: 150}
    # What a recall could bring back is kept beside, for as long as the job says.
    assert len(list((world.folder / "lake/superseded").rglob("predictions/*.parquet"))) == 1


def test_the_package_agrees_with_the_log_and_may_write_to_it(world):
    """What another program has committed is read, and taken for what it is: a window that shows a file of theirs."""
    DeltaTable(path(world)).create_checkpoint()
    assert world.score(NEXT).name == "Published"
    assert counts(world) == ROWS
    unread = DeltaTable(path(world)).vacuum(
        retention_hours=0, enforce_retention_duration=False, dry_run=True, full=True
    )
    assert unread == []
    DeltaTable(path(world)).delete(f"as_of = '{NEXT}'")
    assert world.score(NEXT, rescore="they took it away").name == "Published"
    assert counts(world) == ROWS


def test_the_report_says_how_to_read_it(world):
    page = (world.folder / f"lake/reports/readings/as_of={DAY}.html").read_text()
    assert "polars.scan_delta(" in page
    assert "deltalake.DeltaTable(" in page
    index = (world.folder / "lake/reports/readings/index.html").read_text()
    assert "predictions/readings/*/*.parquet" not in index


def test_the_lines_of_the_report_read_it(world):
    assert world.score(NEXT).name == "Published"
    of_runs = OtherTables(runs=str(world.folder / "lake/runs/readings"))
    for snippets, rows in (
        (reading.whole_table(path(world), is_delta=True), 300),
        (reading.one_window(path(world), NEXT, is_delta=True), 100),
        (reading.other_tables(path(world), of_runs, is_delta=True)[1:], 300),
    ):
        for one in snippets:
            found = {}
            exec(one.line, found)
            assert len(found["rows"]) == rows, one.line
    assert [one.tool for one in reading.whole_table(path(world), is_delta=True)] == ["pandas", "DuckDB", "Polars"]
