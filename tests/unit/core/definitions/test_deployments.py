"""What Prefect is told of jobs: schedules on their clock, queues by priority, pools, tags, and nothing of a machine."""

import pytest
import yaml

from tasks.core.definitions.deployments import deployments, prefect_yaml, project_of, replay_deployment, work_pools
from tasks.core.definitions.project import parse_job
from tasks.core.errors import JobError

SHORTEST = """
job: {name}
window: {{ kind: interval, every: 1d, timezone: America/New_York }}
source: {{ type: files, path: data, format: parquet }}
keys: [sensor]
event_time: at
columns: {{ sensor: string, at: timestamp, x: float64 }}
model: {{ name: readings }}
output: {{ columns: {{ probability: {{ method: predict_proba, class: 1 }} }} }}
{more}
"""


def job(name="readings", more=""):
    return parse_job(SHORTEST.format(name=name, more=more), where="the test")


def named(jobs):
    return {f"{one['entrypoint'].split('.')[1]}/{one['name']}": one for one in deployments(jobs)}


def place_of(deployment):
    return deployment["work_pool"]["name"], deployment["work_pool"]["work_queue_name"]


def test_the_shortest_job_has_no_schedule_and_lies_in_the_usual_queue():
    found = named([job()])
    assert set(found) == {
        "score/readings", "backfill/readings", "challenge/readings", "monitor/readings", "audit/readings",
        "promote/promote", "rollback/rollback", "recall/recall", "prune/prune",
    }  # fmt: skip
    score = found["score/readings"]
    assert score["parameters"] == {"job": "readings"}
    assert "schedules" not in score
    assert "schedules" not in found["monitor/readings"]
    assert "schedules" not in found["audit/readings"]
    assert found["prune/prune"]["parameters"] == {"apply": "policy"}
    assert found["prune/prune"]["schedules"] == [{"cron": "0 5 * * 0", "timezone": "UTC"}]
    assert place_of(score) == ("lamplighter", "normal")
    assert found["promote/promote"]["work_pool"]["work_queue_name"] == "high"


def test_the_job_owns_its_schedule_owner_pool_and_priority():
    more = 'schedule: { cron: "30 2 * * *", active: false }\nowner: meteorology\nwork_pool: big\npriority: low'
    score = named([job(more=more)])["score/readings"]
    assert score["schedules"] == [{"cron": "30 2 * * *", "timezone": "America/New_York", "active": False}]
    assert score["parameters"] == {"job": "readings", "as_of": "scheduled"}
    assert place_of(score) == ("big", "low")
    assert score["tags"] == ["lamplighter", "job:readings", "owner:meteorology"]


def test_what_follows_from_a_schedule_stands_still_with_it():
    more = 'schedule: { cron: "30 2 * * *", active: false }\nrevisit: [1h, 7d]\ndeadline: 2h'
    found = named([job(more=more), job("others")])
    assert [one["active"] for one in found["revisit/readings"]["schedules"]] == [False]
    assert found["monitor/readings"]["schedules"] == [
        {"cron": "0 6 * * *", "timezone": "America/New_York", "active": False}
    ]
    assert "revisit/others" not in found
    assert found["deadlines/deadlines"]["schedules"] == [{"interval": 300}]
    # Also where no job has a deadline: a window may be missed all the same.
    assert "deadlines/deadlines" in named([job(more='schedule: { cron: "30 2 * * *" }')])
    assert "deadlines/deadlines" not in named([job("others")])


def test_the_monitor_has_a_clock_of_its_own_beside_the_schedule():
    more = 'schedule: { cron: "30 2 * * *" }\nmonitor: { cron: "15 7 * * 1" }'
    found = named([job(more=more)])["monitor/readings"]
    assert found["schedules"] == [{"cron": "15 7 * * 1", "timezone": "America/New_York", "active": True}]
    assert found["parameters"] == {"job": "readings"}


def test_an_audit_comes_each_week_on_the_clock_of_the_windows():
    found = named([job(more='schedule: { cron: "30 2 * * *" }')])["audit/readings"]
    assert found["schedules"] == [{"cron": "30 6 * * 0", "timezone": "America/New_York", "active": True}]
    other = named([job(more='schedule: { cron: "30 2 * * *" }\naudit: { cron: "0 5 1 * *", rows: 9 }')])[
        "audit/readings"
    ]
    assert other["schedules"][0]["cron"] == "0 5 1 * *"
    assert other["parameters"] == {"job": "readings"}


def test_the_monitor_s_clock_is_refused_where_prefect_could_not_read_it():
    with pytest.raises(JobError, match=r"'monitor.cron': .*'every morning' is not a cron expression of five fields"):
        job(more="monitor: { cron: every morning }")


def test_a_backfill_waits_where_it_takes_no_run_s_place():
    assert named([job(more="priority: high")])["backfill/readings"]["work_pool"]["work_queue_name"] == "backfill"


def test_every_pool_is_made_and_the_common_one_always():
    assert work_pools([]) == ["lamplighter"]
    assert work_pools([job("b", "work_pool: zoo"), job("a", "work_pool: big"), job("c")]) == [
        "lamplighter",
        "big",
        "zoo",
    ]


def test_the_file_says_how_its_pools_and_queues_are_made():
    text = prefect_yaml([job(more="work_pool: big")], "1.2.3")
    for pool in ("lamplighter", "big"):
        assert f"#   prefect work-pool create --type process {pool}\n" in text
        assert f"#   prefect work-queue create high --pool {pool} --priority 1\n" in text
    found = yaml.safe_load(text)
    assert found == project_of([job(more="work_pool: big")], "1.2.3")
    assert {one["version"] for one in found["deployments"]} == {"1.2.3"}


@pytest.mark.parametrize(
    "flow",
    [
        "score", "backfill", "challenge", "monitor", "train", "promote", "rollback", "recall", "replay", "revisit",
        "deadlines", "audit", "prune",
    ],
)  # fmt: skip
def test_every_entrypoint_is_a_flow_of_that_name(flow):
    from importlib import import_module

    assert getattr(import_module(f"flows.{flow}"), flow).name == flow


def test_the_replay_of_the_demo_comes_each_half_minute_and_names_no_window():
    found = replay_deployment(job("flight_delays"))
    assert found["schedules"] == [{"interval": 30}]
    assert found["parameters"] == {}


def test_what_changes_the_registry_has_a_pool_of_its_own():
    made = deployments([job(more="work_pool: big")], "registry")
    pools = {one["entrypoint"].split(".")[1]: one["work_pool"]["name"] for one in made}
    assert {flow for flow, pool in pools.items() if pool == "registry"} == {"promote", "rollback", "recall"}
    assert pools["score"] == "big"
    assert work_pools([job(more="work_pool: big")], "registry") == ["lamplighter", "big", "registry"]


def test_whoever_starts_the_worker_a_run_says_often_that_it_lives():
    every = {
        one["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] for one in deployments([job()])
    }
    assert every == {"30"}


def test_no_module_of_the_folder_that_a_worker_stands_in_takes_another_s_place():
    safe = {one["work_pool"]["job_variables"]["env"]["PYTHONSAFEPATH"] for one in deployments([job()])}
    assert safe == {"1"}
