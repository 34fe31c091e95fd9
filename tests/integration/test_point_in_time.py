"""The as-of joins of the README on a real PostgreSQL: what is learnt from a window is what was known when it was scored."""

import itertools
import json

import pyarrow as pa
import pytest
import yaml
from sklearn.linear_model import LinearRegression

from tasks.core.definitions.modelling import Prediction, WindowRange
from tasks.core.definitions.project import Project
from tasks.core.models.registering.training_data import labelled_rows
from tasks.core.runs.run import published_manifest
from tasks.core.storage import Folder, Lake
from tests import point_in_time as visits
from tests.flows.conftest import register, typist

_numbers = itertools.count()


@pytest.fixture
def server(postgresql, monkeypatch):
    """A schema of its own, with what is known by the tick."""
    schema = f"known_{next(_numbers)}"
    postgresql.execute(f"CREATE SCHEMA {schema}")
    # The socket's address has a query already.
    uri = f"{postgresql.uri}&options=-csearch_path%3D{schema}%20-ctimezone%3DAsia/Tokyo"
    monkeypatch.setenv("WAREHOUSE", uri)
    found = type(postgresql)(uri, postgresql.folder)
    found.execute("SET timezone TO 'UTC'", *(in_utc(one) for one in visits.setup("timestamptz")))
    return found


def in_utc(statement):
    """Literals of instants say their zone: each statement is a transaction in a session of the server's zone."""
    return statement.replace(":00'", ":00+00'")


def learnt(folder, query):
    """The rows of the window as training reads them."""
    jobs = folder / "deployments/jobs"
    jobs.mkdir(parents=True, exist_ok=True)
    job = visits.a_job({"driver": "postgresql", "uri_env": "WAREHOUSE"}, query)
    job["labels"]["query"] = "SELECT visit, 1.0 AS y FROM visits"
    (jobs / "visits.yaml").write_text(yaml.safe_dump(job))
    project = Folder(folder)
    windows = WindowRange(first=visits.DAY, last=visits.DAY)
    found = labelled_rows(Project(project).load("visits"), project, windows, str, lambda labels: None)
    return dict(zip(found.table["visit"].to_pylist(), found.table["spend"].to_pylist(), strict=True))


@pytest.mark.parametrize("query", [visits.AS_KNOWN, visits.DISTINCT_ON], ids=["row_number", "distinct on"])
def test_what_came_later_is_not_learnt(server, tmp_path, query):
    assert learnt(tmp_path, query) == visits.known()
    server.execute(*(in_utc(one) for one in visits.LATER))
    assert learnt(tmp_path, query) == visits.known()


def test_a_naive_query_learns_it(server, tmp_path):
    assert learnt(tmp_path, visits.NAIVE) == visits.known()
    server.execute(*(in_utc(one) for one in visits.LATER))
    corrected = {f"c{n}-{hour}": n + 100.0 for n in (1, 2, 3) for hour in ("08", "20")}
    late = {"c1-22": 101.0, "c2-22": 102.0}
    assert learnt(tmp_path, visits.NAIVE) == visits.known() | corrected | late


@pytest.mark.extras
@pytest.mark.parametrize(("query", "code"), [(visits.NAIVE, 3), (visits.DISTINCT_ON, 0)], ids=["naive", "distinct on"])
def test_scored_then_corrected_then_looked_at(server, tmp_path, monkeypatch, capsys, prefect_harness, query, code):
    lamplighter = typist(monkeypatch, capsys)
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(tmp_path / "lake"))
    lake, half, sample = (
        Lake(tmp_path / "lake"),
        {"p": Prediction(method="predict")},
        pa.table({"spend": [0.0, 50.0] * 10}),
    )
    register(lake, "visits", LinearRegression(), {"spend": "float64"}, half, sample, sample["spend"].to_numpy() / 2)
    assert learnt(tmp_path, query) == visits.known()
    assert lamplighter("score", "visits", "--as-of", visits.DAY)[0] == 0
    server.execute(*(in_utc(one) for one in visits.LATER))

    ended, out, _ = lamplighter("leak-check", "visits", "--json")

    found = json.loads(out)
    assert ended == code
    assert [(one["ours"], one["differing"]) for one in found["features"]] == ([("spend", 6)] if code else [])
    assert found["rows"]["now"]["alone"] == (2 if code else 0)
    known_at = published_manifest(lake, "visits", visits.DAY).window.known_at
    assert (known_at is None) if code else f"{known_at:%Y-%m-%d %H:%M:%S}" == visits.KNOWN_AT
