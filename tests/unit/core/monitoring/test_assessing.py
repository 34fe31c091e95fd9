"""A look holds the windows of each version against what is usual of that version, and finds what was shifted."""

import dataclasses
import datetime as dt
import os

import numpy as np
import pyarrow as pa
import pytest

from tasks.core import layout
from tasks.core.definitions.modelling import Prediction
from tasks.core.models.model_version import Candidate, InputColumn, InputSchema, Signature, Usual
from tasks.core.models.registry import Registry
from tasks.core.monitoring.assessing import assess
from tasks.core.monitoring.drift import calibrate_drift
from tasks.core.monitoring.looking import Look
from tasks.core.monitoring.observed import of_profiles
from tasks.core.monitoring.records import Calibration
from tasks.core.monitoring.rhythm import Rhythm
from tasks.core.profiles.profile import WindowProfile, profile_batch, reference_profile
from tasks.core.runs.manifest import ModelRecord
from tasks.core.storage import Folder
from tests import status_scenes
from tests.status_scenes import DAYS, at

WEEKS = 20


@pytest.fixture(autouse=True)
def _without_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


def rows(seed, shift=0.0, count=300):
    rng = np.random.default_rng(seed)
    return pa.table({"x": rng.normal(shift, 1.0, count)}), pa.table({"probability": rng.uniform(size=count)})


PAST = [rows(seed) for seed in range(7 * WEEKS)]
FEATURES = reference_profile(pa.concat_tables([x for x, _ in PAST]))
SCORES = reference_profile(pa.concat_tables([scores for _, scores in PAST]))


def profile(made):
    return WindowProfile(features=profile_batch(FEATURES, made[0]), predictions=profile_batch(SCORES, made[1]))


def calibration():
    rhythm = Rhythm("day", 7, 365.25 / 7)
    units = [(dt.date(2025, 1, 6) + dt.timedelta(days=day)).isoformat() for day in range(len(PAST))]
    observed = of_profiles((FEATURES, SCORES), [(unit, profile(one)) for unit, one in zip(units, PAST, strict=True)])
    return Calibration(first=units[0], last=units[-1], units=len(units), drift=calibrate_drift(observed, rhythm))


def register(lake, usual):
    signature = Signature(
        inputs=InputSchema(columns=(InputColumn(name="x", type="float64"),)),
        outputs={"probability": Prediction(method="predict_proba", class_=1)},
    )
    profiles = {"features": FEATURES.model_dump(mode="json"), "predictions": SCORES.model_dump(mode="json")}
    probe = {"probe": pa.table({"x": [0.0]}), "expected": pa.table({"probability": [0.5]})}
    candidate = Candidate(
        model_bytes=b"model", signature=signature, profile=profiles, benchmark={}, usual=usual, **probe
    )
    Registry(lake).register("late", candidate, at=at("2026-02-01 00:00"), actor="ann")


@pytest.fixture
def look(lake, tmp_path):
    definition = status_scenes.write_job(tmp_path / "project").load("late", suites=False)
    return Look(lake, Folder(tmp_path / "project"), definition, "2026-03-31", at("2026-04-01 00:00"))


def publish(lake, days, version, *, shift=0.0, kept=True):
    model = ModelRecord(name="late", version=version, digest="m", alias="production", format="joblib")
    for day in days:
        manifest = status_scenes.publish(lake, day, model=model)
        if kept:
            found = profile(rows(1000 + DAYS.index(day), shift))
            lake.write_bytes(f"{manifest.workspace}/{layout.PROFILE}", found.model_dump_json().encode())


def test_what_was_shifted_is_found_and_what_was_not_is_quiet(lake, look):
    register(lake, Usual(calibration=calibration()))
    publish(lake, DAYS[:17], 1)
    publish(lake, DAYS[17:], 1, shift=1.5)
    found = assess(look)
    assert [point.unit for point in found.drift] == DAYS
    assert (found.model, found.calibration.units) == ("late/0001", 7 * WEEKS)
    assert len(found.open_alarms) == 1
    alarm = found.open_alarms[0]
    # The block that ends with the day is to be beyond the line on two days in a row.
    assert alarm.kind == "drifted"
    assert DAYS[18] <= alarm.onset <= DAYS[20]
    assert "of x" in alarm.reason
    assert list(found.rates) == ["drifted"]
    assert found.rates["drifted"].per_year <= look.job.monitor.false_alarms_per_year / 2 + 1e-9
    assert found.notes == (
        "The job has no labels, so nothing is known of its performance: write 'labels' into its YAML.",
    )


def test_each_version_is_held_against_its_own_past_and_one_without_is_said(lake, look):
    register(lake, None)
    register(lake, Usual(calibration=calibration()))
    publish(lake, DAYS[:10], 1, shift=1.5)
    publish(lake, DAYS[10:], 2)
    found = assess(look)
    assert {point.model for point in found.drift} == {"late/0002"}
    assert [point.unit for point in found.drift] == DAYS[10:]
    assert found.alarms == ()
    assert found.notes[0].startswith("The alarms of late/0001 are not calibrated")


def test_an_alarm_ends_with_its_version_also_where_the_next_one_has_no_calibration(lake, look):
    register(lake, None)
    register(lake, Usual(calibration=calibration()))
    publish(lake, DAYS[:15], 2, shift=1.5)
    assert len(assess(look).open_alarms) == 1
    # Back to the first, as after a rollback.
    publish(lake, DAYS[15:], 1)
    (alarm,) = assess(look).alarms
    assert (alarm.model, alarm.until) == ("late/0002", DAYS[14])


def test_windows_of_before_profiles_were_kept_are_counted_and_hide_no_other(lake, look):
    register(lake, Usual(calibration=calibration()))
    publish(lake, DAYS[:3], 1, kept=False)
    publish(lake, DAYS[3:], 1)
    lake.write_bytes(f"{layout.workspace('late', DAYS[5], 'good')}/{layout.PROFILE}", b"{}")
    found = assess(look)
    assert len(found.drift) == len(DAYS) - 4
    assert "Of 4 windows, 2026-03-01 to 2026-03-06, no profile was kept" in found.notes[-1]


def test_a_version_that_cannot_be_read_is_said_and_costs_no_more(lake, look):
    publish(lake, DAYS[:3], 7)
    found = assess(look, ["Before it."])
    assert (found.model, found.calibration, found.drift, found.rates) == ("late/0007", None, (), {})
    assert found.notes[0] == "Before it."
    assert found.notes[1].startswith("late/0007 cannot be read: ")


def test_of_a_job_that_has_published_nothing_nothing_is_said(look):
    found = assess(look)
    assert (found.model, found.windows, found.alarms) == ("", (), ())


def test_what_is_usual_of_days_is_not_held_against_weeks(lake, look):
    """The job's windows are weeks now: a week has the rows of seven days, and none of them is strange for that."""
    register(lake, Usual(calibration=calibration().model_copy(update={"unit": "week", "units_a_block": 1})))
    publish(lake, DAYS, 1)
    found = assess(look)
    assert (found.drift, found.alarms, found.rates) == ((), (), {})
    assert "what is usual of its past is told by the week, and the job's windows by the day" in found.notes[0]


def test_a_window_of_before_the_job_s_windows_were_others_is_left_aside(lake, look):
    register(lake, Usual(calibration=calibration()))
    publish(lake, DAYS, 1)
    weekly = look.job.model_copy(update={"window": look.job.window.model_copy(update={"every": "1w"})})
    look.definition = dataclasses.replace(look.definition, job=weekly)
    # Some of these days are Mondays, and have the label of a week.
    assert assess(look).model == ""
