"""Each metric of drawn blocks is scikit-learn's own of the rows so repeated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from tasks.core.models.gate import metrics
from tasks.core.models.gate.metrics import Rows

BLOCKS = 6
PROBABILITIES = {
    "roc_auc": sklearn.roc_auc_score,
    "average_precision": sklearn.average_precision_score,
    "log_loss": lambda truth, found: sklearn.log_loss(truth, found, labels=[0, 1]),
    "brier": sklearn.brier_score_loss,
}
NUMBERS = {
    "rmse": sklearn.root_mean_squared_error,
    "mae": sklearn.mean_absolute_error,
    "r2": sklearn.r2_score,
}
CLASSES = {
    "accuracy": sklearn.accuracy_score,
    "f1_macro": lambda truth, found: sklearn.f1_score(truth, found, average="macro"),
}
SCORE = st.sampled_from([0.0, 0.1, 0.25, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1)


def some_rows(truth, predicted):
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    return Rows(truth, predicted, np.arange(len(truth)) % BLOCKS, BLOCKS)


def repeated(rows, draw):
    """The rows as a draw of blocks repeats them."""
    chosen = np.repeat(np.arange(len(rows.truth)), np.asarray(draw)[rows.blocks])
    return rows.truth[chosen], rows.predicted[chosen]


DRAW = st.lists(st.integers(0, 3), min_size=BLOCKS, max_size=BLOCKS)


@pytest.mark.parametrize("name", PROBABILITIES)
@settings(max_examples=150, deadline=None)
@given(data=st.lists(st.tuples(st.booleans(), SCORE), min_size=BLOCKS, max_size=40), draw=DRAW)
def test_of_a_probability(name, data, draw):
    rows = some_rows([int(truth) for truth, _ in data], [score for _, score in data])
    truth, predicted = repeated(rows, draw)
    found = metrics.OF_PROBABILITIES[name].prepare(rows)(np.array([draw], float))[0]
    if len(truth) and len(set(truth)) == 2:
        assert found == pytest.approx(PROBABILITIES[name](truth, predicted), abs=1e-12)
    elif name == "roc_auc":
        assert np.isnan(found)


@pytest.mark.parametrize("name", NUMBERS)
@settings(max_examples=100, deadline=None)
@given(data=st.lists(st.tuples(st.integers(900, 1000), st.floats(-5, 2000)), min_size=BLOCKS, max_size=40), draw=DRAW)
def test_of_a_number(name, data, draw):
    rows = some_rows([float(truth) for truth, _ in data], [found for _, found in data])
    truth, predicted = repeated(rows, draw)
    found = metrics.OF_NUMBERS[name].prepare(rows)(np.array([draw], float))[0]
    if len(set(truth)) > 1:
        assert found == pytest.approx(NUMBERS[name](truth, predicted), rel=1e-9)
    elif name == "r2" or not len(truth):
        assert np.isnan(found)


@pytest.mark.parametrize("name", CLASSES)
@settings(max_examples=100, deadline=None)
@given(
    data=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=BLOCKS, max_size=40), draw=DRAW
)
def test_of_a_class(name, data, draw):
    rows = some_rows(*(np.array(column, object) for column in zip(*data, strict=True)))
    truth, predicted = repeated(rows, draw)
    found = metrics.OF_CLASSES[name].prepare(rows)(np.array([draw], float))[0]
    if len(truth):
        assert found == pytest.approx(CLASSES[name](truth, predicted), abs=1e-12)
    else:
        assert np.isnan(found)


def test_every_metric_is_compared_with_scikit_learn():
    assert set(PROBABILITIES) == set(metrics.OF_PROBABILITIES)
    assert set(NUMBERS) == set(metrics.OF_NUMBERS)
    assert set(CLASSES) == set(metrics.OF_CLASSES)


@pytest.mark.parametrize("at_once", [1, 50, 10_000_000])
def test_average_precision_is_the_same_in_pieces(monkeypatch, at_once):
    random = np.random.default_rng(0)
    rows = some_rows(random.integers(0, 2, 200), random.integers(0, 20, 200) / 20)
    draws = random.multinomial(BLOCKS, [1 / BLOCKS] * BLOCKS, 30).astype(float)
    whole = metrics.OF_SCORES["average_precision"].prepare(rows)(draws)
    monkeypatch.setattr(metrics, "_AT_ONCE", at_once)
    assert metrics.OF_SCORES["average_precision"].prepare(rows)(draws) == pytest.approx(whole, abs=1e-14)


def test_average_precision_of_very_many_rows_gets_fewer_draws(monkeypatch):
    monkeypatch.setattr(metrics, "_AT_MOST", 200 * 300)
    rows = some_rows([0, 1] * 100, np.linspace(0, 1, 200))
    assert len(metrics.OF_SCORES["average_precision"].prepare(rows)(np.ones((2000, BLOCKS)))) == 300


def test_calibration_error_by_hand():
    # Fifteen bins of two rows each: in the first ten both rows say 0.1 and one of two comes true (|0.5 - 0.1| = 0.4); in
    # the last five both say 0.9 and both come true (0.1). Equal probabilities share a bin: two bins in truth.
    truth = [0, 1] * 10 + [1, 1] * 5
    predicted = [0.1] * 20 + [0.9] * 10
    rows = some_rows(truth, predicted)
    expected = (20 * 0.4 + 10 * 0.1) / 30
    assert metrics.calibration_error(rows)(np.ones((1, BLOCKS)))[0] == pytest.approx(expected, abs=1e-12)


def test_calibration_error_has_bins_of_equal_counts():
    # 150 different probabilities, so bins of ten: in each the mean is that of its ten, whatever their order.
    predicted = (np.arange(150) + 0.5) / 150
    truth = np.tile([0, 1], 75)
    expected = np.mean([abs(0.5 - predicted[start : start + 10].mean()) for start in range(0, 150, 10)])
    shuffled = np.random.default_rng(1).permutation(150)
    for order in (np.arange(150), shuffled):
        rows = some_rows(truth[order], predicted[order])
        assert metrics.calibration_error(rows)(np.ones((1, BLOCKS)))[0] == pytest.approx(expected, abs=1e-12)


def test_what_is_calibrated_has_no_error():
    rows = some_rows([0, 1, 0, 1, 1, 1, 1, 0], [0.5] * 4 + [0.75] * 4)
    assert metrics.calibration_error(rows)(np.ones((1, BLOCKS)))[0] == pytest.approx(0, abs=1e-12)
