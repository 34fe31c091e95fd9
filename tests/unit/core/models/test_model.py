"""The load gate, predictions as published columns, and one bad row that costs one row. With real scikit-learn models."""

import datetime as dt
import decimal
import math
import os
import pickle
import sys
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC

from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import ModelBlocked
from tasks.core.models.formats.joblib_format import FORMAT
from tasks.core.models.model import (
    LoadedModel,
    PredictRaised,
    check_input_schema,
    expected_outputs,
    input_frame,
    load_model,
    may_end_its_process,
    predict,
    score_with_bisection,
)
from tasks.core.models.model_version import Candidate, InputColumn, InputSchema, ModelManifest, ModelVersion, Signature
from tasks.core.models.registry import Registry
from tasks.core.storage import Lake

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
PROBABILITY = {"p": Prediction(method="predict_proba", class_=True)}
LABEL = {"label": Prediction(type="string")}


def inputs(container="pandas", **types):
    columns = [
        InputColumn(name=name, **(kind if isinstance(kind, dict) else {"type": kind})) for name, kind in types.items()
    ]
    return InputSchema(columns=tuple(columns), container=container)


def loaded(estimator, schema, outputs=PROBABILITY):
    """A model as the gate would hand it over, without a registry."""
    manifest = ModelManifest(name="late", version=3, registered_at=NOON, registered_by="ann", files={}, environment={})
    return LoadedModel(ModelVersion(manifest, Signature(inputs=schema, outputs=outputs)), estimator)


@pytest.fixture
def registry(tmp_path):
    return Registry(Lake(tmp_path / "lake"))


def register(registry, estimator, schema, outputs, probe, *, expected=None, environment=None, **signature):
    signed = Signature(inputs=schema, outputs=outputs, **signature)
    candidate = Candidate(
        model_bytes=FORMAT.dump(estimator),
        signature=signed,
        profile={},
        benchmark={},
        probe=probe,
        expected=expected_outputs(estimator, signed, probe) if expected is None else expected,
        environment=environment,
    )
    return registry.register("late", candidate, at=NOON, actor="ann")


# -- the five kinds of model, through registry, gate and prediction --------------------------------------------------

FLIGHTS = pa.table(
    {
        "unused": pa.array(range(300), pa.int32()),
        "distance": pa.array([None if i % 50 == 7 else 100 + 7 * i % 2000 for i in range(300)], pa.int64()),
        "carrier": pa.array([None if i % 31 == 5 else ["AA", "UA", "DL"][i % 3] for i in range(300)]),
        "origin": pa.array([["JFK", "LGA"][i % 2] for i in range(300)]),
        "humid": pa.array([math.sin(i) * 50 + 50 for i in range(300)]),
        "is_weekend": pa.array([i % 7 > 4 for i in range(300)]),
    }
)
FLIGHT_INPUTS = inputs(
    carrier="string",
    origin={"type": "string", "encoding": "category", "categories": ("JFK", "LGA")},
    humid="float64",
    distance="int64",
    is_weekend="bool",
)
LATE = np.array([i % 3 == 0 or i % 11 == 0 for i in range(300)])


def boosted():
    encode = ColumnTransformer(
        [("ordinal", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["carrier", "origin"])],
        remainder="passthrough",
    )
    return make_pipeline(encode, HistGradientBoostingClassifier(max_iter=10, random_state=0))


def test_binary_classification(registry):
    frame = input_frame(FLIGHTS, FLIGHT_INPUTS)
    model = boosted().fit(frame, LATE)
    outputs = {**PROBABILITY, "late": Prediction(type="bool"), "score": Prediction(method="decision_function")}
    version = register(registry, model, FLIGHT_INPUTS, outputs, FLIGHTS.slice(0, 50))
    got = predict(load_model(registry, version, snapshot_schema=FLIGHTS.schema), FLIGHTS, outputs)
    assert got.schema == pa.schema([("p", pa.float64()), ("late", pa.bool_()), ("score", pa.float64())])
    np.testing.assert_array_equal(got["p"].to_numpy(), model.predict_proba(frame)[:, 1])
    assert got["late"].to_pylist() == [p > 0.5 for p in got["p"].to_pylist()]
    # The link function by hand: p = 1 / (1 + exp(-score)).
    assert got["p"].to_pylist() == pytest.approx([1 / (1 + math.exp(-score)) for score in got["score"].to_pylist()])


def test_multi_class_classification(registry):
    iris = load_iris(as_frame=True)
    table = pa.Table.from_pandas(iris.data, preserve_index=False)
    kinds = np.array(iris.target_names)[iris.target]
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(iris.data, kinds)
    outputs = {
        f"p_{kind}": Prediction(method="predict_proba", class_=kind) for kind in ("virginica", "setosa", "versicolor")
    }
    outputs["kind"] = Prediction(type="string")
    version = register(
        registry, model, inputs(**dict.fromkeys(table.column_names, "float64")), outputs, table.slice(45, 20)
    )
    got = predict(load_model(registry, version), table, outputs).to_pandas()
    assert list(got) == ["p_virginica", "p_setosa", "p_versicolor", "kind"]
    assert got.iloc[:, :3].sum(axis=1).to_numpy() == pytest.approx(np.ones(150))
    assert got.iloc[:, :3].idxmax(axis=1).str.removeprefix("p_").tolist() == got["kind"].tolist()
    assert (got["kind"] == kinds).mean() > 0.95


