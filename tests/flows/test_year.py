"""A job of many hourly windows: one more run, and one look at how it stands, cost what they cost before."""

import os

import pytest

from tasks import report
from tasks.core.definitions.project import Project
from tasks.core.runs import status
from tasks.core.storage import Folder
from tests import year_scenes as year
from tests.flows.conftest import readings

# In place of the four hundred windows that are looked at: beyond so many nothing may grow.
_LOOKED_AT = 10


@pytest.fixture
def hourly(world, monkeypatch):
    """The job with hourly windows, of which rows come in the hours that a test scores."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(report, "_WINDOWS_IN_INDEX", _LOOKED_AT)
    monkeypatch.setattr(status, "NEWEST", _LOOKED_AT)
    world.change_job(
        window={"kind": "interval", "every": "1h"},
        schedule={"cron": "5 * * * *"},
        output__volume={"of_median": [0.0, 100.0], "windows": 5},
    )
    return world


def cost_of_one_more(world, number, monkeypatch):
    """What the run of a window asks of the lake, and what `status` asks after it."""
    from flows.score import score

    rows = readings(20)
    world.write_rows(
        rows.assign(at=rows["at"] - rows["at"].min() + year.FIRST + number * year.HOUR), f"{number}.parquet"
    )
    with year.counting(monkeypatch, world.lake) as run:
        state = score("readings", year.label(number), return_state=True)
    assert state.name.startswith("Published"), state.message
    with year.counting(monkeypatch, world.lake) as looked:
        project = Project(Folder(world.folder))
        found = status.status_of(world.lake, project, "readings", now=year.FIRST + (number + 1) * year.HOUR)
    assert (found.problem, found.windows, found.newest.as_of) == ("", (), year.label(number))
    return run, looked


def test_one_more_run_and_one_more_look_cost_the_same_however_many_windows_there_are(hourly, monkeypatch):
    job = Project(Folder(hourly.folder)).load("readings").job
    year.publish_hours(hourly.lake, job, range(20))
    cost_of_one_more(hourly, 20, monkeypatch)
    few = cost_of_one_more(hourly, 21, monkeypatch)
    year.publish_hours(hourly.lake, job, range(22, 80))
    cost_of_one_more(hourly, 80, monkeypatch)
    many = cost_of_one_more(hourly, 81, monkeypatch)
    assert many == few
    assert sum(few[0].values()) < 400
