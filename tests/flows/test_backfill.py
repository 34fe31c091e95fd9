"""The flow `backfill`: ranges and queues, window by window; what it leaves alone, and what it does not stop for."""

import json

import pandas as pd
import pytest

from flows.backfill import backfill
from flows.recall import recall
from flows.rollback import rollback
from tasks.core.models.registry import Registry
from tasks.core.runs.recalling import queue
from tests.flows.conftest import DAY, add_wrong_version, make_project, open_world, readings

# No extra is needed, but a minute or two: `make test` is to stay short.
pytestmark = pytest.mark.extras

DAYS = ("2024-05-01", "2024-05-02", "2024-05-03")


@pytest.fixture(scope="module")
def made_days(tmp_path_factory):
    """Three days of rows, none of them scored."""
    world = make_project(tmp_path_factory.mktemp("days") / "project")
    for number, day in enumerate(DAYS):
        world.write_rows(readings(100 + number, day), f"{number}.parquet")
    return world


@pytest.fixture
def days(made_days, tmp_path, monkeypatch):
    return open_world(tmp_path / "project", monkeypatch, like=made_days)


@pytest.fixture(scope="module")
def made_waiting(made_days, tmp_path_factory, prefect_harness):
    """As `days`, all of them scored by version 2, which is recalled; production is version 1 again."""
    with pytest.MonkeyPatch.context() as patch:
        world = open_world(tmp_path_factory.mktemp("waiting") / "project", patch, like=made_days)
        add_wrong_version(world)
        for day in DAYS:
            assert world.score(day).name == "Published"
        recall("readings", 2, "it learnt from the future", return_state=True)
        rollback("readings", "version 2 was recalled", return_state=True)
        return world


@pytest.fixture
def waiting(made_waiting, tmp_path, monkeypatch):
    return open_world(tmp_path / "project", monkeypatch, like=made_waiting)


def outcomes(state):
    summary = state.result(raise_on_failure=False)
    summary = getattr(summary, "summary", summary)
    return {one.as_of: one.outcome for one in summary.windows}


def filled(first=DAYS[0], last=DAYS[2], reason="it was never scored", at_once=1, **options):
    return backfill("readings", first, last, reason, at_once=at_once, **options, return_state=True)


def emptied(**options):
    return backfill("readings", at_once=1, **options, return_state=True)


# -- ranges ------------------------------------------------------------------------------------------------------------


def test_every_window_of_the_range_is_scored_and_finished_ones_are_left_alone(days):
    days.score(DAYS[1])
    before = days.partition_bytes(DAYS[1])

    state = filled()

    assert state.is_completed(), state.message
    assert state.message == "backfill of readings: 2 done, 1 skipped, 0 blocked, 0 failed"
    assert outcomes(state) == {DAYS[0]: "done", DAYS[1]: "skipped", DAYS[2]: "done"}
    assert days.partition_bytes(DAYS[1]) == before
    assert len(days.table()) == 303
    trigger = days.published(DAYS[0]).trigger
    assert (trigger.kind, trigger.reason) == ("score", "it was never scored")
    assert outcomes(filled()) == dict.fromkeys(DAYS, "skipped")


def test_a_window_that_is_blocked_stops_no_other_and_the_worst_says_how_it_ended(days):
    days.write_rows(readings(101, DAYS[1]).assign(kind="lukewarm"), "1.parquet")

    state = filled()

    assert (state.type.value, state.name) == ("FAILED", "Blocked")
    assert outcomes(state) == {DAYS[0]: "done", DAYS[1]: "blocked", DAYS[2]: "done"}
    assert "101 of 101 rows" in state.message

    days.write_rows(readings(101, DAYS[1]), "1.parquet")
    assert outcomes(filled())[DAYS[1]] == "done"


def test_rescore_pulls_and_scores_finished_windows_again(days):
    filled()
    days.write_rows(readings(50, DAYS[1]), "1.parquet")

    state = filled(reason="the feed was mended", rescore=True)

    assert outcomes(state) == {DAYS[0]: "skipped", DAYS[1]: "done", DAYS[2]: "skipped"}
    assert len(days.table()) == 100 + 50 + 102
    assert filled(reason="the feed was mended", rescore=True, stop_after=1).message.startswith(
        "backfill of readings: 0 done, 3 skipped"
    )


