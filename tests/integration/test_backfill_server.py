"""Backfills through a real Prefect server and a real worker: each window a run of its own, cancelled, killed, restarted."""

import collections
import datetime as dt
import json
import os
import signal
import sqlite3
import time
import uuid

import httpx
import pandas as pd
import pytest

from tasks.core import layout
from tasks.core.definitions.automations import automations
from tasks.core.runs.run import manifests
from tests.flows.conftest import readings
from tests.integration.conftest import wait_for

pytestmark = pytest.mark.extras

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
DAYS = [(dt.date(2024, 6, 1) + dt.timedelta(days=number)).isoformat() for number in range(12)]
ROWS = {day: 50 + number for number, day in enumerate(DAYS)}


class Api:
    """What a person does in the UI."""

    def __init__(self, url):
        self.client = httpx.Client(base_url=url, timeout=60)

    def ask(self, method, path, **body):
        """The answer. A server on SQLite under load may say 503, or nothing for a while: asked again."""

        def answer():
            try:
                given = self.client.request(method, path, **({"json": body} if method != "GET" else {}))
            except httpx.TransportError:
                return None
            return None if given.status_code == httpx.codes.SERVICE_UNAVAILABLE else given.raise_for_status()

        given = wait_for(answer, seconds=300, what=f"an answer to {path}")
        return given.json() if given.content else None

    def run(self, deployment, *, scheduled_time=None, **parameters):
        """A run of this deployment: now, or at this time."""
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": scheduled_time}} if scheduled_time else None
        found = self.ask("GET", f"/deployments/name/{deployment}")
        key = str(uuid.uuid4())
        made = self.ask(
            "POST",
            f"/deployments/{found['id']}/create_flow_run",
            parameters=parameters,
            idempotency_key=key,
            state=state,
        )
        return made["id"]

    def read(self, run_id):
        return self.ask("GET", f"/flow_runs/{run_id}")

    def children(self, *parents):
        chosen = {"parent_flow_run_id": {"any_": list(parents)}}
        return self.ask("POST", "/flow_runs/filter", flow_runs=chosen)

    def ended(self, run_id, seconds=900):
        def state():
            found = self.read(run_id)["state"]
            return found if found and found["type"] in FINAL else None

        return wait_for(state, seconds=seconds, what=f"run {run_id} to end")

    def cancel(self, run_id):
        state = {"type": "CANCELLING", "name": "Cancelling", "message": "a person has thought better of it"}
        self.ask("POST", f"/flow_runs/{run_id}/set_state", state=state)

    def artifacts(self, run_id):
        return self.ask("POST", "/artifacts/filter", artifacts={"flow_run_id": {"any_": [run_id]}})


@pytest.fixture(scope="module")
def world(deployed, prefect_server):
    """Twelve days of rows of which nothing is scored."""
    rows = pd.concat([readings(ROWS[day], day).assign(sensor=lambda one, day=day: one["sensor"] + day) for day in DAYS])
    rows["at"] = rows["at"].dt.strftime("%Y-%m-%d %H:%M:%S")
    with sqlite3.connect(deployed.folder / "warehouse.sqlite") as database:
        rows.to_sql("readings", database, index=False, if_exists="append")
    database.close()
    return deployed


@pytest.fixture(scope="module")
def api(deployed, prefect_server):
    made = Api(prefect_server.url)
    queues = made.ask("POST", "/work_pools/lamplighter/queues/filter")
    if "low" not in {one["name"] for one in queues}:
        made.ask("POST", "/work_pools/lamplighter/queues", name="low")
    yield made
    made.client.close()


def all_days(**options):
    return {"first": DAYS[0], "last": DAYS[-1], "reason": "none of it was ever scored", "at_once": 2, **options}


def published(world, days=DAYS):
    found = {day: [one for one in manifests(world.lake, "readings", day) if one.is_published] for day in days}
    return {day: one[0] for day, one in found.items() if one}


def under_way(api, *parents):
    return [one for one in api.children(*parents) if one["state"]["type"] not in FINAL]


def wait_until_published(api, world, count, run_id):
    """Not yet `count` windows are published, and the run goes on."""

    def enough():
        state = api.read(run_id)["state"]
        assert state["type"] not in FINAL, state
        return len(published(world)) >= count

    wait_for(enough, seconds=900, what=f"{count} published windows, see {world.folder}/worker.log")


