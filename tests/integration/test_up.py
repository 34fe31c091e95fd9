"""`lamplighter up` as a person uses it: a schedule that fires, kill -9 of everything in turn, and an end without remains.

In the order in which the tests stand: each leaves the server to the next.
"""

import datetime as dt
import signal
import subprocess

import httpx
import pytest

from tests.flows.conftest import make_project, numbered, readings
from tests.integration.conftest import LAMPLIGHTER, wait_for
from tests.integration.up_tools import Up, a_free_port, make_told, plain_environment, scored_rows

pytestmark = pytest.mark.extras

TODAY = dt.datetime.now(dt.UTC).date()
DAYS = [(TODAY - dt.timedelta(days=number)).isoformat() for number in range(6)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Windows of a day, each minute the schedule scores the last one that is closed; the model waits when it is told to."""
    made = make_project(tmp_path_factory.mktemp("up") / "project")
    made.change_job(
        schedule={"cron": "* * * * *"}, owner="meteorology", priority="high", description="Readings of sensors."
    )
    for day in DAYS:
        made.write_rows(numbered(200).assign(at=readings(200, day)["at"]), f"{day}.parquet")
    make_told(made)
    return made


@pytest.fixture(scope="module")
def up(world):
    started = Up(world.folder, port=a_free_port())
    yield started.wait_ready()
    started.clear_away()


def test_it_says_what_it_does_and_where_the_ui_is(up):
    lines = up.said.splitlines()
    assert "Starting a Prefect server at" in lines[0]
    assert f"Prefect's UI: http://127.0.0.1:{up.port} " in lines[-1]
    assert len(lines) <= 8


def test_the_ui_shows_the_deployments_and_the_browser_asks_nobody_else(up, browser):
    asked = set()
    # Another name of the same machine than the one that was printed.
    with browser.new_context(base_url=f"http://localhost:{up.port}") as context:
        page = context.new_page()
        page.on("request", lambda request: asked.add(httpx.URL(request.url).host))
        page.goto("/", timeout=120_000)
        page.goto("/deployments", timeout=120_000)
        wait_for(lambda: "10 Deployments" in page.inner_text("body"), seconds=120, what="the deployments on the page")
    assert {host for host in asked if host} == {"localhost"}, asked


def test_a_second_one_in_the_same_project_is_refused_and_the_first_is_not_disturbed(up, world):
    for port in (up.port, a_free_port()):
        second = subprocess.run(
            [LAMPLIGHTER, "up", "--port", str(port)],
            cwd=world.folder,
            env=plain_environment(),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert (second.returncode, second.stdout) == (1, "")
        assert "another `lamplighter up` works with" in second.stderr
        assert f"one at http://127.0.0.1:{up.port}. That one was not disturbed" in second.stderr
    assert up.process.poll() is None


def test_a_schedule_fires_and_scores_the_window_of_its_scheduled_time(up, world):
    def published():
        return [run for run in up.runs("score/readings") if run["state"]["name"] == "Published"]

    (run, *_) = wait_for(published, seconds=300, what=f"a scheduled run to publish: {up.said}")

    scheduled = dt.datetime.fromisoformat(run["expected_start_time"])
    yesterday = (scheduled.date() - dt.timedelta(days=1)).isoformat()
    assert run["auto_scheduled"]
    assert run["name"] == f"readings {yesterday}"
    manifest = world.published(yesterday)
    assert manifest.rows.scored == 200
    assert manifest.trigger.scheduled_at == scheduled
    assert {"job:readings", "owner:meteorology"} <= set(run["tags"])
    assert run["work_queue_name"] == "high"


@pytest.mark.slow
def test_the_next_tick_finds_the_window_published_and_ends_at_once(up, world):
    def left():
        return [run for run in up.runs("score/readings") if run["state"]["name"] == "AlreadyPublished"]

    (run, *_) = wait_for(left, seconds=300, what=f"the next tick: {up.said}")
    assert run["total_run_time"] < 15


@pytest.mark.slow
def test_kill_9_of_the_worker_alone_costs_nothing(up, world):
    run = until_it_waits(up, world, DAYS[2])
    assert up.kill("worker start") == 1
    (world.folder / "told/what").write_text("score")

    assert up.ended(run)["name"] == "Published"
    wait_for(lambda: "is started again" in up.said, seconds=60, what="the worker to be started again")
    assert up.ended(up.start_run("score/readings", as_of=DAYS[2]))["name"] == "AlreadyPublished"


@pytest.mark.slow
def test_kill_9_of_worker_and_run_is_found_and_the_next_run_resumes(up, world):
    run = until_it_waits(up, world, DAYS[3])
    before = scored_rows(world.folder / "told")
    assert up.kill("worker start") == 1
    # The run's engine, and the children in which models are loaded.
    assert sum(up.kill(words) for words in ("prefect.engine", "loky", "multiprocessing")) >= 1
    (world.folder / "told/what").write_text("score")

    # Its lock is free at once, long before Prefect knows: the next run takes up the batches that were complete.
    again = up.ended(up.start_run("score/readings", as_of=DAYS[3]))
    assert again["name"] == "Published", again
    after = scored_rows(world.folder / "told")[len(before) :]
    complete = [first for first, _ in before][:-1]
    assert not {first for first, _ in after} & set(complete[-5:])
    assert world.published(DAYS[3]).rows.scored == 200

    found = up.ended(run, seconds=300)
    assert found["type"] == "CRASHED", found


def test_kill_9_of_the_server_loses_nothing(up, world):
    run = until_it_waits(up, world, DAYS[4])
    assert up.kill("server start") == 1
    (world.folder / "told/what").write_text("score")
    wait_for(lambda: "The server is started again" in up.said, seconds=60, what=up.said)

    final = up.ended(run, seconds=400)
    if final["type"] != "COMPLETED":
        final = up.ended(up.start_run("score/readings", as_of=DAYS[4]))
    assert final["type"] == "COMPLETED", final
    assert world.published(DAYS[4]).rows.scored == 200


def test_it_ends_within_seconds_and_leaves_nothing_behind(up, world):
    run = until_it_waits(up, world, DAYS[5])
    there = up.processes()
    code, seconds = up.end(signal.SIGINT)

    assert (code, seconds < 25) == (0, True), (seconds, up.said)
    assert there
    assert up.processes() == []
    assert "Traceback" not in up.said
    again = Up(world.folder, port=up.port)
    try:
        again.wait_ready()
        # Its schedule was not paused, and the run that was ended is known to be.
        assert [one["active"] for one in again.ask("GET", "/deployments/name/score/readings")["schedules"]] == [True]
        assert again.state(run)["type"] == "CRASHED"
    finally:
        again.clear_away()


def until_it_waits(up, world, day):
    """A run that waits, for ever, in the model, with some batches scored."""
    folder = world.folder / "told"
    known = len(scored_rows(folder))
    (folder / "what").write_text("wait 100")
    run = up.start_run("score/readings", as_of=day)
    wait_for(
        lambda: [first for first, _ in scored_rows(folder)[known:] if first >= 100],
        seconds=180,
        what=f"the model to wait: {up.state(run)} {up.said}",
    )
    return run
