"""'Is it there yet', for a script: an exit code, one line, and a row in `runs/`."""

import json
import types

import duckdb
import pytest

import flows.cli.status
from tests.flows.conftest import DAY, readings

pytestmark = pytest.mark.usefixtures("world")

NEXT_DAY = "2024-05-02"


def test_not_there_published_and_published_still_while_a_rescore_is_blocked(lamplighter, world):
    code, out, _ = lamplighter("published", "readings", "--as-of", DAY)
    assert (code, out) == (
        1,
        f"readings {DAY}: not there: no run of it has begun. Next: lamplighter score readings --as-of {DAY}\n",
    )
    world.score()
    run = world.published().run_id
    code, out, _ = lamplighter("published", "readings", "--as-of", DAY)
    assert code == 0
    assert out.count("\n") == 1
    assert f"200 rows by run {run} with readings/0001" in out

    world.write_rows(readings().assign(kind="lukewarm"))
    world.score(rescore="a new feed")
    assert lamplighter("published", "readings", "--as-of", DAY)[0] == 0


def test_blocked_is_3_and_failed_is_1(lamplighter, world):
    world.write_rows(readings().assign(kind="lukewarm"))
    world.score()
    code, out, _ = lamplighter("published", "readings", "--as-of", DAY, "--json")
    said = json.loads(out)
    assert (code, said["exit_code"], said["verdict"], said["is_published"]) == (3, 3, "blocked", False)

    (world.folder / "data/a.parquet").write_bytes(b"not parquet")
    world.score()
    code, out, _ = lamplighter("published", "readings", "--as-of", DAY)
    assert (code, f"readings {DAY}: failed: " in out) == (1, True)


def test_it_waits_until_somebody_publishes(lamplighter, world, monkeypatch):
    looks = []

    def publish_meanwhile(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            world.score()

    monkeypatch.setattr(flows.cli.status, "time", types.SimpleNamespace(sleep=publish_meanwhile, monotonic=lambda: 0.0))
    assert lamplighter("published", "readings", "--as-of", DAY, "--wait", "2h")[0] == 0
    assert len(looks) == 3


def test_it_waits_no_longer_than_asked(lamplighter, monkeypatch):
    now = [0.0]

    def pass_by(seconds):
        now[0] += seconds

    monkeypatch.setattr(flows.cli.status, "time", types.SimpleNamespace(sleep=pass_by, monotonic=lambda: now[0]))
    code, out, _ = lamplighter("published", "readings", "--as-of", DAY, "--wait", "30min")
    assert (code, now[0], out.count("\n")) == (1, 1800.0, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("readings", "--as-of", "2024-5-1"), "in the form 2013-07-01"),
        (("reading", "--as-of", DAY), "did you mean 'readings'?"),
        (("../lake", "--as-of", DAY), "there is no job"),
        (("readings", "--as-of", DAY, "--wait", "soon"), "'soon' is not a length of time"),
    ],
)
def test_what_can_never_be_there_is_a_mistake(lamplighter, arguments, says):
    code, _, err = lamplighter("published", *arguments)
    assert (code, says in err) == (2, True)


def test_a_reader_has_the_lake_alone(lamplighter, world, monkeypatch, tmp_path):
    """Somebody else's machine has no project; and a job that is broken has published what it has."""
    world.score()
    world.job_file.write_text("job: [")
    assert lamplighter("published", "readings", "--as-of", DAY)[0] == 0
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(tmp_path))
    assert lamplighter("published", "readings", "--as-of", DAY)[0] == 0
    assert lamplighter("published", "readings", "--as-of", NEXT_DAY)[0] == 1
    assert lamplighter("published", "readings", "--as-of", "tomorrow")[0] == 2


def test_the_row_in_runs(world):
    """The documented query, with a database that knows nothing of us."""
    world.score()
    world.write_rows(readings(100, NEXT_DAY).assign(kind="lukewarm"), "b.parquet")
    world.score(NEXT_DAY)
    world.write_rows(readings(), "a.parquet")
    rows = duckdb.sql(
        f"""
        SELECT as_of, state, verdict, run_id
        FROM read_json('{world.folder}/lake/runs/readings/*/*/manifest.json',
                       columns = {{as_of: 'VARCHAR', state: 'VARCHAR', verdict: 'VARCHAR', run_id: 'VARCHAR'}},
                       hive_partitioning = false)
        ORDER BY as_of
        """
    ).fetchall()
    assert [(as_of, state, verdict) for as_of, state, verdict, _ in rows] == [
        (DAY, "concluded", "published"),
        (NEXT_DAY, "concluded", "blocked"),
    ]
    assert rows[0][3] == world.published().run_id