def test_regression(registry):
    diabetes = load_diabetes(as_frame=True)
    table = pa.Table.from_pandas(diabetes.data, preserve_index=False)
    model = HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(diabetes.data, diabetes.target)
    outputs = {"progression": Prediction(), "rounded": Prediction(type="float32")}
    version = register(
        registry, model, inputs(**dict.fromkeys(table.column_names, "float64")), outputs, table.slice(0, 30)
    )
    got = predict(load_model(registry, version), table, outputs)
    np.testing.assert_array_equal(got["progression"].to_numpy(), model.predict(diabetes.data))
    assert got["rounded"].type == pa.float32()


def test_clusters(registry):
    table = pa.table({"x": [0.0, 0.1, 5.0, 5.1, 9.0, 9.1]})
    model = KMeans(3, init=np.array([[0.0], [5.0], [9.0]]), n_init=1).fit(input_frame(table, inputs(x="float64")))
    outputs = {"cluster": Prediction(type="int32"), "far": Prediction(method="transform", class_=2)}
    version = register(registry, model, inputs(x="float64"), outputs, table)
    got = predict(load_model(registry, version), table, outputs)
    assert got["cluster"].to_pylist() == [0, 0, 1, 1, 2, 2]
    # The distance to the third centre, which lies at 9.05.
    assert got["far"].to_pylist() == pytest.approx([9.05, 8.95, 4.05, 3.95, 0.05, 0.05])


def test_anomalies(registry):
    table = pa.table({"x": [*np.linspace(0, 1, 60), 50.0]})
    model = IsolationForest(n_estimators=30, random_state=0).fit(input_frame(table, inputs(x="float64")))
    outputs = {"score": Prediction(method="score_samples"), "is_inlier": Prediction(type="int8")}
    version = register(registry, model, inputs(x="float64"), outputs, table)
    got = predict(load_model(registry, version), table, outputs)
    assert int(np.argmin(got["score"].to_numpy())) == 60
    assert got["is_inlier"].to_pylist()[-1] == -1


def test_each_method_is_called_once():
    calls = []

    class Counts:
        classes_ = np.array(["a", "b"])

        def predict(self, frame):
            calls.append("predict")
            return np.full(len(frame), "a")

        def predict_proba(self, frame):
            calls.append("predict_proba")
            return np.tile([0.25, 0.75], (len(frame), 1))

    outputs = {
        "b": Prediction(method="predict_proba", class_="b"),
        "label": Prediction(type="string"),
        "a": Prediction(method="predict_proba", class_="a"),
        "again": Prediction(type="string"),
    }
    got = predict(loaded(Counts(), inputs(x="float64")), pa.table({"x": [1.0, 2.0]}), outputs)
    assert got.to_pydict() == {"b": [0.75] * 2, "label": ["a"] * 2, "a": [0.25] * 2, "again": ["a"] * 2}
    assert calls == ["predict_proba", "predict"]


def test_a_record_batch_a_table_and_no_rows_at_all():
    model = loaded(LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]), inputs("numpy", x="float64"))
    outputs = {"y": Prediction()}
    table = pa.table({"x": [2.0, 3.0]})
    assert predict(model, table, outputs)["y"].to_pylist() == pytest.approx([5.0, 7.0])
    assert predict(model, table.to_batches()[0], outputs)["y"].to_pylist() == pytest.approx([5.0, 7.0])
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1, 1)])
    assert predict(model, chunked, outputs)["y"].to_pylist() == pytest.approx([5.0, 7.0])
    assert predict(model, table.slice(0, 0), outputs).schema == pa.schema([("y", pa.float64())])


# -- the frame ------------------------------------------------------------------------------------------------------

EVERYTHING = {
    "text": ("string", ["a", None, "b"], "str"),
    "kind": ({"type": "string", "encoding": "category", "categories": ("b", "a")}, ["a", None, "zz"], "category"),
    "code": ({"type": "int8", "encoding": "category", "categories": (7, 3)}, [3, None, 7], "category"),
    "count": ("int64", [1, None, 3], "float64"),
    "whole": ({"type": "int16", "nullable": False}, [1, 2, 3], "int16"),
    "flag": ("bool", [True, None, False], "float64"),
    "sure": ({"type": "bool", "nullable": False}, [True, True, False], "bool"),
    "small": ("float32", [0.5, None, 2.0], "float32"),
    "real": ("float64", [0.5, None, math.inf], "float64"),
    "money": ("decimal(8, 2)", [decimal.Decimal("1.25"), None, decimal.Decimal("3.00")], "float64"),
    "day": ("date", [dt.date(2013, 7, 1), None, dt.date(2013, 7, 2)], "datetime64[us]"),
    "instant": ("timestamp", [NOON, None, NOON], "datetime64[us, UTC]"),
    "local": ("timestamp_naive", [NOON.replace(tzinfo=None), None, None], "datetime64[us]"),
}
EVERY_INPUT = inputs(**{name: kind for name, (kind, _, _) in EVERYTHING.items()})
EVERY_ROW = pa.table({name: values for name, (_, values, _) in EVERYTHING.items()}, schema=EVERY_INPUT.arrow_schema)


def test_a_frame_has_the_types_of_the_declaration_whatever_its_rows_hold():
    expected = {name: dtype for name, (_, _, dtype) in EVERYTHING.items()}
    for rows in (
        EVERY_ROW,
        EVERY_ROW.slice(0, 1),
        EVERY_ROW.slice(1, 1),
        EVERY_ROW.slice(0, 0),
        EVERY_ROW.take([2, 0]),
    ):
        frame = input_frame(rows, EVERY_INPUT)
        assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == expected
        assert len(frame) == rows.num_rows


