"""The flow `recall` end to end: what readers see of a version that was wrong, and runs that are under way meanwhile."""

import json
import threading

import pandas as pd
import pytest

import flows.score
import tasks.publish
import tasks.recall
from flows.recall import recall
from flows.rollback import rollback
from tasks.core.models.registry import Registry
from tasks.core.runs import publication
from tasks.core.runs.recalling import queue
from tasks.core.storage import system
from tasks.pull import pull_window
from tests.flows.conftest import DAY, add_wrong_version, make_project, open_world, readings
from tests.lake_tools import Killed

NEXT_DAY = "2024-05-02"


def recalled(version=2, **options):
    return recall("readings", version, "it learnt from the future", **options, return_state=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory, prefect_harness):
    """A day scored by version 1 and again by version 2, and a day that version 2 alone has scored; 2 is production."""
    with pytest.MonkeyPatch.context() as patch:
        world = make_project(tmp_path_factory.mktemp("recall") / "project")
        open_world(world.folder, patch)
        world.write_rows(readings())
        world.write_rows(readings(100, NEXT_DAY), "b.parquet")
        assert world.score().name == "Published"
        add_wrong_version(world)
        assert world.score(rescore="a new version").name == "Published"
        assert world.score(NEXT_DAY).name == "Published"
        return world


@pytest.fixture
def wrong(made, tmp_path, monkeypatch):
    return open_world(tmp_path / "project", monkeypatch, like=made)


def test_the_wrong_rows_go_the_good_ones_come_back_and_all_of_it_is_recorded(wrong):
    # The wrong version says the opposite: its rows would show.
    assert (wrong.table()["probability"].to_numpy()[:200] > 0.5).sum() > 0
    assert set(wrong.table()["model_version"]) == {"readings/0002"}

    state = recalled()

    assert state.is_completed(), state.message
    assert state.message == (
        "version 2 of readings is recalled: 2 windows withdrawn (1 restored); 2 queued for backfill"
    )
    table = wrong.table()
    assert (set(table["model_version"]), len(table)) == ({"readings/0001"}, 200)
    # The table of the latest rows has followed: keys that the second day had are those of the first again.
    latest = pd.read_parquet(wrong.folder / "lake/latest/readings").sort_values("sensor", ignore_index=True)
    pd.testing.assert_frame_equal(latest, table.drop(columns="as_of"))
    assert wrong.published(NEXT_DAY) is None
    assert queue.labels(wrong.lake, "readings") == [DAY, NEXT_DAY]
    record = json.loads((wrong.folder / "lake/models/readings/recalls/0002.json").read_bytes())
    assert [(one["rows"], one["state"], one["restores_model"]) for one in record["windows"]] == [
        (200, "withdrawn", "readings/0001"),
        (100, "withdrawn", None),
    ]
    assert Registry(wrong.lake).aliases("readings") == {}


def test_the_pages_say_withdrawn_and_restored(wrong):
    recalled()

    reports = wrong.folder / "lake/reports"
    restored, gone = ((reports / f"readings/as_of={day}.html").read_text() for day in (DAY, NEXT_DAY))
    for page in (restored, gone):
        assert "<h1>Withdrawn</h1>" in page
        assert "it learnt from the future" in page
        assert "lamplighter backfill readings --queued" in page
    assert "200 rows, scored by readings version 1, back since" in restored
    assert "Nothing for this window: what it had was withdrawn" in gone
    index = (reports / "readings/index.html").read_text()
    assert "Withdrawn" in index
    assert ">Restored<" in index
    assert "Withdrawn" in (reports / "index.html").read_text()
    assert "recalled" in (reports / "_models/readings/index.html").read_text()


def test_a_plan_changes_nothing(wrong):
    before = wrong.partition_bytes()

    state = recalled(plan=True)

    plan = state.result()
    assert [(one.as_of, one.rows, one.restores_model) for one in plan.windows] == [
        (DAY, 200, "readings/0001"),
        (NEXT_DAY, 100, None),
    ]
    assert all(one.rescore_seconds > 0 and one.snapshot_bytes > 0 for one in plan.windows)
    assert wrong.partition_bytes() == before
    assert Registry(wrong.lake).aliases("readings") == {"production": 2}


