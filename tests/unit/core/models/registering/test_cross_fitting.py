"""The past out of sample: no model scores what it has learnt from, and each is made as the version is made."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.definitions.modelling import Labels, Prediction, WindowRange
from tasks.core.models.model_version import InputColumn, InputSchema, Signature
from tasks.core.models.registering.cross_fitting import PastUnknown, Recipe, cross_fit
from tasks.core.models.registering.training_data import WindowRows

INPUTS = InputSchema(columns=(InputColumn(name="window", type="float64"),))
LABELS = Labels(query="SELECT 1", target="y", type="float64")


class Remembers:
    """Its prediction is the mean of the windows that it was fitted on; of a window that it was told to, it raises."""

    def __init__(self, raises_on=()):
        self.raises_on = raises_on

    def fit(self, frame, truth):
        assert np.isfinite(truth).all()
        self.mean_ = float(frame["window"].mean())
        return self

    def predict(self, frame):
        if set(frame["window"]) & set(self.raises_on):
            raise ValueError("not this one")
        return np.full(len(frame), self.mean_)


def rows(first, last, per_window=2):
    """Windows named by their number, with as many rows; the last row of each has no label."""
    parts = []
    for number in range(first, last + 1):
        truth = [float(number)] * (per_window - 1) + [None] if per_window else []
        table = pa.table(
            {"window": pa.array([float(number)] * per_window, pa.float64()), "y": pa.array(truth, pa.float64())}
        )
        parts.append((f"w{number:02d}", table))
    return WindowRows(None, LABELS, WindowRange(first="", last=""), tuple(parts), 0)


def recipe(make=Remembers, *, is_calibrated=False, may_raise=0.02, method="predict"):
    output = Prediction(method=method, class_=None if method == "predict" else 1)
    return Recipe(make, Signature(inputs=INPUTS, outputs={"p": output}), is_calibrated, may_raise)


def test_each_part_is_scored_by_a_model_of_the_others():
    said = []

    found = cross_fit([rows(0, 5), rows(6, 8)], recipe(), 3, lambda *what: said.append(what))

    assert found.windows.tolist() == [f"w{number:02d}" for number in range(9) for _ in range(2)]
    assert found.folds.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    # Of the windows 3 to 8 the mean is 5.5; of 0, 1, 2, 6, 7, 8 it is 4; of 0 to 5 it is 2.5.
    assert found.outputs["p"].to_pylist() == [5.5] * 6 + [4.0] * 6 + [2.5] * 6
    assert found.is_labelled.tolist() == [True, False] * 9
    assert found.truth[found.is_labelled].tolist() == list(range(9))
    assert found.table["window"].to_pylist() == [number for number in range(9) for _ in range(2)]
    assert (found.is_out_of_sample, len(said)) == (True, 3)


def test_fewer_windows_than_parts_are_a_part_each():
    found = cross_fit([rows(0, 7)], recipe(), 20, print)
    assert found.folds.tolist() == [number for number in range(8) for _ in range(2)]


def test_of_too_few_windows_nothing_is_usual():
    with pytest.raises(PastUnknown, match="knows 7 windows, and of fewer than 8 nothing is usual"):
        cross_fit([rows(0, 6)], recipe(), 3, print)


def test_windows_without_rows_are_windows():
    found = cross_fit([rows(0, 3), rows(4, 5, per_window=0), rows(6, 8)], recipe(), 3, print)
    assert sorted(set(found.windows.tolist())) == ["w00", "w01", "w02", "w03", "w06", "w07", "w08"]
    assert found.folds.tolist() == [0] * 6 + [1] * 2 + [2] * 6


def test_a_row_on_which_the_model_raises_is_left_out_as_scoring_does():
    found = cross_fit([rows(0, 8)], recipe(lambda: Remembers([4.0]), may_raise=0.5), 3, print)
    assert "w04" not in found.windows
    assert len(found.table) == len(found.outputs) == len(found.truth) == 16


def test_an_estimator_that_cannot_be_made_of_a_part_leaves_the_past_unknown():
    with pytest.raises(PastUnknown, match=r"could not be scored out of sample: .*raised on more than 1 single rows.*"):
        cross_fit([rows(0, 8)], recipe(lambda: Remembers([4.0]), may_raise=0.1), 3, print)


def test_where_the_version_is_calibrated_so_is_each_model_on_the_part_after():
    fitted, calibrated = [], []

    class Classifies:
        classes_ = np.array([0, 1])
        _estimator_type = "classifier"

        def fit(self, frame, truth):
            fitted.append(sorted(set(frame["window"])))

    def put_right(model, frame, truth):
        calibrated.append(sorted(set(frame["window"])))
        model.predict_proba = lambda frame: np.column_stack([frame["window"], frame["window"]]) / 10
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasks.core.models.registering.cross_fitting.calibrated", put_right)
        cross_fit([rows(0, 8)], recipe(Classifies, is_calibrated=True, method="predict_proba"), 2, print)

    # Asked for two parts it takes three: one to fit on, one to calibrate on, one to score.
    assert fitted == [[6, 7, 8], [0, 1, 2], [3, 4, 5]]
    assert calibrated == [[3, 4, 5], [6, 7, 8], [0, 1, 2]]
