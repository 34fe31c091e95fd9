"""Compiled trees against scikit-learn's own walk through them: the same bits, of every kind of ensemble and of row."""

import re
import shutil
import warnings

import numpy as np
import pyarrow as pa
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from tasks.core.definitions.modelling import Prediction
from tasks.core.models.model import LoadedModel, input_frame, unregistered
from tasks.core.models.model_version import InputColumn, InputSchema, Signature
from tasks.core.models.trees import hooks, library, parity
from tasks.core.models.trees.forest import NotSupported
from tasks.core.models.trees.hooks import attach
from tasks.core.models.trees.parity import prove
from tasks.core.models.trees.tables import Tables
from tasks.core.models.trees.walks import Walks

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler on this machine")
CHANCE = np.random.default_rng(0)
ROWS = 600
NUMBERS = np.round(CHANCE.normal(size=(ROWS, 4)) * 4) / 4  # Many ties: a threshold is met exactly.
HOLES = np.where(CHANCE.random(NUMBERS.shape) < 0.15, np.nan, NUMBERS)
CODES = np.column_stack([CHANCE.integers(0, 7, ROWS) * 3, HOLES, CHANCE.integers(0, 3, ROWS)]).astype(float)
VALUE = NUMBERS[:, 0] * 2 + (CODES[:, 0] % 2) + np.nan_to_num(HOLES[:, 1]) ** 2 + CHANCE.normal(size=ROWS)
IS_HIGH = VALUE > 2
CLASS = np.digitize(VALUE, [0, 2, 5])

