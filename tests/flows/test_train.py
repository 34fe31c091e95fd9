"""The flow `train`: what it registers, and labels that are not fit to train on."""

import datetime as dt
import json

import numpy as np
import pytest
import yaml

import tasks.train
from flows.promote import promote
from flows.train import train
from tasks.core.models.registering.usual import figures_from
from tasks.core.models.registry import Registry
from tasks.core.monitoring.observed import from_table
from tests.flows.conftest import make_warehouse


@pytest.fixture
def warehouse(world):
    database = make_warehouse(world)
    yield database
    database.close()


def test_registers_a_version_with_benchmark_profile_and_probe_and_promotes_nothing(world, warehouse):
    version = train("readings", return_state=True).result()

    registry = Registry(world.lake)
    assert (version.version, registry.aliases("readings")) == (2, {"production": 1})
    benchmark = registry.benchmark(version)
    assert (benchmark["rows"], benchmark["first"], benchmark["rows_without_label"]) == (200, "2024-05-03", 0)
    (auc,) = [metric for metric in benchmark["metrics"] if metric["name"] == "roc_auc"]
    assert auc["value"] > 0.95
    assert registry.profile(version)["features"]["rows"] == 200
    rows, expected = registry.probe(version)
    assert len(rows) == len(expected) == 100
    assert np.isfinite(expected["probability"].to_numpy()).all()
    training = version.manifest.training
    assert (training.first, training.last) == ("2024-05-01", "2024-05-02")
    assert "Training knows 3 windows" in registry.calibration(version).lacks[0]
    assert registry.estimator(version)["method"] == "cbpe"


def add_days(warehouse, last):
    """The readings of the third day again on each day until `last`, by other sensors."""
    for day in range(4, last + 1):
        at = f"replace(at, '2024-05-03', '2024-05-{day:02d}')"
        warehouse.execute(
            f"INSERT INTO readings SELECT sensor, {at}, kind, x, y FROM readings WHERE at LIKE '%-05-03%'"
        )
        warehouse.execute(
            f"INSERT INTO outcomes SELECT sensor || {day}, {at}, hot FROM outcomes WHERE at LIKE '%-05-03%'"
        )
    warehouse.execute("UPDATE readings SET sensor = sensor || cast(substr(at, 9, 2) AS int) WHERE at > '2024-05-04'")
    warehouse.commit()


def test_trains_as_late_as_labels_are_due_and_is_judged_by_what_it_has_not_seen(world, warehouse, monkeypatch):
    add_days(warehouse, 6)
    # The 5th is the newest day whose labels are due: a day after its end.
    monkeypatch.setattr(tasks.train, "scheduled_at", lambda: dt.datetime(2024, 5, 7, tzinfo=dt.UTC))

    version = train("readings", "labelled", return_state=True).result()

    registry, training = Registry(world.lake), version.manifest.training
    assert (training.first, training.last, training.rows) == ("2024-05-03", "2024-05-04", 200)
    assert training.pointer == (
        "job readings, windows 2024-05-03 to 2024-05-03, calibrated on 2024-05-04 to 2024-05-04, 2 windows later than the "
        "job says"
    )
    assert registry.card(version)["until"] == "labelled: 2 windows later than the job says"
    benchmark = registry.benchmark(version)
    assert (benchmark["first"], benchmark["last"], benchmark["rows"]) == ("2024-05-05", "2024-05-05", 200)
    page = (world.folder / "lake/reports/_models/readings/index.html").read_text()
    assert "2 windows later than the job says" in page

    # The job's own benchmark, the 3rd, is what it was fitted on.
    monkeypatch.setattr("tasks.shards.examination.worker_count", lambda *_: 0)
    state = promote("readings", version.version, "it is newer", return_state=True)
    # Whether it is as quick as production hangs on the machine; of an error the verdict is JSON.
    found = state.result(raise_on_failure=False).verdict
    verdict = found if isinstance(found, dict) else found.model_dump()
    (held_out,) = [one for one in verdict["checks"] if one["check"] == "held out"]
    assert held_out["outcome"] == "passed"
    assert "has not seen 2024-05-05 to 2024-05-05, which are used as" in held_out["sentence"]


def test_a_window_that_training_cannot_end_with_trains_nothing(world, warehouse):
    state = train("readings", "2099-01-01", return_state=True)

    assert state.name == "Failed"
    assert "the labels of 2099-01-01 are due at 2099-01-03 00:00 UTC" in state.message
    assert Registry(world.lake).numbers("readings") == [1]


def test_keeps_with_the_version_how_each_window_of_its_past_went_out_of_sample(world, warehouse):
    add_days(warehouse, 10)
    job = yaml.safe_load(world.job_file.read_text())
    job["training"] |= {"benchmark": {"first": "2024-05-03", "last": "2024-05-10"}, "folds": 3}
    world.job_file.write_text(yaml.safe_dump(job))

    version = train("readings", return_state=True).result()

    registry = Registry(world.lake)
    calibration = registry.calibration(version)
    assert (calibration.first, calibration.last, calibration.units) == ("2024-05-01", "2024-05-10", 10)
    assert all("what is usual is told from 8 at least" in one for one in calibration.lacks)
    assert from_table(registry.null_windows(version)).rows.tolist() == [200] * 10
    figures = figures_from(registry.null_performance(version))
    assert [one.labelled for one in figures] == [200] * 10
    # Every label is x > 0, which is easily learnt.
    assert min(one.figures["roc_auc"] for one in figures) > 0.95


def test_without_folds_the_past_is_not_scored(world, warehouse):
    job = yaml.safe_load(world.job_file.read_text())
    job["training"]["folds"] = 0
    world.job_file.write_text(yaml.safe_dump(job))

    version = train("readings", return_state=True).result()

    assert Registry(world.lake).calibration(version).lacks == ("Alarms are not calibrated, as training.folds is 0.",)


def test_rows_whose_label_never_came_are_counted(world, warehouse):
    warehouse.execute("DELETE FROM outcomes WHERE sensor LIKE 's0000%2024-05-03'")
    warehouse.commit()

    version = train("readings", return_state=True).result()

    assert Registry(world.lake).benchmark(version)["rows_without_label"] == 10


def test_labels_that_fail_their_suite_train_nothing(world, warehouse):
    warehouse.execute("INSERT INTO outcomes SELECT * FROM outcomes LIMIT 1")
    warehouse.commit()

    state = train("readings", return_state=True)

    assert state.name == "Blocked"
    assert "not fit to learn or judge by: 2 of 201 rows fail expect_column_values_to_be_unique(sensor)" in state.message
    assert Registry(world.lake).numbers("readings") == [1]


def test_a_labels_suite_cannot_quarantine(world, warehouse, capsys):
    suite = world.folder / "expectations/outcomes.json"
    found = json.loads(suite.read_text())
    found["expectations"][0]["meta"] = {"on_failure": "quarantine"}
    suite.write_text(json.dumps(found))

    state = train("readings", return_state=True)

    assert state.name == "Failed"
    assert "on_failure: quarantine is not for labels" in state.message


def test_ranges_out_of_the_order_of_time_are_refused(world, warehouse):
    job = yaml.safe_load(world.job_file.read_text())
    job["training"]["fit"] = {"first": "2024-05-02", "last": "2024-05-02"}
    world.job_file.write_text(yaml.safe_dump(job))

    state = train("readings", return_state=True)

    assert state.name == "Failed"
    assert "must follow each other in time and not overlap" in state.message
