"""`lamplighter runs --missing`: what the schedule asked for and readers do not see, and the command that fills it."""

import datetime as dt
import json
import shlex

import pytest

from tests.flows.conftest import readings

TODAY = dt.datetime.now(dt.UTC).date()


def day(number):
    """So many days ago."""
    return (TODAY - dt.timedelta(days=number)).isoformat()


@pytest.fixture
def scheduled(world):
    """A nightly job of which two days are published, five and three days ago."""
    world.change_job(schedule={"cron": "0 0 * * *"}, deadline="1min")
    for number in (5, 3):
        rows = readings(20, day(number)).assign(sensor=lambda found, number=number: f"{number}" + found["sensor"])
        world.write_rows(rows, f"{number}.parquet")
        assert world.score(day(number)).name == "Published"
    return world


def test_what_is_missing_is_listed_and_filled_by_the_command_that_is_printed(scheduled, lamplighter):
    code, out, _ = lamplighter("runs", "readings", "--missing")
    told = " ".join(out.split())
    assert code == 0
    assert f"{day(4)} never run" in told
    assert f"{day(3)} never run" not in told
    command = f'lamplighter backfill readings --from {day(4)} --to {day(1)} --reason "windows were missed"'
    assert f"3 windows are missing. Next: {command}" in told
    # The printed command scores these, and passes over the one between that is published.
    arguments = shlex.split(command)[1:]
    code, out, error = lamplighter(*arguments, "--plan", "--json")
    assert code == 0, out + error
    assert [one["as_of"] for one in json.loads(out)["due"]] == [day(4), day(2), day(1)]
    scheduled.change_job(on_empty="publish")
    for number in (4, 2, 1):
        assert scheduled.score(day(number)).is_completed()
    code, out, _ = lamplighter("runs", "readings", "--missing")
    assert (code, out.strip()) == (0, "No window of readings is missing.")


def test_as_json_each_says_what_it_is(scheduled, lamplighter):
    code, out, _ = lamplighter("runs", "readings", "--missing", "--since", day(2), "--json")
    found = json.loads(out)
    assert code == 0
    assert [(one["as_of"], one["state"], one["run_id"]) for one in found] == [
        (day(2), "never run", None),
        (day(1), "never run", None),
    ]
    assert found[0]["is_late"]
    assert found[0]["tick"].startswith(day(1))


def test_without_a_schedule_it_says_so(world, lamplighter):
    code, out, error = lamplighter("runs", "readings", "--missing")
    assert (code, out) == (2, "")
    assert "has no schedule, so nobody has asked for a window" in " ".join(error.split())
    world.change_job(schedule={"cron": "0 0 * * *", "active": False})
    code, out, _ = lamplighter("runs", "readings", "--missing")
    assert code == 0
    assert "stands still (active: false)" in out


def test_since_alone_and_a_wrong_day_are_refused(world, lamplighter):
    world.change_job(schedule={"cron": "0 0 * * *"})
    assert lamplighter("runs", "readings", "--since", "2024-05-01")[0] == 2
    code, _, error = lamplighter("runs", "readings", "--missing", "--since", "yesterday")
    assert (code, "'yesterday' is not a window of this job" in error) == (2, True)