def test_a_frame_has_the_values():
    frame = input_frame(EVERY_ROW, EVERY_INPUT)
    assert frame["text"].tolist()[::2] == ["a", "b"]
    assert frame["text"].isna().tolist() == [False, True, False]
    # Known categories in their declared order; what is not among them is missing.
    assert frame["kind"].cat.categories.tolist() == ["b", "a"]
    assert frame["kind"].cat.codes.tolist() == [1, -1, -1]
    assert frame["code"].cat.categories.tolist() == [7, 3]
    assert frame["code"].cat.codes.tolist() == [1, -1, 0]
    np.testing.assert_array_equal(frame["count"], [1.0, np.nan, 3.0])
    np.testing.assert_array_equal(frame["flag"], [1.0, np.nan, 0.0])
    np.testing.assert_array_equal(frame["money"], [1.25, np.nan, 3.0])
    np.testing.assert_array_equal(frame["real"], [0.5, np.nan, np.inf])
    assert frame["instant"][0] == pd.Timestamp(NOON)
    assert frame["day"][2] == pd.Timestamp("2013-07-02")


def test_a_frame_has_the_models_columns_in_the_models_order():
    table = pa.table({"c": [1.0], "other": ["x"], "a": [2.0], "b": [3.0]})
    assert list(input_frame(table, inputs(a="float64", b="float64", c="float64"))) == ["a", "b", "c"]
    array = input_frame(table, inputs("numpy", b="float64", c="float64", a="float64"))
    assert array.tolist() == [[3.0, 1.0, 2.0]]


def test_an_array_model_is_scored_without_a_warning_about_names():
    model = loaded(LinearRegression().fit(np.array([[0.0], [1.0]]), [0.0, 2.0]), inputs("numpy", x="float64"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert predict(model, pa.table({"x": [3.0]}), {"y": Prediction()})["y"].to_pylist() == pytest.approx([6.0])


@pytest.mark.parametrize(
    ("column", "match"),
    [
        ({"type": "list<float64>"}, "no model takes"),
        ({"type": "binary"}, "no model takes"),
        ({"type": "time"}, "no model takes"),
        ({"type": "string", "encoding": "category"}, "needs its categories"),
        ({"type": "string", "categories": ("a", "a")}, "stands twice"),
        ({"type": "text"}, "not a column type"),
        ({"type": "string", "unknown": 1}, "Extra inputs"),
    ],
)
def test_an_input_that_no_model_takes_is_refused(column, match):
    with pytest.raises(ValidationError, match=match):
        InputColumn(name="x", **column)


def test_an_input_stands_once():
    with pytest.raises(ValidationError, match="inputs stand twice"):
        InputSchema(columns=(InputColumn(name="x", type="int8"), InputColumn(name="x", type="int8")))


# -- what a model returns -------------------------------------------------------------------------------------------


class Returns:
    """A model that returns what it was told to."""

    def __init__(self, classes=None, **returned):
        self.returned = returned
        if classes is not None:
            self.classes_ = np.array(classes)

    def __getattr__(self, name):
        if name in self.__dict__.get("returned", {}):
            return lambda frame: self.returned[name]
        raise AttributeError(name)


THREE = pa.table({"x": [1.0, 2.0, 3.0]})


def blocked(model, output, match):
    with pytest.raises(ModelBlocked, match=match):
        predict(loaded(model, inputs(x="float64")), THREE, {"out": output})


@pytest.mark.parametrize(
    ("returned", "match"),
    [
        ([1.0, 2.0], "it returned 2 for 3 rows"),
        ([], "it returned 0 for 3 rows"),
        (7.0, "one value for 3 rows"),
        (np.ones((3, 2)), r"shape \(3, 2\), and one value a row"),
        (np.ones((3, 1, 1)), r"shape \(3, 1, 1\)"),
        ([1.0, math.nan, 2.0], "1 of 3 values are missing, NaN or infinite; the first, in row 1, is nan"),
        ([1.0, 2.0, math.inf], "the first, in row 2, is inf"),
        ([-math.inf, math.nan, 1.0], "2 of 3 .* in row 0, is -inf"),
        ([1.0, None, 2.0], "1 of 3 values are missing"),
        (["a", "b", "c"], "cannot be float64: Failed to parse string"),
        (np.array([1, "a", None], dtype=object), "cannot be float64"),
        ([{}, {}, {}], "cannot be float64"),
        (np.array([1 + 2j] * 3), "cannot be float64"),
        (np.array([2**60 + 1] * 3), "cannot be float64"),
    ],
)
def test_what_cannot_be_published_is_said(returned, match):
    blocked(Returns(predict=returned), Prediction(), rf"late version 3, predict for the column 'out': .*{match}")


def test_whole_numbers_stay_whole():
    one_and_a_half = Returns(predict=np.array([1.0, 2.0, 1.5]))
    blocked(one_and_a_half, Prediction(type="int64"), "cannot be int64: .*truncated")
    labels = predict(
        loaded(Returns(predict=np.array([1.0, 2.0, 3.0])), inputs(x="float64")), THREE, {"n": Prediction(type="int8")}
    )
    assert labels["n"].to_pylist() == [1, 2, 3]
    blocked(Returns(predict=np.array([1, 2, 300])), Prediction(type="int8"), "cannot be int8: .*300")


def test_one_column_or_a_sparse_one_is_a_column():
    for returned in (
        np.array([[1.0], [2.0], [3.0]]),
        pd.Series([1.0, 2.0, 3.0]),
        scipy.sparse.csr_matrix([[1.0], [2.0], [3.0]]),
    ):
        got = predict(loaded(Returns(predict=returned), inputs(x="float64")), THREE, {"y": Prediction()})
        assert got["y"].to_pylist() == [1.0, 2.0, 3.0]


def test_what_lies_under_a_mask_is_no_prediction():
    masked = np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False])
    blocked(
        Returns(predict=masked),
        Prediction(),
        "1 of 3 values are missing, NaN or infinite; the first, in row 1, is None",
    )
    both = np.ma.masked_array(np.full((3, 2), 0.5), mask=[[False, False], [False, True], [False, False]])
    blocked(
        Returns(classes=[0, 1], predict_proba=both),
        Prediction(method="predict_proba", class_=1),
        "1 of 3 values are missing",
    )
    whole = np.ma.masked_array([1.0, 2.0, 3.0], mask=False)
    got = predict(loaded(Returns(predict=whole), inputs(x="float64")), THREE, {"y": Prediction()})
    assert got["y"].to_pylist() == [1.0, 2.0, 3.0]


