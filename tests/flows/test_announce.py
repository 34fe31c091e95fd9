"""The end of a run as an event: one for what somebody should know of, none for what is no news, and never at the run's cost."""

import pytest

from tasks.core.errors import SourceLate
from tasks.orchestration import events
from tests.flows.conftest import DAY, readings


@pytest.fixture
def sent(monkeypatch):
    """The events that were sent, and not to any server."""
    found = []
    monkeypatch.setattr(events, "_send", found.append)
    return found


def test_published_then_nothing_to_do(world, sent):
    world.change_job(owner="weather")
    assert world.score().name == "Published"
    (event,) = sent
    assert event.event == "lamplighter.run.published"
    assert event.resource["lamplighter.owner"] == "weather"
    assert event.resource["prefect.resource.id"] == f"lamplighter.window.readings.{DAY}"
    (run,) = event.related
    assert run["prefect.resource.id"].startswith("prefect.flow-run.")
    payload, manifest = event.payload, world.published()
    assert (payload["job"], payload["as_of"], payload["verdict"]) == ("readings", DAY, "published")
    assert (payload["run_id"], payload["owner"]) == (manifest.run_id, "weather")
    assert f"run {manifest.run_id}" in payload["readers_see"]
    assert payload["report"].endswith(f"reports/readings/as_of={DAY}.html")

    assert world.score().name == "AlreadyPublished"
    assert len(sent) == 1


def test_blocked_says_why_and_what_readers_still_see(world, sent):
    world.score()
    world.write_rows(readings().assign(kind="lukewarm"))
    state = world.score(rescore="a new feed")
    event = sent[-1]
    assert (state.name, event.event) == ("Blocked", "lamplighter.run.blocked")
    assert event.payload["reason"].startswith("200 of 200 rows fail")
    assert event.payload["next_step"].startswith(f"lamplighter show readings --as-of {DAY}")
    assert event.payload["readers_see"].startswith(f"run {world.published().run_id}, published ")
    assert event.payload["run_id"] == world.latest().run_id != world.published().run_id


def test_failed_and_what_was_not_foreseen(world, sent, monkeypatch):
    (world.folder / "data/a.parquet").write_bytes(b"not parquet")
    assert world.score().name == "Failed"
    assert (sent[-1].event, "a.parquet" in sent[-1].payload["reason"]) == ("lamplighter.run.failed", True)

    world.write_rows(readings())
    monkeypatch.setattr("flows.score.load", lambda run: 1 / 0)
    assert world.score().is_failed()
    assert sent[-1].payload["reason"] == "ZeroDivisionError: division by zero"
    assert len(sent) == 2


def test_a_job_that_cannot_be_read_fails_at_its_tick_and_somebody_hears_of_it(world, sent):
    from flows.score import score

    world.job_file.write_text("job: readings\ncolour: red\n")
    assert score("readings", return_state=True).is_failed()
    (event,) = sent
    assert (event.event, event.payload["as_of"]) == ("lamplighter.run.failed", "scheduled")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_is_cancelled_is_no_news(world, sent, monkeypatch, kind):
    def stopped(run):
        raise kind

    monkeypatch.setattr("flows.score.load", stopped)
    with pytest.raises(kind):
        world.score()
    assert sent == []


def test_what_breaks_because_it_is_cancelled_is_no_news(world, sent, monkeypatch):
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run
    from prefect.states import Cancelling

    def child_ended(run):
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Cancelling(), force=True)
        raise RuntimeError("a child process ended")

    monkeypatch.setattr("flows.score.load", child_ended)
    world.score()
    assert sent == []


def test_a_source_that_is_late_is_an_alarm_of_its_own(world, sent, monkeypatch):
    def late(run):
        raise SourceLate("it was not ready in 1h", next_step="ask the airline")

    monkeypatch.setattr("flows.score.wait_until_ready", late)
    assert world.score().name == "SourceLate"
    (event,) = sent
    assert (event.event, event.payload["verdict"]) == ("lamplighter.source.late", "source late")
    assert (event.payload["reason"], event.payload["next_step"]) == ("it was not ready in 1h", "ask the airline")


def test_a_dry_run_is_no_news(world, sent):
    from flows.score import score

    world.write_rows(readings().assign(kind="lukewarm"))
    score("readings", DAY, dry_run=True, return_state=True)
    assert sent == []


def test_a_window_that_another_run_holds_is_no_news(world, sent):
    from tasks.core import layout

    with world.lake.lock(layout.lock("readings", DAY), holder="another"):
        assert world.score().is_failed()
    assert sent == []


def test_an_event_that_is_lost_costs_nothing(world, monkeypatch):
    def refused(event):
        raise ConnectionError("nobody listens")

    monkeypatch.setattr(events, "_send", refused)
    assert world.score().name == "Published"
    monkeypatch.setattr(events, "_send", lambda event: None)
    monkeypatch.setattr("tasks.announce.payload_of", refused)
    world.write_rows(readings(100))
    assert world.score(rescore="again").name == "Published"
