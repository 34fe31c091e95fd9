"""Forty jobs of four teams: one file each, what a team shares said once, all deployed to one server and run."""

import subprocess
import sys
import time

import pytest
import yaml

from tests.flows.conftest import DAY, make_project, readings
from tests.integration.conftest import LAMPLIGHTER, wait_for
from tests.integration.up_tools import Up, a_free_port

pytestmark = [pytest.mark.extras, pytest.mark.slow]

TEAMS = ("harbour", "lighthouse", "pilots", "rescue")
JOBS = [f"job_{number:02}" for number in range(40)]
PRIORITIES = ("high", "normal", "low")


def team_of(job):
    """The first team's jobs say nothing of their owner: they inherit it."""
    return TEAMS[int(job[-2:]) % len(TEAMS)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = make_project(tmp_path_factory.mktemp("forty") / "project")
    made.write_rows(readings(200))
    jobs = made.folder / "deployments/jobs"
    (jobs / "defaults.yaml").write_text(f"owner: {TEAMS[0]}\npriority: low\n")
    template = yaml.safe_load(made.job_file.read_text())
    for number, name in enumerate(JOBS):
        one = template | {"job": name, "description": f"Readings, as {team_of(name)} wants them."}
        one["schedule"] = {"cron": f"{number} 2 * * *"}
        if team_of(name) != TEAMS[0]:
            one |= {"owner": team_of(name), "priority": PRIORITIES[number % 3]}
        (jobs / f"{name}.yaml").write_text(yaml.safe_dump(one, sort_keys=False))
    made.job_file.unlink()
    return made


@pytest.fixture(scope="module")
def up(world):
    started = Up(world.folder, port=a_free_port())
    try:
        yield started.wait_ready(400)
    finally:
        started.clear_away()


def test_all_are_deployed_with_their_owners_queues_and_schedules(up, world):
    assert "of 40 jobs" in up.said
    found = {one["name"]: one for one in up.ask("POST", "/deployments/filter", limit=200) if one["name"] in JOBS}
    assert sorted(found) == JOBS
    scored = [up.ask("GET", f"/deployments/name/score/{name}") for name in JOBS]
    for number, one in enumerate(scored):
        owner = team_of(one["name"])
        assert f"owner:{owner}" in one["tags"]
        assert one["work_queue_name"] == ("low" if owner == TEAMS[0] else PRIORITIES[number % 3])
        (schedule,) = one["schedules"]
        assert (schedule["schedule"]["cron"], schedule["active"]) == (f"{number} 2 * * *", True)


def test_to_deploy_them_again_is_quick_and_changes_nothing(up, world, record_property):
    before = {name: up.ask("GET", f"/deployments/name/score/{name}")["id"] for name in JOBS}
    began = time.monotonic()
    done = subprocess.run(
        [LAMPLIGHTER, "deploy"],
        cwd=world.folder,
        env=up.environment | {"PREFECT_API_URL": up.url},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    record_property("seconds", round(time.monotonic() - began, 1))
    assert "Deployed 205 deployments of 40 jobs" in done.stdout
    assert {name: up.ask("GET", f"/deployments/name/score/{name}")["id"] for name in JOBS} == before


def test_each_runs_one_of_a_team_by_the_worker_and_the_rest_in_one_process(up, world):
    """A process for each of forty would take minutes of which all are imports."""
    by_worker = JOBS[: len(TEAMS)]
    runs = [up.start_run(f"score/{name}", as_of=DAY) for name in by_worker]
    code = f"from flows.score import score\nfor job in {JOBS[len(TEAMS) :]}: score(job, {DAY!r})"
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=world.folder,
        env=up.environment
        | {
            "PREFECT_API_URL": up.url,
            "LAMPLIGHTER_PROJECT": str(world.folder),
            "LAMPLIGHTER_LAKE": str(world.folder / "lake"),
        },
        check=True,
        capture_output=True,
        timeout=900,
    )
    assert [up.ended(run, seconds=600)["name"] for run in runs] == ["Published"] * len(TEAMS)
    published = sorted(path.parts[-3] for path in (world.folder / "lake/predictions").glob("*/*/*.parquet"))
    assert published == JOBS


def test_a_job_whose_file_is_broken_keeps_no_other_from_being_deployed(up, world):
    broken = world.folder / "deployments/jobs/job_07.yaml"
    text = broken.read_text()
    broken.write_text("job: job_07\nkeyz: [sensor]\n")
    (world.folder / "deployments/jobs/job_39.yaml").unlink()
    try:
        done = subprocess.run(
            [LAMPLIGHTER, "deploy", "--prune"],
            cwd=world.folder,
            env=up.environment | {"PREFECT_API_URL": up.url},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    finally:
        broken.write_text(text)
    assert done.returncode == 2
    assert "Not deployed: deployments/jobs/job_07.yaml" in done.stderr
    assert "of 38 jobs" in done.stdout
    # What is gone is removed, and what is only broken stays.
    assert (
        "Removed, as no job here has them: audit/job_39, backfill/job_39, challenge/job_39, monitor/job_39, score/job_39."
        in done.stdout
    )
    assert up.ask("GET", "/deployments/name/score/job_07")["name"] == "job_07"
    wait_for(lambda: up.client.get("/deployments/name/score/job_39").status_code == 404, seconds=30, what="it to go")