def test_only_if_changed_replaces_what_the_source_has_changed_and_leaves_the_rest(days):
    filled()
    before = days.partition_bytes(DAYS[0])
    days.write_rows(readings(50, DAYS[1]), "1.parquet")

    state = filled(reason="late rows", only_if_changed=True)

    assert outcomes(state) == {DAYS[0]: "skipped", DAYS[1]: "done", DAYS[2]: "skipped"}
    assert (len(days.table()), days.partition_bytes(DAYS[0])) == (100 + 50 + 102, before)
    assert days.published(DAYS[1]).trigger.rescore_reason == "late rows"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"first": "", "last": DAYS[0]}, "from which window"),
        ({"reason": ""}, "needs a reason"),
        ({"first": DAYS[2], "last": DAYS[0]}, "holds no window"),
        ({"first": "2024-05-01T0000Z", "last": ""}, "is not a window of this job"),
    ],
)
def test_what_cannot_be_meant_is_refused(days, options, says):
    state = filled(**options)

    assert (state.name, says in state.message) == ("Failed", True)
    assert not (days.folder / "lake/runs").exists()


# -- queues ------------------------------------------------------------------------------------------------------------


def test_queued_windows_are_scored_from_the_snapshots_that_were_kept_and_leave_the_queue(waiting):
    for path in (waiting.folder / "data").iterdir():
        path.unlink()

    state = emptied(queued=True)

    assert state.is_completed(), state.message
    assert outcomes(state) == dict.fromkeys(DAYS, "done")
    assert queue.labels(waiting.lake, "readings") == []
    assert (set(waiting.table()["model_version"]), len(waiting.table())) == ({"readings/0001"}, 303)
    manifest = waiting.published(DAYS[0])
    (withdrawn,) = (waiting.folder / f"lake/withdrawn/readings/as_of={DAYS[0]}").iterdir()
    assert (manifest.trigger.from_snapshot, manifest.trigger.snapshot_of) == (True, withdrawn.name)
    assert manifest.trigger.rescore_reason == "version 2 of readings was recalled: it learnt from the future"
    assert "queued to be scored" not in (waiting.folder / f"lake/reports/readings/as_of={DAYS[0]}.html").read_text()
    assert outcomes(emptied(queued=True)) == {}


def test_the_rows_are_those_of_a_run_that_was_never_recalled(waiting):
    emptied()
    scored = waiting.table()

    for day in DAYS:
        waiting.score(day, rescore="from the source")

    pd.testing.assert_frame_equal(scored, waiting.table())


def test_repull_reads_the_source_again(waiting):
    waiting.write_rows(readings(7, DAYS[1]), "1.parquet")

    emptied(queued=True, repull=True)

    assert len(waiting.table()) == 100 + 7 + 102
    assert waiting.published(DAYS[1]).trigger.snapshot_of is None


def test_a_recall_may_say_that_the_source_is_read_again(days):
    add_wrong_version(days)
    days.score()
    recall("readings", 2, "its feed was wrong too", repull=True, return_state=True)
    rollback("readings", "version 2 was recalled", return_state=True)
    days.write_rows(readings(7), "0.parquet")

    emptied()

    assert len(days.table()) == 7


def test_a_window_whose_snapshot_is_gone_is_pulled_again(waiting):
    for path in (waiting.folder / "lake/runs").rglob("snapshot.parquet"):
        path.unlink()

    assert emptied().is_completed()
    assert len(waiting.table()) == 303
    assert waiting.published(DAYS[0]).trigger.snapshot_of is None


