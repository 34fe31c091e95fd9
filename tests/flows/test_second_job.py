"""A second job needs a YAML and a suite, and no Python: diabetes progression (scikit-learn's data), a regression.

Its windows are snapshots: no event time, the same patients come back in every partition.
"""

import json

import pandas as pd
import pyarrow as pa
import pytest
from sklearn.datasets import load_diabetes

from tasks.core.definitions.modelling import Prediction
from tasks.core.runs.run import latest_manifest, published_manifest
from tasks.core.storage import Lake
from tests.flows.conftest import register

JOB = """
job: progression
window: { kind: snapshot, every: 1w, timezone: Europe/Berlin }
source: { type: files, path: patients.csv, format: csv, history: current_only }
keys: [patient]
columns: { patient: int64, age: float64, sex: float64, bmi: float64, bp: float64 }
suite: progression
limits: { quarantine_share: 0.05 }
model: { name: progression }
output:
  columns:
    progression: { method: predict }
"""
SUITE = {
    "name": "progression",
    "expectations": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "bmi", "min_value": -0.2, "max_value": 0.2},
            "severity": "critical",
            "meta": {"on_failure": "quarantine"},
        },
        {
            "type": "expect_column_values_to_be_unique",
            "kwargs": {"column": "patient"},
            "severity": "critical",
            "meta": {},
        },
    ],
    "meta": {},
}
FEATURES = {"age": "float64", "sex": "float64", "bmi": "float64", "bp": "float64"}


@pytest.fixture
def patients(tmp_path, monkeypatch):
    for folder in ("deployments/jobs", "expectations"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "deployments/jobs/progression.yaml").write_text(JOB)
    (tmp_path / "expectations/progression.json").write_text(json.dumps(SUITE))
    data = load_diabetes(as_frame=True)
    frame = data.frame[list(FEATURES)].assign(patient=range(len(data.frame)))
    frame.to_csv(tmp_path / "patients.csv", index=False)
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(tmp_path / "lake"))
    from sklearn.linear_model import LinearRegression

    model = LinearRegression()
    register(
        Lake(tmp_path / "lake"),
        "progression",
        model,
        FEATURES,
        {"progression": Prediction()},
        pa.Table.from_pandas(frame, preserve_index=False),
        data.target.to_numpy(),
    )
    return tmp_path, frame, model


def _this_monday() -> str:
    return str(
        (
            pd.Timestamp.now("Europe/Berlin").normalize() - pd.offsets.Day(pd.Timestamp.now("Europe/Berlin").weekday())
        ).date()
    )


def _score(as_of, rescore=""):
    from flows.score import score

    return score("progression", as_of, rescore, return_state=True)


def test_predictions_are_those_of_the_model_itself(patients):
    folder, frame, model = patients

    state = _score(_this_monday())

    assert state.name == "Published", state.message
    table = pd.read_parquet(folder / "lake/predictions/progression").sort_values("patient", ignore_index=True)
    assert table["progression"].to_numpy() == pytest.approx(model.predict(frame[list(FEATURES)]), rel=1e-12)


def test_past_window_of_a_source_that_knows_the_present_only_is_refused(patients):
    state = _score("2024-01-01")

    assert state.name == "Blocked"
    assert "current_only" in state.message


def test_a_snapshot_of_an_instant_that_has_not_come_is_not_published(patients):
    folder, _, _ = patients

    state = _score("2099-01-05")

    assert state.name == "Failed"
    assert "2099-01-04 23:00 UTC, which has not come yet" in state.message
    assert not (folder / "lake/predictions").exists()


def test_past_window_is_scored_again_from_its_own_snapshot(patients, monkeypatch):
    folder, frame, _ = patients
    lake = Lake(folder / "lake")
    import datetime as dt

    from tasks import open as opening

    week = dt.datetime(2024, 1, 3, tzinfo=dt.UTC)
    monkeypatch.setattr(opening, "now", lambda: week)
    assert _score("2024-01-01").name == "Published"
    monkeypatch.undo()
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(folder))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(folder / "lake"))
    (folder / "patients.csv").unlink()
    suite = json.loads((folder / "expectations/progression.json").read_text())
    suite["expectations"][0]["kwargs"]["max_value"] = 0.1
    (folder / "expectations/progression.json").write_text(json.dumps(suite))

    state = _score("2024-01-01", "a stricter suite")

    assert state.name == "Published", state.message
    manifest = published_manifest(lake, "progression", "2024-01-01")
    assert manifest.rows.quarantined == int((frame["bmi"] > 0.1).sum())
    assert manifest.rows.pulled == len(frame)
    assert latest_manifest(lake, "progression", "2024-01-01") == manifest
