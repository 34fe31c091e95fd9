"""A window that is not there in time: told once, as missed or as late, also when somebody dies or the server is down."""

import datetime as dt
import json
import threading
import time

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.core import layout
from tasks.core.errors import Incomplete, NothingToDo
from tasks.core.runs import late
from tasks.deadlines import look_at_deadlines
from tasks.orchestration import events
from tests.flows.conftest import DAY

NEXT_DAY = "2024-05-02"
WATCHED = dt.datetime(2024, 5, 2, 12, tzinfo=dt.UTC)
# The window of the second of May is scored at 2:30 on the third, and is due at 4:30.
DUE = dt.datetime(2024, 5, 3, 4, 30, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def watched(world):
    """The job has published its first window, and somebody looks after its deadlines since the day after."""
    world.score()
    world.change_job(schedule={"cron": "30 2 * * *"}, deadline="2h", owner="weather")
    late.begin_watch(world.lake, "readings", WATCHED)
    return world


@pytest.fixture
def sent(monkeypatch):
    found = []
    monkeypatch.setattr(events, "_send", found.append)
    return found


def names(found):
    return [(one.job, one.as_of) for one in found]


def test_it_is_told_once_and_not_before_its_deadline(watched, sent):
    assert look_at_deadlines(DUE).state_name == "OnTime"
    looked = look_at_deadlines(DUE + MINUTE)
    assert names(looked.told) == names(looked.late) == [("readings", NEXT_DAY)]
    assert str(looked).startswith(
        "1 window is missed: readings 2024-05-02 (due 2024-05-03 04:30 UTC, no run of it has begun). Told of just now: 1."
    )
    (event,) = sent
    assert (event.event, event.resource["lamplighter.as_of"]) == ("lamplighter.run.missed", NEXT_DAY)
    assert (event.payload["verdict"], event.payload["due_at"]) == ("missed", "2024-05-03T04:30:00+00:00")
    assert event.payload["reason"] == (
        "No run of it had begun by its deadline, 2024-05-03 04:30 UTC; it was to begin at 2024-05-03 02:30 UTC"
    )
    assert (event.payload["owner"], event.payload["readers_see"]) == ("weather", "nothing of this window")

    again = look_at_deadlines(DUE + 5 * MINUTE)
    assert (names(again.late), again.told, len(sent)) == ([("readings", NEXT_DAY)], (), 1)
    # It starts nothing.
    assert watched.published(NEXT_DAY) is None

    watched.score(NEXT_DAY)
    watched.change_job(on_empty="publish")
    watched.score(NEXT_DAY)
    assert look_at_deadlines(DUE + 10 * MINUTE).late == ()


def test_a_run_that_began_and_is_not_there_by_the_deadline_is_late(watched, sent):
    watched.score(NEXT_DAY)
    # It was blocked, for want of rows.
    sent.clear()
    assert look_at_deadlines(DUE).late == ()
    looked = look_at_deadlines(DUE + MINUTE)
    assert str(looked).startswith("1 window is late: readings 2024-05-02 (due 2024-05-03 04:30 UTC, blocked). Told")
    (event,) = sent
    assert (event.event, event.payload["verdict"]) == ("lamplighter.run.late", "late")
    assert event.payload["reason"] == "Not published by 2024-05-03 04:30 UTC, its deadline: blocked"


def test_what_was_missed_is_not_told_again_as_late(watched, sent):
    look_at_deadlines(DUE + MINUTE)
    watched.score(NEXT_DAY)
    sent.clear()
    looked = look_at_deadlines(DUE + 5 * MINUTE)
    assert ([one.why for one in looked.late], looked.told, sent) == (["blocked"], (), [])


def test_a_job_without_a_deadline_misses_its_window_an_hour_after_the_tick(watched, sent):
    watched.change_job(deadline=None)
    hour = DUE - 60 * MINUTE
    assert look_at_deadlines(hour).late == ()
    assert names(look_at_deadlines(hour + MINUTE).told) == [("readings", NEXT_DAY)]
    assert [event.event for event in sent] == ["lamplighter.run.missed"]
    assert sent[0].payload["reason"].startswith("No run of it had begun by 2024-05-03 03:30 UTC; it was to begin at")
    # A run that began may take its time: how it ends, it says itself.
    watched.score(NEXT_DAY)
    assert look_at_deadlines(hour + 5 * MINUTE).late == ()


def test_a_run_that_holds_the_window_has_begun(watched, sent):
    watched.change_job(deadline=None)
    from tests.lake_tools import run as start

    key = layout.lock("readings", NEXT_DAY)
    body = f"with lake.lock({key!r}, holder='another'):\n    print('held', flush=True)\n    sys.stdin.readline()\n"
    with start(watched.lake, body) as other:
        assert other.stdout.readline() == "held\n"
        assert look_at_deadlines(DUE).late == ()
        watched.change_job(deadline="2h")
        assert [one.why for one in look_at_deadlines(DUE + MINUTE).late] == ["running"]
        other.kill()


def test_a_schedule_that_stood_still_does_not_ring_for_the_time_between(watched, sent):
    watched.change_job(schedule={"cron": "30 2 * * *", "active": False})
    assert look_at_deadlines(DUE + MINUTE).late == ()
    watched.change_job(schedule={"cron": "30 2 * * *"})
    later = DUE + dt.timedelta(days=9)
    assert look_at_deadlines(later).late == ()
    assert names(look_at_deadlines(later + MINUTE).told) == [("readings", "2024-05-11")]


def test_another_deadline_of_the_same_window_is_told_again(watched, sent):
    look_at_deadlines(DUE + MINUTE)
    watched.change_job(deadline="3h")
    assert look_at_deadlines(DUE + 30 * MINUTE).late == ()
    look_at_deadlines(DUE + 61 * MINUTE)
    assert [event.payload["due_at"][:16] for event in sent] == ["2024-05-03T04:30", "2024-05-03T05:30"]


def test_what_was_late_before_anybody_looked_is_no_alarm(world, sent):
    """A deadline that is written into an old job today does not ring for all of its past."""
    world.score()
    world.change_job(schedule={"cron": "30 2 * * *"}, deadline="2h")
    assert look_at_deadlines(DUE + 5 * MINUTE).late == ()
    assert names(look_at_deadlines(DUE + dt.timedelta(days=1, minutes=1)).told) == [("readings", "2024-05-03")]


def test_a_server_that_is_down_is_told_the_next_time(watched):
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        began = time.monotonic()
        with pytest.raises(Incomplete, match=f"the alarm of readings {NEXT_DAY} was not taken"):
            look_at_deadlines(DUE + MINUTE)
        assert time.monotonic() - began < 60
    assert names(look_at_deadlines(DUE + 5 * MINUTE).told) == [("readings", NEXT_DAY)]
    assert look_at_deadlines(DUE + 10 * MINUTE).told == ()


def test_killed_between_telling_and_noting_it_is_one_event_all_the_same(watched, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(late, "remember_told", killed)
        with pytest.raises(KeyboardInterrupt):
            look_at_deadlines(DUE + MINUTE)
    (told,) = look_at_deadlines(DUE + 5 * MINUTE).told
    named = str(late.event_id(watched.lake, told))

    def on_server():
        with get_client(sync_client=True) as client:
            answer = client.request("POST", "/events/filter", json={"filter": {"id": {"id": [named]}}})
        return answer.raise_for_status().json()["events"]

    end = time.monotonic() + 60
    while not (found := on_server()):
        assert time.monotonic() < end
    assert [one["payload"]["as_of"] for one in found] == [NEXT_DAY]


def test_two_looks_at_once_are_one(watched, monkeypatch):
    begun, go_on, seen = threading.Event(), threading.Event(), []

    def slow(event):
        begun.set()
        assert go_on.wait(60)
        seen.append(event)

    monkeypatch.setattr(events, "_send", slow)
    first = threading.Thread(target=look_at_deadlines, args=(DUE + MINUTE,))
    first.start()
    assert begun.wait(60)
    with pytest.raises(NothingToDo, match="is being run by a look at the deadlines"):
        look_at_deadlines(DUE + MINUTE)
    go_on.set()
    first.join()
    assert len(seen) == 1
    assert look_at_deadlines(DUE + MINUTE).told == ()


def test_a_job_that_cannot_be_read_hides_no_other(watched, sent):
    watched.job_file.with_name("broken.yaml").write_text("job: broken\ncolour: red\n")
    with pytest.raises(Incomplete, match=r"broken.yaml.*1 window is missed: readings"):
        look_at_deadlines(DUE + MINUTE)
    assert len(sent) == 1


def test_the_flow_ends_in_a_state_that_names_the_windows(watched, sent):
    from flows.deadlines import deadlines

    state = deadlines(return_state=True)
    assert (state.name, state.is_completed()) == ("WindowsLate", True)
    assert "readings 20" in state.message
    watched.change_job(deadline=None, schedule=None)
    state = deadlines(return_state=True)
    assert (state.name, state.message) == ("OnTime", "No window of 1 job is late or missed.")
    watched.job_file.write_text("job: [")
    assert deadlines(return_state=True).name == "Failed"


def test_the_record_of_an_alarm(watched, sent):
    look_at_deadlines(DUE + MINUTE)
    (key,) = [key for key in watched.lake.files("alerts") if key.endswith(".json")]
    assert key == f"alerts/readings/as_of={NEXT_DAY}/late-2024-05-03T043000Z.json"
    assert json.loads(watched.lake.read_text(key))["is_missed"] is True


def test_the_server_may_be_slow_but_not_for_ever(watched, monkeypatch):
    """A request that hangs is given up."""

    def hangs(event):
        raise httpx.ReadTimeout("15 s")

    monkeypatch.setattr(events, "_send", hangs)
    assert events.tell(events.LATE, "readings", DAY, owner="", payload={}) is False