def test_a_frame_or_series_whose_labels_say_another_order_is_not_taken_as_it_stands():
    sorted_by_value = pd.Series([3.0, 1.0, 2.0]).sort_values()
    blocked(
        Returns(predict=sorted_by_value),
        Prediction(),
        r"late version 3, predict: its rows come in another order than they were given: by their index \[1, 2, 0\]",
    )
    probability = Prediction(method="predict_proba", class_=1)
    swapped = pd.DataFrame({1: [0.75] * 3, 0: [0.25] * 3})
    blocked(
        Returns(classes=[0, 1], predict_proba=swapped),
        probability,
        r"predict_proba: its columns are named \[1, 0\], and its classes are \[0, 1\]",
    )
    # Labels that say nothing of an order, or the right one.
    for index in (["a", "b", "c"], [10, 30, 20], [0, 1, 2]):
        frame = pd.DataFrame({0: [0.25] * 3, 1: [0.75] * 3}, index=index)
        model = loaded(Returns(classes=[0, 1], predict_proba=frame), inputs(x="float64"))
        assert predict(model, THREE, {"p": probability})["p"].to_pylist() == [0.75] * 3
    frame = pd.DataFrame({"no": [0.25] * 3, "yes": [0.75] * 3})
    model = loaded(Returns(classes=[0, 1], predict_proba=frame), inputs(x="float64"))
    assert predict(model, THREE, {"p": probability})["p"].to_pylist() == [0.75] * 3


def test_a_model_whose_classes_change_their_order_after_it_was_loaded_is_not_asked_for_one():
    model = loaded(Returns(classes=[0, 1], predict_proba=np.array([[0.25, 0.75]] * 3)), inputs(x="float64"))
    outputs = {"p": Prediction(method="predict_proba", class_=1)}
    assert predict(model, THREE, outputs)["p"].to_pylist() == [0.75] * 3
    model.estimator.classes_ = np.array([1, 0])
    with pytest.raises(
        ModelBlocked, match=r"for the column 'p': its classes are \[1, 0\], and were \[0, 1\] when it was loaded"
    ):
        predict(model, THREE, outputs)


def test_missing_methods_and_classes_are_said_with_what_there_is():
    model = Returns(classes=["no", "yes"], predict_proba=np.full((3, 2), 0.5), decision_function=np.ones(3))
    blocked(model, Prediction(), r"is a Returns, which has no predict; it has predict_proba, decision_function")
    blocked(
        model, Prediction(method="predict_proba", class_="maybe"), r"no class 'maybe'; its classes are \['no', 'yes'\]"
    )
    blocked(model, Prediction(method="predict_proba", class_=1), "no class 1")
    blocked(model, Prediction(method="decision_function", class_="no"), "that of the class 'yes' alone")
    blocked(
        Returns(predict_proba=np.full((3, 2), 0.5)), Prediction(method="predict_proba", class_=0), r"no list of classes"
    )
    blocked(LinearRegression(), Prediction(method="predict_proba", class_=0), "it has predict$|it has predict\\b")


def test_probabilities_must_be_one_column_a_class():
    for shape in ((3, 3), (3,), (3, 1)):
        blocked(
            Returns(classes=[0, 1], predict_proba=np.zeros(shape)),
            Prediction(method="predict_proba", class_=1),
            "returned",
        )
    several = [np.zeros((3, 2)), np.zeros((3, 2)), np.zeros((3, 2))]
    blocked(
        Returns(classes=[0, 1], predict_proba=several),
        Prediction(method="predict_proba", class_=1),
        r"shape \(3, 3, 2\)|returned",
    )


def test_decision_functions():
    scores = np.array([[0.1, 0.2, 0.7]] * 3)
    three = Returns(classes=["a", "b", "c"], decision_function=scores)
    blocked(three, Prediction(method="decision_function"), "'class' must say")
    got = predict(loaded(three, inputs(x="float64")), THREE, {"c": Prediction(method="decision_function", class_="c")})
    assert got["c"].to_pylist() == [0.7] * 3
    model = LinearSVC().fit([[0.0], [1.0], [2.0]], ["no", "no", "yes"])
    outputs = {
        "any": Prediction(method="decision_function"),
        "yes": Prediction(method="decision_function", class_="yes"),
    }
    got = predict(loaded(model, inputs("numpy", x="float64")), THREE, outputs)
    assert got["any"] == got["yes"]


def test_components():
    model = loaded(
        PCA(2).fit(np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]])), inputs("numpy", x="float64", y="float64")
    )
    table = pa.table({"x": [1.0, 2.0], "y": [0.5, 4.0]})
    got = predict(model, table, {"second": Prediction(method="transform", class_=1)})
    assert got["second"].to_pylist() == pytest.approx(model.estimator.transform([[1.0, 0.5], [2.0, 4.0]])[:, 1])
    for wrong in (None, 2, -1, "first"):
        with pytest.raises(ModelBlocked, match="'class' must be a column's number from 0"):
            predict(model, table, {"second": Prediction(method="transform", class_=wrong)})


