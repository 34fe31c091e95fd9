"""CBPE against simulated truth: right where the calibration holds, also under covariate shift, and wrong where it drifts."""

import numpy as np
import pytest
from sklearn import metrics

from tasks.core.estimation import cbpe


def simulated(seed: int, count: int = 4000, *, middle: float = 0.0, drift: float = 0.0):
    """Scores that are too sure of themselves, and what came true: P(true | x) is the logistic function of x - drift."""
    random = np.random.default_rng(seed)
    x = random.normal(middle, 1.5, count)
    truth = (random.random(count) < 1 / (1 + np.exp(-(x - drift)))).astype(float)
    return 1 / (1 + np.exp(-2 * x)), truth


@pytest.fixture(scope="module")
def fitted():
    return cbpe.fit_map(*simulated(0, 60_000))


@pytest.mark.parametrize("middle", [0.0, 1.0, -1.0])
def test_estimates_are_unbiased_where_the_calibration_holds_whatever_is_scored(fitted, middle):
    errors = []
    for seed in range(1, 21):
        scores, truth = simulated(seed, middle=middle)
        estimate = cbpe.expected(scores, fitted.of(scores), cbpe.OF_PROBABILITIES)
        realised = cbpe.expected(scores, truth, cbpe.OF_PROBABILITIES)
        errors.append([estimate[name] - realised[name] for name in cbpe.OF_PROBABILITIES])

    means, deviations = np.mean(errors, axis=0), np.std(errors, axis=0, ddof=1)
    # 60,000 rows leave the map itself uncertain by up to 0.005.
    assert (np.abs(means) < 4 * deviations / np.sqrt(20) + 0.005).all(), means


def test_the_map_puts_scores_right_that_are_too_sure(fitted):
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])

    assert fitted.of(1 / (1 + np.exp(-2 * x))) == pytest.approx(1 / (1 + np.exp(-x)), abs=0.03)


def test_it_is_blind_to_a_drift_of_the_concept(fitted):
    scores, truth = simulated(1, 20_000, drift=1.0)

    estimate = cbpe.expected(scores, fitted.of(scores), ("mean_truth",))["mean_truth"]

    assert estimate - truth.mean() > 0.1


def test_with_a_known_truth_each_metric_is_that_of_scikit_learn():
    scores, truth = simulated(3, 500)

    assert cbpe.expected(scores, truth, cbpe.OF_PROBABILITIES) == pytest.approx(
        {
            "roc_auc": metrics.roc_auc_score(truth, scores),
            "average_precision": metrics.average_precision_score(truth, scores),
            "mean_truth": truth.mean(),
            "log_loss": metrics.log_loss(truth, scores),
            "brier": metrics.brier_score_loss(truth, scores),
        }
    )


def test_two_rows_by_hand():
    # The pairs of a true and an untrue row: 0.8 x 0.7 in the right order, 0.3 x 0.2 in the wrong one, and each row's two
    # halves with themselves, 0.8 x 0.2 + 0.3 x 0.7, as ties.
    found = cbpe.expected(np.array([0.9, 0.1]), np.array([0.8, 0.3]), ("roc_auc", "brier", "mean_truth"))

    pairs = (0.8 + 0.3) * (0.2 + 0.7)
    assert found["roc_auc"] == pytest.approx((0.8 * 0.7 + (0.8 * 0.2 + 0.3 * 0.7) / 2) / pairs)
    assert found["brier"] == pytest.approx((0.8 * 0.01 + 0.2 * 0.81 + 0.3 * 0.81 + 0.7 * 0.01) / 2)
    assert found["mean_truth"] == pytest.approx(0.55)


def test_of_one_class_there_is_no_roc_and_of_no_rows_nothing():
    names = ("roc_auc", "average_precision", "brier")

    assert cbpe.expected(np.array([0.2, 0.4]), np.zeros(2), names) == {"brier": pytest.approx((0.04 + 0.16) / 2)}
    assert cbpe.expected(np.empty(0), np.empty(0), names) == {}


def test_beyond_the_rows_that_it_was_made_of_the_map_is_level():
    fitted = cbpe.fit_map(np.array([0.2, 0.4, 0.6]), np.array([0.0, 0.0, 1.0]))

    assert fitted.of(np.array([0.0, 0.2, 0.5, 0.6, 1.0])).tolist() == pytest.approx([0, 0, 0.5, 1, 1])
