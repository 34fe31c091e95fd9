"""Compiled trees through whole flows: registered, trained, scored in child processes, audited; and without a compiler."""

import datetime as dt
import json
import shutil

import joblib
import numpy as np
import pytest
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from flows.audit import audit
from flows.train import train
from tasks.core.models.registry import Registry
from tasks.core.models.trees import library
from tests.flows.conftest import logistic_model, make_warehouse, readings, typist

pytestmark = [
    pytest.mark.extras,
    pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler on this machine"),
]
FEATURES = ["kind", "x", "y"]


def boosted_model():
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    columns = ColumnTransformer([("codes", codes, ["kind"])], remainder="passthrough")
    return make_pipeline(columns, HistGradientBoostingClassifier(max_iter=10, categorical_features=[0]))


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of OpenMP that wait for one another are slow where the processor is shared."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def register(world, monkeypatch, capsys):
    """Registers a model with --compile, where a sample lies: exit code, standard output, standard error."""
    readings(500).to_parquet(world.folder / "sample.parquet", index=False)
    monkeypatch.chdir(world.folder)
    run = typist(monkeypatch, capsys)

    def register(model, *arguments):
        rows = readings(500)
        joblib.dump(model.fit(rows[FEATURES], (rows["x"] > 0.1).astype(int)), "model.joblib")
        return run(
            "register", "readings", "--model", "model.joblib", "--reference", "sample.parquet", "--compile", *arguments
        )

    return register


@pytest.fixture
def without_compiler(monkeypatch, tmp_path):
    """Neither a compiler nor what one has made before; ends as it began."""

    def take_away():
        monkeypatch.setenv("HOME", str(tmp_path / "empty"))
        monkeypatch.setattr(library, "_COMPILERS", ("no-such-compiler",))
        library.library.cache_clear()

    yield take_away
    library.library.cache_clear()


def follow(world, number):
    at = dt.datetime.now(dt.UTC)
    Registry(world.lake).set_alias("readings", "production", number, at=at, actor="test", reason="a test")


def expected_scores(world):
    """By scikit-learn itself, of the file as it was handed over."""
    return joblib.load(world.folder / "model.joblib").predict_proba(readings()[FEATURES])[:, 1]


def test_a_compiled_model_is_scored_with_and_audited_as_it_was_fitted(register, world):
    code, out, err = register(boosted_model())
    assert (code, err) == (0, "")
    assert "its trees are compiled: on 2,500 rows, strange ones among them, the largest difference" in " ".join(
        out.split()
    )
    version = Registry(world.lake).version("readings", 2)
    assert version.signature.compiled
    assert (version.manifest.compilation.rows, version.manifest.compilation.largest_difference) == (2500, 0.0)

    follow(world, 2)
    assert world.score(rescore="another version").name == "Published"
    np.testing.assert_array_equal(world.table()["probability"], expected_scores(world))
    assert audit("readings", return_state=True).is_completed()


def test_no_code_lies_in_a_version(register, world):
    """What is loaded as code is Lamplighter's own text, compiled on this machine: nobody can hand it over."""
    register(boosted_model())
    folder = world.folder / "lake/models/readings/versions/0002"
    assert not [path for path in folder.iterdir() if path.read_bytes()[:4] == b"\x7fELF"]
    assert {path.suffix for path in folder.iterdir()} == {".json", ".parquet", ".joblib"}


def test_without_a_compiler_the_same_is_published_and_the_manifest_says_so(register, world, without_compiler):
    register(boosted_model())
    follow(world, 2)
    without_compiler()
    state = world.score(rescore="another version")
    assert state.is_completed(), state.message
    np.testing.assert_array_equal(world.table()["probability"], expected_scores(world))
    (warned,) = world.latest().model.warnings
    assert "its trees are not compiled here" in warned
    assert "there is no C compiler" in warned


def test_a_model_without_trees_is_registered_as_it_is_and_the_note_stands(register, world):
    code, out, _ = register(logistic_model())
    said = "its trees are not compiled, and scored by scikit-learn: LogisticRegression is no tree ensemble"
    assert (code, said in " ".join(out.split())) == (0, True)
    version = Registry(world.lake).version("readings", 2)
    assert not version.signature.compiled
    assert "LogisticRegression is no tree ensemble" in version.manifest.compilation.note


def test_compiled_and_not_are_two_digests(register, world):
    register(boosted_model())
    first = json.loads((world.folder / "lake/models/readings/versions/0002/signature.json").read_text())
    assert first["compiled"] is True
    kept = json.loads((world.folder / "lake/models/readings/versions/0001/signature.json").read_text())
    assert "compiled" not in kept


def test_another_interpreter_s_trees_are_not_compiled(register):
    code, _, err = register(boosted_model(), "--interpreter", "sklearn17")
    assert code == 2
    assert "--compile and --interpreter exclude each other" in " ".join(err.split())


def test_training_compiles_where_the_job_says_so(world, monkeypatch):
    make_warehouse(world).close()
    monkeypatch.setattr("tasks.train.make_estimator", lambda _: boosted_model())
    job = yaml.safe_load(world.job_file.read_text())
    job["training"] |= {"compile": True, "folds": 0}
    world.job_file.write_text(yaml.safe_dump(job))

    version = train("readings", return_state=True).result()

    assert version.signature.compiled
    assert version.manifest.compilation.rows == 1000
