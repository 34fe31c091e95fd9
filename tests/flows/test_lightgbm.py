"""LightGBM as people bring it along: in a pipeline with a transformer of their own, bare, and with pandas' categories."""

import importlib
import json
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline

from tasks.core import own_code
from tasks.core.models.model import load_model
from tasks.core.models.registry import Registry
from tasks.core.storage import Folder
from tests.flows.conftest import readings, typist

lightgbm = pytest.importorskip("lightgbm")
pytestmark = pytest.mark.extras

OWN = """
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

class Cyclic(BaseEstimator, TransformerMixin):
    def __init__(self, period=24):
        self.period = period

    def fit(self, frame, truth=None):
        return self

    def transform(self, frame):
        turn = 2 * np.pi * frame["at"].dt.hour / self.period
        kind = pd.Categorical(frame["kind"], categories=["cold", "hot"])
        return pd.DataFrame({"sin": np.sin(turn), "cos": np.cos(turn), "kind": kind, "x": frame["x"]})
"""
SMALL = {"n_estimators": 10, "min_child_samples": 5, "verbose": -1, "n_jobs": 1}
ACCEPT = ("--allow", "lightgbm.basic.Booster")


@pytest.fixture
def cyclic(world, monkeypatch):
    """The project's own transformer, as it can be imported where the model is made."""
    (world.folder / "own_lightgbm").mkdir()
    (world.folder / "own_lightgbm/features.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    own_code.join(Folder(world.folder))
    yield importlib.import_module("own_lightgbm.features").Cyclic
    own_code.join(Folder(own_code.package_folder("tasks").root.parent))


@pytest.fixture
def register(world, monkeypatch, capsys):
    """Saves a model and a sample, and registers it as `gbm`: exit code, standard output, standard error."""
    world.change_job(model={"name": "gbm"}, suite=None)
    monkeypatch.chdir(world.folder)
    run = typist(monkeypatch, capsys)

    def register(model, sample, *arguments):
        joblib.dump(model, "model.joblib")
        sample.to_parquet("sample.parquet", index=False)
        return run("register", "gbm", "--model", "model.joblib", "--reference", "sample.parquet", *arguments)

    return register


def sample():
    rows = readings(500).assign(hot=lambda frame: (frame["x"] > 0).astype(int))
    rows.loc[rows.index % 50 == 3, "x"] = np.nan
    return rows


def scores(world):
    state = world.score(rescore="a test")
    assert state.name == "Published", state.message
    return world.table()


def test_a_pipeline_with_a_transformer_of_ones_own_is_listed_accepted_registered_and_scored(world, cyclic, register):
    rows = sample()
    model = make_pipeline(cyclic(), lightgbm.LGBMClassifier(**SMALL)).fit(rows, rows["hot"])

    code, out, err = register(model, rows, "--target", "hot")
    assert code == 3
    lines = ["lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier", "own_lightgbm.features.Cyclic"]
    assert "model:\n  allowed_types:\n" + "".join(f"    - {one}\n" for one in lines) in out
    assert "nobody has accepted: lightgbm.basic.Booster, " in err

    world.change_job(model__allowed_types=lines, limits={"batch_rows": 50, "workers": 2, "quarantine_share": 0.1})
    code, out, err = register(model, rows, "--target", "hot", "--input", "at", "--input", "kind", "--input", "x")
    assert (code, err) == (0, "")
    assert "Registered gbm version 1, in joblib: it passed the load gate." in out
    assert "roc_auc" in out
    assert "It is production from now on" in out
    version = Registry(world.lake).version("gbm", 1)
    assert version.manifest.environment["lightgbm"] == lightgbm.__version__
    assert list(version.manifest.code.modules) == ["own_lightgbm"]

    table = scores(world)
    np.testing.assert_allclose(table["probability"], model.predict_proba(readings())[:, 1], rtol=1e-12)
    assert world.latest().model.libraries["lightgbm"] == lightgbm.__version__
    assert world.latest().code.modules.keys() == {"own_lightgbm"}

    # Another minor version is remarked, as it is of scikit-learn.
    manifest = world.folder / "lake/models/gbm/versions/0001/manifest.json"
    said = json.loads(manifest.read_text())
    said["environment"]["lightgbm"] = "3.1.0"
    manifest.write_text(json.dumps(said))
    assert load_model(Registry(world.lake), Registry(world.lake).version("gbm", 1), allowed_types=lines).warnings == (
        f"the model was registered with lightgbm 3.1.0, and is scored with {lightgbm.__version__}",
    )


def test_the_categories_are_those_of_the_fit_though_the_sample_has_fewer(world, register):
    rows = sample().assign(kind=lambda frame: pd.Categorical(frame["kind"], categories=["hot", "cold"]))
    model = lightgbm.LGBMClassifier(**SMALL).fit(rows[["kind", "x"]], rows["hot"])
    passed_on = ColumnTransformer([("all", "passthrough", ["kind", "x"])], verbose_feature_names_out=False)
    piped = make_pipeline(passed_on.set_output(transform="pandas"), lightgbm.LGBMClassifier(**SMALL))
    piped.fit(rows[["kind", "x"]], rows["hot"])
    world.change_job(model__allowed_types=["lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"])
    hot = rows[rows["kind"] == "hot"]

    def registered(model, sample):
        code, out, err = register(model, sample)
        assert (code, err) == (0, "")
        registry = Registry(world.lake)
        return registry.version("gbm", registry.numbers("gbm")[-1]).inputs.columns[0].categories, " ".join(out.split())

    for each in (model, piped):
        categories, out = registered(each, hot.assign(kind=pd.Categorical(hot["kind"].astype("str"))))
        assert categories == ("hot", "cold")
        assert "count as missing" not in out
    other = pd.Categorical(["hot", "mild"] * 250)
    categories, out = registered(model, rows.assign(kind=other))
    assert categories == ("hot", "cold")
    assert "kind: the model does not know mild of the sample, and scores it as missing" in out
    categories, out = registered(piped, rows.assign(kind=other))
    assert categories == ("hot", "mild")
    assert "kind: other values than hot, mild count as missing" in out
    code, _, err = register(model, rows.assign(kind=pd.Categorical(["HOT", "COLD"] * 250)))
    assert code == 2
    assert "was fitted on the category 'kind' of hot, cold, and the sample has COLD, HOT" in err
    # The day has both, of which the sample had one.
    day = readings().assign(kind=lambda frame: pd.Categorical(frame["kind"], categories=["hot", "cold"]))
    np.testing.assert_allclose(scores(world)["probability"], model.predict_proba(day[["kind", "x"]])[:, 1], rtol=1e-12)


def test_a_frame_that_was_made_of_an_array_names_no_columns(world, register):
    rows = sample().fillna({"x": 0.0})
    model = lightgbm.LGBMClassifier(**SMALL).fit(pd.DataFrame(rows[["x", "y"]].to_numpy()), rows["hot"])
    assert list(model.feature_names_in_) == ["0", "1"]
    columns = {"sensor": "string", "at": "timestamp", "kind": "string", "x": "float64", "y": "float64"}
    accepted = ["lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"]
    world.change_job(columns=columns, model__allowed_types=accepted)
    code, _, err = register(model, rows, "--input", "x", "--input", "y")
    assert (code, err) == (0, "")
    assert Registry(world.lake).version("gbm", 1).inputs.names == ["x", "y"]
    expected = model.predict_proba(readings()[["x", "y"]])[:, 1]
    np.testing.assert_allclose(scores(world)["probability"], expected, rtol=1e-12)


def test_a_bare_booster_takes_the_columns_that_it_names_and_gives_probabilities(world, register):
    rows = sample().rename(columns={"y": "air temp"})
    data = lightgbm.Dataset(rows[["x", "air temp"]], rows["hot"])
    parameters = {"objective": "binary", "verbose": -1, "min_data_in_leaf": 5, "num_threads": 1}
    booster = lightgbm.train(parameters, data, 10)
    assert booster.feature_name() == ["x", "air_temp"]

    columns = {"sensor": "string", "at": "timestamp", "kind": "string", "x": "float64", "air temp": "float64"}
    world.change_job(columns=columns, output__columns={"chance": {"method": "predict"}})
    code, _, err = register(booster, rows, *ACCEPT)
    assert (code, err) == (0, "")
    version = Registry(world.lake).version("gbm", 1)
    assert version.inputs.names == ["x", "air temp"]

    unnamed = lightgbm.train(parameters, lightgbm.Dataset(rows[["x", "air temp"]].to_numpy(), rows["hot"]), 10)
    code, _, err = register(unnamed, rows, *ACCEPT)
    assert code == 2
    assert "takes 2 columns and does not say which; the sample has 3: kind, x, air temp" in err
    assert "say which by --input NAME" in err
    code, _, err = register(unnamed, rows, *ACCEPT, "--input", "x", "--input", "air temp")
    assert (code, err) == (0, "")
    assert Registry(world.lake).version("gbm", 2).inputs.container == "numpy"


def test_categories_of_pandas_are_kept_by_a_sample_that_holds_them(world, register):
    rows = sample().assign(kind=lambda frame: pd.Categorical(frame["kind"], categories=["hot", "cold"]))
    model = lightgbm.LGBMClassifier(**SMALL).fit(rows[["kind", "x"]], rows["hot"])
    world.change_job(model__allowed_types=["lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"])

    # As DuckDB or a database would write it.
    code, _, err = register(model, rows.astype({"kind": "str"}))
    assert code == 3
    assert "it was fitted on 1 pandas categories: keep them as categories in the sample" in err

    code, out, err = register(model, rows)
    assert (code, err) == (0, "")
    assert ["kind", "string", "a", "category", "of", "2,", "never", "missing"] in [
        line.split() for line in out.splitlines()
    ]
    day = readings().assign(kind=lambda frame: pd.Categorical(frame["kind"], categories=["hot", "cold"]))
    np.testing.assert_allclose(scores(world)["probability"], model.predict_proba(day[["kind", "x"]])[:, 1], rtol=1e-12)
