"""A backfill under way: which window is begun next, who is waited for, and when no more are begun."""

import pytest

from tasks.core import layout
from tasks.core.definitions.project import parse_job
from tasks.core.errors import Incomplete
from tasks.core.runs.recalling import backfill
from tasks.core.runs.recalling.backfill import Wanted
from tasks.core.runs.recalling.round import BUSY_PATIENCE_SECONDS, Final, Round
from tests.recall_scenes import JOB, add_versions, publish
from tests.unit.core.runs.recalling.test_backfill import YAML

DAYS = ("2013-07-01", "2013-07-02", "2013-07-03")


@pytest.fixture
def lake(lake):
    add_versions(lake, 1)
    return lake


def begun(lake, *, stop_after=3, **wanted):
    job = parse_job(YAML, where="late.yaml")
    wanted = Wanted(job=JOB, first=DAYS[0], last=DAYS[-1], reason="why not", **wanted)
    planned = backfill.plan(lake, job, wanted)
    return planned, Round(lake, planned, stop_after=stop_after)


def outcomes(windows):
    return {one.as_of: one.outcome for one in windows.all_ended()}


def test_windows_are_begun_oldest_first_and_the_lake_says_what_became_of_them(lake):
    _, windows = begun(lake)

    assert [windows.next(at=1.0).as_of for _ in DAYS] == list(DAYS)
    assert (windows.next(at=1.0), windows.under_way, windows.is_over) == (None, 3, False)
    run = publish(lake, "a", 1, day=DAYS[0])
    windows.conclude(Final(DAYS[0], "Published"), at=3.5)
    windows.conclude(Final(DAYS[1], "Blocked", "no rows"), at=4.0)
    windows.conclude(Final(DAYS[2], "Failed", "no disk"), at=4.0)

    assert windows.is_over
    assert (windows.news(), windows.news(), windows.total) == (3, 0, 3)
    assert outcomes(windows) == dict(zip(DAYS, ("done", "blocked", "failed"), strict=True))
    first = windows.ended[0]
    assert (first.rows, first.seconds, first.run) == (run.rows.scored, 2.5, run.run_id)


def test_a_run_that_says_published_where_readers_see_nothing_has_failed(lake):
    _, windows = begun(lake)
    windows.next(at=0)
    windows.conclude(Final(DAYS[0], "Published"), at=1)

    assert windows.ended[0].outcome == "failed"
    assert "readers see nothing" in windows.ended[0].why


def test_what_somebody_publishes_meanwhile_is_not_begun(lake):
    _, windows = begun(lake)
    windows.next(at=0)
    publish(lake, "a", 1, day=DAYS[1])

    assert windows.next(at=0).as_of == DAYS[2]
    assert outcomes(windows)[DAYS[1]] == "skipped"


def test_a_window_that_another_run_holds_is_waited_for_behind_the_others(lake):
    _, windows = begun(lake)
    with lake.lock(layout.lock(JOB, DAYS[0]), holder="run quick-owl"):
        assert [windows.next(at=0).as_of for _ in DAYS[1:]] == list(DAYS[1:])
        assert windows.next(at=1) is None
        assert not windows.is_over
    assert windows.next(at=2).as_of == DAYS[0]

    _, windows = begun(lake)
    with lake.lock(layout.lock(JOB, DAYS[0]), holder="run quick-owl"):
        windows.next(at=0)
        windows.next(at=BUSY_PATIENCE_SECONDS)
    assert "another run has held it for 3600 s" in windows.ended[0].why


def test_a_run_that_found_its_window_busy_is_no_failure_and_begins_again(lake):
    from tasks.core.errors import WindowBusy

    _, windows = begun(lake, stop_after=1)
    windows.next(at=0)
    with lake.lock(layout.lock(JOB, DAYS[0]), holder="run quick-owl"):
        with pytest.raises(WindowBusy) as refused, lake.lock(layout.lock(JOB, DAYS[0]), holder="it"):
            pass
        windows.conclude(Final(DAYS[0], "Failed", str(refused.value)), at=1)
        assert (windows.ended, windows.next(at=1).as_of) == ([], DAYS[1])
    assert windows.next(at=2).as_of == DAYS[0]


def test_a_run_that_nobody_began_is_asked_for_again(lake):
    _, windows = begun(lake)
    windows.next(at=0)
    windows.conclude(Final(DAYS[0], "Cancelled", began=False), at=1)

    assert windows.next(at=2).as_of == DAYS[0]


@pytest.mark.parametrize(("stop_after", "left"), [(1, 2), (2, 1), (0, 0)])
def test_after_so_many_failures_no_window_is_begun_and_the_rest_is_listed(lake, stop_after, left):
    planned, windows = begun(lake, stop_after=stop_after)
    while due := windows.next(at=0):
        windows.conclude(Final(due.as_of, "Crashed", "no memory"), at=1)

    assert windows.is_over
    assert list(outcomes(windows).values()) == ["failed"] * (3 - left) + ["not started"] * left
    with pytest.raises(Incomplete) as told:
        backfill.conclude(planned, windows.all_ended())
    ending = f", {left} not started" if left else ""
    assert f"{3 - left} failed{ending}. not done: 2013-07-01: no memory" in str(told.value)


def test_blocked_windows_stop_nothing(lake):
    _, windows = begun(lake, stop_after=1)
    while due := windows.next(at=0):
        windows.conclude(Final(due.as_of, "Blocked", "no rows"), at=1)

    assert set(outcomes(windows).values()) == {"blocked"}


def test_those_under_way_end_when_no_more_are_begun(lake):
    _, windows = begun(lake, stop_after=1)
    windows.next(at=0)
    windows.next(at=0)
    windows.conclude(Final(DAYS[0], "Failed", "no disk"), at=1)

    assert (windows.next(at=1), windows.is_over) == (None, False)
    publish(lake, "b", 1, day=DAYS[1])
    windows.conclude(Final(DAYS[1], "Published"), at=2)
    assert windows.is_over
    assert outcomes(windows) == dict(zip(DAYS, ("failed", "done", "not started"), strict=True))


def test_a_window_that_was_never_scored_is_left_alone_if_somebody_else_is_first(lake):
    _, windows = begun(lake)
    asked = windows.next(at=0).parameters(JOB)
    assert asked == {
        "job": JOB,
        "as_of": DAYS[0],
        "rescore": "",
        "from_snapshot": False,
        "only_if_changed": False,
        "reason": "why not",
    }


@pytest.mark.parametrize("how", ["rescore", "only_if_changed"])
def test_a_published_window_is_asked_for_again_with_the_reason(lake, how):
    publish(lake, "a", 1, day=DAYS[0])
    _, windows = begun(lake, **{how: True})

    asked = windows.next(at=0).parameters(JOB)

    assert (asked["rescore"], asked["reason"], asked["only_if_changed"]) == ("why not", "", how == "only_if_changed")
