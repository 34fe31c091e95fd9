"""Runs whose rows go to a real PostgreSQL too: what the flows and commands make of a delivery, and of one that fails."""

import json

import pytest

import flows.recall
import tasks.orchestration.events
from tasks.core import layout
from tasks.core.delivery import state
from tests.flows.conftest import DAY, add_wrong_version, make_project, open_world, readings, typist

NEXT_DAY = "2024-05-02"
NOWHERE = "postgresql://me:hunter22@127.0.0.1:1/db"


@pytest.fixture(scope="module", autouse=True)
def _prefect(prefect_harness):
    """Every test here runs flows."""


@pytest.fixture
def table(postgresql, monkeypatch):
    """By window: rows, and the versions that made them, as the database has them."""
    postgresql.execute("CREATE SCHEMA analytics")
    monkeypatch.setenv("TARGET_URI", postgresql.uri)

    def seen():
        if not postgresql.execute("SELECT to_regclass('analytics.scores') IS NOT NULL")[0][0]:
            return {}
        rows = postgresql.execute(
            "SELECT as_of, count(*), string_agg(DISTINCT model_version, ' ') FROM analytics.scores GROUP BY 1"
        )
        return {as_of: (count, version) for as_of, count, version in rows}

    yield seen
    postgresql.execute("DROP SCHEMA analytics CASCADE")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The project `readings`, which delivers to analytics.scores, with rows of two days."""
    world = make_project(tmp_path_factory.mktemp("delivered") / "project")
    world.write_rows(readings())
    world.write_rows(readings(100, NEXT_DAY), "b.parquet")
    world.change_job(output__sql={"table": "analytics.scores", "uri_env": "TARGET_URI", "retries": 0})
    return world


@pytest.fixture
def world(made, tmp_path, monkeypatch, table):
    return open_world(tmp_path / "project", monkeypatch, like=made)


@pytest.fixture
def lamplighter(monkeypatch, capsys):
    return typist(monkeypatch, capsys)


def page(world, as_of=DAY):
    return world.lake.read_text(layout.window_page("readings", as_of))


def test_a_window_is_published_and_in_the_database_and_so_it_stays(world, table, lamplighter):
    state_ = world.score()
    assert state_.name == "Published", state_.message
    assert table() == {DAY: (200, "readings/0001")}
    assert "200 rows of run" in page(world)
    assert world.score().name == "AlreadyPublished"

    # Fewer rows; then everything but publication, which is no reason to deliver.
    world.write_rows(readings(150))
    assert world.score(rescore="rows were taken back").name == "Published"
    assert table() == {DAY: (150, "readings/0001")}
    world.write_rows(readings(120))
    assert lamplighter("score", "readings", "--as-of", DAY, "--dry-run")[0] == 0
    assert table() == {DAY: (150, "readings/0001")}
    assert lamplighter("deliver", "readings")[:2] == (
        0,
        "readings to the table analytics.scores: 1 window there already.\nNext: lamplighter status readings\n",
    )


def test_a_database_that_is_gone_costs_the_delivery_alone(world, table, lamplighter, monkeypatch, postgresql):
    monkeypatch.setenv("TARGET_URI", NOWHERE)
    ended = world.score()

    assert (ended.type.value, ended.name) == ("FAILED", "NotDelivered")
    assert ended.message.startswith(
        f"readings {DAY} is published in the lake, and was not delivered to the table analytics.scores: could not connect"
    )
    assert "The publication stands; readers of analytics.scores see what was there before. Next: " in ended.message
    assert ended.message.endswith(f"lamplighter deliver readings --as-of {DAY}.")
    assert "hunter22" not in ended.message
    assert (len(world.table()), world.published().verdict) == (200, "published")
    assert "NOT delivered: could not connect" in page(world)
    code, out, _ = lamplighter("status")
    assert (code, "undelivered 2024-05-01" in out, f"Next: lamplighter deliver readings --as-of {DAY}" in out) == (
        1,
        1,
        1,
    )

    # Who asks a second time is not told that all is well: not by the flow, and not by the command.
    assert world.score().name == "NotDelivered"
    code, _, error = lamplighter("score", "readings", "--as-of", DAY)
    assert (code, "was not delivered" in error) == (1, True)
    code, _, error = lamplighter("deliver", "readings")
    assert (code, "could not connect" in error, "hunter22" in error) == (1, True, False)
    assert state.read(world.lake, "readings", DAY).attempts == 3

    monkeypatch.setenv("TARGET_URI", postgresql.uri)
    assert world.score().name == "AlreadyPublished"
    assert table() == {DAY: (200, "readings/0001")}
    assert lamplighter("status")[0] == 0


@pytest.mark.extras
def test_the_command_brings_up_what_is_behind(world, table, lamplighter, monkeypatch, postgresql):
    monkeypatch.setenv("TARGET_URI", NOWHERE)
    assert {world.score().name, world.score(NEXT_DAY).name} == {"NotDelivered"}
    monkeypatch.setenv("TARGET_URI", postgresql.uri)

    code, out, _ = lamplighter("deliver", "readings", "--as-of", NEXT_DAY, "--json")
    assert (code, [one["outcome"] for one in json.loads(out)["windows"]]) == (0, ["delivered"])
    assert "100 rows of run" in page(world, NEXT_DAY)
    code, out, _ = lamplighter("deliver", "readings")
    assert (code, "1 window delivered, 1 window there already" in out) == (0, True)
    assert sorted(table()) == [DAY, NEXT_DAY]

    assert lamplighter("deliver", "readings", "--as-of", "yesterday")[0] == 2
    postgresql.execute("ALTER TABLE analytics.scores DROP COLUMN kind")
    world.write_rows(readings(150))
    assert world.score(rescore="again").name == "NotDelivered"
    code, out, _ = lamplighter("deliver", "readings")
    assert (code, "ADD COLUMN" in out) == (1, True)
    world.change_job(output__sql=None)
    code, _, error = lamplighter("deliver", "readings")
    assert (code, "is delivered to no database" in error) == (2, True)


@pytest.mark.extras
def test_a_recall_takes_the_rows_out_and_brings_the_last_good_ones_back(
    world, table, lamplighter, monkeypatch, postgresql
):
    world.score()
    add_wrong_version(world)
    world.score(rescore="a new version")
    world.score(NEXT_DAY)
    assert table() == {DAY: (200, "readings/0002"), NEXT_DAY: (100, "readings/0002")}

    monkeypatch.setenv("TARGET_URI", NOWHERE)
    code, out, error = lamplighter("recall", "readings", "--version", "2", "--reason", "it learnt from the future")
    assert (code, "2 windows withdrawn (1 restored)" in out, "a database may still have its rows" in error) == (1, 1, 1)
    code, out, _ = lamplighter("status", "--json")
    (found,) = json.loads(out)
    assert (code, [(one["as_of"], one["kind"]) for one in found["windows"]]) == (
        1,
        [(DAY, "undelivered"), (NEXT_DAY, "undelivered")],
    )
    assert {world.table()["model_version"].iloc[0]} == {"readings/0001"}

    monkeypatch.setenv("TARGET_URI", postgresql.uri)
    again = flows.recall.recall("readings", 2, "it learnt from the future", return_state=True)
    assert again.is_completed(), again.message
    assert table() == {DAY: (200, "readings/0001")}
    code, out, _ = lamplighter("backfill", "readings", "--queued")
    assert (code, table()) == (1, {DAY: (200, "readings/0001")}), out


@pytest.mark.extras
def test_nothing_of_a_job_in_shadow_is_delivered_until_it_is_live(world, table, lamplighter):
    world.change_job(output__shadow=True)
    assert world.score().name == "Published"
    code, out, _ = lamplighter("deliver", "readings")
    assert (code, "is in shadow (output.shadow: true): nothing is delivered" in out, table()) == (0, True, {})
    assert lamplighter("status")[0] == 0

    world.change_job(output__shadow=False)
    assert lamplighter("status")[0] == 0
    assert world.score(NEXT_DAY).name == "Published"
    assert table() == {NEXT_DAY: (100, "readings/0001")}
    assert world.score(rescore="live from now on").name == "Published"
    assert sorted(table()) == [DAY, NEXT_DAY]


def test_the_alarm_says_that_it_is_published(world, monkeypatch):
    monkeypatch.setenv("TARGET_URI", NOWHERE)
    told = []
    monkeypatch.setattr(
        tasks.orchestration.events, "tell", lambda event, *_, payload, **__: told.append((event, payload))
    )
    world.score()
    ((event, payload),) = told
    assert (event, payload["verdict"]) == ("lamplighter.run.failed", "published, and not delivered")
    assert "was not delivered to the table analytics.scores" in payload["reason"]
    assert payload["readers_see"].startswith("run ")


def test_without_a_prefect_block_the_reason_says_so(world, lamplighter):
    world.change_job(output__sql={"table": "analytics.scores", "uri_block": "no-such-block", "retries": 0})
    ended = world.score()
    assert (ended.name, "no Prefect block secret/no-such-block" in ended.message) == ("NotDelivered", True)
