"""A run tells its story in lines that hold its job, window and run: on standard error, and on its page in Prefect's UI."""

import json
import logging

import pytest
from prefect import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.logging.handlers import APILogHandler

from flows.score import score
from tasks.core import logs
from tests.flows.conftest import DAY, readings

pytestmark = pytest.mark.usefixtures("world")


@pytest.fixture(autouse=True)
def _as_in_a_worker(monkeypatch):
    """Nobody has said yet whether lines are shown."""
    monkeypatch.delenv("LAMPLIGHTER_LOG_LEVEL", raising=False)
    monkeypatch.setenv("LAMPLIGHTER_LOG_FORMAT", "json")
    before = list(logs.log.handlers)
    logs.log.handlers[:] = [one for one in before if isinstance(one, logging.NullHandler)]
    yield
    logs.log.handlers[:] = before


@pytest.fixture
def told(capsys):
    """The lines on standard error since the last look."""
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith('{"time"')]


def test_a_run_tells_its_stages_its_rows_and_how_it_ended(told, world):
    world.score()
    lines = told()

    assert {(line["job"], line["as_of"]) for line in lines} == {("readings", DAY)}
    by_stage = {line["stage"]: line for line in lines if "seconds" in line}
    assert by_stage["Pull the window"]["rows"] == 200
    assert by_stage["Publish the predictions"]["message"].startswith("Publish the predictions: 200 rows in ")
    # The run has its name as soon as the snapshot is complete, and keeps it.
    run_id = world.published().run_id
    assert lines[-1]["run_id"] == by_stage["Publish the predictions"]["run_id"] == run_id
    assert (
        lines[-1]["message"]
        == f"Published: readings {DAY}: published. 200 of 200 rows scored, 0 quarantined. Run {run_id}."
    )
    begun = [line["stage"] for line in lines if line["message"].endswith(": begins")]
    assert begun == list(by_stage)


def test_a_blocked_run_says_why_once_and_is_a_warning(told, world):
    world.write_rows(readings().assign(kind="lukewarm"))
    world.score()
    lines = told()

    (why,) = [line for line in lines if line["message"].startswith("Blocked: ")]
    assert why["level"] == "warning"
    assert "200 of 200 rows" in why["message"]
    assert sum("200 of 200 rows" in line["message"] for line in lines) == 1
    assert any(line["message"].startswith("Judge the expectations: stopped after ") for line in lines)


def test_a_wrong_job_is_told_with_what_was_asked_for(told):
    score("nothing", DAY, return_state=True)
    line = told()[-1]

    assert (line["level"], line["job"], line["run_id"]) == ("error", "nothing", None)


def test_the_page_of_the_run_in_the_ui_has_the_lines_once(world):
    state = score("readings", DAY, return_state=True)
    APILogHandler().flush()
    with get_client(sync_client=True) as client:
        found = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[state.state_details.flow_run_id])))

    messages = [line.message for line in found if line.name == "lamplighter"]
    assert len([one for one in messages if one.startswith("Published: readings")]) == 1
    assert "Pull the window: begins" in messages
    assert len([one for one in messages if one.startswith("Pull the window: 200 rows in ")]) == 1


def test_lines_outside_of_a_run_go_to_no_page_and_warn_of_nothing(world):
    world.score()

    logs.log.info("nobody's")
    assert sum(isinstance(handler, APILogHandler) for handler in logs.log.handlers) == 1


def test_a_command_shows_its_paragraph_and_no_line(lamplighter, monkeypatch):
    code, out, err = lamplighter("score", "readings", "--as-of", DAY)

    assert (code, err) == (0, "")
    assert [line.partition(":")[0] for line in out.splitlines()] == [f"readings {DAY}", "Next"]

    monkeypatch.setenv("LAMPLIGHTER_LOG_LEVEL", "info")
    code, out, err = lamplighter("score", "readings", "--as-of", DAY, "--rescore", "to see its lines")
    assert len(out.splitlines()) == 1
    assert all(json.loads(line)["job"] == "readings" for line in err.splitlines())
    assert len(err.splitlines()) > 5


def test_a_wrong_setting_is_2_and_one_paragraph(lamplighter, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_LOG_FORMAT", "xml")

    code, out, err = lamplighter("check")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "LAMPLIGHTER_LOG_FORMAT is 'xml'" in err

    # The table that tells what is right comes first.
    code, out, err = lamplighter("settings")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "LAMPLIGHTER_LAKE" in out


def test_check_and_settings_warn_of_a_mistyped_name(lamplighter, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_LAKES", "/lake")

    assert "Warning: LAMPLIGHTER_LAKES is set" in lamplighter("check")[2]
    code, out, _ = lamplighter("settings")
    assert code == 0
    assert "Warning: LAMPLIGHTER_LAKES is set" in out
    assert json.loads(lamplighter("settings", "--json")[1])["unknown"][0].startswith("LAMPLIGHTER_LAKES")
    assert lamplighter("settings", "--markdown")[1].startswith("| variable | default |")