def test_a_window_that_is_blocked_stays_in_the_queue(waiting):
    waiting.change_job(limits__quarantine_share=0.1)
    waiting.write_suite({"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 102}})

    state = emptied()

    assert state.name == "Blocked"
    assert outcomes(state) == {DAYS[0]: "blocked", DAYS[1]: "blocked", DAYS[2]: "done"}
    assert queue.labels(waiting.lake, "readings") == [DAYS[0], DAYS[1]]


def test_a_range_takes_the_windows_of_the_queue_with_it_and_queued_takes_them_alone(waiting):
    state = filled(DAYS[1], DAYS[1], queued=True)
    assert outcomes(state) == {DAYS[1]: "done"}
    assert queue.labels(waiting.lake, "readings") == [DAYS[0], DAYS[2]]

    state = filled(DAYS[0], DAYS[1])
    assert outcomes(state) == {DAYS[0]: "done", DAYS[1]: "skipped"}


def test_what_somebody_has_scored_since_leaves_the_queue_and_is_not_scored_again(waiting):
    waiting.score(DAYS[1])
    before = waiting.partition_bytes(DAYS[1])

    state = emptied()

    assert outcomes(state)[DAYS[1]] == "skipped"
    assert waiting.partition_bytes(DAYS[1]) == before
    assert queue.labels(waiting.lake, "readings") == []


def test_what_came_back_is_scored_again_by_the_version_that_is_production_now(days):
    days.score()
    add_wrong_version(days)
    days.score(rescore="a new version")
    recall("readings", 2, "it learnt from the future", return_state=True)
    add_wrong_version(days)
    assert days.published().model.version == 1

    assert outcomes(emptied()) == {DAY: "done"}

    assert set(days.table()["model_version"]) == {"readings/0003"}
    assert queue.labels(days.lake, "readings") == []


def test_what_came_back_and_would_be_the_same_again_stands_and_leaves_the_queue(days):
    days.score()
    add_wrong_version(days)
    days.score(rescore="a new version")
    recall("readings", 2, "it learnt from the future", return_state=True)
    rollback("readings", "version 2 was recalled", return_state=True)
    before = days.partition_bytes()

    assert outcomes(emptied()) == {DAY: "done"}

    assert days.partition_bytes() == before
    assert queue.labels(days.lake, "readings") == []


def test_what_was_kept_until_replaced_is_replaced_in_its_place(days):
    days.score()
    add_wrong_version(days)
    days.score(rescore="a new version")
    recall("readings", 2, "it learnt from the future", keep_until_replaced=True, return_state=True)
    assert set(days.table()["model_version"]) == {"readings/0002"}
    rollback("readings", "version 2 was recalled", return_state=True)

    assert outcomes(emptied()) == {DAY: "done"}

    assert set(days.table()["model_version"]) == {"readings/0001"}
    assert queue.labels(days.lake, "readings") == []
    recall("readings", 1, "worse still", return_state=True)
    assert list((days.folder / "lake/predictions").rglob("*.parquet")) == []


def test_a_version_that_is_recalled_while_the_windows_wait_keeps_them_waiting(waiting):
    recall("readings", 1, "it was wrong as well", return_state=True)

    state = emptied()

    assert (state.name, set(outcomes(state).values())) == ("Failed", {"failed"})
    assert queue.labels(waiting.lake, "readings") == list(DAYS)


def test_an_entry_that_cannot_be_read_is_named_and_the_others_are_scored(waiting):
    waiting.lake.write_bytes(f"queue/readings/as_of={DAYS[1]}.json", b"{}")

    state = emptied()

    assert outcomes(state) == {DAYS[0]: "done", DAYS[1]: "failed", DAYS[2]: "done"}
    assert f"as_of={DAYS[1]}.json" in state.message


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_lists_plans_and_ends_by_the_worst(waiting, lamplighter):
    code, out, _ = lamplighter("backfill", "readings", "--queued", "--plan")
    assert code == 0
    assert "3 windows are due, 0 are not. Nothing was changed." in out
    assert "snapshot" in out
    code, out, _ = lamplighter("backfill", "readings", "--plan", "--json")
    assert [one["as_of"] for one in json.loads(out)["due"]] == list(DAYS)
    assert queue.labels(waiting.lake, "readings") == list(DAYS)

    waiting.write_suite({"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 101}})
    code, out, error = lamplighter("backfill", "readings", "--queued")
    assert (code, "2 done, 0 skipped, 1 blocked, 0 failed" in out) == (3, True)
    assert "expect_table_row_count_to_be_between" in error
    code, out, _ = lamplighter("backfill", "readings", "--queued", "--json")
    assert (code, [one["outcome"] for one in json.loads(out)["windows"]]) == (3, ["blocked"])

    waiting.write_suite()
    code, out, _ = lamplighter("backfill", "readings", "--from", DAYS[0], "--to", DAYS[2], "--reason", "mended")
    assert (code, "1 done, 2 skipped" in out) == (0, True)


def test_the_command_refuses_at_once(world, lamplighter):
    assert lamplighter("backfill", "reading")[0] == 2
    code, _, error = lamplighter("backfill", "readings", "--from", DAY)
    assert (code, "needs a reason" in error) == (2, True)
    assert lamplighter("backfill", "readings", "--from", DAY, "--reason", "x" * 501)[0] == 2


def test_nothing_waits(world, lamplighter):
    code, out, _ = lamplighter("backfill", "readings", "--queued")
    assert (code, "0 done, 0 skipped, 0 blocked, 0 failed" in out) == (0, True)
    assert Registry(world.lake).aliases("readings") == {"production": 1}
