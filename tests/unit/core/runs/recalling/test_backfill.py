"""Which windows a backfill takes, and when one may leave the queue: also when somebody else comes in between."""

import pytest

from tasks.core import layout
from tasks.core.definitions.project import parse_job
from tasks.core.errors import DefinitionError, Incomplete, PartlyBlocked
from tasks.core.runs.manifest import Trigger
from tasks.core.runs.recalling import backfill, queue, recalls
from tasks.core.runs.recalling.backfill import Due, Ended, Plan, Wanted
from tests.recall_scenes import DAY, JOB, SECONDS, add_versions, order, publish

NEXT_DAY = "2013-07-02"
YAML = """
job: late
window: { kind: interval }
source: { type: files, path: data }
keys: [x]
event_time: at
columns: { x: int64, at: timestamp }
model: { name: late }
output: { columns: { p: {} } }
"""


@pytest.fixture
def job():
    return parse_job(YAML, where="late.yaml")


@pytest.fixture
def lake(lake):
    """Two windows that wait: of one a good partition came back, of the other none."""
    add_versions(lake, 4)
    publish(lake, "good", 1)
    publish(lake, "bad", 2, hour=1)
    publish(lake, "bad", 2, day=NEXT_DAY, hour=1)
    recalls.recall(lake, order(2), wait_seconds=0)
    return lake


def planned(lake, job, **wanted):
    return backfill.plan(lake, job, Wanted(job=JOB, **wanted))


def settled(lake, state, message="", as_of=DAY):
    due = Due(as_of=as_of, reason="so", entry=queue.read(lake, JOB, as_of))
    return backfill.settle(lake, Wanted(job=JOB), due, state, message)


def test_without_a_range_it_is_the_queue_oldest_first_from_the_snapshots(lake, job):
    plan = planned(lake, job, reason="at last")

    assert [(one.as_of, one.from_snapshot, one.rows, one.seconds) for one in plan.due] == [
        (DAY, True, 3, SECONDS),
        (NEXT_DAY, True, 3, SECONDS),
    ]
    assert plan.due[0].reason == "at last; version 2 of late was recalled: it learnt from the future"
    assert plan.queued_windows == [(JOB, DAY), (JOB, NEXT_DAY)]
    assert str(plan) == "backfill of late: 2 windows are due, 0 are not"


def test_a_range_holds_the_windows_without_any_run_those_that_wait_and_skips_the_rest(lake, job):
    publish(lake, "other", 1, day="2013-07-03")
    plan = planned(lake, job, first=DAY, last="2013-07-04", reason="the year is new")

    assert [(one.as_of, one.from_snapshot) for one in plan.due] == [
        (DAY, True),
        (NEXT_DAY, True),
        ("2013-07-04", False),
    ]
    assert [(one.as_of, one.outcome) for one in plan.ended] == [("2013-07-03", "skipped")]
    again = planned(lake, job, first="2013-07-03", reason="the feed was wrong", rescore=True)
    assert [(one.as_of, one.from_snapshot, one.reason) for one in again.due] == [
        ("2013-07-03", False, "the feed was wrong")
    ]


def test_the_reason_of_a_run_is_cut_to_what_a_form_takes(lake, job):
    assert len(planned(lake, job, reason="x" * 500).due[0].reason) == 500
    with pytest.raises(DefinitionError, match="at most 500"):
        planned(lake, job, reason="x" * 501)


def test_what_was_published_since_leaves_the_queue_when_the_backfill_begins_and_not_before(lake, job):
    publish(lake, "new", 3, hour=2)

    plan = planned(lake, job)
    assert ([one.as_of for one in plan.due], [one.outcome for one in plan.ended]) == ([NEXT_DAY], ["skipped"])
    assert queue.labels(lake, JOB) == [DAY, NEXT_DAY]

    backfill.begin(lake, plan)
    assert queue.labels(lake, JOB) == [NEXT_DAY]


