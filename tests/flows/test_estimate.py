"""The performance that a run expects of its rows: kept with it, the same every time, and never at the cost of a publication."""

import datetime as dt
import functools
import types

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

import tasks.estimate
import tasks.pull
from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import LakeFull
from tasks.core.estimation import cbpe
from tasks.core.estimation.estimator import Known, PerformanceEstimator, estimate, fit
from tasks.core.models.contents import ESTIMATOR
from tasks.core.models.model_version import InputColumn, InputSchema, Signature
from tasks.core.models.registry import version_folder
from tests.flows.conftest import CHALLENGED_AT, as_table, open_world, readings, register
from tests.flows.estimating import CBPE, add_estimating_version, usual_with
from tests.lake_tools import Killed


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    """Batches are worked on in this process: of the children other tests tell."""
    monkeypatch.setattr("tasks.core.runs.shards.worker_count", lambda *_: 0)


def estimating(world, kept=CBPE, loss_model=None):
    """The job's model with an estimator, as production; in five batches."""
    world.change_job(limits__batch_rows=40)
    return add_estimating_version(world, kept, loss_model)


def metrics(world) -> dict[str, float]:
    table = pd.read_parquet(world.folder / "lake/metrics/readings")
    return {row.metric: row.value for row in table.itertuples() if row.metric.startswith("estimated_")}


def test_a_run_keeps_what_is_to_be_expected_of_its_rows(world):
    estimating(world)

    assert world.score().name == "Published"

    scores = world.table()["probability"].to_numpy()
    expected = cbpe.expected(scores, 0.1 + 0.7 * scores, ("roc_auc", "brier"))
    manifest = world.published()
    found = manifest.estimates
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected)
    assert (found["brier"].low, found["brier"].high) == pytest.approx(
        (expected["brier"] - 0.1, expected["brier"] + 0.1)
    )
    assert found["roc_auc"].low is None
    assert metrics(world) == {
        "estimated_roc_auc": found["roc_auc"].value,
        "estimated_brier": found["brier"].value,
        "estimated_brier_low": found["brier"].low,
        "estimated_brier_high": found["brier"].high,
    }
    assert "estimate" in [timing.stage for timing in manifest.timings]
    assert manifest.estimate_note == ""


def test_losses_are_told_from_the_features_of_the_very_rows_that_were_scored(world):
    """A tenth of the rows is in quarantine, one stands there twice: the estimate is of the others, each with its own x."""
    rows = readings(60)
    rows.loc[3, "kind"] = "lukewarm"
    rows.loc[9, "sensor"] = None
    world.write_rows(pd.concat([rows, rows.iloc[[11]]]))
    world.change_job(
        limits__batch_rows=20, output__columns={"value": {"method": "predict"}}, limits__quarantine_share=0.5
    )
    sample = as_table(readings(2000))
    names, outputs = ["x", "y"], {"value": Prediction(method="predict")}
    random = np.random.default_rng(0)
    truth = random.normal(0, 0.2 + 3.0 * (sample["x"].to_numpy() > 0))
    inputs = InputSchema(columns=tuple(InputColumn(name=name, type="float64") for name in names))
    predicted = pa.table({"value": np.zeros(len(sample))})
    made = fit(None, Known(sample, predicted, truth), Signature(inputs=inputs, outputs=outputs), is_classifier=False)
    register(
        world.lake,
        "readings",
        LinearRegression(),
        dict.fromkeys(names, "float64"),
        outputs,
        sample,
        target=np.zeros(len(sample)),
        usual=usual_with(made.kept, made.loss_model),
    )

    assert world.score().name == "Published"

    scored = world.table()["sensor"].tolist()
    assert len(scored) == 58
    features = as_table(rows[rows["sensor"].isin(scored)].sort_values("sensor"))
    by_hand = estimate(made.kept, pa.table({"value": np.zeros(58)}), features, made.loss_model)
    found = world.published().estimates
    assert {name: one.value for name, one in found.items()} == pytest.approx(
        {name: one.value for name, one in by_hand.items()}
    )
    assert found["mae"].value > 0.5


