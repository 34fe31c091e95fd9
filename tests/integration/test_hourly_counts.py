"""Somebody else's job, of another kind: hourly counts by day, from PostgreSQL and into it, through adapters; killed half way.

The model is a LightGBM regressor behind a transformer of the project's own; it was fitted on other columns than the table
has, and gives logarithms. The second day is that on which clocks go forward: it has 23 hours.
"""

import contextlib
import datetime as dt
import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.integration.conftest import LAMPLIGHTER, wait_for

pytestmark = [pytest.mark.extras, pytest.mark.slow]

STATIONS = [f"Quai n° {number}, l'Île" for number in range(1, 41)]
SATURDAY, SUNDAY = "2026-03-28", "2026-03-29"
BATCH_ROWS = 200
TABLES = (
    (
        'CREATE TABLE "Hourly" (station text, hour timestamptz, temp double precision, holiday boolean, "lag 7d" int, '
        "PRIMARY KEY (station, hour))"
    ),
    """INSERT INTO "Hourly" SELECT 'Quai n° ' || s || ', l''Île', h, round((10 + 5 * sin(extract(hour from h at time zone 'UTC') / 4))::numeric, 2),
    extract(isodow from h) > 5, CASE WHEN s % 7 = 0 THEN NULL ELSE (s * extract(hour from h at time zone 'UTC'))::int % 50 END
    FROM generate_series(1, 40) AS s,
    generate_series(timestamptz '2026-03-27 00:00+01', timestamptz '2026-03-29 23:00+02', interval '1 hour') AS h""",
)
QUERY = """SELECT station, hour, temp, holiday, "lag 7d" AS lag FROM "Hourly"
WHERE hour >= :start AND hour < :end ORDER BY station, hour"""

FEATURES = '''
"""The team's own code: what the model takes, and what it gives back."""

import os
import pathlib
import time

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin


class Cyclical(TransformerMixin, BaseEstimator):
    """The hour of the day as a point on a circle: 23 is beside 0."""

    def fit(self, rows, target=None):
        return self

    def transform(self, rows):
        wait_if_told(rows)
        angle = rows["hour_of_day"] * 2 * np.pi / 24
        return rows.drop(columns="hour_of_day").assign(east=np.sin(angle), north=np.cos(angle))


def to_input(frame):
    """The columns that the model was fitted on."""
    local = frame["hour"].dt.tz_convert("Europe/Paris")
    return pd.DataFrame(
        {
            "hour_of_day": local.dt.hour.astype("float64"),
            "weekday": local.dt.weekday.astype("float64"),
            "temp": frame["temp"].astype("float64"),
            "holiday": frame["holiday"].astype("float64"),
            "lag": frame["lag"].astype("float64"),
        }
    )


def to_columns(returned):
    """The model was fitted on logarithms."""
    rentals = np.expm1(returned).clip(min=0)
    return {"rentals": rentals, "is_busy": rentals > 20}


def wait_if_told(rows):
    """For the test: notes each whole batch, and waits at the third while a file says so."""
    told = pathlib.Path(os.environ.get("BIKES_TOLD", "nothing"))
    if len(rows) != 200 or not told.exists():
        return
    log = told.with_suffix(".log")
    with log.open("a") as file:
        file.write("batch\\n")
    while told.read_text() == "wait" and len(log.read_text().splitlines()) == 3:
        time.sleep(0.05)
'''
TRAINING = """
import joblib
import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor
from sklearn.pipeline import make_pipeline

from bike_demand.features import Cyclical, to_input

rows = pd.read_parquet("sample.parquet")
model = make_pipeline(Cyclical(), LGBMRegressor(n_estimators=30, num_leaves=8, random_state=0, n_jobs=1, verbose=-1))
model.fit(to_input(rows), np.log1p(rows["rentals"]))
joblib.dump(model, "model.joblib")
"""
JOB = {
    "job": "bikes",
    "window": {"kind": "interval", "every": "1d", "timezone": "Europe/Paris"},
    "schedule": {"cron": "0 20 * * *", "scores": "opened", "active": False},
    "source": {"type": "sql", "driver": "postgresql", "uri_env": "BIKES_URI", "query": QUERY},
    "keys": ["station", "hour"],
    "event_time": "hour",
    "columns": {"station": "string", "hour": "timestamp", "temp": "float64", "holiday": "bool", "lag": "int64"},
    "suite": "bikes",
    "model": {
        "name": "bikes",
        "allowed_types": ["bike_demand.features.Cyclical", "lightgbm.sklearn.LGBMRegressor", "lightgbm.basic.Booster"],
    },
    "output": {
        "columns": {
            "rentals": {"method": "predict"},
            "is_busy": {"method": "predict", "type": "bool"},
        },
        "sql": {"table": "bikes.hourly_forecast"},
    },
    "limits": {"batch_rows": BATCH_ROWS, "workers": 1},
}