BOOSTED = {"max_iter": 12, "random_state": 0, "early_stopping": False, "min_samples_leaf": 2}
ENSEMBLES = {
    "histograms, two classes": (HistGradientBoostingClassifier(**BOOSTED), HOLES, IS_HIGH),
    "histograms, four classes": (HistGradientBoostingClassifier(**BOOSTED), HOLES, CLASS),
    "histograms, categories": (
        HistGradientBoostingClassifier(categorical_features=[0, 5], **BOOSTED), CODES, IS_HIGH,
    ),
    "histograms, categories of a regression": (
        HistGradientBoostingRegressor(categorical_features=[5, 0], **BOOSTED), CODES, VALUE,
    ),
    "histograms, 64 leaves": (HistGradientBoostingRegressor(max_leaf_nodes=64, **BOOSTED), HOLES, VALUE),
    "histograms, more leaves, categories": (
        HistGradientBoostingRegressor(max_leaf_nodes=None, categorical_features=[0, 5], **BOOSTED), CODES, VALUE,
    ),
    "histograms, a link": (HistGradientBoostingRegressor(loss="poisson", **BOOSTED), HOLES, np.abs(VALUE)),
    "histograms, no split": (
        HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=ROWS, early_stopping=False), HOLES, VALUE,
    ),
    "stages, two classes": (GradientBoostingClassifier(n_estimators=12, random_state=0), NUMBERS, IS_HIGH),
    "stages, four classes": (GradientBoostingClassifier(n_estimators=5, random_state=0), NUMBERS, CLASS),
    "stages, a regression": (GradientBoostingRegressor(n_estimators=12, subsample=0.5, random_state=0), NUMBERS, VALUE),
    "stages, another first guess": (
        GradientBoostingClassifier(n_estimators=5, init=LogisticRegression(), random_state=0), NUMBERS, IS_HIGH,
    ),
    "a forest of classes": (RandomForestClassifier(n_estimators=12, random_state=0), HOLES, CLASS),
    "a forest of values": (RandomForestRegressor(n_estimators=12, random_state=0), HOLES, VALUE),
    "a forest of small trees": (RandomForestClassifier(n_estimators=40, max_depth=4, random_state=0), HOLES, CLASS),
    "extra trees": (ExtraTreesRegressor(n_estimators=12, random_state=0), NUMBERS, VALUE),
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of OpenMP that wait for one another are slow where the processor is shared."""
    with threadpool_limits(1):
        yield


def fitted(name):
    estimator, rows, truth = ENSEMBLES[name]
    return estimator.fit(rows, truth), rows


def all_outputs(model, rows):
    """Whatever the methods of the model make of the rows."""
    methods = ("predict", "predict_proba", "decision_function")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: getattr(model, name)(rows) for name in methods if hasattr(model, name)}


def strange_rows(rows):
    """The rows, and others: every value of every feature, far away ones, and some that lie beside these by a bit."""
    values = [np.unique(column[~np.isnan(column)]) for column in rows.T]
    drawn = np.column_stack([CHANCE.choice(np.concatenate([v, [-1e9, 1e9, -2.0, 0.5]]), 500) for v in values])
    return np.concatenate([rows, drawn, np.nextafter(drawn, 9e9), np.nextafter(drawn, -9e9)])


@pytest.mark.parametrize("name", ENSEMBLES)
def test_compiled_trees_give_the_very_bits(name):
    model, rows = fitted(name)
    tried = strange_rows(rows)
    before = all_outputs(model, tried)
    attached = attach(model)
    after = all_outputs(model, tried)
    assert sum(hook.calls for hook in attached.hooks) == len(before)
    for method, values in before.items():
        np.testing.assert_array_equal(after[method], values, strict=True)
    attached.detach()
    assert not set(vars(model)) & {"_raw_predict", "predict", "predict_proba"}


@pytest.mark.parametrize("name", ["histograms, two classes", "histograms, categories", "stages, four classes"])
def test_the_walk_and_the_tables_agree(name):
    model, rows = fitted(name)
    (hook,) = attach(model).hooks
    assert isinstance(hook.of_features, Tables)
    features = np.ascontiguousarray(model._preprocess_X(rows, reset=False) if "hist" in name else rows, float)
    sums = [np.zeros((len(rows), hook.forest.outputs)) for _ in range(2)]
    hook.of_features.add_to(sums[0], hook.library, features)
    Walks(hook.forest).add_to(sums[1], hook.library, features)
    np.testing.assert_array_equal(*sums)
    assert np.ptp(sums[0]) > 0
    hook.ensemble.__dict__.pop("_raw_predict")


def test_trees_of_many_leaves_are_walked_through():
    model, rows = fitted("a forest of values")
    (hook,) = attach(model).hooks
    model.predict(rows)
    assert isinstance(hook.of_features, Walks)
    del vars(model)["predict"]


def test_an_empty_batch_and_one_of_any_size_come_out():
    model, rows = fitted("histograms, categories")
    before = model.predict_proba(rows)
    attach(model)
    for count in (1, 2, 15, 16, 17, 255, 256, 257):
        np.testing.assert_array_equal(model.predict_proba(rows[:count]), before[:count])
    with pytest.raises(ValueError, match="0 sample"):
        model.predict_proba(rows[:0])
    del vars(model)["_raw_predict"]


def test_what_scikit_learn_refuses_is_refused_still():
    model, rows = fitted("histograms, categories")
    infinite = rows.copy()
    infinite[3, 0] = np.inf
    for wrong in (rows[:, :3], infinite, rows[0], np.array([["a"] * 6])):
        with pytest.raises(ValueError, match=r"\w") as by_scikit_learn:
            model.predict_proba(wrong)
        attached = attach(model)
        with pytest.raises(ValueError, match=re.escape(str(by_scikit_learn.value))):
            model.predict_proba(wrong)
        attached.detach()


def test_threads_change_no_bit(monkeypatch):
    model, rows = fitted("histograms, four classes")
    many = np.tile(rows, (20, 1))
    before = model.predict_proba(many)
    attach(model)
    monkeypatch.setattr(hooks, "_FEWEST_ROWS", 100)
    monkeypatch.setattr("sklearn.utils._openmp_helpers._openmp_effective_n_threads", lambda *_: 5)
    np.testing.assert_array_equal(model.predict_proba(many), before)
    del vars(model)["_raw_predict"]


# -- models around an ensemble --------------------------------------------------------------------------------------


TABLE = pa.table(
    {
        "carrier": pa.array(CHANCE.choice(["UA", "AA", None, "B6"], ROWS).tolist(), pa.string()),
        "minute": pa.array(CHANCE.integers(0, 1440, ROWS)),
        "temp": pa.array(HOLES[:, 0], from_pandas=True),
    }
)
INPUTS = InputSchema(
    columns=tuple(InputColumn(name=field.name, type=str(field.type).replace("double", "float64")) for field in TABLE.schema)
)  # fmt: skip
OUTPUTS = {"p": Prediction(method="predict_proba", class_=True), "label": Prediction(type="bool")}


def pipeline():
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    columns = ColumnTransformer([("codes", codes, ["carrier"])], remainder="passthrough")
    return make_pipeline(columns, HistGradientBoostingClassifier(categorical_features=[0], **BOOSTED))


def as_loaded(model, outputs=OUTPUTS):
    return LoadedModel(unregistered(Signature(inputs=INPUTS, outputs=outputs)), model)


def frozen(model):
    frame = input_frame(TABLE, INPUTS)
    return CalibratedClassifierCV(FrozenEstimator(model.fit(frame, IS_HIGH)), method="isotonic").fit(frame, IS_HIGH)


@pytest.mark.parametrize(
    "make", [lambda: pipeline().fit(input_frame(TABLE, INPUTS), IS_HIGH), lambda: frozen(pipeline())]
)
def test_the_trees_of_a_pipeline_are_proven(make):
    model = make()
    made = prove(as_loaded(model), TABLE)
    assert (made.compiled, made.largest_difference, made.note) == (True, 0.0, "")
    assert made.rows == 5 * ROWS
    assert "the largest difference to scikit-learn is 0" in str(made)
    # It is left as it was.
    assert attach(model).hooks


def test_a_regression_of_a_transformed_target_is_proven():
    model = TransformedTargetRegressor(make_pipeline("passthrough", HistGradientBoostingRegressor(**BOOSTED)))
    table = TABLE.select(["minute", "temp"])
    inputs = InputSchema(columns=INPUTS.columns[1:])
    model.fit(input_frame(table, inputs), VALUE)
    made = prove(LoadedModel(unregistered(Signature(inputs=inputs, outputs={"y": Prediction()})), model), table)
    assert (made.compiled, made.note) == (True, "")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (LogisticRegression(), "LogisticRegression is no tree ensemble that can be compiled"),
        (IsolationForest(n_estimators=3), "IsolationForest is no tree ensemble that can be compiled"),
        (
            RandomForestRegressor(n_estimators=3).fit(NUMBERS, np.column_stack([VALUE, VALUE])),
            "a RandomForestRegressor of 2 targets is not compiled",
        ),
    ],
)  # fmt: skip
def test_what_is_not_compiled_says_why(model, said):
    with pytest.raises(NotSupported, match=said):
        attach(model)


def _loop(nodes):
    nodes["left"][nodes["is_leaf"] == 0] = 0


def _lead_outside(nodes):
    nodes["right"][0] = 10_000


def _split_by_nothing(nodes):
    nodes["feature_idx"][0] = 99


def _meet(nodes):
    nodes["left"][0] = nodes["right"][0]


@pytest.mark.parametrize("harm", [_loop, _lead_outside, _split_by_nothing, _meet])
def test_a_tree_whose_numbers_lead_astray_is_not_given_to_the_kernel(harm):
    """A file may hold any numbers: these would be read beside the arrays, or never come to an end."""
    model = HistGradientBoostingRegressor(**BOOSTED).fit(HOLES, VALUE)
    harm(model._predictors[3][0].nodes)
    with pytest.raises(NotSupported, match="a tree of it"):
        attach(model)


def test_a_class_of_somebody_s_own_is_not_taken_for_scikit_learn_s():
    class HistGradientBoostingClassifier:
        pass

    with pytest.raises(NotSupported, match="is not scikit-learn's"):
        attach(HistGradientBoostingClassifier())


@pytest.mark.parametrize("change", ["< instead of <=", "missing the other way", "a leaf", "unseen is the first"])
def test_a_kernel_that_is_wrong_anywhere_is_found(change, monkeypatch):
    """What would be wrong shows at registration, whichever part of the arrays it is in."""
    true = hooks.forest_of

    def wrong(ensemble):
        forest = true(ensemble)
        for tree in forest.trees:
            if change == "< instead of <=":
                tree.threshold[:] = np.nextafter(tree.threshold, -np.inf)
            if change == "missing the other way":
                tree.missing_left[:] = ~tree.missing_left
            if change == "a leaf":
                tree.value[np.argmax(tree.is_leaf)] += 1e-9
        if change == "unseen is the first":
            forest.sets[:, -1] = forest.sets[:, 0]
        return forest

    model = pipeline().fit(input_frame(TABLE, INPUTS), IS_HIGH)
    monkeypatch.setattr(hooks, "forest_of", wrong)
    made = prove(as_loaded(model), TABLE)
    assert not made.compiled
    assert "do not score as scikit-learn does" in made.note
    assert "not compiled, and scored by scikit-learn" in str(made)


def test_a_scikit_learn_that_goes_another_way_is_noticed(monkeypatch):
    model = pipeline().fit(input_frame(TABLE, INPUTS), IS_HIGH)
    monkeypatch.setattr(hooks.HistogramHook, "method", "_another_name", raising=True)
    monkeypatch.setattr(type(model[-1]), "_another_name", model[-1]._raw_predict, raising=False)
    monkeypatch.setattr(parity, "_off_on_the_brink", lambda _: 0.0)
    made = prove(as_loaded(model), TABLE)
    assert (made.compiled, made.note) == (False, "this scikit-learn does not ask the trees in the way that is known")


def test_without_a_compiler_it_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(library, "_COMPILERS", ("no-such-compiler",))
    library.library.cache_clear()
    try:
        made = prove(as_loaded(pipeline().fit(input_frame(TABLE, INPUTS), IS_HIGH)), TABLE)
    finally:
        library.library.cache_clear()
    assert (made.compiled, made.note) == (False, "there is no C compiler here (no-such-compiler)")
