"""The deployments of `prefect.yaml` on a real Prefect server with a real worker, triggered as the UI does it."""

import json
import os
import pathlib
import subprocess
import uuid
from datetime import UTC, datetime

import httpx
import pandas as pd
import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.alarms import tell_alarms
from tasks.core.definitions.project import Project
from tasks.core.models.registry import Registry
from tasks.core.monitoring.records import Alarm, Monitored
from tasks.core.storage import Folder
from tests.flows.conftest import DAY
from tests.integration.conftest import LAMPLIGHTER, wait_for

ROOT = pathlib.Path(__file__).parents[2]


def test_the_committed_file_is_what_the_jobs_say():
    made = subprocess.run(
        [LAMPLIGHTER, "deployments"],
        cwd=ROOT,
        env={**os.environ, "LAMPLIGHTER_PROJECT": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ROOT / "deployments/prefect.yaml").read_text() == made.stdout
    assert str(ROOT) not in made.stdout


@pytest.fixture(scope="module")
def run(prefect_server, deployed):
    """Triggers a deployment by name with these parameters, as the UI's form does; the run's final state."""
    with httpx.Client(base_url=prefect_server.url, timeout=30) as api:

        def trigger(deployment, **parameters):
            found = api.get(f"/deployments/name/{deployment}").raise_for_status().json()
            # Under load a server on SQLite may answer 503: asked again with the same key it makes no second run.
            wanted = {"parameters": parameters, "idempotency_key": str(uuid.uuid4())}

            def answer():
                given = api.post(f"/deployments/{found['id']}/create_flow_run", json=wanted)
                return None if given.status_code == httpx.codes.SERVICE_UNAVAILABLE else given

            made = wait_for(answer, seconds=60, what="the server to take a run")
            if made.is_client_error:
                return made.json()
            run_id = made.raise_for_status().json()["id"]

            def ended():
                state = api.get(f"/flow_runs/{run_id}").json().get("state")
                return state if state and state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

            return wait_for(ended, seconds=180, what=f"{deployment} to end, see {deployed.folder}/worker.log")

        yield trigger


@pytest.mark.slow
@pytest.mark.extras
def test_a_model_s_life_by_deployments_alone(deployed, run):
    trained = run("train/readings")
    assert (trained["type"], trained["message"]) == ("COMPLETED", "readings version 2")

    promoted = run("promote/promote", model="readings", version=2, reason="fitted on later days")
    assert promoted["type"] == "COMPLETED", promoted
    scored = run("score/readings", as_of=DAY)
    assert (scored["type"], scored["name"]) == ("COMPLETED", "Published"), scored
    assert _versions(deployed) == {"readings/0002"}

    again = run("score/readings", as_of=DAY)
    assert (again["type"], again["name"]) == ("COMPLETED", "AlreadyPublished")

    back = run("rollback/rollback", model="readings", reason="it was wrong")
    assert back["type"] == "COMPLETED", back
    assert "readings version 1" in back["message"]
    recalled = run("recall/recall", model="readings", version=2, reason="it was wrong")
    assert recalled["type"] == "COMPLETED", recalled
    assert _versions(deployed) == set()

    filled = run("backfill/readings", reason="after the recall")
    assert filled["type"] == "COMPLETED", filled
    assert _versions(deployed) == {"readings/0001"}


OWN = """
import sys

assert sys.flags.safe_path, "the folder that a worker stands in is on the path"
assert sys.path[-1].endswith("/project"), sys.path


class Zeroed:
    def fit(self, rows, truth):
        return self

    def transform(self, rows):
        return rows[["x", "y"]].fillna(0)


def build():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(Zeroed(), LogisticRegression())
"""


@pytest.mark.slow
@pytest.mark.extras
def test_a_project_s_own_code_is_found_by_a_worker_and_what_hides_another_is_refused(deployed, run):
    (deployed.folder / "worked.py").write_text(OWN)
    deployed.change_job(training__estimator="worked:build", model__allowed_types=["worked.Zeroed"])
    (deployed.folder / "expectations/held_above.py").write_text(
        "from great_expectations.expectations.core import ExpectColumnMinToBeBetween\n\n\n"
        "class ExpectColumnHeldAbove(ExpectColumnMinToBeBetween):\n    min_value: float = -100.0\n"
    )
    deployed.write_suite({"type": "expect_column_held_above", "kwargs": {"column": "x"}, "severity": "critical"})
    trained = run("train/readings")
    assert (trained["type"], trained["name"]) == ("COMPLETED", "Completed"), trained
    version = int(trained["message"].rpartition(" ")[2])
    registered = Registry(deployed.lake).version("readings", version)
    assert set(registered.manifest.code.modules) == {"worked"}
    at = datetime.now(UTC)
    Registry(deployed.lake).set_alias("readings", "production", version, at=at, actor="test", reason="own code")
    scored = run("score/readings", as_of="2024-05-02")
    assert (scored["type"], scored["name"]) == ("COMPLETED", "Published"), scored
    assert set(deployed.published("2024-05-02").code.modules) == {"worked", "expectations"}

    (deployed.folder / "tasks").mkdir()
    (deployed.folder / "tasks/__init__.py").write_text("raise SystemExit")
    try:
        refused = run("score/readings", as_of="2024-05-03")
        assert refused["type"] == "CRASHED", refused
        assert "tasks has the name of Lamplighter's own package 'tasks'" in (deployed.folder / "worker.log").read_text()
    finally:
        (deployed.folder / "tasks/__init__.py").unlink()
        (deployed.folder / "tasks").rmdir()


@pytest.mark.extras
def test_a_wrong_parameter_is_refused_before_a_run_starts(run):
    assert "does not match" in str(run("score/readings", as_of="yesterday"))
    assert "version" in str(run("promote/promote", model="readings", version=0, reason="none"))


@pytest.mark.extras
def test_every_deployment_is_described_and_tagged(deployed):
    made = yaml.safe_load((deployed.folder / "deployments/prefect.yaml").read_text())
    for one in made["deployments"]:
        assert one["description"]
        assert "lamplighter" in one["tags"]


def _versions(world):
    """The model versions that a plain reader finds in the table."""
    folder = world.folder / "lake/predictions/readings"
    if not list(folder.glob("*/*.parquet")):
        return set()
    return set(pd.read_parquet(folder)["model_version"])


@pytest.mark.extras
def test_lamplighter_deploy_does_what_prefect_s_own_command_did(deployed, prefect_server):
    before = _as_the_server_has_them(prefect_server)
    done = subprocess.run(
        [LAMPLIGHTER, "deploy", "--json"],
        cwd=deployed.folder,
        env=prefect_server.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert sorted(told["deployments"]) == sorted(before)
    assert (told["gone"], told["wrong"]) == ([], {})
    assert _as_the_server_has_them(prefect_server) == before


@pytest.mark.extras
def test_an_alarm_starts_train_where_the_job_says_so(deployed, prefect_server):
    # It trains until the newest window whose labels are due: here of a time before the job's own ranges, so on these.
    deployed.change_job(monitor={"retrain": ["degraded"]}, labels__delay="9999d")
    applied = subprocess.run(
        [LAMPLIGHTER, "automations", "--apply"],
        env=prefect_server.environment | {"LAMPLIGHTER_PROJECT": str(deployed.folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert applied.returncode == 0, applied.stderr
    registry = Registry(deployed.lake)
    before, aliases = registry.numbers("readings"), registry.aliases("readings")
    job = Project(Folder(deployed.folder)).load("readings", suites=False).job
    # The data alone start nothing; of two degraded episodes on one day the second starts no other training.
    kinds = (("drifted", "2024-05-02"), ("degraded", "2024-05-02"), ("degraded", "2024-05-30"))
    alarms = [Alarm(kind=kind, onset=onset, reason="A test.") for kind, onset in kinds]
    found = Monitored(job="readings", at=datetime.now(UTC), as_of="2024-05-31", alarms=alarms)
    with temporary_settings({PREFECT_API_URL: prefect_server.url}):
        assert len(tell_alarms(deployed.lake, job, found)) == len(alarms)
    with httpx.Client(base_url=prefect_server.url, timeout=60) as api:
        wanted = {"deployments": {"name": {"any_": ["readings"]}}, "flows": {"name": {"any_": ["train"]}}}

        def by_automation():
            runs = api.post("/flow_runs/filter", json=wanted).raise_for_status().json()
            ours = [one for one in runs if (one.get("created_by") or {}).get("type") == "AUTOMATION"]
            return ours if ours and all(one["state_type"] == "COMPLETED" for one in ours) else None

        (run,) = wait_for(by_automation, seconds=180, what=f"train to end, see {deployed.folder}/worker.log")
    assert run["parameters"] == {"job": "readings", "until": "labelled"}
    assert registry.numbers("readings") == [*before, before[-1] + 1]
    # What it has made, nobody has promoted.
    assert registry.aliases("readings") == aliases


def _as_the_server_has_them(server):
    """Every deployment by `flow/name`, without what is of one moment: ids, times, where a worker stands."""
    with httpx.Client(base_url=server.url, timeout=60) as api:
        flows = {flow["id"]: flow["name"] for flow in api.post("/flows/filter", json={}).json()}
        found = api.post("/deployments/filter", json={}).raise_for_status().json()
        queues = {one["id"]: one["name"] for one in api.post("/work_queues/filter", json={}).json()}
    passing = {"id", "created", "updated", "last_polled", "status", "version_id", "version_info", "labels"}
    return {
        f"{flows[one['flow_id']]}/{one['name']}": {
            **{key: value for key, value in one.items() if key not in passing},
            # That a name which is none is refused, Prefect's own command leaves out.
            "parameter_openapi_schema": one["parameter_openapi_schema"] | {"additionalProperties": False},
            "schedules": [(given["schedule"], given["active"], given["parameters"]) for given in one["schedules"]],
            "work_queue_id": queues[one["work_queue_id"]],
        }
        for one in found
    }
