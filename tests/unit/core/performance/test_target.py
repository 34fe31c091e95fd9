"""Labels and predictions of whatever types, in the same terms: figures by hand."""

import pyarrow as pa
import pytest

from tasks.core.definitions.modelling import Prediction
from tasks.core.performance.target import hold, predicts_classes

PROBABILITY = {"method": "predict_proba", "class": True}


def held(output, labels, predicted, *, is_classifier=False):
    return hold(
        Prediction.model_validate(output), pa.chunked_array([labels]), pa.array(predicted), is_classifier=is_classifier
    )


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        (pa.array([True, False]), True),
        (pa.array([1, 0], pa.int8()), True),
        (pa.array(["true", "f"]), True),
        (pa.array(["on time", "late"]), "on time"),
        (pa.array([7, 8]), 7),
        (pa.array(["7", "x"]), 7),
        (pa.array([7.0, 8.5]), 7),
    ],
)
def test_the_class_of_a_probability_meets_labels_of_other_types(labels, wanted):
    found = held(PROBABILITY | {"class": wanted}, labels, [0.9, 0.1])

    assert (found.truth.tolist(), found.predicted.tolist()) == ([1, 0], [0.9, 0.1])
    assert list(found.kinds) == ["roc_auc", "average_precision", "log_loss", "brier"]
    assert found.is_probability
    assert found.in_one_unit


def test_a_score_is_no_probability():
    found = held({"method": "decision_function"}, pa.array([True, False]), [3.0, -2.0])
    assert (list(found.kinds), found.is_probability, found.in_one_unit) == (
        ["roc_auc", "average_precision"],
        False,
        False,
    )


def test_classes_meet_as_what_they_name():
    found = held({"type": "string"}, pa.array([1, 2, 3]), ["1", "1", "3"], is_classifier=True)
    assert (found.truth == found.predicted).tolist() == [True, False, True]
    assert list(found.kinds) == ["accuracy", "f1_macro"]


def test_a_label_without_a_place_among_the_classes_is_a_class_that_nobody_predicts():
    found = held({"type": "int64"}, pa.array(["1", "x"]), pa.array([1, 1]), is_classifier=True)
    assert (found.truth == found.predicted).tolist() == [True, False]


def test_numbers():
    found = held({"type": "float32"}, pa.array([1, 2]), pa.array([1.5, 2.5], pa.float32()))
    assert ((found.predicted - found.truth).tolist(), list(found.kinds)) == ([0.5, 0.5], ["rmse", "mae", "r2"])
    assert found.in_one_unit


@pytest.mark.parametrize(
    ("output", "labels", "why"),
    [
        ({"method": "transform"}, pa.array([1.0]), "no metric is known of transform and labels of type double"),
        ({"method": "decision_function"}, pa.array([1]), "no metric is known of decision_function"),
        (PROBABILITY, pa.array([b"x"]), "labels of type binary cannot be held against the class True"),
        (PROBABILITY, pa.array(["yes"]), "no label is of a kind with the class True: 'yes', say, is string"),
        (
            PROBABILITY | {"class": "late"},
            pa.array([5]),
            "no label is of a kind with the class 'late': 5, say, is int64",
        ),
        ({}, pa.array(["late"]), "labels of type string cannot be held against numbers of type float64"),
        ({}, pa.array([float("inf")]), "a label is infinite"),
    ],
)
def test_what_cannot_be_held_against_the_output_says_so(output, labels, why):
    found = held(output, labels, [0.5])
    assert (dict(found.kinds), found.why[: len(why)]) == ({}, why)


@pytest.mark.parametrize(
    ("output", "labels", "benchmark", "expected"),
    [
        ({"type": "int64"}, pa.int64(), {"accuracy"}, True),
        ({"type": "int64"}, pa.int64(), {"rmse"}, False),
        ({"type": "int64"}, pa.int64(), set(), False),
        ({"type": "string"}, pa.int64(), set(), True),
        ({"type": "int64"}, pa.bool_(), set(), True),
    ],
)
def test_whether_an_output_names_classes(output, labels, benchmark, expected):
    assert predicts_classes(Prediction.model_validate(output), labels, benchmark) == expected