def test_no_run_is_planned_with_it_any_more_and_a_rollback_mends_that(wrong):
    recalled()

    state = wrong.score(NEXT_DAY)
    assert state.name == "Failed"
    assert "it named version 2, recalled at" in state.message

    assert rollback("readings", "version 2 was recalled", return_state=True).result().now == 1
    assert wrong.score(NEXT_DAY).name == "Published"
    assert set(wrong.table()["model_version"]) == {"readings/0001"}


def test_a_run_that_is_under_way_does_not_publish_afterwards(world, monkeypatch):
    """The version is recalled when all is staged, at the last moment before the run asks."""
    staged = tasks.publish.staging.stage_metrics

    def recall_meanwhile(*args):
        Registry(world.lake).recall("readings", 1, at=world.latest().started_at, actor="ann", reason="it was wrong")
        return staged(*args)

    monkeypatch.setattr(tasks.publish.staging, "stage_metrics", recall_meanwhile)

    state = world.score()

    assert state.name == "Blocked"
    assert "version 1 of 'readings' was recalled" in state.message
    assert (world.published(), world.latest().verdict) == (None, "blocked")
    assert not (world.folder / "lake/predictions").exists()


def test_a_run_that_had_asked_just_before_is_waited_for_and_what_it_published_goes(world, monkeypatch):
    """The other side of the race: the run may publish, and the recall comes before it does."""
    real, began = publication.write_manifest, threading.Event()

    def slowly(lake, workspace, manifest):
        real(lake, workspace, manifest)
        if manifest.state == "publishing":
            began.set()
            # The recall has come: its event stands.
            for _ in range(3000):
                if Registry(world.lake).recalled("readings"):
                    break
                threading.Event().wait(0.01)

    monkeypatch.setattr(publication, "write_manifest", slowly)
    ended = []
    run = threading.Thread(target=lambda: ended.append(world.score()))
    run.start()
    assert began.wait(60)
    record = tasks.recall.recall_version("readings", 1, "it was wrong", False, False)
    run.join(60)

    assert ended[0].name == "Published"
    assert (record.left, [one.state for one in record.windows]) == ((), ["withdrawn"])
    assert world.published() is None
    assert list((world.folder / "lake/predictions").rglob("*.parquet")) == []


def test_a_version_that_was_recalled_since_the_run_was_planned_is_not_loaded(world, monkeypatch):
    def recall_meanwhile(run):
        Registry(world.lake).recall("readings", 1, at=run.started_at, actor="ann", reason="it was wrong")
        return pull_window(run)

    monkeypatch.setattr(flows.score, "pull", recall_meanwhile)

    state = world.score()

    assert state.name == "Blocked"
    assert "was recalled" in state.message
    assert "score" not in [timing.stage for timing in world.latest().timings]


def test_a_window_that_is_held_is_named_and_the_flow_fails_until_it_is_typed_again(wrong, monkeypatch):
    monkeypatch.setattr(tasks.recall, "_WAIT_SECONDS", 0.0)
    with wrong.lake.lock(f"locks/readings {NEXT_DAY}.lock", holder="run quick-owl"):
        state = recalled()

    assert (state.type.value, state.name) == ("FAILED", "Failed")
    assert f"readings {NEXT_DAY} is being run by run quick-owl" in state.message
    assert "lamplighter recall readings --version 2" in state.message
    assert wrong.published().model.version == 1
    assert recalled().is_completed()
    assert set(wrong.table()["model_version"]) == {"readings/0001"}


def test_latest_rows_that_another_run_is_at_are_named_and_the_flow_fails_until_it_is_typed_again(wrong, monkeypatch):
    monkeypatch.setattr("tasks.latest._WAIT_SECONDS", 0.0)
    with wrong.lake.lock("locks/latest of readings.lock", holder="run quick-owl"):
        state = recalled()

    assert (state.type.value, state.name) == ("FAILED", "Failed")
    assert "its rows may still be in 1 table of latest rows: latest/readings: " in state.message
    assert recalled().is_completed()
    latest = pd.read_parquet(wrong.folder / "lake/latest/readings")
    assert set(latest["model_version"]) == {"readings/0001"}


