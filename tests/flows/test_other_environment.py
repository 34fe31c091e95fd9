"""Real environments of other scikit-learn versions: what an upgrade would change, and models that stay behind."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.naive_bayes import GaussianNB

from tasks.core.definitions.modelling import Prediction
from tasks.core.models.elsewhere.estimator import Interpreter
from tasks.core.models.formats import get_format
from tasks.core.models.model import input_frame, open_content, predict, unregistered
from tasks.core.models.model_version import Signature
from tasks.core.models.registry import Registry
from tests.flows.conftest import as_table, readings, register
from tests.unit.core.models.elsewhere.test_compatibility import point
from tests.unit.core.models.other_models import FEATURES, folder_of, register_other
from tests.unit.core.models.strange_models import Missing
from tests.unit.core.models.test_model import EVERY_INPUT, EVERY_ROW

pytestmark = pytest.mark.extras

NEEDED = {
    "1.7.2": ("pandas>=3,<4", "pyarrow"),
    # Of the time before numpy 2 and before pandas had a type for text.
    "1.4.2": ("numpy<2", "pandas<3", "pyarrow<20"),
}


@pytest.fixture(scope="session")
def environments(tmp_path_factory):
    """The Python of an environment with a scikit-learn of this version; made once."""
    made = {}

    def environment(scikit_learn):
        if scikit_learn not in made:
            folder = tmp_path_factory.mktemp("environment")
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            packages = (f"scikit-learn=={scikit_learn}", *NEEDED[scikit_learn], "joblib>=1.6", "pydantic>=2.12")
            pip = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, *packages], check=True)
            made[scikit_learn] = str(folder / "bin/python")
        return made[scikit_learn]

    return environment


@pytest.fixture
def rows(world):
    """Readings with what real tables hold: missing numbers, and a kind that no model has seen."""
    found = readings(1200)
    found.loc[::17, "y"] = np.nan
    found.loc[5::40, "kind"] = "lukewarm"
    world.write_rows(found)
    world.change_job(suite=None, limits__batch_rows=500)
    return found


_DIRECTLY = """
import sys, joblib, pandas as pd
model, features, rows, result = sys.argv[1:]
frame = pd.read_parquet(rows)[features.split(",")]
pd.DataFrame({"p": joblib.load(model).predict_proba(frame)[:, 1]}).to_parquet(result)
"""


def directly(python, scikit_learn, name, rows, folder):
    """What this environment's own joblib and scikit-learn make of the rows, without any code of ours."""
    rows.drop(columns="at").to_parquet(folder / "rows.parquet")
    arguments = [str(folder_of(scikit_learn) / f"{name}.joblib"), ",".join(FEATURES[name])]
    paths = [str(folder / "rows.parquet"), str(folder / "result.parquet")]
    subprocess.run([python, "-c", _DIRECTLY, *arguments, *paths], check=True)
    return pd.read_parquet(paths[1])["p"].to_numpy()


@pytest.mark.parametrize(
    ("scikit_learn", "name"),
    [
        pytest.param("1.7.2", "boosting", marks=pytest.mark.slow),
        ("1.7.2", "logistic"),
        pytest.param("1.4.2", "adaboost", marks=pytest.mark.slow),
        pytest.param("1.4.2", "boosting", marks=pytest.mark.slow),
        pytest.param("1.4.2", "logistic", marks=pytest.mark.slow),
    ],
)
def test_a_bound_version_scores_as_its_own_environment_does(
    world, rows, environments, monkeypatch, tmp_path, scikit_learn, name
):
    python = environments(scikit_learn)
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_OLD", python)
    registry = Registry(world.lake)
    point(registry, register_other(registry, name, scikit_learn, model="readings", interpreter="old"), "production")

    state = world.score()

    assert state.name == "Published", state.message
    table = world.table()
    np.testing.assert_array_equal(table["probability"], directly(python, scikit_learn, name, rows, tmp_path))
    model = world.published().model
    assert (model.interpreter, model.libraries["scikit-learn"], model.warnings) == ("old", scikit_learn, ())
    # And here it scores something else, not at all, or as it did, with warnings.
    assert model.libraries["scikit-learn"] != world.published().environment["scikit-learn"]


@pytest.mark.parametrize("scikit_learn", ["1.7.2", "1.4.2"])
def test_a_frame_there_lacks_what_the_rows_lack(environments, scikit_learn):
    """Text before all: to pandas 2 a null that is made text is the text 'None'."""
    signature = Signature(inputs=EVERY_INPUT, outputs={"missing": Prediction(type="int64")})
    there = open_content(
        unregistered(signature),
        get_format("joblib").dump(Missing()),
        (f"{Missing.__module__}.Missing",),
        interpreter=Interpreter("old", environments(scikit_learn)),
    )
    for rows in (EVERY_ROW, EVERY_ROW.slice(1, 1), EVERY_ROW.slice(0, 1)):
        here = input_frame(rows, EVERY_INPUT).isna().sum(axis=1).tolist()
        assert predict(there, rows, signature.outputs)["missing"].to_pylist() == here