class Town:
    """The project in its folder, the database, and what a person types."""

    def __init__(self, folder, postgresql, server):
        self.folder, self.postgresql = folder, postgresql
        self.told = folder.parent / "told.txt"
        self.environment = server.environment | {
            "LAMPLIGHTER_PROJECT": str(folder),
            "LAMPLIGHTER_LAKE": str(folder / "lake"),
            "BIKES_URI": postgresql.uri,
            "BIKES_TOLD": str(self.told),
        }

    def start(self, *arguments):
        # Elsewhere than in the project, which its variable names; and in a group, to be killed with its children.
        return subprocess.Popen(
            [LAMPLIGHTER, *arguments],
            cwd=self.folder.parent,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments, code=0):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, out + err
        return out + err

    def kill_when(self, process, condition, what):
        """SIGKILL for the command and its children, as soon as the condition holds."""
        try:
            wait_for(lambda: condition() or process.poll() is not None, seconds=200, what=what)
            assert process.poll() is None, process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def published(self, table, as_of):
        return pd.concat(
            map(pd.read_parquet, (self.folder / "lake" / table / "bikes" / f"as_of={as_of}").glob("*.parquet"))
        ).sort_values(["station", "hour"], ignore_index=True)

    def delivered(self, as_of):
        return self.postgresql.execute(
            f"SELECT station, hour, rentals, is_busy, run_id FROM bikes.hourly_forecast WHERE as_of = '{as_of}' "
            'ORDER BY station COLLATE "C", hour'
        )

    def ledger(self):
        return self.postgresql.execute(
            "SELECT as_of, rows FROM bikes.lamplighter_deliveries WHERE job = 'bikes' ORDER BY as_of"
        )


@pytest.fixture(scope="module")
def town(tmp_path_factory, postgresql, prefect_server):
    """The project, made by `init` and filled in as a team would; its model is trained in a process of its own and registered."""
    postgresql.execute(*TABLES, "CREATE SCHEMA bikes")
    made = Town(tmp_path_factory.mktemp("town") / "bike-demand", postgresql, prefect_server)
    made.run("init", str(made.folder), "--job", "bikes")
    (made.folder / "bike_demand/features.py").write_text(FEATURES)
    (made.folder / "deployments/jobs/bikes.yaml").write_text(yaml.safe_dump(JOB, sort_keys=False))
    sample_of_last_year().to_parquet(made.folder / "sample.parquet", index=False)
    (made.folder.parent / "train.py").write_text(TRAINING)
    subprocess.run(
        [sys.executable, made.folder.parent / "train.py"],
        cwd=made.folder,
        env=os.environ | {"PYTHONPATH": str(made.folder)},
        check=True,
    )
    adapters = ("--adapter", "bike_demand.features:to_input", "--output-adapter", "bike_demand.features:to_columns")
    sample, model = str(made.folder / "sample.parquet"), str(made.folder / "model.joblib")
    made.run("register", "bikes", "--model", model, "--reference", sample, "--target", "rentals", *adapters)
    made.run("suggest", "bikes", "--as-of", "2026-03-27")
    return made


def sample_of_last_year():
    """Rows as the table has them, and what was counted."""
    random = np.random.default_rng(1)
    count = 3000
    hours = pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(random.integers(0, 8000, count), unit="h")
    rows = pd.DataFrame(
        {
            "station": random.choice(STATIONS, count),
            "hour": hours,
            "temp": np.round(random.normal(12, 6, count), 2),
            "holiday": random.random(count) < 0.3,
            "lag": pd.array(random.integers(0, 50, count), dtype="Int64"),
        }
    )
    rows.loc[random.random(count) < 0.1, "lag"] = pd.NA
    expected = 3 + 10 * (1 - np.cos(2 * np.pi * hours.hour / 24)) + rows["temp"].clip(lower=0) / 2
    return rows.assign(rentals=random.poisson(expected).astype("int64"))


@pytest.fixture(scope="module")
def saturday(town):
    """Killed while it scores its third batch, and run again."""
    town.told.write_text("wait")
    log = town.told.with_suffix(".log")
    town.kill_when(
        town.start("score", "bikes", "--as-of", SATURDAY),
        lambda: log.exists() and len(log.read_text().splitlines()) == 3,
        "the third batch",
    )
    assert not list((town.folder / "lake").glob("predictions/bikes/*/*.parquet"))
    town.told.write_text("score")
    town.run("score", "bikes", "--as-of", SATURDAY)
    return log.read_text().splitlines()


