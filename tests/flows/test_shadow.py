"""A job in shadow, from its first window to the switch: where its rows are, and what everybody is told."""

import contextlib
import json

import duckdb
import pandas as pd
import pytest

from tasks.core.errors import NotDelivered, WindowFinished
from tasks.core.runs.run import latest_manifest
from tests.flows.conftest import DAY, World, make_project, open_world, readings, typist

NEXT_DAY = "2024-05-02"


@pytest.fixture(scope="module")
def made(tmp_path_factory, prefect_harness) -> World:
    """Two days, of which the first was published in shadow, and the second live."""
    with pytest.MonkeyPatch.context() as patch:
        world = make_project(tmp_path_factory.mktemp("shadow") / "project")
        open_world(world.folder, patch)
        world.write_rows(readings())
        world.write_rows(readings(100, NEXT_DAY), "b.parquet")
        world.change_job(output__shadow=True)
        state = world.score()
        assert (state.name, "published, in shadow. 200 of 200 rows" in state.message) == ("Published", True)
        assert not (world.folder / "lake/latest").exists()
        world.change_job(output__shadow=None)
        assert world.score(NEXT_DAY).name == "Published"
        return world


@pytest.fixture
def two_days(made, tmp_path, monkeypatch) -> World:
    return open_world(tmp_path / "project", monkeypatch, like=made)


@pytest.fixture
def lamplighter(monkeypatch, capsys):
    return typist(monkeypatch, capsys)


def days(world: World, table: str) -> list[str]:
    return sorted(path.name for path in (world.folder / "lake" / table / "readings").glob("as_of=*"))


def test_its_rows_are_in_shadow_and_nowhere_that_readers_look(two_days):
    assert (days(two_days, "predictions"), days(two_days, "shadow")) == ([f"as_of={NEXT_DAY}"], [f"as_of={DAY}"])
    manifest = two_days.published()
    assert (manifest.shadow, manifest.files["predictions"].key.split("/")[0]) == (True, "shadow")
    assert two_days.lake.sha256(manifest.files["predictions"].key) == manifest.files["predictions"].sha256
    # Quarantine and figures have one table, and of each run there is a row.
    assert days(two_days, "metrics") == [f"as_of={DAY}", f"as_of={NEXT_DAY}"]
    runs = duckdb.sql(
        f"select as_of::varchar, shadow, verdict from read_parquet('{two_days.lake.path('runs')}/*/*/*/run.parquet')"
    )
    assert sorted(runs.fetchall()) == [(DAY, True, "published"), (NEXT_DAY, False, "published")]
    assert len(pd.read_parquet(two_days.folder / "lake/latest/readings")) == 100


def test_everybody_is_told(two_days, lamplighter):
    page = (two_days.folder / f"lake/reports/readings/as_of={DAY}.html").read_text()
    assert "<h1>Published, in shadow</h1>" in page
    assert f"/lake/shadow/readings/as_of={DAY}/*.parquet" in page
    page = (two_days.folder / f"lake/reports/readings/as_of={NEXT_DAY}.html").read_text()
    assert "/lake/latest/readings/*.parquet" in page
    _, shown, _ = lamplighter("show", "readings", "--as-of", DAY)
    assert f"readings {DAY}: published, in shadow" in shown
    assert "Readers see nothing of this window" in shown
    assert "in shadow" in lamplighter("runs", "readings")[1]
    code, said, _ = lamplighter("published", "readings", "--as-of", DAY)
    assert (code, "in shadow: 200 rows of run" in " ".join(said.split())) == (1, True)
    assert lamplighter("published", "readings", "--as-of", NEXT_DAY)[0] == 0
    code, said, _ = lamplighter("status", "--json")
    assert (code, [one["windows"] for one in json.loads(said)]) == (0, [[]])


def test_the_team_switches_over(two_days):
    before = two_days.published()
    # It is finished, in shadow as it is; whoever wants it live says so.
    state = two_days.score()
    assert (state.name, f"readings {DAY} is published, in shadow: 200 rows" in state.message) == (
        "AlreadyPublished",
        True,
    )
    state = two_days.score(rescore="we switch over")
    assert (state.name, "in shadow" in state.message) == ("Published", False)
    assert (days(two_days, "predictions"), days(two_days, "shadow")) == (
        [f"as_of={DAY}", f"as_of={NEXT_DAY}"],
        [],
    )
    kept = two_days.folder / f"lake/superseded/readings/as_of={DAY}/{before.run_id}"
    assert sorted(path.name for path in kept.iterdir()) == ["manifest.json", "metrics", "predictions", "quarantine"]
    assert two_days.published().replaces == before.run_id
    latest = pd.read_parquet(two_days.folder / "lake/latest/readings")
    # The next day has half of the keys.
    assert dict(latest["run_id"].value_counts()) == {
        two_days.published(NEXT_DAY).run_id: 100,
        two_days.published().run_id: 100,
    }


def test_from_shadow_no_live_window_is_replaced(two_days, lamplighter):
    two_days.change_job(output__shadow=True)
    live = two_days.partition_bytes(NEXT_DAY)
    state = two_days.score(NEXT_DAY, "again")
    assert (state.name, f"readings {NEXT_DAY} is live" in state.message) == ("Failed", True)
    assert "set output.shadow: false" in state.message
    assert latest_manifest(two_days.lake, "readings", NEXT_DAY).is_published
    code, _, said = lamplighter("score", "readings", "--as-of", NEXT_DAY, "--rescore", "again")
    assert (code, "is live" in said) == (2, True)
    assert two_days.partition_bytes(NEXT_DAY) == live
    # What is in shadow may be replaced there, and what would be published may be looked at.
    assert two_days.score(rescore="again").name == "AlreadyPublished"
    assert lamplighter("score", "readings", "--as-of", NEXT_DAY, "--dry-run")[0] == 0


def test_a_table_of_the_latest_rows_that_fails_costs_no_run(two_days, monkeypatch, caplog):
    two_days.lake.write_bytes("latest/readings/_windows.json", b"{")
    monkeypatch.setattr("tasks.latest.refresh", lambda *_, **__: 1 / 0)
    assert two_days.score(rescore="we switch over").name == "Published"
    assert "latest/readings was not brought up to date: division by zero" in caplog.text
    monkeypatch.undo()
    open_world(two_days.folder, monkeypatch)
    # Whoever finds the window finished brings it up to date.
    assert two_days.score().name == "AlreadyPublished"
    assert len(pd.read_parquet(two_days.folder / "lake/latest/readings")) == 200


def test_a_window_that_is_finished_is_in_the_latest_rows_before_its_delivery_is_tried(two_days, monkeypatch):
    """The delivery may fail, and the run with it."""
    found = []

    @contextlib.contextmanager
    def undelivered(*_, **__):
        try:
            yield
        except WindowFinished as error:
            found.append(two_days.lake.names("latest/readings"))
            raise NotDelivered("the database is down") from error

    two_days.lake.remove("latest/readings")
    monkeypatch.setattr("flows.score.caught_up", undelivered)
    assert two_days.score(NEXT_DAY).name == "NotDelivered"
    assert [len(names) for names in found] == [2]