@pytest.mark.slow
def test_twelve_days_are_cancelled_and_killed_midway_and_end_with_each_window_published_once(world, api):
    began = time.monotonic()
    cancelled = api.run("backfill/readings", **all_days())
    wait_until_published(api, world, 2, cancelled)
    api.cancel(cancelled)
    state = api.ended(cancelled, seconds=300)
    assert state["type"] == "CANCELLED", state
    # What it had asked for is cancelled with it, or ends: nothing is left that would begin later.
    wait_for(lambda: not under_way(api, cancelled), seconds=300, what="its windows to end")
    assert 2 <= len(published(world)) <= 2 + 2 + 2
    assert not any((world.folder / "lake/locks").iterdir())

    killed = api.run("backfill/readings", **all_days())
    wait_until_published(api, world, len(published(world)) + 2, killed)
    assert 0 < len(under_way(api, killed)) <= 2
    os.kill(int(api.read(killed)["infrastructure_pid"].rpartition(":")[2]), signal.SIGKILL)

    # While the windows of the killed one are still under way.
    again = api.run("backfill/readings", **all_days())
    state = api.ended(again, seconds=2400)
    print(f"{len(DAYS)} windows, cancelled and killed midway: {time.monotonic() - began:.0f} s")

    assert state["type"] == "COMPLETED", state
    assert "0 blocked, 0 failed" in state["message"]
    _is_whole(world)
    runs = api.children(cancelled, killed, again)
    assert set(collections.Counter(_window(one) for one in runs if _has_published(one)).values()) == {1}
    assert all({"backfill", "job:readings"} <= set(one["tags"]) for one in runs)
    # Below what is scheduled: a worker with one place takes it from another queue first.
    assert {one["work_queue_name"] for one in runs} == {"low"}
    kinds = {one["type"]: one for one in api.artifacts(again)}
    assert {"progress", "table"} <= set(kinds)
    assert kinds["progress"]["data"] == 100.0
    assert [one["window"] for one in json.loads(kinds["table"]["data"])] == DAYS

    nothing = api.ended(api.run("backfill/readings", **all_days()))
    assert nothing["message"] == f"backfill of readings: 0 done, {len(DAYS)} skipped, 0 blocked, 0 failed"


def _is_whole(world, days=DAYS):
    """Each of these windows is published once, with all of its rows and no row twice."""
    found = published(world, days)
    rows = {day: ROWS[day] for day in days}
    assert {day: one.rows.scored for day, one in found.items()} == rows
    assert all(one.key_digests.pulled == one.key_digests.scored for one in found.values())
    lake = world.folder / "lake"
    assert not (lake / "superseded").exists()
    assert not any((lake / "locks").iterdir())
    table = pd.concat([pd.read_parquet(lake / layout.partition("predictions", "readings", day)) for day in days])
    assert (len(table), table["sensor"].is_unique) == (sum(rows.values()), True)
    assert all(len(list((lake / layout.partition("predictions", "readings", day)).iterdir())) == 1 for day in days)


def _window(run):
    return run["parameters"]["as_of"]


def _has_published(run):
    return run["state"]["name"].startswith("Published")


@pytest.mark.slow
def test_two_at_once_over_overlapping_ranges_score_nothing_twice_and_none_fails(world, api):
    for day in DAYS[:6]:
        _forget(world, day)
    first = api.run("backfill/readings", **all_days(last=DAYS[3], at_once=1))
    second = api.run("backfill/readings", **all_days(last=DAYS[5], at_once=1, reason="another one"))

    both = [api.ended(first), api.ended(second)]

    assert [one["type"] for one in both] == ["COMPLETED"] * 2, both
    _is_whole(world, DAYS[:6])
    runs = [one for one in api.children(first, second) if _has_published(one)]
    assert sorted(_window(one) for one in runs) == DAYS[:6]


@pytest.mark.slow
def test_a_run_whose_worker_died_as_it_took_it_is_begun_by_the_next(world, api):
    """Left for ever in `Submitting`, it would be a window that nobody scores."""
    _forget(world, DAYS[0])
    (wanted,) = [one for one in automations([]) if one["name"].endswith("never began")]
    # In twenty seconds, for a test.
    wanted["trigger"]["within"] = 20
    made = api.ask("POST", "/automations/", **wanted)
    try:
        far = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
        run_id = api.run("score/readings", as_of=DAYS[0], scheduled_time=far)
        taken = {"type": "PENDING", "name": "Submitting"}
        api.ask("POST", f"/flow_runs/{run_id}/set_state", state=taken)

        state = api.ended(run_id, seconds=300)
    finally:
        api.ask("DELETE", f"/automations/{made['id']}")
    assert state["name"] == "Published", state
    _is_whole(world, DAYS[:1])


@pytest.mark.slow
def test_where_the_backfill_holds_the_only_place_it_does_the_work_itself(world, api):
    for day in DAYS[:2]:
        _forget(world, day)
    api.ask("PATCH", "/work_pools/lamplighter", concurrency_limit=1)
    try:
        run_id = api.run("backfill/readings", **all_days(last=DAYS[1]))
        state = api.ended(run_id)
    finally:
        api.ask("PATCH", "/work_pools/lamplighter", concurrency_limit=None)

    assert (state["type"], "2 done" in state["message"]) == ("COMPLETED", True), state
    _is_whole(world, DAYS[:2])
    ends = collections.Counter(one["state"]["type"] for one in api.children(run_id))
    assert ends == {"CANCELLED": 2, "COMPLETED": 2}


def _forget(world, day):
    for name in ("runs", "predictions", "quarantine", "metrics"):
        world.lake.remove(f"{name}/readings/as_of={day}")
