"""A run that is asked for the scheduled window scores that of its scheduled time, however late it begins, and again when retried."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry, Scheduled

from flows.score import score
from tests.flows.conftest import readings

NEW_YORK = "America/New_York"


def at(text, zone="UTC"):
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC)


@pytest.fixture
def server():
    with get_client(sync_client=True) as client:
        yield client


def planned(client, when, **parameters):
    """A run as a server's scheduler makes it: long before anybody begins it."""
    return client.create_flow_run(
        score, parameters={"job": "readings", **parameters}, state=Scheduled(scheduled_time=when)
    )


def execute(client, run):
    """What a worker does with it now."""
    run = client.read_flow_run(run.id)
    state = run_flow(score, flow_run=run, parameters=run.parameters, return_type="state")
    return state, client.read_flow_run(run.id)


def rows_of(world, day, zone="UTC"):
    start = at(f"{day} 00:00", zone)
    rows = readings(100, day).assign(sensor=lambda found: day + found["sensor"])
    rows["at"] = [start + dt.timedelta(minutes=number) for number in range(len(rows))]
    world.write_rows(rows, f"{day}.parquet")


@pytest.mark.parametrize(
    ("when", "zone", "schedule", "as_of"),
    [
        # The night after, in the small hours of the zone's own clock.
        (at("2024-03-02 02:30", NEW_YORK), NEW_YORK, {"cron": "30 2 * * *"}, "2024-03-01"),
        # The evening before the day of 23 hours; Prefect fires 02:30 of that night at 01:30.
        (at("2024-03-09 19:00", NEW_YORK), NEW_YORK, {"cron": "0 19 * * *", "scores": "opened"}, "2024-03-10"),
        (at("2024-03-10 06:30"), NEW_YORK, {"cron": "30 2 * * *"}, "2024-03-09"),
        # The night after the day of 25 hours.
        (at("2024-11-04 02:30", NEW_YORK), NEW_YORK, {"cron": "30 2 * * *"}, "2024-11-03"),
        # The last of a leap February.
        (at("2024-03-01 03:00"), "UTC", {"cron": "0 3 * * *"}, "2024-02-29"),
    ],
)
def test_a_run_that_starts_months_late_scores_the_window_of_its_tick(world, server, when, zone, schedule, as_of):
    world.change_job(window__timezone=zone, schedule=schedule)
    rows_of(world, as_of, zone)

    state, run = execute(server, planned(server, when))

    assert state.name == "Published", state.message
    assert run.name == f"readings {as_of}"
    manifest = world.published(as_of)
    assert manifest.rows.scored == 100
    assert manifest.trigger.scheduled_at == when
    assert manifest.started_at > when + dt.timedelta(days=30)


def test_a_retry_scores_the_same_window(world, server):
    world.change_job(schedule={"cron": "0 3 * * *"})
    when = at("2024-05-02 03:00")
    run = planned(server, when)
    (world.folder / "data/a.parquet").rename(world.folder / "a.parquet")

    failed, _ = execute(server, run)
    assert failed.is_failed(), failed.message
    (world.folder / "a.parquet").rename(world.folder / "data/a.parquet")
    # The button in the UI: the same run, asked for again, now.
    server.set_flow_run_state(run.id, AwaitingRetry(scheduled_time=dt.datetime.now(dt.UTC)), force=True)
    state, again = execute(server, run)

    assert state.name == "Published", state.message
    assert again.name == "readings 2024-05-01"
    assert world.published("2024-05-01").trigger.scheduled_at == when


def test_ticks_that_were_caught_up_score_each_its_own(world, server):
    """The server was down for two days: its scheduler's runs of then begin now, the later one first."""
    world.change_job(schedule={"cron": "0 3 * * *"})
    rows_of(world, "2024-05-02")
    runs = [planned(server, at(f"2024-05-0{day} 03:00")) for day in (3, 2)]

    assert [execute(server, run)[0].name for run in runs] == ["Published", "Published"]
    assert [world.published(f"2024-05-0{day}").rows.scored for day in (1, 2)] == [200, 100]


def test_two_ticks_of_one_window_publish_it_once(world, server):
    world.change_job(schedule={"cron": "0 3,9 * * *"})
    states = [execute(server, planned(server, at(f"2024-05-02 0{hour}:00")))[0].name for hour in (3, 9)]
    assert states == ["Published", "AlreadyPublished"]


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"job": "readings", "as_of": "2024-05-01", "dry_run": True}, "readings 2024-05-01, dry run"),
        ({"job": "no_such_job"}, "no_such_job scheduled"),
        ({"job": "readings", "as_of": "2024-02-30"}, "readings 2024-02-30"),
        ({"job": "readings"}, "readings scheduled"),
    ],
)
def test_the_name_tells_what_was_asked_for_also_when_it_is_wrong(world, server, parameters, name):
    run = server.create_flow_run(score, parameters=parameters, state=Scheduled(scheduled_time=at("2024-05-02 03:00")))

    state, run = execute(server, run)

    assert run.name == name
    assert state.is_completed() == bool(parameters.get("dry_run")), state.message
    if parameters == {"job": "readings"}:
        assert "has no schedule, so no window is the scheduled one" in state.message


def test_a_broken_job_still_has_a_name_and_says_what_is_wrong(world, server):
    world.change_job(schedule={"cron": "every night"})
    state, run = execute(server, planned(server, at("2024-05-02 03:00")))
    assert run.name == "readings scheduled"
    assert state.is_failed()
    assert "not a cron expression" in state.message
