"""Windows as runs of a deployment: taken over, taken back where no worker begins them, and cancelled."""

import datetime as dt
from types import SimpleNamespace
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Cancelling, Completed, Failed, Pending, Running, Scheduled

from tasks.core.runs.recalling.round import Final
from tasks.orchestration import ways
from tasks.orchestration.ways import Deployed

NOW = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
DEPLOYMENT = SimpleNamespace(id=uuid4(), work_pool_name="lamplighter")


@flow
def score(job: str, as_of: str) -> None:
    """Never called here."""


class Server:
    """Holds runs in memory; `states` says what they are when they are looked at."""

    def __init__(self, *left):
        self.left, self.made, self.keys, self.cancelled, self.written_off = list(left), {}, [], [], []
        self.queues = ("low",)

    def has_queue(self, name, work_pool):
        return (name, work_pool) in [(queue, "lamplighter") for queue in self.queues]

    def unfinished(self):
        return self.left

    def create_of(self, deployment, name, parameters, *, key, queue):
        made = run(parameters["as_of"], Scheduled())
        self.made[made.id] = made
        self.keys.append((key, queue))
        return made

    def read(self, ids):
        return [self.made[one] for one in ids if one in self.made]

    def cancel(self, run_id, why):
        self.cancelled.append(run_id)
        # As a real server does, which gives a run that never began a start all the same.
        self.made[run_id].start_time = self.made[run_id].created
        self.made[run_id].state = Cancelled(message=why)

    def write_off(self, run_id, why, *, cancelled=False):
        self.written_off.append(run_id)
        self.made[run_id].state = Cancelled(message=why)

    def hurried(self, seconds):
        return self


def run(as_of, state):
    parameters = {"job": "readings", "as_of": as_of}
    made = FlowRun(flow_id=uuid4(), state=state, parameters=parameters, deployment_id=DEPLOYMENT.id)
    return made.model_copy(update={"created": NOW})


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(ways, "POLL_SECONDS", 0.0)


@pytest.fixture
def here(monkeypatch):
    """What is done in this process, without doing it."""
    done = []

    class Here:
        at_once = 1

        def __init__(self, flow, runs):
            self._ended = []

        def start(self, as_of, parameters):
            done.append(as_of)
            self._ended.append(Final(as_of, "Published"))

        def ended(self):
            found, self._ended = self._ended, []
            return found

    monkeypatch.setattr(ways, "Here", Here)
    return done


def begun(server, *labels):
    way = Deployed(score, server, DEPLOYMENT, at_once=3)
    for as_of in labels:
        way.start(as_of, {"job": "readings", "as_of": as_of})
    return way


def test_each_window_has_a_key_of_its_own_in_the_queue_below_what_is_scheduled():
    server = Server()
    way = begun(server, "2024-05-01", "2024-05-02")
    way.start("2024-05-01", {"job": "readings", "as_of": "2024-05-01"})

    assert len({key for key, _ in server.keys}) == 3
    assert {queue for _, queue in server.keys} == {"low"}
    server = Server()
    server.queues = ()
    begun(server, "2024-05-01")
    assert server.keys[0][1] is None


def test_those_that_have_ended_are_told_once_with_their_last_state():
    server = Server()
    way = begun(server, "2024-05-01", "2024-05-02", "2024-05-03")
    first, second, third = server.made.values()
    first.state = Completed(name="Published", message="all of it")
    second.state = Failed(name="Blocked", message="no rows")
    third.state = Running()

    assert way.ended() == [Final("2024-05-01", "Published", "all of it"), Final("2024-05-02", "Blocked", "no rows")]
    assert way.ended() == []
    del server.made[third.id]
    assert way.ended() == [Final("2024-05-03", "Crashed", "its run was deleted from the Prefect server")]


def test_a_second_attempt_takes_over_what_the_first_has_asked_for():
    earlier = run("2024-05-01", Running())
    died_with_it = run("2024-05-02", Running()).model_copy(update={"deployment_id": None})
    server = Server(earlier, died_with_it)
    way = begun(server, "2024-05-01", "2024-05-02")

    assert len(server.made) == 1
    server.made[earlier.id] = earlier
    earlier.state = Completed(name="Published")
    assert [one.as_of for one in way.ended()] == ["2024-05-01"]


def test_what_no_worker_begins_is_taken_back_and_done_here_one_at_a_time(here, monkeypatch):
    monkeypatch.setattr(ways, "PICK_UP_SECONDS", -1.0)
    server = Server()
    way = begun(server, "2024-05-01", "2024-05-02")

    assert way.ended() == []
    assert len(server.cancelled) == 2
    assert [(one.as_of, one.began) for one in way.ended()] == [("2024-05-01", False), ("2024-05-02", False)]
    assert way.at_once == 1
    way.start("2024-05-01", {})
    assert (way.ended(), here) == ([Final("2024-05-01", "Published")], ["2024-05-01"])


@pytest.mark.parametrize("state", [Running(), Pending()])
def test_where_a_worker_has_begun_one_the_others_wait(here, monkeypatch, state):
    monkeypatch.setattr(ways, "PICK_UP_SECONDS", -1.0)
    server = Server()
    way = begun(server, "2024-05-01", "2024-05-02")
    next(iter(server.made.values())).state = state

    assert (way.ended(), server.cancelled) == ([], [])


def test_a_worker_that_is_gone_before_it_began_is_not_waited_for_for_ever(here, monkeypatch):
    monkeypatch.setattr(ways, "PICK_UP_SECONDS", -1.0)
    monkeypatch.setattr(ways, "BEGIN_SECONDS", -1.0)
    server = Server()
    monkeypatch.setattr(server, "cancel", lambda run_id, _: setattr(server.made[run_id], "state", Cancelling()))
    way = begun(server, "2024-05-01")
    next(iter(server.made.values())).state = Pending()

    assert (way.ended(), way.ended()) == ([], [])
    assert len(server.written_off) == 1
    assert [one.began for one in way.ended()] == [False]


def test_a_window_that_a_person_cancels_has_not_been_done():
    server = Server()
    way = begun(server, "2024-05-01")
    next(iter(server.made.values())).state = Cancelled()

    assert way.ended() == [Final("2024-05-01", "Cancelled", "its run was cancelled")]


def test_whoever_is_ended_cancels_what_it_has_asked_for():
    server = Server()
    with pytest.raises(KeyboardInterrupt), ways._used(begun(server, "2024-05-01", "2024-05-02")):
        raise KeyboardInterrupt

    assert set(server.cancelled) == set(server.made)
