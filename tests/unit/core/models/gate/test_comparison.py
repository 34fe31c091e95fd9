"""A candidate against production on the same rows: what is refused, what is not, and what cannot be judged."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.definitions.modelling import Promotion
from tasks.core.errors import DefinitionError
from tasks.core.models.gate import comparison, metrics
from tasks.core.models.gate.comparison import Compared, calibration_check, metric_check, metric_of, slice_checks
from tasks.core.models.gate.evaluation import Target, blocks_of
from tasks.core.models.gate.metrics import Rows
from tests.page_samples import HOSTILE

DAYS, A_DAY = 20, 60


def compared(ours, theirs, truth, *, days=DAYS, metric="roc_auc", kinds=metrics.OF_PROBABILITIES, probability=True):
    """Both models' scores of the same rows, in days of equal length."""
    truth = np.asarray(truth)
    blocks = blocks_of(np.arange(len(truth)) * days // len(truth))
    rows = [None if one is None else Rows(truth, np.asarray(one), blocks.of, blocks.count) for one in (ours, theirs)]
    alone = "nothing is production yet, so there is nothing to compare with" if theirs is None else ""
    return Compared(Target(truth, kinds, is_probability=probability), blocks, metric, rows[0], rows[1], alone)


def scores(truth, noise, seed=1):
    """Probabilities that tell the truth the better, the less noise there is."""
    random = np.random.default_rng(seed)
    return 1 / (1 + np.exp(-(2 * np.asarray(truth) - 1 + noise * random.normal(size=len(truth)))))


@pytest.fixture
def truth():
    return np.random.default_rng(0).integers(0, 2, DAYS * A_DAY)


def test_a_better_candidate_passes(truth):
    check = metric_check(compared(scores(truth, 0.5), scores(truth, 1), truth), Promotion())
    assert (check.outcome, check.what) == ("passed", "roc_auc")
    assert check.candidate > check.production
    assert 0 < check.low < check.difference < check.high
    assert check.limit == -0.005
    assert "better (95 % interval:" in check.sentence


def test_a_worse_candidate_is_refused_with_its_figures(truth):
    check = metric_check(compared(scores(truth, 1), scores(truth, 0.5), truth), Promotion())
    assert check.outcome == "failed"
    assert check.low < check.difference < check.high < 0
    assert (
        f"roc_auc is {check.candidate:.4f} against {check.production:.4f}, {-check.difference:.4f} worse"
        in check.sentence
    )
    assert "0.0050 may be lost at the worse end" in check.sentence


@pytest.mark.parametrize(("may_lose", "outcome"), [(0.05, "passed"), (0.001, "failed")])
def test_the_worse_end_of_the_interval_decides(truth, may_lose, outcome):
    # Equally good, and not the same.
    check = metric_check(
        compared(scores(truth, 1, seed=1), scores(truth, 1, seed=2), truth), Promotion(may_lose=may_lose)
    )
    assert -0.05 < check.low < -0.001
    assert check.outcome == outcome


def test_the_same_model_passes_a_gate_that_lets_nothing_be_lost(truth):
    same = scores(truth, 1)
    both = compared(same, same, truth)
    assert metric_check(both, Promotion(may_lose=0)).outcome == "passed"
    assert calibration_check(both, Promotion(calibration_may_lose=0)).outcome == "passed"
    column = pa.chunked_array([["a", "b"] * (len(truth) // 2)])
    assert {one.outcome for one in slice_checks(both, "c", column, 0.0)} == {"passed"}


def test_a_metric_that_falls_as_it_gets_better_is_turned_round(truth):
    kinds = metrics.OF_NUMBERS
    ours, theirs = truth + 0.1, truth + 0.2
    check = metric_check(compared(ours, theirs, truth, metric="rmse", kinds=kinds, probability=False), Promotion())
    assert (check.outcome, check.production, check.candidate) == ("passed", pytest.approx(0.2), pytest.approx(0.1))
    assert check.difference == pytest.approx(0.1)
    worse = metric_check(compared(theirs, ours, truth, metric="rmse", kinds=kinds, probability=False), Promotion())
    assert (worse.outcome, worse.difference) == ("failed", pytest.approx(-0.1))


def test_what_decides_must_be_known():
    check = metric_check(compared([0.1] * 400, [0.2] * 400, [1] * 400), Promotion())
    assert check.outcome == "failed"
    assert "are all labels the same?" in check.sentence


def test_few_windows_are_said(truth):
    check = metric_check(compared(scores(truth, 0.5), scores(truth, 1), truth, days=3), Promotion())
    assert check.outcome == "passed"
    assert "fewer than 8 windows, so single rows were drawn" in check.sentence


def test_without_production_the_candidate_s_own_figures_are_shown(truth):
    alone = compared(scores(truth, 1), None, truth)
    column = pa.chunked_array([["a"] * len(truth)])
    checks = [
        metric_check(alone, Promotion()),
        calibration_check(alone, Promotion()),
        *slice_checks(alone, "c", column, 0),
    ]
    assert [one.outcome for one in checks] == ["not judged"] * 3
    assert all(one.candidate is not None and one.production is None and one.difference is None for one in checks)
    assert all("nothing to compare with" in one.sentence for one in checks)


def test_a_metric_that_is_not_known_is_refused_with_those_that_are():
    target = Target(np.array([0, 1]), metrics.OF_PROBABILITIES)
    assert metric_of(target, None) == "roc_auc"
    assert metric_of(target, "brier") == "brier"
    with pytest.raises(DefinitionError, match=r"'rmse'; .* there are: roc_auc, average_precision, log_loss, brier"):
        metric_of(target, "rmse")


# -- calibration ----------------------------------------------------------------------------------------------------


def test_probabilities_that_are_too_bold_are_refused_though_they_rank_as_before():
    # Of what is called 0.75 three in four come true, of 0.25 one in four; the candidate calls them 0.99 and 0.01.
    truth = np.tile([1, 1, 1, 0, 0, 0, 0, 1], 150)
    honest = np.tile([0.75] * 4 + [0.25] * 4, 150)
    both = compared(np.where(honest > 0.5, 0.99, 0.01), honest, truth)
    check = calibration_check(both, Promotion())
    assert check.outcome == "failed"
    assert (check.production, check.candidate) == (pytest.approx(0), pytest.approx(0.24))
    assert check.sentence == (
        "The expected calibration error is 0.2400 against 0.0000, 0.2400 worse (95 % interval: 0.2400 worse to 0.2400 "
        "worse); 0.0100 may be lost."
    )
    assert metric_check(both, Promotion(may_lose=0)).outcome == "passed"
    assert calibration_check(both, Promotion(calibration_may_lose=1)).outcome == "passed"


def test_what_is_no_probability_has_no_calibration(truth):
    both = compared(truth, truth, truth, metric="rmse", kinds=metrics.OF_NUMBERS, probability=False)
    assert calibration_check(both, Promotion()) is None


# -- slices ---------------------------------------------------------------------------------------------------------


def outcomes(checks):
    return {one.what: one.outcome for one in checks}


def test_better_overall_and_worse_at_one_airport(truth):
    airport = np.array(["EWR", "JFK", "LGA"])[np.arange(len(truth)) % 3]
    theirs = scores(truth, 2)
    ours = np.where(airport == "LGA", scores(truth, 4), scores(truth, 0.5))
    both = compared(ours, theirs, truth)
    assert metric_check(both, Promotion()).outcome == "passed"
    checks = list(slice_checks(both, "origin", pa.chunked_array([airport]), 0.02))
    assert outcomes(checks) == {"origin = EWR": "passed", "origin = JFK": "passed", "origin = LGA": "failed"}
    (lga,) = [one for one in checks if one.outcome == "failed"]
    assert (lga.rows, lga.limit) == (400, -0.02)
    assert lga.high < 0
    assert lga.sentence.startswith("origin = LGA: roc_auc is ")


def test_a_fall_that_is_not_real_or_within_its_budget_is_let_pass(truth):
    column = pa.chunked_array([["a"] * len(truth)])
    slightly = compared(scores(truth, 1.1), scores(truth, 1), truth)
    (check,) = slice_checks(slightly, "c", column, 0.0)
    assert check.outcome == ("failed" if check.high < 0 else "passed")
    much = compared(scores(truth, 2), scores(truth, 0.5), truth)
    assert outcomes(slice_checks(much, "c", column, 0.1)) == {"c = a": "failed"}
    assert outcomes(slice_checks(much, "c", column, 0.9)) == {"c = a": "passed"}


def test_noise_is_no_fall():
    # A hundred rows of coin tosses: the fall is large, and the interval is larger.
    truth = np.random.default_rng(9).integers(0, 2, 120)
    ours, theirs = (np.random.default_rng(seed).uniform(size=120) for seed in (1, 2))
    for one, other in ((ours, theirs), (theirs, ours)):
        (check,) = slice_checks(compared(one, other, truth, days=12), "c", pa.chunked_array([["a"] * 120]), 0.0)
        assert check.low < 0 < check.high
        assert check.outcome == "passed"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["small"] * 99 + ["big"] * 1101, "99 rows, and 100 are needed"),
        (["short"] * 200 + ["big"] * 1000, "rows in 4 windows, and 8 are needed"),
        (["one class"] * 0 + ["big"] * 1200, ""),
    ],
)
def test_a_slice_that_is_too_small_is_not_judged(truth, values, why):
    both = compared(scores(truth, 2), scores(truth, 0.1), truth)
    checks = {one.what: one for one in slice_checks(both, "size", pa.chunked_array([values]), 0.0)}
    assert checks.pop("size = big").outcome == "failed"
    for one in checks.values():
        assert one.outcome == "not judged"
        assert why in one.sentence


def test_a_slice_of_nearly_one_class_is_not_judged(truth):
    rare = np.flatnonzero(truth)[:9]
    chosen = np.isin(np.arange(len(truth)), rare) | (truth == 0)
    column = pa.chunked_array([np.where(chosen, "rare", "rest")])
    both = compared(scores(truth, 1), scores(truth, 1), truth)
    found = {one.what: one for one in slice_checks(both, "c", column, 0.0)}
    assert (found["c = rare"].outcome, found["c = rest"].outcome) == ("not judged", "not judged")
    assert "9 rows of one class, and 10 are needed" in found["c = rare"].sentence


def test_missing_hostile_and_endless_values_are_slices_too(truth):
    values = ([None, *HOSTILE] * len(truth))[: len(truth)]
    both = compared(scores(truth, 1), scores(truth, 1), truth)
    found = [one.what for one in slice_checks(both, "c", pa.chunked_array([values]), 0.1)]
    assert "c = (missing)" in found
    assert len(found) == len(HOSTILE) + 1
    assert max(map(len, found)) <= 84


@pytest.mark.parametrize("kind", [pa.int64(), pa.bool_(), pa.float64(), pa.date32()])
def test_slices_of_every_type(truth, kind):
    column = pa.chunked_array([pa.array(np.arange(len(truth)) % 2).cast(pa.int32()).cast(kind)])
    both = compared(scores(truth, 1), scores(truth, 1), truth)
    assert [one.rows for one in slice_checks(both, "c", column, 0.1)] == [600, 600]


def test_of_a_column_with_very_many_values_the_largest_are_judged(truth, monkeypatch):
    monkeypatch.setattr(comparison, "MOST_SLICES", 2)
    column = pa.chunked_array([["a"] * 500 + ["b"] * 400 + ["c"] * 300])
    found = list(slice_checks(compared(scores(truth, 1), scores(truth, 1), truth), "c", column, 0.1))
    assert [one.what for one in found] == ["c = a", "c = b", "c: all others"]
    assert "c has 3 values; the 2 with most rows were judged" in found[-1].sentence
