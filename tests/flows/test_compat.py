"""The commands `compat` and `bind`, as a person and as a script meet them."""

import json
import subprocess
import sys

import joblib
import pytest
import sklearn
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from tasks.core.models.registry import Registry
from tasks.core.storage import Lake
from tests.flows.conftest import DAY, readings
from tests.unit.core.models.elsewhere.test_compatibility import point
from tests.unit.core.models.other_models import register_other

# Each starts one interpreter or several that load a model.
pytestmark = pytest.mark.extras


def test_nothing_that_would_change_is_0(world, lamplighter):
    code, out, err = lamplighter("compat", "--python", sys.executable)

    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert ["scikit-learn", sklearn.__version__, sklearn.__version__] in lines
    assert ["readings", "production", "1", "would", "load", "and", "agree"] in lines
    assert out.splitlines()[-1] == "Nothing would change."


def test_what_would_change_is_3_and_is_named(world, lamplighter):
    registry = Registry(world.lake)
    point(registry, register_other(registry, "adaboost", "1.4.2"), "production")
    point(registry, register_other(registry, "imputed", "1.7.2"), "challenger")

    code, out, _ = lamplighter("compat", "--python", sys.executable)

    assert code == 3
    assert "would change" in out
    assert "would not load" in out
    assert "2 of 3 would change." in out
    assert "lamplighter bind adaboost --version 1 --interpreter NAME" in out

    code, out, _ = lamplighter("compat", "--python", sys.executable, "--json")

    assert code == 3
    told = json.loads(out)
    assert told["libraries"]["scikit-learn"] == {"here": sklearn.__version__, "there": sklearn.__version__}
    assert {one["model"]: (one["outcome"], one["would_change"]) for one in told["models"]} == {
        "readings": ("agrees", False),
        "adaboost": ("changes", True),
        "imputed": ("does_not_load", True),
    }


def test_without_an_alias_there_is_nothing_to_try(lamplighter, tmp_path, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(tmp_path / "lake"))

    code, out, _ = lamplighter("compat", "--python", sys.executable)

    assert code == 0
    assert "No alias names a version, so there is nothing to try." in out


def test_a_python_that_cannot_serve_is_2_with_one_paragraph(world, lamplighter, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    for python, says in (
        (str(tmp_path / "nowhere"), "No such file or directory"),
        (str(tmp_path), "Permission denied"),
        ("/bin/false", "exit code 1"),
        (
            str(tmp_path / "bare/bin/python"),
            (
                "lacks numpy, pandas, pyarrow, pydantic. No model was tried. "
                f"Next: {tmp_path}/bare/bin/python -m pip install 'joblib>=1.6' numpy"
            ),
        ),
    ):
        code, out, err = lamplighter("compat", "--python", python)
        assert (code, out) == (2, "")
        (paragraph,) = err.strip().splitlines()
        assert says in paragraph


def test_a_bound_version_is_promoted_and_scores(world, lamplighter, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_OTHER", sys.executable)

    code, out, err = lamplighter("bind", "readings", "--version", "1", "--interpreter", "other")

    assert (code, err) == (0, "")
    assert out.startswith("Registered readings version 2: readings version 1 as the interpreter other loads it. Next: ")
    registry = Registry(world.lake)
    point(registry, registry.version("readings", 2), "production")
    assert world.score(DAY).name == "Published"
    assert world.published().model.interpreter == "other"
    told = json.loads(lamplighter("compat", "--python", sys.executable, "--json")[1])
    assert [one["outcome"] for one in told["models"]] == ["apart"]


@pytest.mark.parametrize(
    ("interpreter", "code", "says"),
    [
        ("other", 3, "set LAMPLIGHTER_PYTHON_OTHER to the path of its Python"),
        ("/usr/bin/python3", 2, "'/usr/bin/python3' is not a name for an interpreter"),
        ("Sklearn 1.7", 2, "its path belongs into LAMPLIGHTER_PYTHON_<NAME>"),
    ],
)
def test_an_interpreter_that_cannot_be_named_is_told(world, lamplighter, monkeypatch, interpreter, code, says):
    monkeypatch.delenv("LAMPLIGHTER_PYTHON_OTHER", raising=False)
    found, _, err = lamplighter("bind", "readings", "--version", "1", "--interpreter", interpreter)
    assert found == code
    assert says in err
    assert Registry(world.lake).numbers("readings") == [1]


# -- registered for another interpreter ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "outputs"),
    [
        (LogisticRegression(), {"probability": ("predict_proba", 1, "float64")}),
        (KMeans(2, n_init=1, random_state=0), {"prediction": ("predict", None, "int64")}),
        (DecisionTreeClassifier(), {"predicted_class": ("predict", None, "string")}),
    ],
)
def test_what_a_model_takes_and_gives_is_found_out_there(lamplighter, tmp_path, monkeypatch, model, outputs):
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_OTHER", sys.executable)
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(tmp_path / "lake"))
    rows = readings(100)[["x", "y"]]
    target = (rows["x"] > 0).astype(int)
    if isinstance(model, DecisionTreeClassifier):
        target = rows["x"].map(lambda x: "low" if x < -1 else "high" if x > 1 else "middle")
    joblib.dump(model.fit(rows, target), tmp_path / "model.joblib")
    rows.assign(target=target).to_parquet(tmp_path / "sample.parquet")
    files = ("--model", str(tmp_path / "model.joblib"), "--reference", str(tmp_path / "sample.parquet"))

    code, out, err = lamplighter("register", "readings", *files, "--interpreter", "other", "--json")

    assert (code, err) == (0, ""), out
    (told,) = json.loads(out)["versions"]
    assert told["signature"]["interpreter"] == "other"
    assert {
        name: (one["method"], one["class"], one["type"]) for name, one in told["signature"]["outputs"].items()
    } == outputs
    here = json.loads(lamplighter("register", "readings", *files, "--json")[1])["versions"][0]
    assert here["signature"] == {**told["signature"], "interpreter": None}
    registry = Registry(Lake(tmp_path / "lake"))
    ours, theirs = (registry.probe(registry.version("readings", number))[1] for number in (2, 1))
    assert ours.equals(theirs)


def test_registering_for_an_interpreter_that_is_not_set_up_registers_nothing(world, lamplighter, tmp_path, monkeypatch):
    monkeypatch.delenv("LAMPLIGHTER_PYTHON_OTHER", raising=False)
    joblib.dump(LinearRegression().fit([[0.0]], [0.0]), tmp_path / "model.joblib")
    readings(100)[["x"]].to_parquet(tmp_path / "sample.parquet")
    files = ("--model", str(tmp_path / "model.joblib"), "--reference", str(tmp_path / "sample.parquet"))
    code, _, err = lamplighter("register", "readings", *files, "--interpreter", "other")
    assert code == 3
    assert "set LAMPLIGHTER_PYTHON_OTHER to the path of its Python" in err
    assert Registry(world.lake).numbers("readings") == [1]
