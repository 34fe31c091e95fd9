"""A year of hourly windows, 8,760 of them: what a run and a look then cost, how large pages grow, and what retention leaves.

Published through the real foundations; only the flushing to the disk is left out. The bounds are those of docs/production.md.
"""

import datetime as dt
import os
import sqlite3
import time

import pytest

from tasks.core import layout
from tasks.core.definitions.project import Project
from tasks.core.home import write_home
from tasks.core.pruning import pruning
from tasks.core.runs import status
from tasks.core.storage import Folder
from tests import year_scenes as year
from tests.flows.conftest import make_project, readings

pytestmark = [pytest.mark.extras, pytest.mark.slow, pytest.mark.timeout(3600)]

HOURS = 8760
LARGEST_INDEX_BYTES, LARGEST_HOME_BYTES = 2_000_000, 100_000
MOST_CALLS_OF_A_RUN, MOST_CALLS_OF_A_LOOK = 2_000, 1_500
# A window: with its page and its snapshot, and without.
FILES_BEFORE, FILES_AFTER = 14, 8
MOST_ROWS_LEFT = 50


@pytest.fixture(scope="module")
def world(tmp_path_factory, prefect_harness):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        made = make_project(tmp_path_factory.mktemp("year") / "project")
        patch.setenv("LAMPLIGHTER_PROJECT", str(made.folder))
        patch.setenv("LAMPLIGHTER_LAKE", str(made.folder / "lake"))
        made.change_job(window={"kind": "interval", "every": "1h"}, schedule={"cron": "5 * * * *"})
        year.publish_hours(made.lake, project_of(made).load("readings").job, range(1000))
        yield made


def project_of(world):
    return Project(Folder(world.folder))


def score_hour(world, number):
    from flows.score import score

    rows = readings(20)
    world.write_rows(rows.assign(at=rows["at"] - rows["at"].min() + year.FIRST + number * year.HOUR))
    state = score("readings", year.label(number), return_state=True)
    assert state.name.startswith("Published"), state.message


def test_a_year_costs_a_run_and_a_look_what_a_month_did_and_every_page_stays_small(world, monkeypatch, record_property):
    lake, project = world.lake, project_of(world)
    job = project.load("readings").job
    score_hour(world, 1000)
    with year.counting(monkeypatch, lake) as of_a_month:
        score_hour(world, 1001)
    began = time.monotonic()
    year.publish_hours(lake, job, range(1002, HOURS - 2))
    record_property("seconds_to_publish", round(time.monotonic() - began, 1))
    score_hour(world, HOURS - 2)
    began = time.monotonic()
    with year.counting(monkeypatch, lake) as of_a_year:
        score_hour(world, HOURS - 1)
    record_property("seconds_of_a_run", round(time.monotonic() - began, 1))
    record_property("calls_of_a_run", dict(of_a_year))
    assert of_a_year == of_a_month
    assert of_a_year.total() < MOST_CALLS_OF_A_RUN

    now, began = year.FIRST + HOURS * year.HOUR, time.monotonic()
    with year.counting(monkeypatch, lake) as of_a_look:
        found = status.status_of(lake, project, "readings", now=now)
    record_property("seconds_of_a_look", round(time.monotonic() - began, 1))
    record_property("calls_of_a_look", dict(of_a_look))
    assert (found.windows, found.newest.as_of) == ((), year.label(HOURS - 1))
    assert of_a_look.total() < MOST_CALLS_OF_A_LOOK

    write_home(lake, project, now=now)
    sizes = {key: lake.size_bytes(key) for key in (layout.index_page("readings"), layout.HOME_PAGE)}
    record_property("bytes", sizes)
    assert sizes[layout.index_page("readings")] < LARGEST_INDEX_BYTES
    assert sizes[layout.HOME_PAGE] < LARGEST_HOME_BYTES


def test_retention_leaves_of_each_old_window_what_readers_see_and_what_explains_it(world, record_property):
    lake, project = world.lake, project_of(world)
    world.change_job(retention={"snapshots": "30d", "reports": "30d"})
    now = year.FIRST + HOURS * year.HOUR + dt.timedelta(days=60)
    seen, before = len(lake.names("predictions/readings")), year.files_by_place(lake)
    began = time.monotonic()
    found = pruning.prune(lake, project, "readings", now=now)
    record_property("seconds_of_a_prune", round(time.monotonic() - began, 1))
    began = time.monotonic()
    again = pruning.prune(lake, project, "readings", now=now)
    record_property("seconds_of_a_second_prune", round(time.monotonic() - began, 1))
    after = year.files_by_place(lake)
    record_property("files", {"before": dict(before), "after": dict(after)})
    assert (found.problem, found.left, again.count) == ("", (), 0)
    # Four windows were scored just now, and are young.
    assert {one.kind: one.count for one in found.lines if one.count} == {"snapshots": seen - 4, "reports": seen - 4}
    assert len(lake.names("predictions/readings")) == seen
    assert before.total() / seen <= FILES_BEFORE
    assert after.total() / seen <= FILES_AFTER


def test_the_server_s_database_keeps_no_row_of_runs_that_went(world, record_property):
    """A thousand looks at the deadlines, three days and a half of them, and a hundred runs with artifacts."""
    from prefect.client.orchestration import get_client
    from prefect.states import Completed

    from flows.deadlines import deadlines
    from flows.score import score
    from tasks.orchestration.pruning import prune_runs

    began = time.monotonic()
    with get_client(sync_client=True) as client:
        for _ in range(1000):
            client.create_flow_run(deadlines, state=Completed(name="OnTime"), tags=["lamplighter"])
        for _ in range(100):
            run = client.create_flow_run(score, state=Completed(), tags=["lamplighter", "job:readings"])
            for name in ("report", "figures"):
                made = {"key": f"year-{name}", "type": "markdown", "flow_run_id": str(run.id), "data": "x" * 2000}
                client.request("POST", "/artifacts/", json=made)
    record_property("seconds_to_make_runs", round(time.monotonic() - began, 1))
    before = rows_of_server()
    began = time.monotonic()
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=91)
    found = prune_runs({"readings": "90d"}, "90d", now=later, applied=["readings", ""])
    record_property("seconds_to_remove_them", round(time.monotonic() - began, 1))
    after = rows_of_server()
    record_property("rows", {"before": before, "after": after})
    assert [one.lines[0].count for one in found] == [100, 1000]
    # What is left are the runs that this module has made itself: no tag says that they are ours.
    for table in ("flow_run", "flow_run_state", "artifact"):
        assert after[table] <= before[table] - (200 if table == "artifact" else 1100)
        assert after[table] < MOST_ROWS_LEFT, table


def rows_of_server():
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    path = str(PREFECT_API_DATABASE_CONNECTION_URL.value()).partition("///")[2].partition("?")[0]
    with sqlite3.connect(path) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        counts = {name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
    return {name: count for name, count in counts.items() if count}
