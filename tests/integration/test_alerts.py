"""Alerts against a real server: what happens to a window reaches the people whom its job names, once."""

import datetime as dt
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import uuid

import httpx
import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.alarms import tell_alarms
from tasks.core.definitions.project import Project
from tasks.core.monitoring.records import Alarm, Monitored, Rate
from tasks.core.storage import Folder
from tests.flows.conftest import DAY, make_project, readings
from tests.integration.conftest import wait_for

pytestmark = pytest.mark.extras

LAMPLIGHTER = str(pathlib.Path(sys.executable).with_name("lamplighter"))
BLOCK = "custom-webhook/desk"


@pytest.fixture(scope="module")
def desk():
    """A web hook of ours: what was posted to it, as (subject, body)."""
    posted = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            posted.append((said["subject"], said["body"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", posted
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def project(tmp_path_factory, prefect_server):
    """The project `readings`, whose rows are all wrong on two days; its alerts go to the desk."""
    world = make_project(tmp_path_factory.mktemp("alerts") / "project")
    world.write_rows(readings().assign(kind="lukewarm"))
    world.write_rows(readings(100, "2024-05-02").assign(kind="lukewarm"), "b.parquet")
    world.change_job(owner="weather", alerts=[BLOCK])
    return world


@pytest.fixture(scope="module")
def lamplighter(prefect_server, project):
    """Runs a command against the server: exit code and all that it printed."""

    def run(*command):
        done = subprocess.run(
            [LAMPLIGHTER, *command],
            env=prefect_server.environment | {"LAMPLIGHTER_PROJECT": str(project.folder)},
            cwd=project.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def applied(prefect_server, desk, lamplighter):
    """The automations, on a server that has the block of the desk; what applying them said before and after."""
    without = lamplighter("automations", "--apply")
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        CustomWebhookNotificationBlock(
            name="desk", url=desk[0], json_data={"subject": "{{subject}}", "body": "{{body}}"}
        ).save("desk")
    return without, lamplighter("automations", "--apply"), lamplighter("automations", "--apply")


def ask(api, path, body=None):
    """What the server says; asked again where it has no time, as it may under load."""

    def answer():
        given = api.post(path, json=body) if body is not None else api.get(path)
        return None if given.status_code == httpx.codes.SERVICE_UNAVAILABLE else given

    given = wait_for(answer, seconds=120, what=f"an answer to {path}").raise_for_status()
    return given.json() if given.content else None


def names(server):
    with httpx.Client(base_url=server.url, timeout=60) as api:
        return sorted(one["name"] for one in ask(api, "/automations/filter", {}))


def begin(api, flow, name, *tags):
    """A run that has given one sign of life."""
    running = {"type": "RUNNING", "name": "Running"}
    wanted = {"flow_id": flow, "name": name, "tags": list(tags), "state": running, "idempotency_key": str(uuid.uuid4())}
    run = ask(api, "/flow_runs/", wanted)["id"]
    beat = {
        "id": str(uuid.uuid4()),
        "occurred": dt.datetime.now(dt.UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.name": name},
        "related": [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in tags],
    }
    ask(api, "/events", [beat])
    return run


def state(api, run):
    return ask(api, f"/flow_runs/{run}")["state"]


def test_they_are_applied_once_and_a_missing_block_is_named(prefect_server, applied):
    without, first, again = applied
    assert without[0] == 2
    assert f"has no notification block {BLOCK}" in without[1]
    assert first == (0, "Automations: 3 created, 2 as they were.\n")
    assert again == (0, "Automations: 5 as they were.\n")
    assert names(prefect_server) == [
        f"lamplighter: alerts to {BLOCK}",
        f"lamplighter: dead runs to {BLOCK}",
        f"lamplighter: failed looks to {BLOCK}",
        "lamplighter: runs that died",
        "lamplighter: runs that never began",
    ]


def test_a_blocked_window_is_told_once_with_its_reason_and_the_next_step(applied, desk, lamplighter):
    _, posted = desk
    assert lamplighter("score", "readings", "--as-of", DAY)[0] == 3
    subject, body = wait_for(lambda: posted and posted[0], seconds=120, what="the alert")
    assert subject == f"readings {DAY}: blocked"
    assert body.startswith(f"readings {DAY}: blocked. 200 of 200 rows fail expect_column_values_to_be_in_set(kind)")
    assert "Readers see: nothing of this window" in body
    assert f"Next: lamplighter show readings --as-of {DAY}" in body
    assert "Owner: weather. Report: " in body

    # Tried again it is blocked again: no news. Another window is news, and comes after.
    assert lamplighter("score", "readings", "--as-of", DAY)[0] == 3
    assert lamplighter("score", "readings", "--as-of", "2024-05-02")[0] == 3
    wait_for(lambda: len(posted) > 1, seconds=120, what="the second alert")
    assert [subject for subject, _ in posted] == [f"readings {DAY}: blocked", "readings 2024-05-02: blocked"]


def test_a_missed_window_is_told_once(prefect_server, applied, desk, lamplighter, project):
    _, posted = desk
    before = len(posted)
    project.change_job(schedule={"cron": "30 2 * * *"}, deadline="1min")
    watched = dt.datetime.now(dt.UTC) - dt.timedelta(hours=24)
    project.lake.write_bytes("alerts/readings/watched_since", watched.isoformat().encode())
    look = [sys.executable, "-c", "from flows.deadlines import deadlines; print(deadlines(return_state=True).name)"]
    environment = prefect_server.environment | {"LAMPLIGHTER_PROJECT": str(project.folder)}
    said = [
        subprocess.run(look, env=environment, cwd=project.folder, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert [one.splitlines()[-1] for one in said] == ["WindowsLate", "WindowsLate"]
    wait_for(lambda: len(posted) > before, seconds=120, what="the alert")
    ((subject, body),) = posted[before:]
    assert subject.endswith(": missed")
    assert "No run of it had begun by its deadline, 20" in body
    assert "then: lamplighter status readings" in body


def test_an_alarm_of_the_monitor_is_told_once_with_its_figures_and_the_link(prefect_server, applied, desk, project):
    _, posted = desk
    before, now = len(posted), dt.datetime.now(dt.UTC)
    reason = "The data of 2024-05-03 to 2024-05-09 differ from what is usual: the statistic is 3.1, beyond 2.4."
    drifted = Alarm(kind="drifted", onset="2024-05-09", statistic=3.1, line=2.4, reason=reason, next_step="look at x")
    rate = Rate(per_year=1, low=0.41, high=2.2)
    found = Monitored(job="readings", at=now, as_of="2024-05-09", rates={"drifted": rate}, alarms=[drifted])
    job = Project(Folder(project.folder)).load("readings", suites=False).job
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        assert tell_alarms(project.lake, job, found) == [drifted]
        # The next day it stands still, and labels of yesterday are late, too.
        late = Alarm(kind="labels_late", onset="2024-05-09", reason="Labels of 2024-05-09 are late.")
        next_day = found.model_copy(update={"as_of": "2024-05-10", "alarms": (drifted, late)})
        assert tell_alarms(project.lake, job, next_day) == [late]
    wait_for(lambda: len(posted) > before + 1, seconds=120, what="both alerts")
    told = dict(posted[before:])
    assert sorted(told) == ["readings 2024-05-09: labels are late", "readings 2024-05-09: the data have drifted"]
    body = told["readings 2024-05-09: the data have drifted"]
    assert f"the data have drifted. {reason} While nothing changes, such alarms come at a rate of 1 a year" in body
    assert "Next: look at x" in body
    assert f"Owner: weather. Report: {project.lake.path('reports/readings/index.html')}" in body


def test_a_look_that_fails_is_told(prefect_server, applied, desk):
    _, posted = desk
    with httpx.Client(base_url=prefect_server.url, timeout=60) as api:
        flow = ask(api, "/flows/", {"name": "monitor"})["id"]
        run = begin(api, flow, "readings now", "lamplighter", "job:readings")
        failed = {"state": {"type": "FAILED", "name": "Failed", "message": "the labels' query is wrong"}, "force": True}
        ask(api, f"/flow_runs/{run}/set_state", failed)
    wait_for(lambda: any("query is wrong" in body for _, body in posted), seconds=120, what="the alert")
    ((subject, _),) = [one for one in posted if "query is wrong" in one[1]]
    assert subject == "readings now: Failed"


@pytest.mark.slow
def test_a_run_whose_heartbeats_stop_is_taken_for_dead_and_somebody_is_told(prefect_server, applied, desk):
    """As a worker and its run that were killed leave it: running for ever, after one sign of life."""
    _, posted = desk
    with httpx.Client(base_url=prefect_server.url, timeout=60) as api:
        flow = ask(api, "/flows/", {"name": "score"})["id"]
        ours = begin(api, flow, "readings 2024-05-03", "lamplighter", "job:readings")
        theirs = begin(api, flow, "another's", "theirs")
        ended = begin(api, flow, "readings 2024-05-04", "lamplighter", "job:readings")
        published = {"state": {"type": "COMPLETED", "name": "Published"}, "force": True}
        ask(api, f"/flow_runs/{ended}/set_state", published)

        crashed = wait_for(lambda: state(api, ours)["type"] == "CRASHED" and state(api, ours), seconds=300, what="it")
        assert "has not been heard of for 90 s" in crashed["message"]
        assert (state(api, theirs)["type"], state(api, ended)["name"]) == ("RUNNING", "Published")
    wait_for(lambda: any("the run died" in subject for subject, _ in posted), seconds=120, what="the alert")
    ((subject, body),) = [one for one in posted if "the run died" in one[0]]
    assert subject == "readings 2024-05-03: the run died"
    assert "Next: lamplighter status" in body


def test_what_no_job_asks_for_any_more_goes(prefect_server, applied, lamplighter, project):
    project.change_job(alerts=[])
    assert lamplighter("automations", "--apply") == (0, "Automations: 3 removed, 2 as they were.\n")
    assert names(prefect_server) == ["lamplighter: runs that died", "lamplighter: runs that never began"]