def test_of_many_rows_a_sample_is_taken_evenly_over_the_batches(world, monkeypatch):
    estimating(world)
    for module in ("tasks.shards.estimating", "tasks.core.estimation.past_errors"):
        monkeypatch.setattr(f"{module}.MOST_ROWS", 50)

    assert world.score().name == "Published"

    scores = world.table()["probability"].to_numpy()[::4]
    assert world.published().estimates["brier"].value == pytest.approx(
        cbpe.expected(scores, 0.1 + 0.7 * scores, ("brier",))["brier"]
    )


def test_a_version_of_before_is_scored_as_ever(world):
    assert world.score().name == "Published"

    manifest = world.published()
    assert (manifest.estimates, manifest.estimate_note) == ({}, "")
    assert "estimate" not in [timing.stage for timing in manifest.timings]


def test_a_version_that_cannot_be_estimated_says_why(world):
    none = PerformanceEstimator(method="none", column="probability", lacks=("No performance is estimated of it.",))
    estimating(world, none)

    assert world.score().name == "Published"

    assert world.published().estimate_note == "No performance is estimated of it."


def raises(error, *_args, **_kwargs):
    raise error


def lose(world, version, monkeypatch):
    before_the_stage(
        monkeypatch, lambda: world.lake.remove(f"{version_folder('readings', version.version)}/{ESTIMATOR}")
    )


def change(world, version, monkeypatch):
    key = f"{version_folder('readings', version.version)}/{ESTIMATOR}"
    before_the_stage(monkeypatch, lambda: world.lake.write_bytes(key, b"{}"))


def before_the_stage(monkeypatch, spoil):
    """Once the model has passed its gate, which every file of the version must."""
    plain = tasks.estimate._estimate
    monkeypatch.setattr("tasks.estimate._estimate", lambda run: (spoil(), plain(run)))


def spoil_losses(world, _version, _monkeypatch):
    dle = PerformanceEstimator(method="dle", column="probability", metrics=("mae",))
    estimating(world, dle, b"\x1f\x8b no model at all")


def rename(world, _version, _monkeypatch):
    world.change_job(output__columns={"probability": {"method": "predict_proba", "class": 0}})


def fail(_world, _version, monkeypatch, *, error):
    monkeypatch.setattr("tasks.shards.estimating.estimate", functools.partial(raises, error))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (spoil_losses, "cannot be decompressed"),
        (lose, "estimator.json is missing"),
        (change, "estimator.json was changed"),
        (rename, "The job publishes another 'probability' than readings version 2 was registered with"),
        (functools.partial(fail, error=ValueError("of another shape")), "ValueError: of another shape"),
    ],
    ids=["no model of losses", "lost", "changed", "another output", "raises"],
)
def test_whatever_fails_there_the_window_is_published_and_it_says_why(world, monkeypatch, spoil, why):
    spoil(world, estimating(world), monkeypatch)

    state = world.score()

    assert state.name == "Published", state.message
    manifest = world.published()
    assert manifest.verdict == "published"
    assert manifest.estimates == {}
    assert why in manifest.estimate_note
    assert metrics(world) == {}


def test_a_full_disk_that_keeps_even_that_from_being_said_costs_nothing(world, monkeypatch):
    estimating(world)
    monkeypatch.setattr("tasks.estimate.record", functools.partial(raises, LakeFull("no space is left")))

    assert world.score().name == "Published"
    assert world.published().estimates == {}


def test_a_run_that_is_killed_there_shows_nothing_and_the_next_one_publishes_the_same_bytes(
    world, tmp_path, monkeypatch
):
    estimating(world)
    still = types.SimpleNamespace(now={dt.UTC: CHALLENGED_AT}.get)
    monkeypatch.setattr(tasks.pull, "dt", types.SimpleNamespace(datetime=still, UTC=dt.UTC))
    with monkeypatch.context() as patched:
        other = open_world(tmp_path / "other", patched, like=world)
        assert other.score().name == "Published"
    with monkeypatch.context() as patched:
        fail(world, None, patched, error=Killed())
        with pytest.raises(Killed):
            world.score()
    assert world.published() is None
    assert world.partition_bytes() == {}

    assert world.score().name == "Published"

    assert world.partition_bytes() == other.partition_bytes()
    assert world.published().estimates == other.published().estimates != {}
    assert metrics(world) == metrics(other)
