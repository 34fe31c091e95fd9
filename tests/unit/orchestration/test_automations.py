"""What a Prefect server is told to do of itself: the file that is committed, and what applying it changes."""

import pathlib
import uuid

import pytest
from prefect.events.schemas.automations import Automation, AutomationCore

from tasks.core.definitions.automations import automations, automations_yaml
from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError
from tasks.core.events import ALARMS
from tasks.core.storage import Folder
from tasks.orchestration import automations as door
from tests.status_scenes import write_job

ROOT = pathlib.Path(__file__).parents[3]
OPS, DESK = "slack-webhook/ops", "custom-webhook/desk"


@pytest.fixture
def wanted(tmp_path):
    """The automations of jobs that are given as name=blocks, as Prefect reads them."""

    def of_jobs(retrain=None, **alerts):
        for name, blocks in alerts.items():
            write_job(tmp_path, name, alerts=list(blocks), **(trained(*retrain[name]) if retrain else {}))
        project = Project(Folder(tmp_path))
        return automations([project.load(name).job for name in alerts])

    return of_jobs


def trained(*causes):
    """What a job says that trains, and whose alarms of these kinds start it."""
    query = "SELECT id, y FROM t WHERE at >= :start AND at < :end"
    days = {key: {"first": day, "last": day} for key, day in (("fit", "2026-01-01"), ("benchmark", "2026-01-02"))}
    return {
        "source": {"type": "sql", "driver": "sqlite", "uri": "x.sqlite", "query": query},
        "labels": {"query": query, "target": "y"},
        "training": {"estimator": "my.code:model", "features": ["x"], **days},
        "monitor": {"retrain": list(causes)},
    }


class Server:
    """A server's automations, as its client shows them; it knows these blocks, and deployments: flow/name."""

    def __init__(self, *blocks, deployments=()):
        self.blocks = {name: uuid.uuid4() for name in blocks}
        self.deployments = {name: uuid.uuid4() for name in deployments}
        self.there = []
        self.changes = []

    def apply(self, wanted):
        self.changes = []
        return door._apply(self, wanted)

    def read_block_document_by_name(self, name, kind, include_secrets):
        from prefect.exceptions import ObjectNotFound

        if f"{kind}/{name}" not in self.blocks:
            raise ObjectNotFound(Exception("none"))
        return type("Block", (), {"id": self.blocks[f"{kind}/{name}"]})

    def read_deployment_by_name(self, name):
        from prefect.exceptions import ObjectNotFound

        if name not in self.deployments:
            raise ObjectNotFound(Exception("none"))
        return type("Deployment", (), {"id": self.deployments[name]})

    def read_automations(self, sort, limit, offset):
        return self.there[::-1][offset : offset + limit]

    def create_automation(self, one):
        self.changes.append(f"create {one.name}")
        self.there.append(Automation(id=uuid.uuid4(), **one.model_dump()))

    def update_automation(self, ident, one):
        self.changes.append(f"update {one.name}")
        self.there = [Automation(id=ident, **one.model_dump()) if old.id == ident else old for old in self.there]

    def delete_automation(self, ident):
        self.changes.append("delete")
        self.there = [one for one in self.there if one.id != ident]

    @property
    def names(self):
        return sorted(one.name.removeprefix("lamplighter: ") for one in self.there)


def test_the_committed_file_is_what_the_jobs_say():
    project = Project(Folder(ROOT))
    jobs = [project.load(name).job for name in project.job_names()]
    assert (ROOT / "deployments/automations.yaml").read_text() == automations_yaml(jobs)


def test_each_block_is_told_of_the_jobs_that_name_it(wanted):
    found = {one["name"]: one for one in wanted(flights=[OPS, DESK], sales=[OPS], quiet=[])}
    assert sorted(found) == [
        "lamplighter: alerts to custom-webhook/desk",
        "lamplighter: alerts to slack-webhook/ops",
        "lamplighter: dead runs to custom-webhook/desk",
        "lamplighter: dead runs to slack-webhook/ops",
        "lamplighter: failed looks to custom-webhook/desk",
        "lamplighter: failed looks to slack-webhook/ops",
        "lamplighter: runs that died",
        "lamplighter: runs that never began",
    ]
    trigger = found["lamplighter: alerts to slack-webhook/ops"]["trigger"]
    assert trigger["match"]["lamplighter.job"] == ["flights", "sales"]
    assert sorted(trigger["expect"]) == sorted(ALARMS)
    # Again and again is one alert a day, of each window and each kind of trouble.
    assert (trigger["for_each"], trigger["within"]) == (["prefect.resource.id", "lamplighter.event"], 86400)
    looks = found["lamplighter: failed looks to slack-webhook/ops"]["trigger"]
    tags, flows = looks["match_related"]
    assert tags["prefect.resource.id"] == ["prefect.tag.job:flights", "prefect.tag.job:sales"]
    # Of a run of `score` that fails, an event of its own tells more.
    assert flows["prefect.resource.name"] == ["audit", "monitor", "train"]
    assert "prefect.flow-run.Failed" in looks["expect"]