def test_a_run_that_is_killed_goes_on_from_its_complete_batches(saturday):
    # 40 stations x 24 hours are four whole batches and a rest: three were begun, two complete, and the third was begun again.
    assert len(saturday) == 3 + 2


@pytest.fixture(scope="module")
def sunday(town, saturday):
    """Published, and killed while its rows are on their way into the database: somebody holds the table."""
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(town.postgresql.uri) as somebody, somebody.cursor() as cursor:
        cursor.execute("LOCK TABLE bikes.hourly_forecast IN ACCESS EXCLUSIVE MODE")
        town.kill_when(
            town.start("score", "bikes", "--as-of", SUNDAY),
            lambda: town.postgresql.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0],
            "the delivery to wait for the table",
        )
        somebody.rollback()
    return [*town.ledger()], town.run("status", "bikes", code=1)


def test_what_was_killed_on_its_way_into_the_database_is_delivered_once(town, sunday):
    before, told = sunday
    assert before == [(SATURDAY, 960)]
    assert SUNDAY in told
    assert "lamplighter deliver bikes" in told
    assert len(town.published("predictions", SUNDAY)) == 920

    first = json.loads(town.run("deliver", "bikes", "--json"))
    again = json.loads(town.run("deliver", "bikes", "--json"))
    assert town.ledger() == [(SATURDAY, 960), (SUNDAY, 920)], (first, again)
    assert town.run("status", "bikes", "--json")


@pytest.mark.parametrize(("as_of", "hours"), [(SATURDAY, 24), (SUNDAY, 23)])
def test_every_row_is_in_the_lake_and_in_the_database_as_the_model_gives_it(town, sunday, as_of, hours):
    lake, database = town.published("predictions", as_of), town.delivered(as_of)
    assert len(lake) == len(database) == hours * len(STATIONS)
    assert [(row[0], row[1]) for row in database] == [
        (row.station, row.hour.to_pydatetime()) for row in lake.itertuples()
    ]
    np.testing.assert_array_equal([row[2] for row in database], lake["rentals"])
    assert [row[3] for row in database] == lake["is_busy"].tolist()
    assert {row[4] for row in database} == set(lake["run_id"])
    np.testing.assert_allclose(lake["rentals"], by_hand(town, as_of), rtol=1e-12)


def by_hand(town, as_of):
    """What the team's own notebook would say of that day, in the order of the table."""
    script = """
import sys, joblib, pandas as pd
from bike_demand.features import to_columns, to_input
rows = pd.read_parquet(sys.argv[1])
pd.Series(to_columns(joblib.load("model.joblib").predict(to_input(rows)))["rentals"]).to_frame("rentals").to_parquet(sys.argv[2])
"""
    day = dt.date.fromisoformat(as_of)
    found = town.postgresql.execute(
        f"""SELECT station, hour, temp, holiday, "lag 7d" FROM "Hourly" WHERE (hour AT TIME ZONE 'Europe/Paris')::date = '{day}' """
    )
    rows = pd.DataFrame(found, columns=["station", "hour", "temp", "holiday", "lag"]).astype({"lag": "Int64"})
    rows["hour"] = pd.to_datetime(rows["hour"], utc=True)
    rows = rows.sort_values(["station", "hour"], ignore_index=True)
    given, returned = town.folder.parent / "given.parquet", town.folder.parent / "returned.parquet"
    rows.to_parquet(given, index=False)
    subprocess.run(
        [sys.executable, "-c", script, str(given), str(returned)],
        cwd=town.folder,
        env=os.environ | {"PYTHONPATH": str(town.folder)},
        check=True,
    )
    return pd.read_parquet(returned)["rentals"]


def test_analysts_join_predictions_with_runs(town, sunday):
    import duckdb

    lake = pathlib.Path(town.folder / "lake")
    found = duckdb.sql(
        f"""SELECT r.as_of, r.verdict, count(*), r.rows_scored
        FROM read_parquet('{lake}/predictions/bikes/*/*.parquet', hive_partitioning = false) AS p
        JOIN read_parquet('{lake}/runs/*/*/*/run.parquet', hive_partitioning = false) AS r USING (run_id)
        GROUP BY ALL ORDER BY 1"""
    ).fetchall()
    assert [(as_of, count, scored) for as_of, _, count, scored in found] == [(SATURDAY, 960, 960), (SUNDAY, 920, 920)]
    newest = duckdb.sql(
        f"SELECT count(*), count(DISTINCT (station, hour)) FROM read_parquet('{lake}/latest/bikes/*.parquet')"
    ).fetchall()
    assert newest == [(1880, 1880)]
