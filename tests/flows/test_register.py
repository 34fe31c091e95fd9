"""`lamplighter register`, as a person types it; and what it registered, in every format, through the flow `score`."""

import datetime as dt
import json
import os
import pathlib
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.core.models.registry import Registry
from tests.flows.conftest import logistic_model, readings, typist

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures/onnx"


class Ours:
    """A model of a type that no list knows."""

    feature_names_in_ = np.array(["x", "y"])
    classes_ = np.array([0, 1])

    def predict_proba(self, frame):
        late = 1 / (1 + np.exp(-frame["x"].fillna(0).to_numpy()))
        return np.column_stack([1 - late, late])


@pytest.fixture
def ours(monkeypatch):
    """A model whose type can be imported by name, also where the model is loaded."""
    monkeypatch.setitem(sys.modules, "ours_of_flows", sys.modules[__name__])
    monkeypatch.setattr(Ours, "__module__", "ours_of_flows")
    return Ours()


@pytest.fixture
def lamplighter(world, monkeypatch, capsys):
    """Types a command where a model and a sample lie: exit code, standard output, standard error."""
    rows = readings(500).assign(late=lambda frame: frame["x"] > 0.1)
    rows.to_parquet(world.folder / "sample.parquet", index=False)
    monkeypatch.chdir(world.folder)

    run = typist(monkeypatch, capsys)

    def register(model, *arguments, file="model.joblib", name="readings"):
        if model is not None:
            joblib.dump(model, file)
        return run("register", name, "--model", file, "--reference", "sample.parquet", *arguments)

    return register


@pytest.fixture
def fitted(world):
    rows = readings(500)
    return logistic_model().fit(rows[["kind", "x", "y"]], (rows["x"] > 0.1).astype(int))


def follow(world, number):
    """Lets production name a version, as promotion would."""
    Registry(world.lake).set_alias(
        "readings", "production", number, at=dt.datetime.now(dt.UTC), actor="test", reason="a test"
    )


def scores(world):
    """Scores the day with the version that is production: the partition's rows."""
    state = world.score(rescore="another version")
    assert state.name == "Published", state.message
    return world.table()


# -- the command ----------------------------------------------------------------------------------------------------


def test_a_model_of_somebodys_own_is_one_command_away_from_being_scored(lamplighter, world, fitted):
    code, out, err = lamplighter(fitted, "--target", "late", "--card", "owner=the day shift", "--card", "note=a=b")

    assert (code, err) == (0, "")
    assert "Registered readings version 2, in joblib: it passed the load gate." in out
    lines = [line.split() for line in out.splitlines()]
    assert ["kind", "string", "never", "missing"] in lines
    assert ["probability", "float64", "predict_proba", "of", "1"] in lines
    assert "Benchmark, on the sample that was given at registration, which the model may have seen: roc_auc" in out
    assert out.rstrip().endswith('Next: lamplighter promote readings --version 2 --reason "why"')
    registry = Registry(world.lake)
    assert registry.aliases("readings") == {"production": 1}
    card = registry.card(registry.version("readings", 2))
    assert (card["owner"], card["note"]) == ("the day shift", "a=b")

    follow(world, 2)
    table = scores(world)
    expected = fitted.predict_proba(readings()[["kind", "x", "y"]])[:, 1]
    np.testing.assert_allclose(table["probability"], expected, rtol=1e-12)
    assert set(table["model_version"]) == {"readings/0002"}


def test_what_a_person_must_accept_is_printed_to_be_pasted(lamplighter, world, ours):
    code, out, err = lamplighter(ours)

    assert code == 3
    assert "model:\n  allowed_types:\n    - ours_of_flows.Ours\n" in out
    (paragraph,) = err.strip().splitlines()
    assert "names what nobody has accepted: ours_of_flows.Ours" in paragraph
    assert "--allow ours_of_flows.Ours" in paragraph
    assert Registry(world.lake).numbers("readings") == [1]

    pasted = yaml.safe_load(out[out.index("model:") :])
    world.change_job(model__allowed_types=pasted["model"]["allowed_types"], suite=None)
    code, out, _ = lamplighter(ours)
    assert (code, "allowed_types" in out) == (0, False)
    follow(world, 2)
    expected = 1 / (1 + np.exp(-readings()["x"]))
    np.testing.assert_allclose(scores(world)["probability"], expected, rtol=1e-12)


def test_a_type_accepted_on_the_command_line_registers_and_says_what_the_job_needs(lamplighter, world, ours):
    code, out, _ = lamplighter(ours, "--allow", "ours_of_flows.Ours")

    assert code == 0
    assert "    - ours_of_flows.Ours" in out
    # The job has not accepted it: its own list is the only one that a run knows.
    follow(world, 2)
    state = world.score()
    assert state.name == "Blocked"
    assert "on no allow-list: ours_of_flows.Ours" in state.message


def test_a_file_that_would_run_anything_runs_nothing(lamplighter, world):
    marker = world.folder / "marker"

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    code, out, err = lamplighter([logistic_model(), np.arange(3), Hostile()], "--allow", "posix.system")

    assert (code, out) == (3, "")
    assert "Nobody can allow posix.system: do not trust this file" in err
    assert not marker.exists()


