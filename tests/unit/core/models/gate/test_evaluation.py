"""The bootstrap: its unit, its intervals against scipy's, and differences that are paired."""

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score

from tasks.core.definitions.modelling import Prediction
from tasks.core.models.gate import evaluation, metrics
from tasks.core.models.gate.evaluation import Target, blocks_of, estimate, figure, gain, measure, target_of
from tasks.core.models.gate.metrics import Rows

DAYS = 20


def two_models(random, rows=600):
    """Truth, the scores of a model and of a worse one, and each row's day; errors go together within a day."""
    day = random.integers(0, DAYS, rows)
    signal = random.normal(size=rows)
    truth = (signal + random.normal(size=rows) > 0).astype(np.int8)
    shared = random.normal(size=DAYS)[day]
    ours = 1 / (1 + np.exp(-(signal + 0.5 * shared)))
    theirs = 1 / (1 + np.exp(-(signal + 0.5 * shared + 0.7 * random.normal(size=rows))))
    return truth, ours, theirs, day


def held(truth, predicted, blocks):
    return Rows(truth, predicted, blocks.of, blocks.count)


@pytest.mark.parametrize("name", ["roc_auc", "brier"])
def test_the_interval_of_a_difference_is_that_of_scipy_s_bootstrap_over_days(name):
    from tests.unit.core.models.gate.test_metrics import PROBABILITIES

    truth, ours, theirs, day = two_models(np.random.default_rng(3))
    blocks, kind = blocks_of(day), metrics.OF_PROBABILITIES[name]
    found = estimate(
        gain(
            kind.prepare,
            held(truth, ours, blocks),
            held(truth, theirs, blocks),
            higher_is_better=kind.higher_is_better,
        ),
        blocks.count,
    )

    sign, score = (1 if kind.higher_is_better else -1), PROBABILITIES[name]
    members = [np.flatnonzero(day == one) for one in range(DAYS)]

    def difference(days):
        rows = np.concatenate([members[one] for one in days])
        return sign * (score(truth[rows], ours[rows]) - score(truth[rows], theirs[rows]))

    # Hesterberg's expanded percentiles for 20 days, by scipy's own distributions.
    outside = scipy.stats.norm.cdf(-np.sqrt(DAYS / (DAYS - 1)) * scipy.stats.t.ppf(0.975, DAYS - 1))
    drawn = scipy.stats.bootstrap(
        (np.arange(DAYS),),
        difference,
        vectorized=False,
        method="percentile",
        n_resamples=600,
        confidence_level=1 - 2 * outside,
        random_state=1,
    ).confidence_interval
    width = drawn.high - drawn.low
    assert found.value == pytest.approx(difference(np.arange(DAYS)), abs=1e-12)
    assert found.low == pytest.approx(drawn.low, abs=0.12 * width)
    assert found.high == pytest.approx(drawn.high, abs=0.12 * width)


def test_a_difference_is_paired():
    # Days differ far more than the models do: an interval of two separate draws could not tell them apart.
    random = np.random.default_rng(5)
    day = np.repeat(np.arange(DAYS), 50)
    truth = random.normal(size=len(day)) + 5 * random.normal(size=DAYS)[day]
    blocks = blocks_of(day)
    ours, theirs = (held(truth, np.full(len(day), guess), blocks) for guess in (0.1, 0.11))
    mae = metrics.OF_NUMBERS["mae"].prepare
    alone = estimate(mae(ours), blocks.count)
    both = estimate(gain(mae, ours, theirs, higher_is_better=False), blocks.count)
    assert both.high - both.low < (alone.high - alone.low) / 20


@pytest.mark.parametrize(
    ("kinds", "name", "better"),
    [(metrics.OF_PROBABILITIES, name, 0.8) for name in metrics.OF_PROBABILITIES]
    + [(metrics.OF_NUMBERS, name, 0.8) for name in metrics.OF_NUMBERS],
)
def test_above_nought_the_candidate_is_better_whatever_is_measured(kinds, name, better):
    truth, day = np.array([0, 1] * 40, float), np.repeat(np.arange(10), 8)
    noise = np.tile([0, 0, 0, 0, 0.7], 16)
    good, bad = (np.clip(np.abs(truth - 1 + better) - noise * part * (2 * truth - 1), 0, 1) for part in (0.5, 1))
    blocks, kind = blocks_of(day), kinds[name]
    ours, theirs = held(truth, good, blocks), held(truth, bad, blocks)
    change = estimate(gain(kind.prepare, ours, theirs, higher_is_better=kind.higher_is_better), blocks.count)
    back = estimate(gain(kind.prepare, theirs, ours, higher_is_better=kind.higher_is_better), blocks.count)
    assert change.value > 0 > back.value
    assert change.value == pytest.approx(-back.value, abs=1e-12)