def test_what_cannot_be_loaded_here_is_scored_there(world, rows, environments, monkeypatch):
    registry = Registry(world.lake)
    for name, says in (
        ("adaboost", "does not score its probe rows as it did"),
        ("boosting", "is not a joblib file that can be read here"),
    ):
        point(registry, register_other(registry, name, "1.4.2", model="readings"), "production")
        blocked = world.score(rescore="as it is loaded here")
        assert blocked.name == "Blocked"
        assert says in blocked.message
        monkeypatch.setenv("LAMPLIGHTER_PYTHON_OLD", environments("1.4.2"))
        bound = register_other(registry, name, "1.4.2", model="readings", interpreter="old")
        point(registry, bound, "production")
        assert world.score(rescore="by its own interpreter").name == "Published"


def test_a_model_of_another_time_is_registered_in_its_own_environment(
    world, rows, environments, lamplighter, monkeypatch
):
    """Here its expected outputs would be other ones, and nobody would be the wiser."""
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_OLD", environments("1.4.2"))
    folder = folder_of("1.4.2")
    given = ("--model", str(folder / "adaboost.joblib"), "--reference", str(folder / "expected.parquet"))

    code, out, err = lamplighter("register", "readings", *given, "--interpreter", "old", "--json")

    assert (code, err) == (0, ""), out
    registry = Registry(world.lake)
    version = registry.version("readings", 2)
    assert version.manifest.environment["scikit-learn"] == "1.4.2"
    _, expected = registry.probe(version)
    theirs = pd.read_parquet(folder / "expected.parquet")["adaboost"]
    np.testing.assert_array_equal(expected["probability"], theirs)
    point(registry, version, "production")
    assert world.score().name == "Published"


def test_compat_says_which_models_another_environment_would_change(world, environments, lamplighter):
    """The imputer of 1.9 keeps its values in another way than 1.7 reads them. A model without any such thing agrees."""
    outputs = {"probability": Prediction(method="predict_proba", class_=1)}
    register(world.lake, "simple", GaussianNB(), {"x": "float64", "y": "float64"}, outputs, as_table(readings()))

    code, out, _ = lamplighter("compat", "--python", environments("1.7.2"), "--json")

    assert code == 3
    told = json.loads(out)
    assert told["libraries"]["scikit-learn"]["there"] == "1.7.2"
    found = {one["model"]: one for one in told["models"]}
    assert {name: one["outcome"] for name, one in found.items()} == {
        "simple": "agrees_with_warnings",
        "readings": "does_not_load",
    }
    assert "it raises on its own probe rows: ValueError: The dtype of the filling value" in found["readings"]["why"]
    assert any("from version 1.9" in warning for warning in found["simple"]["warnings"])


def test_a_model_that_must_stay_is_bound_before_the_upgrade(world, environments, lamplighter, monkeypatch):
    """Seen from an installation that was upgraded from 1.4.2: its models go on as they were."""
    registry = Registry(world.lake)
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_BEFORE", environments("1.4.2"))
    version = register_other(registry, "adaboost", "1.4.2", model="readings")

    code, _, err = lamplighter("bind", "readings", "--version", str(version.version), "--interpreter", "before")

    assert (code, err) == (0, "")
    point(registry, registry.version("readings", version.version + 1), "production")
    world.change_job(suite=None)
    assert world.score().name == "Published"


def test_an_environment_of_another_time_that_cannot_serve_is_told(environments, lamplighter, world, monkeypatch):
    """pyarrow of today does not run on numpy of then: what it says is passed on."""
    python = environments("1.4.2")
    code = "import importlib.util as u; print(u.find_spec('pyarrow').submodule_search_locations[0])"
    package = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    init = f"{package}/__init__.py"
    with open(init) as file:
        whole = file.read()
    try:
        with open(init, "w") as file:
            file.write("raise ImportError('pyarrow requires NumPy 2.0 or newer, found 1.26.4')")
        found, _, err = lamplighter("compat", "--python", python)
    finally:
        with open(init, "w") as file:
            file.write(whole)
    assert found == 2
    assert "cannot run Lamplighter's part: ImportError: pyarrow requires NumPy 2.0 or newer, found 1.26.4" in err
    assert "pip install" in err
