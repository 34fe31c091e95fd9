"""A person is asked before the alias moves: yes, no, nothing at all, and where nobody could answer."""

import contextlib
import json
import threading
import time

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks import approve
from tests.flows.graded import BETTER, HOT, PRODUCTION, WORSE, aliases, last_event, promoted
from tests.page_samples import Page


@pytest.fixture
def careful(judged, monkeypatch):
    """The world with a job that wants a person to agree."""
    judged.change_job(promotion__approval=True)
    monkeypatch.setattr(approve, "LOOK_SECONDS", 0.1)
    return judged


@contextlib.contextmanager
def somebody_answers(**answer):
    """Somebody who finds the paused run and fills in its form; what the form said is in the list."""
    found = []

    def fill_in():
        with get_client(sync_client=True) as client:
            paused = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
            deadline = time.monotonic() + 60
            while not found and time.monotonic() < deadline:
                for run in client.read_flow_runs(flow_run_filter=paused):
                    if client.resume_flow_run(run.id, run_input=answer).status == SetStateStatus.ACCEPT:
                        keyset = run.state.state_details.run_input_keyset
                        found.append(json.loads(client.read_flow_run_input(run.id, keyset["description"])))
                time.sleep(0.05)

    thread = threading.Thread(target=fill_in)
    thread.start()
    try:
        yield found
    finally:
        thread.join()


def test_a_person_who_agrees_is_in_the_history(careful):
    with somebody_answers(answer="yes", name="Ann", comment="before the holidays") as form:
        state = promoted(careful, BETTER)

    assert state.name == "Promoted"
    assert aliases(careful) == {"production": BETTER}
    evidence = last_event(careful).evidence
    assert (evidence["approved_by"], evidence["comment"]) == ("Ann", "before the holidays")
    assert "Ann said yes: before the holidays" in Page((careful.lake.root / evidence["page"]).read_text()).text
    assert "version 3 passes" in form[0]
    assert "promote-0003-000001.html" in form[0]
    assert HOT not in form[0]


def test_a_person_who_says_no_moves_nothing(careful):
    with somebody_answers(answer="no", name="Ann", comment="<i>not now</i>"):
        state = promoted(careful, BETTER)

    assert state.name == "Blocked"
    assert "Ann said no to version 3 of readings as production: <i>not now</i>. No alias was moved" in state.message
    assert aliases(careful) == {"production": PRODUCTION}
    page = (careful.lake.root / "reports/_models/readings/promote-0003-000001.html").read_text()
    assert "<i>" not in page
    assert "Ann said no: <i>not now</i>" in Page(page).text


def test_an_answer_that_is_none_is_not_taken(careful):
    refused = []
    resume = SyncPrefectClient.resume_flow_run

    def first_a_wrong_one(client, run_id, run_input=None):
        if not refused:
            found = resume(client, run_id, run_input={"answer": "perhaps", "name": ""})
            refused.extend([found.status] if "schema not found" not in str(found.details) else [])
            return found
        return resume(client, run_id, run_input=run_input)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SyncPrefectClient, "resume_flow_run", first_a_wrong_one)
        with somebody_answers(answer="yes", name="Ann"):
            state = promoted(careful, BETTER)

    assert (refused, state.name) == ([SetStateStatus.REJECT], "Promoted")


def test_nobody_answers(careful, monkeypatch):
    monkeypatch.setattr(approve, "PATIENCE_SECONDS", 1)

    state = promoted(careful, BETTER)

    assert (state.name, "nobody answered within" in state.message) == ("Blocked", True)
    assert aliases(careful) == {"production": PRODUCTION}


def test_nobody_is_asked_about_one_that_does_not_pass(careful):
    assert promoted(careful, WORSE).name == "Blocked"


def test_where_nobody_could_answer_nothing_is_scored(careful, lamplighter):
    with temporary_settings({PREFECT_API_URL: None}):
        code, _, err = lamplighter("promote", "readings", "--version", str(BETTER), "--reason", "try")

    assert code == 2
    assert "no Prefect server in whose UI somebody could: PREFECT_API_URL is not set. Nothing was scored" in err
    assert not (careful.lake.root / "reports/_models").exists()


def test_the_command_line_says_where_the_answer_is_awaited(careful, lamplighter):
    with somebody_answers(answer="yes", name="Ann"):
        code, out, err = lamplighter("promote", "readings", "--version", str(BETTER), "--reason", "better", "--json")

    assert (code, json.loads(out)["promoted"]["version"]) == (0, BETTER)
    assert err.startswith("After the checks the run waits for a yes or no in the Prefect UI: http://127.0.0.1:")
