"""Questions to a Prefect server that is busy, restarting, or gone."""

from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Completed, Running

from tasks.core.errors import LamplighterError
from tasks.orchestration import flow_runs
from tasks.orchestration.flow_runs import FlowRuns

RUN = FlowRun(flow_id=uuid4(), state=Running())


def status(code):
    request = httpx.Request("POST", "http://127.0.0.1/api/flow_runs/filter")
    return PrefectHTTPStatusError(str(code), request=request, response=httpx.Response(code, request=request))


@pytest.fixture
def asked(monkeypatch):
    """FlowRuns of a server that answers with one thing after the other; what is an error is raised."""
    monkeypatch.setattr(flow_runs, "_PAUSE_SECONDS", 0.0)

    def make(*answers, patience_seconds=60.0):
        left = list(answers)

        def answer(*_, **__):
            now = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(now, Exception):
                raise now
            return now

        client = SimpleNamespace(
            read_flow_runs=answer, read_flow_run=answer, read_deployment_by_name=answer, set_flow_run_state=answer
        )
        return FlowRuns(client, uuid4(), patience_seconds)

    return make


def test_a_server_that_is_busy_or_restarts_is_asked_again(asked):
    runs = asked(status(503), httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), status(500), [RUN])

    assert runs.read([RUN.id]) == [RUN]


def test_one_that_stays_away_is_an_error_that_says_what_goes_on(asked):
    with pytest.raises(LamplighterError, match=r"did not answer for 0 s.*go on by themselves"):
        asked(httpx.ConnectError("refused"), patience_seconds=0.0).read([RUN.id])


def test_what_the_server_refuses_is_not_asked_again(asked):
    with pytest.raises(PrefectHTTPStatusError, match="409"):
        asked(status(409), [RUN]).read([RUN.id])


def test_a_deployment_that_is_not_there_is_none(asked):
    assert asked(status(503), ObjectNotFound(Exception())).deployment("score/readings") is None


def test_nothing_is_asked_of_nothing(asked):
    assert asked(status(503)).read([]) == []


def test_a_run_that_has_ended_is_not_written_off(asked):
    ended = FlowRun(flow_id=uuid4(), state=Completed())

    # A second question would be refused.
    asked(ended, status(409)).write_off(ended.id, "its process died")
    with pytest.raises(PrefectHTTPStatusError):
        asked(RUN, status(409)).write_off(RUN.id, "its process died")
