"""skops files load without pickle, and only what a person allowed."""

import io
import json
import os
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from tasks.core.errors import DefinitionError, ModelBlocked
from tasks.core.models.formats import get_format

pytestmark = pytest.mark.extras
pytest.importorskip("skops")

TREE = "sklearn.tree._tree.Tree"
RNG = np.random.default_rng(3)
FRAME = pd.DataFrame({"a": RNG.normal(size=60), "b": RNG.normal(size=60)})
LABELS = (FRAME.a > 0).to_numpy()


@pytest.fixture(scope="module")
def skops():
    return get_format("skops")


def rewritten(data, change):
    """The file with another schema."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "schema.json":
                content = json.dumps(change(json.loads(content))).encode()
            new.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("model", "accepted"),
    [
        (LogisticRegression(), []),
        (make_pipeline(StandardScaler(), LogisticRegression()), []),
        (RandomForestClassifier(n_estimators=3, random_state=0), [TREE]),
        (
            HistGradientBoostingClassifier(max_iter=3),
            ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"],
        ),
    ],
)
def test_the_same_model_scores_alike_in_both_formats(skops, model, accepted):
    model.fit(FRAME, LABELS)
    data = skops.dump(model)
    assert skops.types_to_accept(data) == accepted
    joblib = get_format("joblib")
    from_joblib = joblib.load(joblib.dump(model), ())
    np.testing.assert_array_equal(skops.load(data, accepted).predict_proba(FRAME), from_joblib.predict_proba(FRAME))


def test_what_nobody_allowed_is_refused_and_named(skops):
    data = skops.dump(RandomForestClassifier(n_estimators=2, random_state=0).fit(FRAME, LABELS))
    with pytest.raises(ModelBlocked, match=rf"on no allow-list: {TREE}.*add these to model\.allowed_types"):
        skops.load(data, ())
    with pytest.raises(ModelBlocked, match=TREE):
        skops.load(data, ["sklearn.tree._tree.Tre", "Tree", "sklearn.tree._tree.*"])


def test_a_function_that_runs_anything_is_refused_whoever_allows_it(skops, tmp_path):
    data = skops.dump(make_pipeline(FunctionTransformer(func=os.system), LogisticRegression()))
    assert skops.types_to_accept(data) == ["posix.system"]
    for allowed in ((), ["posix.system"]):
        with pytest.raises(ModelBlocked, match=r"Nobody can allow posix\.system"):
            skops.load(data, allowed)


@pytest.mark.parametrize(
    "loader", ["ObjectNode", "TreeNode", "FunctionNode", "TypeNode", "MethodNode", "no such loader"]
)
def test_a_tree_made_by_hand_is_refused(skops, loader, tmp_path):
    def hostile(schema):
        return {**schema, "__class__": "system", "__module__": "os", "__loader__": loader}

    with pytest.raises(ModelBlocked):
        skops.load(rewritten(skops.dump(LogisticRegression()), hostile), ["os.system"])


@pytest.mark.parametrize("data", [b"", b"not a zip file", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_skops_file_is_a_blocked_model(skops, data):
    for use in (skops.types_in, skops.types_to_accept, lambda data: skops.load(data, ())):
        with pytest.raises(ModelBlocked, match="not a skops file that can be read"):
            use(data)


def test_the_same_model_is_the_same_bytes(skops):
    frame = FRAME.assign(c=["x", "y"] * 30)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), RandomForestClassifier(3, random_state=0))
    model.fit(frame, LABELS)
    data = skops.dump(model)
    assert skops.dump(model) == data
    np.testing.assert_array_equal(skops.load(data, [TREE]).predict_proba(frame), model.predict_proba(frame))
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        names = file.namelist()
    assert names == [*(f"{number}.npy" for number in range(1, len(names))), "schema.json"]


def test_types_in_lists_all_of_them(skops):
    types = skops.types_in(skops.dump(make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, LABELS)))
    assert {"sklearn.pipeline.Pipeline", "sklearn.linear_model._logistic.LogisticRegression", "numpy.ndarray"} <= set(
        types
    )


def test_a_format_whose_package_is_missing_is_explained(monkeypatch):
    monkeypatch.delitem(sys.modules, "tasks.core.models.formats.skops_format")
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(DefinitionError, match=r"needs the package 'skops', .*pip install 'lamplighter\[skops\]'"):
        get_format("skops")
