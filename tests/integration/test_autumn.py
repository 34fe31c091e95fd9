"""The flights of 2013, trained January to June and scored daily to December: what the monitor says of them, and when."""

import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from tasks.core.models.registering.usual import figures_from
from tasks.core.models.registry import Registry
from tasks.core.monitoring.drift import drift_points
from tasks.core.monitoring.episodes import drift_alarms, performance_alarms
from tasks.core.monitoring.observed import from_table
from tasks.core.monitoring.performance_series import performance_points
from tasks.core.monitoring.rhythm import Rhythm
from tasks.core.storage import Lake
from tasks.demo import build_warehouse

pytestmark = [pytest.mark.extras, pytest.mark.slow]

ROOT = pathlib.Path(__file__).parents[2]
LAMPLIGHTER = str(pathlib.Path(sys.executable).with_name("lamplighter"))
JOB = "flight_delays"
DAYS = Rhythm("day", 7, 365.25 / 7)


@pytest.fixture(scope="module")
def project(tmp_path_factory, prefect_server):
    """A project in which the model is trained on half a year, and every day of the other half is published."""
    folder = tmp_path_factory.mktemp("autumn")
    for name in ("deployments", "expectations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    build_warehouse(Lake(folder / ".demo"))
    run(folder, prefect_server, "train", JOB)
    run(folder, prefect_server, "promote", JOB, "--version", "1", "--reason", "the first one")
    why = ["--reason", "half a year, day by day"]
    run(folder, prefect_server, "backfill", JOB, "--from", "2013-07-01", "--to", "2013-12-31", *why)
    return folder


def run(folder, server, *command):
    """What a command printed; it must end well."""
    done = subprocess.run(
        [LAMPLIGHTER, *command],
        check=False,
        cwd=folder,
        env=os.environ | {"PREFECT_API_URL": server.url, "LAMPLIGHTER_LAKE": str(folder / "lake")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def look(project, server, day):
    return json.loads(run(project, server, "monitor", JOB, "--as-of", day, "--json"))["monitored"]


def past(project):
    """The points of the version's own past, out of fold, under its calibration."""
    registry = Registry(Lake(project / "lake"))
    version = registry.alias(JOB, "production")
    usual = registry.calibration(version)
    data = drift_points(usual.drift, DAYS, from_table(registry.null_windows(version)), per_year=1.0, model="past")
    performance = performance_points(
        usual.performance.model_copy(update={"usual_bias": 0.0}),  # The past is told without its models' own already.
        DAYS,
        figures_from(registry.null_performance(version)),
        per_year=1.0,
        model="past",
        benchmark={},
        degraded_after=14,
    )
    return data, performance


def test_the_collapse_of_september_raises_the_alarm_by_its_middle(project, prefect_server):
    before = look(project, prefect_server, "2013-09-01")
    middle = look(project, prefect_server, "2013-09-15")

    assert [one for one in before["alarms"] if one["kind"] == "degraded"] == []
    alarms = [one for one in middle["alarms"] if one["kind"] == "degraded"]
    assert len(alarms) == 1
    assert "2013-09-01" <= alarms[0]["onset"] <= "2013-09-15"
    assert "below what was predicted" in alarms[0]["reason"]


def test_the_weeks_out_of_fold_raise_none(project):
    data, performance = past(project)

    assert {one.unit[:7] for one in data if one.statistic is not None} == {f"2013-0{month}" for month in range(1, 7)}
    assert drift_alarms(data, DAYS) == []
    assert performance_alarms(performance, DAYS) == []


def test_the_nominal_rate_holds_against_the_backtest(project, prefect_server):
    look(project, prefect_server, "2013-12-31")
    found = json.loads(run(project, prefect_server, "monitor", JOB, "--backtest", "--json"))

    for one in found["counted"]:
        if one["where"] == "past":
            assert one["rate"]["low"] <= one["allowed"] <= one["rate"]["high"]
    delays = {(one["kind"], one["column"]): one["delay"] for one in found["injected"]}
    assert delays["mean shift", "distance"] <= 7
    assert delays["category gone", "carrier"] <= 10
    assert delays["units changed", "visib"] <= 7
    assert delays["values missing", "plane_seats"] <= 7


def test_auc_by_hand_is_the_reports(project, prefect_server):
    found = look(project, prefect_server, "2013-12-31")
    with sqlite3.connect(project / ".demo" / "warehouse.sqlite") as warehouse:
        truth = pd.read_sql(
            "SELECT flight_date, carrier, flight, origin, arr_delay > 15 AS late FROM flights WHERE arr_delay IS NOT NULL",
            warehouse,
        )
    warehouse.close()
    for day in ("2013-07-04", "2013-09-12", "2013-12-30"):
        rows = pd.read_parquet(project / "lake" / "predictions" / JOB / f"as_of={day}")
        rows["flight_date"] = rows["flight_date"].astype(str)
        met = rows.merge(truth, on=["flight_date", "carrier", "flight", "origin"])
        window = next(one for one in found["windows"] if one["as_of"] == day)
        assert window["labelled"] == len(met)
        assert window["rows"] == len(rows)
        assert window["metrics"]["roc_auc"]["value"] == pytest.approx(
            roc_auc_score(met["late"], met["probability_late"]), abs=1e-12
        )