@pytest.mark.parametrize("state", ["Published", "PublishedWithWarnings"])
def test_a_window_leaves_the_queue_once_a_version_that_may_be_seen_has_published_it(lake, state):
    publish(lake, "new", 3, hour=2)

    assert settled(lake, state) == Ended(as_of=DAY, outcome="done")
    assert queue.labels(lake, JOB) == [NEXT_DAY]


def test_what_came_back_may_stand_if_a_run_would_write_the_same(lake):
    assert settled(lake, "AlreadyPublished") == Ended(as_of=DAY, outcome="done")
    assert queue.labels(lake, JOB) == [NEXT_DAY]


def test_a_window_of_which_nothing_stands_stays_whatever_its_run_says(lake):
    ended = settled(lake, "AlreadyPublished", as_of=NEXT_DAY)

    assert "it stays in the queue" in ended.why
    assert queue.labels(lake, JOB) == [DAY, NEXT_DAY]


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("Blocked", "blocked"), ("SourceLate", "blocked"), ("Failed", "failed"), ("Crashed", "failed")],
)
def test_what_failed_stays(lake, state, outcome):
    assert settled(lake, state, "no rows") == Ended(as_of=DAY, outcome=outcome, why="no rows")
    assert queue.labels(lake, JOB) == [DAY, NEXT_DAY]


def test_a_recall_that_comes_between_the_run_and_its_end_keeps_the_window_waiting(lake):
    due = Due(as_of=DAY, reason="so", entry=queue.read(lake, JOB, DAY))
    publish(lake, "new", 3, hour=2)
    recalls.recall(lake, order(3), wait_seconds=0)

    ended = backfill.settle(lake, Wanted(job=JOB), due, "Published", "")

    assert "another recall" in ended.why
    assert queue.read(lake, JOB, DAY).version == 3


def test_a_window_that_somebody_holds_stays_for_the_next_backfill(lake, monkeypatch):
    monkeypatch.setattr(backfill, "_SETTLE_SECONDS", 0.0)
    publish(lake, "new", 3, hour=2)
    with lake.lock(layout.lock(JOB, DAY), holder="run quick-owl"):
        ended = settled(lake, "Published")

    assert (ended.outcome, "quick-owl" in ended.why) == ("done", True)
    assert queue.labels(lake, JOB) == [DAY, NEXT_DAY]


def test_what_the_same_backfill_has_scored_again_is_left_alone_when_it_is_restarted(lake, job):
    publish(lake, "other", 1, day="2013-07-03", trigger=Trigger(kind="rescore", rescore_reason="the feed was wrong"))

    plan = planned(lake, job, first="2013-07-03", reason="the feed was wrong", rescore=True)
    assert (plan.due, plan.ended[0].why) == ((), "run other published it for this reason")
    assert [one.as_of for one in planned(lake, job, first="2013-07-03", reason="it was wrong", rescore=True).due] == [
        "2013-07-03"
    ]


def test_the_summary_is_the_worst_of_all():
    wanted = Wanted(job=JOB)
    plan = Plan(wanted=wanted, due=(), ended=(Ended(as_of="2013-07-02", outcome="skipped"),))
    done, blocked = (
        Ended(as_of="2013-07-01", outcome="done"),
        Ended(as_of="2013-07-03", outcome="blocked", why="no rows"),
    )

    assert str(backfill.conclude(plan, [done])) == "backfill of late: 1 done, 1 skipped, 0 blocked, 0 failed"
    with pytest.raises(PartlyBlocked, match="2013-07-03: no rows") as told:
        backfill.conclude(plan, [done, blocked])
    assert [one.as_of for one in told.value.summary.windows] == ["2013-07-01", "2013-07-02", "2013-07-03"]
    with pytest.raises(Incomplete) as worse:
        backfill.conclude(plan, [blocked, Ended(as_of="2013-07-04", outcome="failed", why="no disk")])
    assert (worse.value.exit_code, "no disk" in str(worse.value)) == (1, True)