def test_kept_until_replaced_readers_see_it_until_then_and_the_page_says_so(wrong):
    recalled(keep_until_replaced=True)

    assert set(wrong.table()["model_version"]) == {"readings/0002"}
    page = (wrong.folder / f"lake/reports/readings/as_of={DAY}.html").read_text()
    assert "It is queued to be scored again: version 2 of readings was recalled: it learnt from the future" in page


@pytest.mark.parametrize("changes", [1, 5, 9])
def test_what_a_killed_recall_left_is_ended_by_the_next_run_of_the_window(wrong, changes, monkeypatch):
    """Killed after so many of the changes that take the first window out of the tables."""
    seen = []

    def kill(_change, key):
        seen.extend([key] if seen or key.endswith("/manifest.json") else [])
        if len(seen) == changes:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(system, "after_change", kill)
        with pytest.raises(Killed):
            tasks.recall.recall_version("readings", 2, "it was wrong", False, False)
    assert wrong.latest().state == "withdrawing"
    rollback("readings", "version 2 is wrong", return_state=True)

    state = wrong.score()

    # What came back is what version 1 would write again.
    assert state.name == "AlreadyPublished", state.message
    assert wrong.published().model.version == 1
    assert queue.labels(wrong.lake, "readings") == [DAY]
    assert wrong.score(rescore="to be sure").name == "AlreadyPublished"
    assert set(pd.read_parquet(wrong.folder / f"lake/predictions/readings/as_of={DAY}")["model_version"]) == {
        "readings/0001"
    }
    assert recalled().is_completed()
    assert set(wrong.table()["model_version"]) == {"readings/0001"}


def test_a_job_whose_yaml_is_gone_is_found_all_the_same(wrong):
    wrong.job_file.rename(wrong.job_file.with_suffix(".gone"))

    state = recalled()

    assert state.is_completed(), state.message
    assert set(wrong.table()["model_version"]) == {"readings/0001"}


def test_the_command_says_what_was_done_and_what_to_type_next(wrong, lamplighter):
    code, out, _ = lamplighter("recall", "readings", "--version", "2", "--plan")
    assert code == 0
    assert "would withdraw 2 windows with 300 rows. Nothing was changed." in out
    assert "300 rows" in out
    assert "Scoring them again" in out

    code, out, _ = lamplighter("recall", "readings", "--version", "2", "--reason", "it learnt from the future")
    assert code == 0
    assert "2 windows withdrawn (1 restored); 2 queued" in out
    assert "No version is production of readings now" in out
    assert 'lamplighter rollback readings --reason "version 2 was recalled"' in out
    assert "lamplighter backfill readings --queued" in out

    code, out, _ = lamplighter("runs", "readings")
    assert [line.split()[1] for line in out.splitlines() if "0002" in line] == ["withdrawn", "withdrawn"]
    assert "published, restored" in out
    _, out, _ = lamplighter("show", "readings", "--as-of", NEXT_DAY)
    assert f"readings {NEXT_DAY}: withdrawn" in out
    assert "Readers see nothing of this window." in out
    assert "lamplighter backfill readings --queued" in out
    _, out, _ = lamplighter("show", "readings", "--as-of", DAY)
    assert "UTC, restored." in out


def test_the_command_refuses_what_cannot_be_meant(world, lamplighter):
    assert lamplighter("recall", "readings", "--version", "9", "--reason", "it was wrong")[0] == 2
    assert lamplighter("recall", "reading", "--version", "1", "--reason", "it was wrong")[0] == 2
    code, _, error = lamplighter("recall", "readings", "--version", "1", "--reason", " ")
    assert (code, "--reason" in error) == (2, True)
    assert Registry(world.lake).aliases("readings") == {"production": 1}


def test_the_command_fails_and_says_why_where_a_window_is_held(wrong, lamplighter, monkeypatch):
    monkeypatch.setattr(tasks.recall, "_WAIT_SECONDS", 0.0)
    arguments = ("recall", "readings", "--version", "2", "--reason", "it was wrong")
    with wrong.lake.lock(f"locks/readings {DAY}.lock", holder="run quick-owl"):
        code, out, error = lamplighter(*arguments)
        assert (code, "Left: readings" in out, "quick-owl" in error) == (1, True, True)
        code, out, _ = lamplighter(*arguments, "--json")
        assert (code, json.loads(out)["left"][0]["as_of"]) == (1, DAY)
    assert lamplighter(*arguments, "--json")[0] == 0
