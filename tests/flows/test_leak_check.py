"""The command `leak-check`: what came to be known after a window was scored is named, and a query as of then is clean."""

import json
import sqlite3

import pyarrow as pa
import pytest
import yaml
from sklearn.linear_model import LinearRegression

from tasks.core import layout
from tasks.core.definitions.modelling import Prediction, WindowRange
from tasks.core.definitions.project import Project
from tasks.core.models.registering.training_data import labelled_rows
from tasks.core.storage import Folder, Lake
from tests import point_in_time as visits
from tests.flows.conftest import readings, register


class Visits:
    """A project with the job `visits` on a SQLite file, and its model."""

    def __init__(self, folder, query, **changes):
        self.folder, self.lake = folder, Lake(folder / "lake")
        (folder / "deployments/jobs").mkdir(parents=True)
        self.database = sqlite3.connect(folder / "w.sqlite", isolation_level=None)
        self.run(*visits.setup("TEXT"))
        self.write(query, **changes)
        sample = pa.table({"spend": [0.0, 50.0, 100.0] * 10})
        register(
            self.lake,
            "visits",
            LinearRegression(),
            {"spend": "float64"},
            {"p": Prediction(method="predict")},
            sample,
            sample["spend"].to_numpy() / 2,
        )

    def run(self, *statements):
        for statement in statements:
            self.database.execute(statement)

    def write(self, query, **changes):
        job = visits.a_job({"driver": "sqlite", "uri": "w.sqlite"}, query) | changes
        job["labels"]["query"] = job["labels"]["query"].format(features=query)
        (self.folder / "deployments/jobs/visits.yaml").write_text(yaml.safe_dump(job))

    def score(self):
        from flows.score import score

        state = score("visits", visits.DAY, return_state=True)
        assert state.is_completed(), state.message

    def published(self):
        return {row["visit"]: row["spend"] for row in self.table().to_pylist()}

    def table(self):
        (name,) = self.lake.names(f"predictions/visits/as_of={visits.DAY}")
        with self.lake.parquet(f"predictions/visits/as_of={visits.DAY}/{name}") as file:
            return file.read()


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes the project with a query, and scores its window."""
    worlds = []

    def make(query, **changes):
        world = Visits(tmp_path / "project", query, **changes)
        monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(world.folder))
        monkeypatch.setenv("LAMPLIGHTER_LAKE", str(world.folder / "lake"))
        worlds.append(world)
        world.score()
        return world

    yield make
    for world in worlds:
        world.database.close()


def test_a_naive_query_leaks_and_the_features_are_named(made, lamplighter):
    world = made(visits.NAIVE)
    assert world.published() == visits.known()
    assert lamplighter("leak-check", "visits")[0] == 0
    world.run(*visits.LATER)
    before = sorted(world.lake.files())

    code, out, _ = lamplighter("leak-check", "visits")

    assert code == 3
    assert "Its query does not bind :known_at." in out
    # Six of the twenty visits that are there then and now are of the three customers.
    assert "leaks: not what was known then: spend in 6 rows (30.00%) (1 of 1 feature); 2 rows have come since." in out
    assert "Rows new since: 2, such as visit = c1-22; c2-22" in out
    assert "ingested_at <= :known_at; then: lamplighter leak-check visits --as-of 2024-05-01" in out
    assert sorted(world.lake.files()) == before

    code, out, _ = lamplighter("leak-check", "visits", "--as-of", visits.DAY, "--json")
    found = json.loads(out)
    assert (code, found["leaks"], found["binds_known_at"]) == (3, True, False)
    (spend,) = found["features"]
    assert (spend["ours"], spend["differing"], spend["share"], spend["largest"]) == ("spend", 6, 0.3, 100.0)
    assert {tuple(one["key"]) for one in spend["examples"]} <= {(f"c{n}-{h}",) for n in "123" for h in ("08", "20")}
    assert all(one["theirs"] == one["ours"] + 100 for one in spend["examples"])
    assert found["others"] == []
    assert found["rows"]["now"]["rows"] == 22


def test_a_query_as_of_what_was_known_does_not_and_training_sees_what_was_scored(made, lamplighter):
    world = made(visits.AS_KNOWN)
    manifest = published(world)
    assert f"{manifest.window.known_at:%Y-%m-%d %H:%M:%S}" == visits.KNOWN_AT
    assert "2024-05-02 02:30:00 UTC, its query's :known_at" in lamplighter("show", "visits", "--as-of", visits.DAY)[1]
    world.run(*visits.LATER)

    code, out, _ = lamplighter("leak-check", "visits")

    assert code == 0
    assert "Its query was given :known_at = 2024-05-02 02:30:00 UTC, then as now." in out
    assert "No feature of visits 2024-05-01 is different from what was known then: 20 rows, 1 feature." in out
    project = Folder(world.folder)
    windows = WindowRange(first=visits.DAY, last=visits.DAY)
    trained = labelled_rows(Project(project).load("visits"), project, windows, str, lambda labels: None)
    with world.lake.parquet(f"{manifest.workspace}/snapshot.parquet") as file:
        assert trained.table.select(file.schema_arrow.names).equals(file.read().sort_by("visit"))
    assert dict(zip(trained.table["visit"].to_pylist(), trained.truth, strict=True)) == visits.known()


def test_a_query_that_was_mended_is_held_against_what_was_known(made, lamplighter):
    world = made(visits.NAIVE)
    world.run(*visits.LATER)
    world.write(visits.AS_KNOWN, schedule={"cron": "0 3 * * *"})

    code, out, _ = lamplighter("leak-check", "visits")

    assert code == 0
    assert "is not what it was then: a difference may come from that" in out
    assert "the query did not bind :known_at then" in out


def test_a_schedule_that_was_changed_since(made, lamplighter):
    world = made(visits.AS_KNOWN)
    world.write(visits.AS_KNOWN, schedule={"cron": "0 9 * * *"})

    code, out, _ = lamplighter("leak-check", "visits")

    assert code == 0
    assert ":known_at = 2024-05-02 02:30:00 UTC, then as now" in out
    assert "training binds 2024-05-02 09:00:00 UTC for this window, and the run bound 2024-05-02 02:30:00" in out


def test_rows_that_went_and_columns_that_no_model_takes(made, lamplighter):
    world = made(visits.NAIVE)
    world.run("DELETE FROM visits WHERE customer = 'c5'", "UPDATE facts SET plan = 'gold' WHERE customer = 'c6'")

    code, out, _ = lamplighter("leak-check", "visits")
    found = json.loads(lamplighter("leak-check", "visits", "--json")[1])

    assert code == 3
    assert "Rows gone since: 2, such as visit = c5-08; c5-20" in out
    assert "visits 2024-05-01 leaks: 2 rows are gone. A model" in out
    assert found["features"] == []
    assert [(one["ours"], one["differing"]) for one in found["others"]] == [("plan", 2)]


def test_what_cannot_be_looked_at(made, lamplighter):
    world = made(visits.NAIVE)
    manifest = published(world)

    code, _, err = lamplighter("leak-check", "visits", "--as-of", "2024-05-02")
    assert code == 2
    assert "visits 2024-05-02 is not published" in err

    world.write(visits.NAIVE.replace("f.spend", "'x' AS spend"))
    code, out, err = lamplighter("leak-check", "visits")
    # A value that is no number any more: it was one then.
    assert code == 3, err
    assert "spend in 20 rows (100.00%)" in out

    world.write("SELECT visit FROM nowhere")
    code, _, err = lamplighter("leak-check", "visits")
    assert code == 1
    assert "no such table: nowhere" in err
    assert not world.lake.files("scratch")

    source = {"type": "sql", "driver": "sqlite", "uri": "w.sqlite", "query": visits.NAIVE, "history": "current_only"}
    world.write(visits.NAIVE, source=source)
    code, _, err = lamplighter("leak-check", "visits")
    assert code == 2
    assert "knows the present only (history: current_only), so no old window of it can be pulled again" in err

    world.write(visits.NAIVE)
    world.lake.remove(f"{manifest.workspace}/snapshot.parquet")
    code, _, err = lamplighter("leak-check", "visits")
    assert code == 2
    assert "has no window of visits that is published and whose snapshot is still there" in err
    assert "Next: lamplighter runs visits" in err


def test_two_at_once_and_what_a_killed_one_has_left(made, lamplighter):
    world = made(visits.NAIVE)
    folder = layout.leak_check("visits", visits.DAY)
    world.lake.write_bytes(f"{folder}/snapshot.parquet", b"half of it")
    with world.lake.lock(layout.leak_check_lock("visits", visits.DAY), holder="another"):
        code, _, err = lamplighter("leak-check", "visits")
    assert code == 1
    assert "leak check is being run by another" in err
    assert lamplighter("leak-check", "visits")[0] == 0
    assert not world.lake.files("scratch")


def test_rounding_is_no_leak_unless_asked(made, lamplighter):
    world = made(visits.NAIVE)
    # Of one customer, who has two visits, it is 0.
    world.run("UPDATE facts SET spend = spend + 1e-12 * spend")

    code, out, _ = lamplighter("leak-check", "visits")
    assert code == 0, out
    assert "Note: different by rounding alone (--tolerance 1e-09): spend in 18 rows." in out
    found = json.loads(lamplighter("leak-check", "visits", "--json")[1])
    assert (found["leaks"], found["within_tolerance"]) == (False, {"spend": 18})

    code, out, _ = lamplighter("leak-check", "visits", "--tolerance", "0")
    assert code == 3
    assert "spend in 18 rows (90.00%)" in out


def test_rows_that_lost_their_key_and_rows_that_share_one(made, lamplighter):
    query = f"SELECT CASE WHEN visit = 'c5-08' THEN 'c5-20' ELSE visit END AS visit, customer, at, spend, plan FROM ({visits.NAIVE})"
    limits = {"quarantine_share": 0.5}
    world = made(query, limits=limits)
    code, out, _ = lamplighter("leak-check", "visits")
    assert code == 0
    assert "Note: 2 rows share their key or have none; they cannot be told apart" in out
    assert "18 rows (2 left out)" in out

    world.write(query.replace("WHEN visit = 'c5-08' THEN 'c5-20'", "WHEN visit LIKE 'c5%' THEN NULL"), limits=limits)
    code, out, _ = lamplighter("leak-check", "visits")
    assert code == 3
    assert "2 fewer rows share their key; 2 more rows have no key" in out


def test_files_that_were_written_anew(world, lamplighter):
    assert world.score().is_completed()
    changed = readings()
    changed.loc[:9, "x"] += 0.5
    changed.loc[10, "kind"] = None
    world.write_rows(changed)

    code, out, _ = lamplighter("leak-check", "readings")

    assert code == 3
    assert "not what was known then: kind in 1 row (0.50%), x in 10 rows (5.00%) (2 of 3 features)." in out
    assert "Its source is files, which cannot be asked for what was known." in out
    assert "Next: let the files of a window that is over stay as they are" in out


def published(world):
    from tasks.core.runs.run import published_manifest

    return published_manifest(world.lake, "visits", visits.DAY)