def test_two_that_are_the_same_differ_by_nothing():
    truth, ours, _, day = two_models(np.random.default_rng(1))
    blocks = blocks_of(day)
    auc = metrics.OF_SCORES["roc_auc"].prepare
    same = gain(auc, held(truth, ours, blocks), held(truth, ours, blocks), higher_is_better=False)
    assert str(estimate(same, blocks.count)) == "Estimate(value=0.0, low=0.0, high=0.0)"


def test_windows_are_drawn_and_rows_where_there_are_too_few():
    windows = np.array(["2024-05-01", "2024-05-02"] * 10)
    assert (blocks_of(windows).unit, blocks_of(windows).count) == ("row", 20)
    eight = np.array([f"2024-05-{day:02d}" for day in range(1, 9)] * 3)
    found = blocks_of(eight)
    assert (found.unit, found.count, found.of.tolist()) == ("window", 8, list(range(8)) * 3)


def test_neighbouring_windows_are_drawn_together_where_there_are_very_many():
    found = blocks_of(np.arange(1000))
    assert (found.unit, found.count) == ("window", 200)
    assert np.bincount(found.of).tolist() == [5] * 200
    assert found.of.tolist() == sorted(found.of)


def test_a_metric_that_is_not_defined_is_unknown():
    blocks = blocks_of(np.arange(10))
    rows = held(np.ones(10), np.linspace(0, 1, 10), blocks)
    assert figure(metrics.OF_SCORES["roc_auc"].prepare(rows), blocks.count) is None
    assert estimate(metrics.OF_SCORES["roc_auc"].prepare(rows), blocks.count).low is None


def test_a_draw_without_a_class_says_nothing_about_the_spread():
    # One day of ten holds all that came true: a third of the draws is without it.
    truth = np.array([0] * 90 + [1] * 10)
    blocks = blocks_of(np.repeat(np.arange(10), 10))
    rows = held(truth, np.linspace(0, 1, 100), blocks)
    found = estimate(metrics.OF_SCORES["roc_auc"].prepare(rows), blocks.count)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_a_benchmark_is_the_same_every_time_and_holds_the_value_within_its_interval():
    truth, ours, _, day = two_models(np.random.default_rng(4))
    first = measure(metrics.OF_PROBABILITIES, truth, ours, day)
    assert first == measure(metrics.OF_PROBABILITIES, truth, ours, day)
    assert [one.name for one in first] == ["roc_auc", "average_precision", "log_loss", "brier"]
    assert first[0].value == pytest.approx(roc_auc_score(truth, ours), abs=1e-12)
    assert all(one.low < one.value < one.high for one in first)


@pytest.mark.parametrize(
    ("output", "truth", "is_classifier", "expected"),
    [
        ({"method": "predict_proba", "class": True}, [True, False], True, ("roc_auc", [1, 0])),
        ({"method": "predict_proba", "class": "b"}, ["b", "c"], True, ("roc_auc", [1, 0])),
        ({"method": "decision_function", "class": 1}, [0, 1], True, ("roc_auc", [0, 1])),
        ({"method": "decision_function"}, [False, True], True, ("roc_auc", [0, 1])),
        ({"method": "predict", "type": "string"}, ["b", "c"], True, ("accuracy", ["b", "c"])),
        ({"method": "predict"}, [1, 2], False, ("rmse", [1.0, 2.0])),
        ({"method": "score_samples"}, [1, 2], False, (None, [1, 2])),
        ({"method": "transform", "class": 0}, [1, 2], False, (None, [1, 2])),
    ],
)
def test_what_an_output_is_held_against(output, truth, is_classifier, expected):
    values = np.array(truth, dtype=object if isinstance(truth[0], str) else None)
    found = target_of(Prediction.model_validate(output), values, is_classifier=is_classifier)
    assert isinstance(found, Target)
    assert (next(iter(found.metrics), None), found.truth.tolist()) == expected
    assert found.is_probability == (output["method"] == "predict_proba")


def test_few_blocks_widen_the_interval():
    # Hesterberg 2015: Phi(-sqrt(n / (n - 1)) * t), by scipy's distributions.
    for count in (2, 8, 30, 200):
        expected = scipy.stats.norm.cdf(-np.sqrt(count / (count - 1)) * scipy.stats.t.ppf(0.975, count - 1))
        assert evaluation._share_outside(count) == pytest.approx(expected, rel=1e-9)