def test_alarms_start_train_where_the_job_says_so(wanted):
    found = wanted(
        {"flights": ("drifted", "degraded"), "sales": ("degraded",), "quiet": ()}, flights=[], sales=[], quiet=[]
    )
    both, one = found[2:]
    assert [each["name"] for each in (both, one)] == ["lamplighter: train flights", "lamplighter: train sales"]
    assert both["trigger"]["expect"] == ["lamplighter.performance.degraded", "lamplighter.data.drifted"]
    assert one["trigger"]["expect"] == ["lamplighter.performance.degraded"]
    assert one["trigger"]["match"]["lamplighter.job"] == "sales"
    # Two alarms of one day are one training.
    assert (both["trigger"]["for_each"], both["trigger"]["within"]) == (["lamplighter.job"], 86400)
    # On the ranges as the job says it would make the same model again.
    action = {"type": "run-deployment", "source": "selected", "parameters": {"until": "labelled"}}
    assert both["actions"] == [action | {"deployment": "train/flights"}]


def test_a_deployment_is_looked_up_by_its_name(wanted):
    server = Server(deployments=["train/flights"])
    asked = wanted({"flights": ("drifted",)}, flights=[])
    assert len(server.apply(asked).created) == 3
    (action,) = server.there[-1].actions
    assert (action.type, action.deployment_id) == ("run-deployment", server.deployments["train/flights"])
    assert action.parameters == {"until": "labelled"}
    server.apply(asked)
    assert server.changes == []


def test_a_deployment_that_the_server_does_not_have_is_named_with_what_else_is_missing(wanted):
    done = Server().apply(wanted({"flights": ("drifted",)}, flights=[OPS]))
    with pytest.raises(DefinitionError) as refused:
        done.refuse_missing()
    assert "no notification block slack-webhook/ops, which" in str(refused.value)
    assert "and no deployment train/flights, which an alarm is to start" in str(refused.value)
    assert "all else was applied. Automations: 2 created" in str(refused.value)
    assert "lamplighter deploy; then: lamplighter automations --apply" in str(refused.value)


def test_a_run_that_is_silent_for_three_times_has_died(wanted):
    from tasks.core.events import HEARTBEAT_SECONDS

    dead, lost = wanted(quiet=[])
    assert dead["trigger"]["within"] == 3 * HEARTBEAT_SECONDS
    # Runs of others on the server are not ours to judge.
    assert dead["trigger"]["match_related"]["prefect.resource.id"] == "prefect.tag.lamplighter"
    assert dead["trigger"]["match_related"] == lost["trigger"]["match_related"]
    assert "force" not in dead["actions"][0] | lost["actions"][0]


def test_a_run_that_was_taken_and_began_or_ended_is_not_given_to_another(wanted):
    _, lost = wanted(quiet=[])
    assert "prefect.flow-run.Submitting" in lost["trigger"]["after"]
    begun = {f"prefect.flow-run.{name}" for name in ("Running", "heartbeat", "Published", "Cancelled")}
    assert begun <= set(lost["trigger"]["expect"])
    assert not set(lost["trigger"]["after"]) & set(lost["trigger"]["expect"])


def test_applied_twice_it_is_there_once(wanted):
    server = Server(OPS, DESK)
    assert len(server.apply(wanted(flights=[OPS, DESK])).created) == 8
    done = server.apply(wanted(flights=[OPS, DESK]))
    assert (server.changes, len(done.unchanged), str(done)) == ([], 8, "Automations: 8 as they were.")


def test_a_change_is_an_update_and_what_nobody_asks_for_goes(wanted):
    server = Server(OPS, DESK)
    server.apply(wanted(flights=[OPS, DESK]))
    before = {one.name: one.id for one in server.there}
    done = server.apply(wanted(flights=[OPS], sales=[OPS]))
    assert (len(done.updated), len(done.removed)) == (3, 3)
    assert server.names == [
        "alerts to slack-webhook/ops",
        "dead runs to slack-webhook/ops",
        "failed looks to slack-webhook/ops",
        "runs that died",
        "runs that never began",
    ]
    assert all(before[one.name] == one.id for one in server.there)


def test_what_is_not_ours_is_not_touched_and_what_is_switched_off_stays_so(wanted):
    server = Server(OPS)
    dead, _ = wanted(quiet=[])
    for changes in ({"name": "runs that died"}, {"tags": ["theirs"]}, {"name": "lamplighter: mine", "tags": []}):
        server.create_automation(AutomationCore.model_validate({**dead, **changes}))
    theirs = list(server.there)
    server.apply(wanted(flights=[OPS]))
    assert server.there[:3] == theirs
    server.there[-1] = server.there[-1].model_copy(update={"enabled": False})
    server.apply(wanted(flights=[OPS], sales=[OPS]))
    assert "update" in server.changes[-1]
    assert server.there[-1].enabled is False


def test_what_two_at_once_have_doubled_is_one_again(wanted):
    server = Server()
    for one in 3 * wanted(quiet=[]):
        server.create_automation(AutomationCore.model_validate(one))
    first = server.there[:2]
    server.apply(wanted(quiet=[]))
    assert server.there == first


def test_a_block_that_the_server_does_not_have_is_named_and_all_else_is_applied(wanted):
    server = Server(DESK)
    done = server.apply(wanted(flights=[OPS, DESK]))
    assert len(done.created) == 5
    with pytest.raises(DefinitionError, match="no notification block slack-webhook/ops") as refused:
        done.refuse_missing()
    assert "all else was applied. Automations: 5 created" in str(refused.value)