def test_json_for_machines(lamplighter, world, ours):
    code, out, _ = lamplighter(ours, "--json")
    said = json.loads(out)
    assert code == 3
    assert said["versions"] == []
    assert said["allowed_types"] == ["ours_of_flows.Ours"]
    assert (said["error"]["kind"], said["error"]["exit_code"]) == ("ModelBlocked", 3)

    code, out, _ = lamplighter(ours, "--json", "--allow", "ours_of_flows.Ours", "--target", "late")
    said = json.loads(out)
    assert (code, said["error"]) == (0, None)
    (version,) = said["versions"]
    assert (version["model"], version["version"]) == ("readings", 2)
    assert version["signature"]["outputs"]["probability"]["class"] == 1
    assert version["benchmark"]["rows"] == 500


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--model", "nothing.joblib"), "there is no file"),
        (("--model", "sample.parquet"), "does not say by its ending which format it is"),
        (("--reference", "nothing.parquet"), "there is no file"),
        (("--reference", "model.joblib"), "is not a Parquet file that can be read"),
        (("--target", "lat"), "lacks the target 'lat'; nearest: 'late'"),
        (("--job", "nothing"), "there is no job 'nothing'"),
        (("--card", "owner"), "--card 'owner' is not KEY=TEXT"),
        (("--format", "pmml"), "'pmml' is not a model format"),
        (("--also", "joblib"), "and of that no other version in joblib is made"),
    ],
)
def test_what_is_wrong_with_the_options_is_2_and_one_paragraph(lamplighter, fitted, arguments, says):
    code, _, err = lamplighter(fitted, *arguments)

    assert code == 2
    (paragraph,) = err.strip().splitlines()
    assert says in paragraph
    assert "Traceback" not in err


def test_a_name_that_is_no_name_is_said(lamplighter, fitted):
    code, _, err = lamplighter(fitted, name="../readings")
    assert code == 2
    assert "is not a name for a model" in err


# -- other formats, through `score` ---------------------------------------------------------------------------------


@pytest.mark.extras
def test_onnx_skops_and_joblib_of_the_same_model_give_the_same_partition(lamplighter, world, fitted):
    pytest.importorskip("skl2onnx")
    pytest.importorskip("skops")
    rows = readings().assign(kind=lambda frame: frame["kind"].where(frame.index % 40 != 7, "lukewarm"))
    rows.loc[rows.index % 50 == 3, "x"] = np.nan
    world.write_suite()
    world.change_job(suite=None, limits__batch_rows=30, limits__workers=2)
    world.write_rows(rows)
    sample = pd.read_parquet("sample.parquet")
    sample.loc[sample.index % 50 == 3, "x"] = np.nan
    sample.to_parquet("sample.parquet", index=False)
    for also in ("onnx", "skops"):
        code, out, err = lamplighter(fitted, "--also", also, "--allow", "numpy.dtype")
        assert code == 0, err
        assert "the largest difference is " in out
    world.change_job(model__allowed_types=["numpy.dtype"])
    tables = {}
    for number, name in ((2, "joblib"), (3, "onnx"), (5, "skops")):
        assert Registry(world.lake).version("readings", number).format == name
        follow(world, number)
        tables[name] = scores(world)

    same = ["sensor", "at", "kind", "window_start", "scored_at"]
    for name, largest in (("skops", 0.0), ("onnx", 1e-5)):
        pd.testing.assert_frame_equal(tables[name][same[:-1]], tables["joblib"][same[:-1]])
        off = np.abs(tables[name]["probability"] - tables["joblib"]["probability"])
        assert len(off) == 200
        assert off.max() <= largest


@pytest.mark.extras
def test_a_network_that_pytorch_exported_is_scored(lamplighter, world):
    pytest.importorskip("onnxruntime")
    sample = readings(500).assign(kind=lambda frame: pd.Categorical(frame["kind"], categories=["cold", "hot"]))
    # Else a row in which it is missing would not be scored.
    sample.loc[sample.index % 50 == 3, ["kind", "x"]] = None
    sample.to_parquet("sample.parquet", index=False)
    said = json.loads((FIXTURES / "pytorch_classifier.json").read_text())
    # The network's own rows, and what PyTorch made of them.
    rows = readings(len(said["columns"]["x"])).assign(**said["columns"])
    world.write_suite()
    world.change_job(suite=None)
    world.write_rows(rows)

    code, out, err = lamplighter(None, file=str(FIXTURES / "pytorch_classifier.onnx"))

    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["kind", "string", "a", "category", "of", "2"] in lines
    assert ["y", "float64", "never", "missing"] in lines
    assert "A row in which y is missing will not be scored" in out
    follow(world, 2)
    world.score()
    np.testing.assert_allclose(world.table()["probability"], np.array(said["probabilities"])[:, 1], atol=1e-6)


@pytest.mark.extras
def test_what_cannot_be_converted_is_told_and_the_first_version_stands(lamplighter, world):
    pytest.importorskip("skl2onnx")
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = readings(500)
    boosted = HistGradientBoostingClassifier(max_iter=3).fit(rows[["x", "y"]], (rows["x"] > 0).astype(int))
    code, out, err = lamplighter(boosted, "--also", "onnx")

    assert code == 3
    assert "Registered readings version 2, in joblib" in out
    (paragraph,) = err.strip().splitlines()
    assert "the HistGradientBoostingClassifier cannot be converted to ONNX" in paragraph
    assert "What was registered stands: readings version 2, in joblib" in paragraph
    assert Registry(world.lake).numbers("readings") == [1, 2]