@pytest.mark.parametrize("wanted", [True, 1])
@pytest.mark.parametrize("classes", [[False, True], [0, 1], [0.0, 1.0]])
def test_yes_is_one(classes, wanted):
    model = Returns(classes=classes, predict_proba=np.array([[0.25, 0.75]] * 3))
    got = predict(loaded(model, inputs(x="float64")), THREE, {"p": Prediction(method="predict_proba", class_=wanted)})
    assert got["p"].to_pylist() == [0.75] * 3


# -- the gate -------------------------------------------------------------------------------------------------------


@pytest.fixture
def flights(registry):
    model = boosted().fit(input_frame(FLIGHTS, FLIGHT_INPUTS), LATE)
    return register(registry, model, FLIGHT_INPUTS, PROBABILITY, FLIGHTS.slice(0, 50))


def without(schema, name):
    return schema.remove(schema.get_field_index(name))


def retyped(schema, name, kind):
    return schema.set(schema.get_field_index(name), pa.field(name, kind))


@pytest.mark.parametrize(
    ("schema", "match"),
    [
        (without(FLIGHTS.schema, "humid"), r"takes: 'humid' \(float64\) is missing"),
        (retyped(FLIGHTS.schema, "distance", pa.float64()), "'distance' is float64 and must be int64"),
        (retyped(FLIGHTS.schema, "distance", pa.int32()), "'distance' is int32 and must be int64"),
        (retyped(FLIGHTS.schema, "humid", pa.float32()), "'humid' is float32 and must be float64"),
        (
            retyped(FLIGHTS.schema, "carrier", pa.dictionary(pa.int8(), pa.string())),
            "'carrier' is dictionary.* and must be string",
        ),
        (retyped(FLIGHTS.schema, "carrier", pa.large_string()), "'carrier' is large_string and must be string"),
        (pa.schema([]), "'carrier' .*; 'origin' .*; 'humid' .*; 'distance' .*; 'is_weekend' .* is missing"),
    ],
)
def test_another_schema_is_refused(registry, flights, schema, match):
    with pytest.raises(ModelBlocked, match=rf"late version 1 takes.*{match}|{match}"):
        check_input_schema(flights, schema)
    with pytest.raises(ModelBlocked, match=match):
        load_model(registry, flights, snapshot_schema=schema)
    with pytest.raises(ModelBlocked, match=match):
        predict(load_model(registry, flights), schema.empty_table(), PROBABILITY)


def test_more_columns_in_another_order_are_fine(registry, flights):
    shuffled = FLIGHTS.select(sorted(FLIGHTS.column_names, reverse=True)).append_column("more", pa.array([1] * 300))
    model = load_model(registry, flights, snapshot_schema=shuffled.schema)
    assert predict(model, shuffled, PROBABILITY) == predict(model, FLIGHTS, PROBABILITY)


def tampered(registry, version, **changes):
    """The same model under another signature, with the outputs that it had: as if the digests had been made to fit."""
    _, expected = registry.probe(version)
    signature = version.signature.model_copy(update=changes.pop("signature", {}))
    parts = {
        "model_bytes": registry.read(version, "model.joblib"),
        "signature": signature,
        "profile": {},
        "benchmark": {},
        "probe": FLIGHTS.slice(0, expected.num_rows),
        "expected": expected,
    }
    return registry.register("late", Candidate(**{**parts, **changes}), at=NOON, actor="ann")


def column(name, **changes):
    """The inputs of the flights, with one column declared otherwise."""
    columns = tuple(each.model_copy(update=changes) if each.name == name else each for each in FLIGHT_INPUTS.columns)
    return {"inputs": FLIGHT_INPUTS.model_copy(update={"columns": columns})}


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": FLIGHT_INPUTS.model_copy(update={"columns": FLIGHT_INPUTS.columns[:-1]})},
        {"inputs": FLIGHT_INPUTS.model_copy(update={"container": "numpy"})},
        column("origin", categories=("JFK", "EWR")),
        {"outputs": {"p": Prediction(method="predict_proba", class_=False)}},
    ],
)
def test_a_changed_signature_is_caught_by_the_probe(registry, flights, changes):
    load_model(registry, flights)
    with pytest.raises(ModelBlocked, match=r"versions/0002: late version 2 does not score its probe rows as it did"):
        load_model(registry, tampered(registry, flights, signature=changes))


class UsesCodes:
    """A model of its own kind, that reads the codes of a category: in another order they mean something else."""

    def predict(self, frame):
        return frame["origin"].cat.codes.to_numpy() * 10.0 + frame["x"].to_numpy()


CODES = pa.table({"origin": ["JFK", "LGA", None], "x": [0.0, 1.0, 2.0]})
ORIGIN = {"type": "string", "encoding": "category", "categories": ("JFK", "LGA")}
ACCEPTED = (f"{UsesCodes.__module__}.UsesCodes",)


@pytest.fixture
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, UsesCodes.__module__, sys.modules.get(UsesCodes.__module__, sys.modules[__name__]))


def test_a_changed_category_code_is_caught(registry, importable):
    version = register(registry, UsesCodes(), inputs(origin=ORIGIN, x="float64"), {"y": Prediction()}, CODES)
    assert predict(load_model(registry, version, allowed_types=ACCEPTED), CODES, {"y": Prediction()})[
        "y"
    ].to_pylist() == [0.0, 11.0, -8.0]
    swapped = inputs(origin={**ORIGIN, "categories": ("LGA", "JFK")}, x="float64")
    with pytest.raises(
        ModelBlocked,
        match=r"'y' of probe row 0 comes out as 10\.0, and was 0\.0 .*; 2 of 3 rows differ by more than rtol 1e-09",
    ):
        load_model(
            registry, tampered(registry, version, signature={"inputs": swapped}, probe=CODES), allowed_types=ACCEPTED
        )


