"""Prune as its users meet it: the command, the flow, the Prefect server, and what was pruned scored, accepted, challenged again."""

import datetime as dt
import json
import logging

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Failed, Running

from tasks.core.errors import DefinitionError, Incomplete
from tasks.core.pruning import pruning
from tasks.orchestration.pruning import prune_runs
from tasks.prune import concluded, prune_lake, prune_server
from tests.flows.conftest import DAY, readings

DAYS = dt.timedelta(days=1)


@pytest.fixture
def later():
    """So much later that all that is a week old has outlived its policy."""
    return dt.datetime.now(dt.UTC) + 8 * DAYS


@pytest.fixture
def pruned(world, later):
    """The window is published, and retention has taken its snapshot."""
    world.score()
    world.change_job(retention={"snapshots": "7d"})
    from tasks.core.definitions.project import Project
    from tasks.core.storage import Folder

    found = pruning.prune(world.lake, Project(Folder(world.folder)), "readings", now=later)
    assert {one.kind: one.count for one in found.lines if one.count} == {"snapshots": 1}
    return world


def test_a_published_window_is_pruned_and_scored_again_from_its_source(pruned, lamplighter, caplog):
    before, table = pruned.partition_bytes(), pruned.table()
    assert pruned.score().name == "AlreadyPublished"
    # The same rows come to the same run, whose record must not go with what retention took.
    state = pruned.score(rescore="to see")
    assert (state.name, pruned.partition_bytes()) == ("AlreadyPublished", before)
    assert pruned.published().pruned[0].policy == "7d"
    for words in (("challenge",), ("leak-check",)):
        code, _, told = lamplighter(*words, "readings", "--as-of", DAY)
        assert code
        assert "retention removed it on" in told if "leak" in words[0] else "challenger" in told
    assert "retention removed it on" in lamplighter("show", "readings", "--as-of", DAY)[1]
    # Other rows, asked for from the snapshot that is gone: the source is read, and the run says why.
    pruned.write_rows(readings(100))
    from flows.score import score

    with caplog.at_level(logging.WARNING, "lamplighter"):
        state = score("readings", DAY, "from what was kept", True, return_state=True)
    assert state.name == "Published", state.message
    assert "is pulled from its source: run " in caplog.text
    assert "retention removed it on" in caplog.text
    assert len(pruned.table()) == 100 < len(table)
    page = (pruned.folder / "lake/reports/readings/index.html").read_text()
    assert f'href="as_of={DAY}.html"' in page


