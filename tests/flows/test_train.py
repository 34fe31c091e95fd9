"""The flow `train`: what it registers, and labels that are not fit to train on."""

import json

import numpy as np
import pytest
import yaml

from flows.train import train
from tasks.core.models.registry import Registry
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