def test_swapped_columns_of_an_array_model_are_caught(registry):
    model = LinearRegression().fit([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0.0, 1.0, 100.0])
    probe = pa.table({"a": [1.0, 2.0], "b": [3.0, 2.0]})
    version = register(registry, model, inputs("numpy", a="float64", b="float64"), {"y": Prediction()}, probe)
    load_model(registry, version, allowed_types=ACCEPTED)
    swapped = inputs("numpy", b="float64", a="float64")
    with pytest.raises(ModelBlocked, match=r"'y' of probe row 0 comes out as 10[23]\.\d*, and was 30[01]\.\d*"):
        load_model(registry, tampered(registry, version, signature={"inputs": swapped}, probe=probe))


def test_swapped_columns_of_a_model_with_names_are_caught(registry):
    schema = inputs(a="float64", b="float64")
    probe = pa.table({"a": [1.0, 2.0], "b": [3.0, 2.0]})
    model = LinearRegression().fit(input_frame(probe, schema), [1.0, 2.0])
    version = register(registry, model, schema, {"y": Prediction()}, probe)
    swapped = inputs(b="float64", a="float64")
    with pytest.raises(ModelBlocked, match=r"raised on its own probe rows: ValueError: .*order"):
        load_model(registry, tampered(registry, version, signature={"inputs": swapped}, probe=probe))


@pytest.mark.parametrize(
    ("kind", "then", "now", "rtol", "passes"),
    [
        ("float64", [0.5, 0.25], [0.5, 0.25 * (1 + 1e-10)], 1e-9, True),
        ("float64", [0.5, 0.25], [0.5, 0.25 * (1 + 1e-8)], 1e-9, False),
        ("float64", [0.5, 0.25], [0.5, 0.25 * (1 + 1e-8)], 1e-6, True),
        ("float64", [0.5, 0.25], [0.5, math.nextafter(0.25, 1)], 0, False),
        ("float64", [0.0, 0.25], [1e-13, 0.25], 1e-9, True),
        ("float64", [0.0, 0.25], [1e-11, 0.25], 1e-9, False),
        ("float64", [1e9, 0.25], [1e9 + 0.5, 0.25], 1e-9, True),
        ("int64", [1, 2], [1, 3], 0.9, False),
        ("string", ["a", "b"], ["a", "c"], 0.9, False),
        ("bool", [True, False], [True, True], 0.9, False),
        ("string", ["a", "b"], ["a", "b"], 0, True),
    ],
)
def test_floats_have_a_tolerance_and_nothing_else_has(registry, importable, monkeypatch, kind, then, now, rtol, passes):
    monkeypatch.setattr(UsesCodes, "predict", lambda self, frame: np.array(now))
    outputs = {"y": Prediction(type=kind)}
    expected = pa.table({"y": pa.array(then, pa.schema([("y", pa.type_for_alias(kind))]).field(0).type)})
    probe = pa.table({"x": [1.0, 2.0]})
    version = register(
        registry,
        UsesCodes(),
        inputs(x="float64"),
        outputs,
        probe,
        expected=expected,
        probe_rtol=rtol,
    )
    if passes:
        load_model(registry, version, allowed_types=ACCEPTED)
        return
    with pytest.raises(ModelBlocked, match=r"'y' of probe row [01] comes out as") as caught:
        load_model(registry, version, allowed_types=ACCEPTED)
    assert "`lamplighter rollback late`" in str(caught.value)


def test_the_largest_difference_of_all_columns_is_named(registry, importable, monkeypatch):
    monkeypatch.setattr(UsesCodes, "predict", lambda self, frame: np.array([1.0, 2.0]))
    outputs = {"near": Prediction(), "far": Prediction()}
    expected = pa.table({"near": [1.0, 2.1], "far": [1.5, 7.0]})
    version = register(
        registry,
        UsesCodes(),
        inputs(x="float64"),
        outputs,
        pa.table({"x": [1.0, 2.0]}),
        expected=expected,
    )
    with pytest.raises(ModelBlocked, match=r"'far' of probe row 1 comes out as 2\.0, and was 7\.0 .*2 of 2 rows"):
        load_model(registry, version, allowed_types=ACCEPTED)
    assert load_model(registry, version, allowed_types=ACCEPTED, probe=False).warnings == ()


def test_a_model_that_raises_on_its_probe_is_blocked(registry, importable, monkeypatch):
    monkeypatch.setattr(UsesCodes, "predict", lambda self, frame: 1 / 0)
    probe = pa.table({"x": [1.0]})
    with pytest.raises(ModelBlocked, match="raised on its probe rows: ZeroDivisionError"):
        register(registry, UsesCodes(), inputs(x="float64"), {"y": Prediction()}, probe)
    version = register(
        registry,
        UsesCodes(),
        inputs(x="float64"),
        {"y": Prediction()},
        probe,
        expected=pa.table({"y": [1.0]}),
    )
    with pytest.raises(ModelBlocked, match="raised on its own probe rows: ZeroDivisionError: division by zero"):
        load_model(registry, version, allowed_types=ACCEPTED)


def test_types_are_allowed_by_the_job_alone(registry, importable):
    common = (registry, UsesCodes(), inputs(origin=ORIGIN, x="float64"), {"y": Prediction()}, CODES)
    version = register(*common)
    with pytest.raises(
        ModelBlocked, match=rf"versions/0001/model\.joblib: the model's file names .*{ACCEPTED[0]}.*allowed_types"
    ):
        load_model(registry, version)
    assert type(load_model(registry, version, allowed_types=ACCEPTED).estimator).__name__ == "UsesCodes"