def test_the_command_lists_and_removes_nothing_until_it_is_told_to(world, lamplighter):
    world.score()
    world.change_job(retention={"snapshots": "0d"})
    before = sorted(world.folder.glob("lake/runs/**/*"))
    code, told, _ = lamplighter("prune")
    assert code == 0
    assert "Nothing was removed. Next: lamplighter prune --apply" in told
    row = next(line.split() for line in told.splitlines() if "snapshots" in line)
    assert row[:4] == ["readings", "snapshots", "0d", "1"]
    assert sorted(world.folder.glob("lake/runs/**/*")) == before

    code, told, _ = lamplighter("prune", "readings", "--apply", "--json")

    found = {line["kind"]: line["count"] for one in json.loads(told)["found"] for line in one["lines"]}
    assert (code, found["snapshots"]) == (0, 1)
    assert lamplighter("prune", "readings", "--apply")[1].strip().endswith("Nothing has outlived its retention.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nobody",), "there is no job 'nobody'"),
        (("--as-of", "2999-01-01"), "is still to come"),
        (("--as-of", "yesterday"), "'yesterday' is no instant"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_goes(world, lamplighter, words, said):
    world.score()
    code, _, told = lamplighter("prune", "--apply", *words)
    assert code == 2
    assert said in told
    assert world.published().pruned == ()


def test_the_flow_removes_of_those_jobs_whose_policy_says_so_and_lists_the_others(world):
    from flows.prune import prune

    world.score()
    world.change_job(retention={"snapshots": "0d"})
    listed = prune(apply="policy", return_state=True)
    assert (listed.name, world.published().pruned) == ("NothingPruned", ())
    assert listed.message.startswith("would go: 1 thing, ")
    world.change_job(retention={"snapshots": "0d", "apply": True})
    assert prune(apply="policy", return_state=True).name == "Pruned"
    assert len(world.published().pruned) == 1


def test_a_job_that_is_broken_keeps_no_other_from_it(world):
    world.score()
    world.change_job(retention={"snapshots": "0d"})
    (world.folder / "deployments/jobs/broken.yaml").write_text(yaml.safe_dump({"job": "broken"}))
    found = prune_lake(apply="yes")
    with pytest.raises(Incomplete, match=r"broken: deployments/jobs/broken.yaml") as told:
        concluded(found, prune_server(apply="yes"))
    assert "removed: 1 thing" in told.value.state
    assert len(world.published().pruned) == 1


def test_no_lake_is_said_so(world, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(world.folder / "nowhere"))
    with pytest.raises(DefinitionError, match="there is no lake in"):
        prune_lake()


# --- The Prefect server


def _run(client, flow, state, *tags):
    run = client.create_flow_run(flow, state=state, tags=tags)
    client.request("POST", "/artifacts/", json={"key": "prune-test", "type": "markdown", "flow_run_id": str(run.id)})
    return run.id


def _left(client, runs):
    chosen = {"flow_runs": {"id": {"any_": [str(one) for one in runs.values()]}}}
    there = {one["id"] for one in client.request("POST", "/flow_runs/filter", json=chosen).json()}
    return sorted(name for name, run in runs.items() if str(run) in there)


def _artifacts(client, runs):
    chosen = {"artifacts": {"flow_run_id": {"any_": [str(one) for one in runs.values()]}}}
    return len(client.request("POST", "/artifacts/filter", json=chosen).json())


def test_ended_runs_of_ours_go_with_their_artifacts_and_a_run_that_has_not_ended_stays(world):
    from flows.deadlines import deadlines
    from flows.score import score

    ours, job = "lamplighter", "job:readings"
    now = dt.datetime.now(dt.UTC)
    with get_client(sync_client=True) as client:
        runs = {
            "published": _run(client, score, Completed(name="Published"), ours, job),
            "failed": _run(client, score, Failed(), ours, job),
            "at work": _run(client, score, Running(), ours, job),
            "of another job": _run(client, score, Completed(), ours, "job:others"),
            "of another team": _run(client, score, Completed(), job),
            "on time": _run(client, deadlines, Completed(name="OnTime"), ours),
            "late": _run(client, deadlines, Completed(name="WindowsLate"), ours),
        }

        def prune(days, applied):
            found = prune_runs({"readings": "7d"}, "30d", now=now + days * DAYS, applied=applied)
            return {one.job: one.lines[0].count for one in found}

        assert prune(6, ["readings", ""]) == {"readings": 0, "": 1}
        assert _left(client, runs) == sorted(set(runs) - {"on time"})
        assert prune(8, []) == {"readings": 2, "": 0}
        assert len(_left(client, runs)) == 6
        assert prune(8, ["readings", ""]) == {"readings": 2, "": 0}
        assert _left(client, runs) == ["at work", "late", "of another job", "of another team"]
        assert _artifacts(client, runs) == 4
        assert prune(31, [""])[""] == 1
        assert prune(31, ["readings", ""]) == {"readings": 0, "": 0}


def test_a_server_that_does_not_answer_costs_its_own_part_alone(world):
    world.score()
    world.change_job(retention={"snapshots": "0d"})
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        server = prune_server(apply="yes")
    (problem,) = server.problems
    assert problem.startswith("the Prefect server at http://127.0.0.1:9/api did not answer: ConnectError")
    with pytest.raises(Incomplete, match="did not answer") as told:
        concluded(prune_lake(apply="yes"), server)
    assert (told.value.exit_code, len(world.published().pruned)) == (1, 1)
