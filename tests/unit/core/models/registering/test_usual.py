"""What is usual of a version: the past by unit in its own bins, each window's figures, and what is said where there is none."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import yaml
from sklearn.metrics import brier_score_loss, roc_auc_score

from tasks.core.definitions.modelling import Prediction
from tasks.core.definitions.project import parse_job
from tasks.core.definitions.window import WindowSpec
from tasks.core.estimation.estimator import Known
from tasks.core.models.model_version import InputColumn, InputSchema, Signature
from tasks.core.models.registering.past import OwnPast, Past
from tasks.core.models.registering.usual import (
    History,
    Made,
    figures_from,
    figures_of,
    figures_table,
    observed_of,
    usual_of,
)
from tasks.core.monitoring.observed import from_table
from tasks.core.profiles.profile import reference_profile

DAYS, ROWS = 70, 40
HOURLY = WindowSpec(kind="interval", every="12h", timezone="America/New_York")


def a_job(every="1d", **changes):
    text = {
        "job": "late",
        "window": {"kind": "interval", "every": every},
        "source": {"type": "files", "path": "data"},
        "keys": ["id"],
        "event_time": "at",
        "columns": {"id": "string", "at": "timestamp", "x": "float64"},
        "model": {"name": "late"},
        "output": {"columns": {"p": {"method": "predict_proba", "class": True}}},
    }
    return parse_job(yaml.safe_dump(text | changes), where="late")


def a_past(days=DAYS):
    """Of each day forty rows, whose probability is that of their x; every tenth has no label."""
    draws = np.random.default_rng(0)
    x = draws.normal(size=days * ROWS)
    probability = 1 / (1 + np.exp(-x))
    names = [(dt.date(2026, 1, 1) + dt.timedelta(day)).isoformat() for day in range(days)]
    return Past(
        table=pa.table({"x": x}),
        windows=np.repeat(names, ROWS),
        folds=np.repeat(np.arange(days) * 2 // days, ROWS),
        outputs=pa.table({"p": probability}),
        truth=draws.random(len(x)) < probability,
        is_labelled=np.arange(len(x)) % 10 > 0,
    )


def made_of(past, benchmark=None):
    signature = Signature(
        inputs=InputSchema(columns=(InputColumn(name="x", type="float64"),)),
        outputs={"p": Prediction(method="predict_proba", class_=True)},
    )
    return Made((reference_profile(past.table), reference_profile(past.outputs)), signature, True, benchmark)


def test_what_is_usual_of_a_past_of_ten_weeks():
    past = a_past()
    known = Known(past.table.slice(0, 200), past.outputs.slice(0, 200), past.truth[:200])

    found = usual_of(History(past, windows=tuple(sorted(set(past.windows)))), made_of(past, known), a_job())

    calibration = found.calibration
    assert (calibration.first, calibration.last, calibration.units) == ("2026-01-01", "2026-03-11", DAYS)
    assert (calibration.unit, calibration.units_a_block, calibration.lacks) == ("day", 7, ())
    assert calibration.drift.block_rows == 7 * ROWS
    assert calibration.performance.together == 14
    assert any("without its own part of the past, of 2" in one for one in calibration.assumptions)
    assert from_table(found.null_windows).rows.tolist() == [ROWS] * DAYS
    assert found.estimator["method"] == "cbpe"
    assert len(figures_from(found.null_performance)) == DAYS


def test_figures_of_a_window_are_scikit_learn_s_of_its_labelled_rows():
    past = a_past(3)
    (_, first), *_ = figures_of(past, made_of(past), a_job().window)

    truth, scores = past.truth[:ROWS][past.is_labelled[:ROWS]], past.outputs["p"].to_numpy()[:ROWS]
    scores = scores[past.is_labelled[:ROWS]]
    assert (first.unit, first.labelled) == ("2026-01-01", 36)
    assert first.figures["roc_auc"] == pytest.approx(roc_auc_score(truth, scores))
    assert first.figures["brier"] == pytest.approx(brier_score_loss(truth, scores))
    assert first.figures["bias"] == pytest.approx(truth.mean() - scores.mean())


def test_the_bias_is_told_from_that_of_the_same_model_over_the_other_folds():
    """Where the version's own is known: what a model is known for is no news."""
    past = a_past(2)
    past = replace(past, own=tuple(OwnPast(past.outputs, bias) for bias in (0.25, -0.5)))
    made = made_of(past)
    known = replace(made, own=OwnPast(past.outputs, 0.1))
    plain, told = (figures_of(past, one, a_job().window) for one in (made, known))

    differences = [
        ours.figures["bias"] - theirs.figures["bias"] for (_, ours), (_, theirs) in zip(told, plain, strict=True)
    ]
    assert differences == pytest.approx([-0.25, 0.5])


def test_figures_come_back_from_their_table_in_any_order():
    past = replace(a_past(3), truth=np.ones(3 * ROWS, np.bool_))
    figures = figures_of(past, made_of(past), a_job().window)

    table = figures_table(figures)

    # No ROC where all labels are the same.
    assert "roc_auc" not in figures[0][1].figures
    assert figures_from(table.take(list(range(len(table)))[::-1])) == [one for _, one in figures]
    assert figures_from(figures_table([])) == []


def test_windows_of_hours_are_summed_to_the_local_day():
    """Of New York's windows of twelve hours in UTC, in January that of 00:00Z is yesterday evening's."""
    past = a_past(1)
    windows = np.repeat(["2026-01-01T0000Z", "2026-01-01T1200Z", "2026-01-02T0000Z"], [10, 20, 10])
    past, made = replace(past, windows=windows), made_of(past)

    found = observed_of(past, (*sorted(set(windows)), "2026-01-02T1200Z"), HOURLY, made.references)

    assert found.units == ("2025-12-31", "2026-01-01", "2026-01-02")
    assert (found.rows.tolist(), found.windows.tolist()) == ([10, 30, 0], [1, 2, 1])


def test_of_a_sample_the_volume_is_not_watched():
    past = replace(a_past(), is_out_of_sample=False)

    found = usual_of(History(past, is_whole=False), made_of(past), a_job()).calibration

    assert "volume" not in {*found.drift.figures, *found.drift.groups}
    assert "features" in found.drift.groups
    assert any("few rows or many is not watched" in one for one in found.assumptions)
    assert any("may have learnt from these rows" in one for one in found.assumptions)


def test_of_a_short_past_it_is_said_why_nothing_is_usual():
    past = a_past(20)

    found = usual_of(History(past), made_of(past), a_job())

    assert (found.calibration.drift, found.calibration.performance) == (None, None)
    assert len(found.calibration.lacks) == 2
    assert all("what is usual is told from 8 at least" in one for one in found.calibration.lacks)
    assert found.estimator is None


def test_without_a_past_there_is_the_reason_alone():
    found = usual_of(History(None, "There is no past."), made_of(a_past(1)), a_job("1mo"))

    assert found.calibration.lacks == ("There is no past.",)
    assert (found.calibration.unit, found.calibration.units_a_block) == ("month", 1)
    assert (found.null_windows, found.null_performance) == (None, None)