def test_the_digest_is_checked_before_anything_else(registry, tmp_path, importable):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}",)

    version = register(
        registry,
        LinearRegression().fit([[0.0]], [0.0]),
        inputs("numpy", x="float64"),
        {"y": Prediction()},
        pa.table({"x": [1.0]}),
    )
    path = registry.lake.path("models/late/versions/0001/model.joblib")
    path.write_bytes(pickle.dumps(Hostile(), protocol=4))
    with pytest.raises(ModelBlocked, match=r"model\.joblib was changed"):
        load_model(registry, version)
    assert not (tmp_path / "marker").exists()


def test_the_bytes_that_were_checked_are_the_bytes_that_are_loaded(registry, monkeypatch):
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    version = register(registry, model, inputs("numpy", x="float64"), {"y": Prediction()}, pa.table({"x": [1.0]}))
    path = registry.lake.path("models/late/versions/0001/model.joblib")
    reads = []
    read_bytes = Lake.read_bytes

    def swapped_after_the_first_read(lake, key):
        content = read_bytes(lake, key)
        if key.endswith("model.joblib"):
            reads.append(key)
            path.write_bytes(FORMAT.dump(LinearRegression().fit([[0.0], [1.0]], [5.0, 5.0])))
        return content

    monkeypatch.setattr(Lake, "read_bytes", swapped_after_the_first_read)
    assert load_model(registry, version).estimator.coef_.tolist() == pytest.approx([1.0])
    assert len(reads) == 1


def test_another_minor_version_of_a_library_is_remarked_and_goes_on(registry):
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    common = (registry, model, inputs("numpy", x="float64"), {"y": Prediction()}, pa.table({"x": [1.0]}))
    same = {"scikit-learn": f"{'.'.join(sklearn.__version__.split('.')[:2])}.99", "python": "2.7"}
    assert load_model(registry, register(*common, environment=same)).warnings == ()
    other = {"scikit-learn": "1.2.3", "numpy": "1.26.4"}
    assert load_model(registry, register(*common, environment=other)).warnings == (
        f"the model was registered with scikit-learn 1.2.3, and is scored with {sklearn.__version__}",
        f"the model was registered with numpy 1.26.4, and is scored with {np.__version__}",
    )


def test_what_scikit_learn_says_of_an_older_file_is_remarked_once(registry):
    model = make_pipeline(StandardScaler(), LinearRegression()).fit([[0.0], [1.0]], [0.0, 1.0])
    outputs = {"y": Prediction()}
    version = register(registry, model, inputs("numpy", x="float64"), outputs, pa.table({"x": [1.0]}))
    current = sklearn.__version__.encode()
    older = b"0" * (len(current) - 2) + b".1"
    content = FORMAT.dump(model).replace(current, older)
    old = tampered(registry, version, model_bytes=content, probe=pa.table({"x": [1.0]}))
    remarks = load_model(registry, old).warnings
    assert [remark.split(" when using")[0] for remark in remarks] == [
        f"Trying to unpickle estimator {name} from version {older.decode()}"
        for name in ("StandardScaler", "LinearRegression", "Pipeline")
    ]


@pytest.mark.parametrize(
    ("signature", "allowed_types", "may"),
    [
        ({}, (), False),
        ({"format": "skops"}, (), False),
        ({"format": "onnx"}, (), True),
        ({}, ("lightgbm.basic.Booster",), True),
        ({"adapter": "ours.features:make"}, (), True),
        ({"output_adapter": "ours.features:take_apart"}, (), True),
        ({"interpreter": "other", "format": "onnx"}, ("lightgbm.basic.Booster",), False),
    ],
)
def test_where_more_runs_than_scikit_learn_a_process_may_end(signature, allowed_types, may):
    version = loaded(None, inputs(x="float64")).version
    signed = version.signature.model_copy(update=signature)
    assert may_end_its_process(ModelVersion(version.manifest, signed), allowed_types) is may


# -- one bad row costs one row --------------------------------------------------------------------------------------


class Refuses(UsesCodes):
    """Raises on a batch with a negative x; counts how often it was asked."""

    calls = 0

    def predict(self, frame):
        type(self).calls += 1
        if bad := [x for x in frame["x"] if x < 0]:
            raise ValueError(f"cannot score {bad[0]}")
        return frame["x"].to_numpy() * 2.0


@pytest.fixture
def refuses():
    Refuses.calls = 0
    return loaded(Refuses(), inputs(x="float64"))


Y = {"y": Prediction()}


def poisoned(size, culprits):
    x = np.arange(size, dtype="float64") + 1
    x[list(culprits)] *= -1
    return pa.table({"x": x})


def test_nothing_raised_is_one_call(refuses):
    scored, kept, rejected = score_with_bisection(refuses, poisoned(1000, []), np.arange(1000), Y)
    assert (scored.num_rows, rejected, Refuses.calls) == (1000, [], 1)
    assert kept.tolist() == list(range(1000))


@pytest.mark.parametrize("culprits", [[0], [999], [500], [3, 4], [0, 999], [10, 200, 201, 700]])
def test_the_culprits_alone_are_rejected(refuses, culprits):
    rows = np.arange(1000) * 3 + 7
    scored, kept, rejected = score_with_bisection(refuses, poisoned(1000, culprits), rows, Y)
    good = [i for i in range(1000) if i not in culprits]
    assert kept.tolist() == [i * 3 + 7 for i in good]
    assert scored["y"].to_pylist() == [2.0 * (i + 1) for i in good]
    assert [row for row, _ in rejected] == [i * 3 + 7 for i in culprits]
    first = rejected[0][1]
    assert (first.kind, first.rule, first.column, first.value) == ("predict_raised", "predict_raised", None, None)
    assert first.message == f"ValueError: cannot score {-(culprits[0] + 1.0)}"
    assert Refuses.calls <= 1 + 2 * len(culprits) * math.ceil(math.log2(1000))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=12))))
