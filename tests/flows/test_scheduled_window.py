"""Without --as-of the command scores the window of the schedule's last tick; without a schedule it asks for one."""

import datetime as dt

import pytest

from flows.cli import run
from tasks.core.errors import DefinitionError


@pytest.mark.parametrize(
    ("schedule", "now", "window"),
    [
        # The tick at half past two scores the day that has ended; before it, yesterday's tick is the last.
        ({"cron": "30 2 * * *"}, "2024-05-02T02:30", "2024-05-01"),
        ({"cron": "30 2 * * *"}, "2024-05-02T02:29", "2024-04-30"),
        ({"cron": "0 18 * * *", "scores": "opened"}, "2024-05-01T17:59", "2024-05-01"),
        ({"cron": "0 18 * * *", "scores": "opened"}, "2024-05-01T18:00", "2024-05-02"),
        # Mondays only, and the first of a month: the last tick lies days back.
        ({"cron": "0 6 * * 1"}, "2024-05-05T12:00", "2024-04-28"),
        ({"cron": "0 6 1 1 *"}, "2024-12-31T12:00", "2023-12-31"),
        ({"cron": "0 6 29 2 *"}, "2027-12-31T12:00", "2024-02-28"),
    ],
)
def test_it_is_the_window_of_the_last_tick(world, schedule, now, window):
    world.change_job(schedule=schedule)
    at = dt.datetime.fromisoformat(now).replace(tzinfo=dt.UTC)
    assert run.scheduled_window("readings", at) == window


def test_the_command_takes_it_where_no_window_is_given(world, lamplighter, monkeypatch):
    world.change_job(schedule={"cron": "30 2 * * *"})
    monkeypatch.setattr(run, "scheduled_window", lambda job, _at: {"readings": "2024-05-01"}[job])

    for given in ((), ("--as-of", "scheduled")):
        code, out, _ = lamplighter("score", "readings", *given)
        assert code == 0
        assert "readings 2024-05-01" in out


def test_without_a_schedule_a_window_has_to_be_given(world, lamplighter):
    code, _, err = lamplighter("score", "readings")
    assert code == 2
    assert "has no schedule" in err
    assert "--as-of DATE" in err
    with pytest.raises(DefinitionError):
        run.scheduled_window("readings", dt.datetime.now(dt.UTC))
