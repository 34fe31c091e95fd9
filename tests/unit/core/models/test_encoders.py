"""Encoders that see distinct values alone make what they made of every row: codes, masks, errors and warnings."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from tasks.core.models import encoders
from tasks.core.models.encoders import quicken

CHANCE = np.random.default_rng(3)
CARRIERS = ["UA", "AA", "B6", "DL", "é", "", None]
KNOWN = pd.DataFrame(
    {
        "carrier": pd.Series(CHANCE.choice(CARRIERS, 4000, p=[0.5, 0.2, 0.1, 0.1, 0.05, 0.04, 0.01]), dtype="str"),
        "origin": pd.Series(CHANCE.choice(["EWR", "JFK"], 4000), dtype="str"),
    }
)
NEW = pd.DataFrame(
    {
        "carrier": pd.Series(CHANCE.choice([*CARRIERS, "ZZ", "a longer name than all"], 3000), dtype="str"),
        "origin": pd.Series(CHANCE.choice(["EWR", "JFK", None, "LGA"], 3000), dtype="str"),
    }
)
ENCODERS = [
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2, dtype=np.int16),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=300),
    OrdinalEncoder(),
    OneHotEncoder(handle_unknown="ignore"),
    OneHotEncoder(handle_unknown="ignore", drop="first"),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3),
    OneHotEncoder(handle_unknown="warn", min_frequency=300, sparse_output=False),
    OneHotEncoder(drop="if_binary"),
]


def outcome(encoder, frame):
    """What it makes, says and raises."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            made = encoder.transform(frame)
        except ValueError as error:
            return str(error), [str(one.message) for one in said]
    dense = made.toarray() if hasattr(made, "toarray") else made
    return (dense.dtype, dense.tobytes()), [str(one.message) for one in said]


@pytest.mark.parametrize("encoder", ENCODERS, ids=str)
@pytest.mark.parametrize("frame", [KNOWN, NEW, NEW[["origin", "carrier"]], NEW[["carrier"]]], ids=range(4))
def test_the_same_comes_out(encoder, frame, monkeypatch):
    encoder.fit(KNOWN)
    expected = outcome(encoder, frame)
    asked = []
    true = encoders._distinct
    monkeypatch.setattr(encoders, "_distinct", lambda frame: asked.append(true(frame)) or asked[-1])
    quicken(encoder)
    assert outcome(encoder, frame) == expected
    assert all(short is not None and len(short[0]) <= 9 for short in asked)
    assert asked
    del vars(encoder)["_transform"]


@pytest.mark.parametrize(
    "frame",
    [
        NEW[:10],
        NEW[:0],
        NEW.astype(object),
        NEW.astype({"carrier": "category"}),
        NEW.assign(carrier=[f"{number}" for number in range(len(NEW))]),
        NEW.to_numpy(dtype=object),
    ],
    ids=["few", "none", "objects", "categories", "all are distinct", "an array"],
)
def test_what_is_no_frame_of_repeated_text_goes_its_usual_way(frame):
    encoder = OneHotEncoder(handle_unknown="ignore").fit(KNOWN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = outcome(encoder, frame)
        assert encoders._distinct(frame) is None
        quicken(encoder)
        assert outcome(encoder, frame) == expected


def test_those_inside_a_model_are_found_and_its_scores_stay():
    columns = ColumnTransformer([("a", OneHotEncoder(handle_unknown="ignore"), ["carrier"]), ("b", "drop", ["origin"])])
    truth = KNOWN["origin"] == "EWR"
    model = make_pipeline(columns, LogisticRegression()).fit(KNOWN, truth)
    model = CalibratedClassifierCV(FrozenEstimator(model), method="isotonic").fit(KNOWN, truth)
    expected = model.predict_proba(NEW)
    quicken(model)
    inner = model.calibrated_classifiers_[0].estimator.estimator[0].named_transformers_["a"]
    assert isinstance(vars(inner)["_transform"], encoders.OnDistinct)
    np.testing.assert_array_equal(model.predict_proba(NEW), expected)


def test_an_encoder_of_somebody_s_own_is_left_alone():
    class Mine(OneHotEncoder):
        pass

    mine = Mine().fit(KNOWN)
    quicken(mine)
    assert "_transform" not in vars(mine)