def test_every_row_is_either_scored_or_rejected_in_few_calls(drawn):
    size, culprits = drawn
    Refuses.calls = 0
    model = loaded(Refuses(), inputs(x="float64"))
    scored, kept, rejected = score_with_bisection(model, poisoned(size, culprits), np.arange(size), Y)
    assert {row for row, _ in rejected} == culprits
    assert kept.tolist() == sorted(set(range(size)) - culprits)
    assert scored["y"].to_pylist() == [2.0 * (row + 1) for row in kept]
    assert Refuses.calls <= 1 + 2 * len(culprits) * max(1, math.ceil(math.log2(size)))


def test_a_model_that_raises_on_everything_is_given_up_early(refuses):
    table = poisoned(100_000, range(100_000))
    with pytest.raises(
        ModelBlocked,
        match=r"late version 3 raised on more than 20 single rows of a batch of 100000: ValueError: cannot score -1\.0",
    ):
        score_with_bisection(refuses, table, np.arange(100_000), Y, give_up_after=20)
    # Down to the first single row, then at worst two calls for each of the others.
    assert Refuses.calls <= 17 + 2 * 21


def test_as_many_culprits_as_are_allowed_are_no_reason_to_give_up(refuses):
    _, kept, rejected = score_with_bisection(refuses, poisoned(50, range(5)), np.arange(50), Y, give_up_after=5)
    assert (len(kept), len(rejected)) == (45, 5)


def test_all_rows_rejected_leaves_an_empty_table(refuses):
    scored, kept, rejected = score_with_bisection(refuses, poisoned(3, range(3)), np.arange(3), Y)
    assert (scored.num_rows, scored.schema, kept.tolist(), len(rejected)) == (
        0,
        pa.schema([("y", pa.float64())]),
        [],
        3,
    )


def test_real_models_score_the_others_as_if_nothing_had_happened():
    encode = ColumnTransformer(
        [("carrier", OneHotEncoder(handle_unknown="error"), ["carrier"])], remainder="passthrough"
    )
    schema = inputs(carrier="string", humid="float64")
    model = loaded(make_pipeline(encode, LogisticRegression()).fit(input_frame(FLIGHTS, schema), LATE), schema)
    clean = score_with_bisection(model, FLIGHTS, np.arange(300), PROBABILITY)[0]["p"].to_numpy()
    carriers, humid = FLIGHTS["carrier"].to_pylist(), FLIGHTS["humid"].to_pylist()
    carriers[17], humid[200] = "unseen", math.inf
    dirty = pa.table({"carrier": carriers, "humid": humid})
    scored, kept, rejected = score_with_bisection(model, dirty, np.arange(300), PROBABILITY)
    assert [row for row, _ in rejected] == [17, 200]
    assert "unknown categories" in rejected[0][1].message
    assert "infinity" in rejected[1][1].message
    np.testing.assert_allclose(scored["p"].to_numpy(), np.delete(clean, [17, 200]), rtol=0, atol=1e-12)
    assert kept.tolist() == [row for row in range(300) if row not in (17, 200)]


def test_a_null_where_the_model_takes_none_is_found_without_asking_the_model(refuses):
    schema = inputs(x={"type": "float64", "nullable": False}, n={"type": "int64", "nullable": False})
    model = loaded(Refuses(), schema)
    table = pa.table({"x": pa.array([1.0, None, 3.0, -4.0, None]), "n": pa.array([1, 2, None, 4, None])})
    scored, kept, rejected = score_with_bisection(model, table, np.arange(10, 15), Y)
    assert (scored["y"].to_pylist(), kept.tolist()) == ([2.0], [10])
    assert [(row, reason.rule, reason.column) for row, reason in rejected] == [
        (11, "null_input", "x"),
        (12, "null_input", "n"),
        (13, "predict_raised", None),
        (14, "null_input", "x"),
        (14, "null_input", "n"),
    ]
    assert rejected[0][1].message == "'x' is null, and late version 3 takes no null there"
    with pytest.raises(PredictRaised, match="input 'x' is null in 2 rows"):
        predict(model, table, Y)


def test_a_value_that_does_not_fit_its_input_costs_one_row():
    # 2**53 + 1 is no float64: a nullable integer reaches the model as one.
    model = loaded(Refuses(), inputs(x="int64"))
    scored, kept, rejected = score_with_bisection(model, pa.table({"x": [1, 2**53 + 1, 3]}), np.arange(3), Y)
    assert (scored["y"].to_pylist(), kept.tolist()) == ([2.0, 6.0], [0, 2])
    assert "9007199254740993" in rejected[0][1].message


def test_outputs_that_cannot_be_published_are_not_the_rows_fault():
    with pytest.raises(ModelBlocked, match="NaN"):
        score_with_bisection(loaded(Returns(predict=[math.nan] * 3), inputs(x="float64")), THREE, np.arange(3), Y)


def test_running_out_of_memory_is_not_the_rows_fault(refuses, monkeypatch):
    def raises(self, frame):
        raise MemoryError

    monkeypatch.setattr(Refuses, "predict", raises)
    with pytest.raises(MemoryError):
        score_with_bisection(refuses, THREE, np.arange(3), Y)


def test_what_a_model_raised_crosses_processes():
    error = PredictRaised(ValueError("x" * 10_000))
    assert error.message.startswith("ValueError: xxx")
    assert len(error.message) < 600
    assert pickle.loads(pickle.dumps(error)).message == error.message
