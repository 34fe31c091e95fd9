"""What a model makes of its own past: its scores there, and how far they lie from the truth."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor

from tasks.core.definitions.modelling import Prediction
from tasks.core.models.model_version import InputColumn, InputSchema, Signature
from tasks.core.models.registering.own_past import own_past


def signature(**outputs):
    return Signature(inputs=InputSchema(columns=(InputColumn(name="x", type="float64"),)), outputs=outputs)


def past_of(model, made, truth, is_labelled, places):
    table = pa.table({"x": np.arange(len(truth), dtype=float)})
    return own_past(model, made, table, np.array(truth), np.array(is_labelled), np.array(places, np.intp))


def test_the_bias_is_of_the_labelled_and_the_scores_of_all():
    model = DummyRegressor(strategy="constant", constant=2.0).fit([[0.0]], [2.0])
    made = signature(y=Prediction(method="predict"))
    found = past_of(model, made, [5.0, 3.0, 99.0, 7.0], [True, True, False, True], [0, 1, 2])
    # Of the three that were chosen two have a label: 5 and 3, of which 2 was predicted.
    assert found.bias == pytest.approx(2.0)
    assert found.outputs["y"].to_pylist() == [2.0] * 3


def test_of_probabilities_the_truth_is_the_share():
    model = DummyClassifier(strategy="prior").fit([[0.0]] * 4, [True, False, False, False])
    made = signature(p=Prediction(method="predict_proba", class_=True))
    found = past_of(model, made, [True, True, False, False], [True] * 4, [0, 1, 2, 3])
    assert found.bias == pytest.approx(0.5 - 0.25)


def test_classes_have_no_bias_and_no_rows_have_none():
    model = DummyClassifier(strategy="most_frequent").fit([[0.0]] * 2, ["a", "a"])
    made = signature(kind=Prediction(method="predict", type="string"))
    assert past_of(model, made, ["a", "b"], [True, True], [0, 1]).bias is None
    model = DummyRegressor(strategy="constant", constant=2.0).fit([[0.0]], [2.0])
    made = signature(y=Prediction(method="predict"))
    assert past_of(model, made, [1.0], [False], [0]).bias is None
    nothing = past_of(model, made, [1.0], [True], [])
    assert (nothing.bias, len(nothing.outputs)) == (None, 0)
