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
from sklearn.linear_model import LinearRegression

from tasks.core.models.registry import Registry
from tests.flows.conftest import logistic_model, readings, typist
from tests.flows.ours import Ours

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures/onnx"


@pytest.fixture
def ours():
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


def scores(world, ends="Published"):
    """Scores the day with the version that is production: the partition's rows."""
    state = world.score(rescore="another version")
    assert state.name == ends, state.message
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
    assert "model:\n  allowed_types:\n    - tests.flows.ours.Ours\n" in out
    (paragraph,) = err.strip().splitlines()
    assert "names what nobody has accepted: tests.flows.ours.Ours" in paragraph
    assert "--allow tests.flows.ours.Ours" in paragraph
    assert Registry(world.lake).numbers("readings") == [1]

    pasted = yaml.safe_load(out[out.index("model:") :])
    world.change_job(model__allowed_types=pasted["model"]["allowed_types"], suite=None)
    code, out, _ = lamplighter(ours)
    assert (code, "allowed_types" in out) == (0, False)
    follow(world, 2)
    expected = 1 / (1 + np.exp(-readings()["x"]))
    np.testing.assert_allclose(scores(world)["probability"], expected, rtol=1e-12)


def test_a_type_accepted_on_the_command_line_registers_and_says_what_the_job_needs(lamplighter, world, ours):
    code, out, _ = lamplighter(ours, "--allow", "tests.flows.ours.Ours")

    assert code == 0
    assert "    - tests.flows.ours.Ours" in out
    # The job has not accepted it: its own list is the only one that a run knows.
    follow(world, 2)
    state = world.score()
    assert state.name == "Blocked"
    assert "on no allow-list: tests.flows.ours.Ours" in state.message


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
    assert said["allowed_types"] == ["tests.flows.ours.Ours"]
    assert (said["error"]["kind"], said["error"]["exit_code"]) == ("ModelBlocked", 3)

    code, out, _ = lamplighter(ours, "--json", "--allow", "tests.flows.ours.Ours", "--target", "late")
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


# -- the first version ------------------------------------------------------------------------------------------------


def test_the_first_version_is_production_and_is_scored_with_at_once(lamplighter, world, fitted):
    world.change_job(model={"name": "fresh"})
    code, out, err = lamplighter(fitted, name="fresh")

    assert (code, err) == (0, "")
    assert (
        "It is production from now on: it is the first version of fresh, and there is nothing to hold it against."
        in out
    )
    assert out.rstrip().endswith("Next: lamplighter check")
    (event,) = Registry(world.lake).history("fresh")
    assert (event.alias, event.version, event.reason) == (
        "production",
        1,
        "the first version of fresh: nothing to hold it against",
    )
    assert "nothing to hold it against" in (world.folder / "lake/reports/_models/fresh/index.html").read_text()
    assert set(scores(world)["model_version"]) == {"fresh/0001"}

    # The next one must prove itself.
    code, out, _ = lamplighter(fitted, name="fresh")
    assert "production" not in out
    assert out.rstrip().endswith('Next: lamplighter promote fresh --version 2 --reason "why"')
    assert Registry(world.lake).aliases("fresh") == {"production": 1}


def test_what_comes_next_depends_on_what_the_job_has(lamplighter, world, fitted):
    world.change_job(model={"name": "fresh"}, suite=None)
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    out = lamplighter(fitted, name="fresh")[1]
    assert out.rstrip().endswith(f"Next: lamplighter suggest readings --as-of {yesterday}")
    out = lamplighter(fitted, name="nobodys")[1]
    assert "Next: write a job that names the model (model: { name: nobodys }), then: lamplighter check" in out


def test_no_alias_moves_where_somebody_must_agree_or_where_it_is_asked_for(lamplighter, world, fitted):
    world.change_job(model={"name": "fresh"})
    code, out, _ = lamplighter(fitted, "--no-alias", name="fresh")
    assert (code, out.rstrip().splitlines()[-1]) == (0, 'Next: lamplighter promote fresh --version 1 --reason "why"')
    world.change_job(promotion__approval=True)
    out = lamplighter(fitted, name="fresh")[1]
    assert "No alias was moved: the job readings asks for a person's approval (promotion.approval)." in out
    assert Registry(world.lake).history("fresh") == []
    world.change_job(promotion=None)
    assert json.loads(lamplighter(fitted, "--json", name="fresh")[1])["production"] == 3
    assert json.loads(lamplighter(fitted, "--json", name="fresh")[1])["production"] is None


@pytest.mark.extras
def test_of_a_model_and_its_twin_the_first_is_production(lamplighter, world, fitted):
    pytest.importorskip("skops")
    code, _, err = lamplighter(fitted, "--also", "skops", "--allow", "numpy.dtype", name="fresh")
    assert (code, err) == (0, "")
    assert Registry(world.lake).aliases("fresh") == {"production": 1}


# -- with the project's own code --------------------------------------------------------------------------------------

OWN = """
import numpy as np
import pandas as pd

def to_input(frame):
    if (frame["x"] > 2).any():
        raise ValueError("no reading is above 2")
    return pd.DataFrame({"minute": frame["at"].dt.minute, "x": frame["x"].fillna(0)})

def to_columns(returned):
    return {"score": returned, "band": np.where(returned > 0, "high", "low")}
"""


@pytest.fixture
def adapted(lamplighter, world):
    """A regression on what the project's own adapters make; the job publishes a score and a band. Two child processes."""
    (world.folder / "own_flows").mkdir()
    (world.folder / "own_flows/features.py").write_text(OWN)
    world.change_job(
        model={"name": "adapted"},
        output__columns={"score": {"method": "predict"}, "band": {"method": "predict", "type": "string"}},
        limits={"batch_rows": 120, "workers": 2, "quarantine_share": 0.5},
    )
    rows = readings(500)
    frame = pd.DataFrame({"minute": rows["at"].dt.minute, "x": rows["x"]})
    model = LinearRegression().fit(frame, rows["x"] - frame["minute"] / 100)
    # The sample without what the adapter raises on.
    sample = pd.read_parquet("sample.parquet")
    sample[sample["x"] <= 2].to_parquet("sample.parquet", index=False)
    given = ("--adapter", "own_flows.features:to_input", "--output-adapter", "own_flows.features:to_columns")
    code, out, err = lamplighter(model, *given, name="adapted")
    assert (code, err) == (0, "")
    return out


@pytest.mark.extras
def test_adapters_score_in_child_processes_and_a_row_on_which_one_raises_is_quarantined(adapted, world):
    assert "Before the model stands own_flows.features:to_input: it is given a frame of these inputs." in adapted
    assert (
        "Behind the model stands own_flows.features:to_columns: the columns are taken from what it returns." in adapted
    )
    assert "Note: the adapter is given sensor, at, kind, x, y" in adapted
    rows = readings()
    table = scores(world)

    high = rows["x"] > 2
    assert 0 < high.sum() < 20
    kept = rows[~high].reset_index(drop=True)
    expected = kept["x"] - kept["at"].dt.minute / 100
    assert table["sensor"].tolist() == kept["sensor"].tolist()
    np.testing.assert_allclose(table["score"], expected, atol=1e-9)
    assert table["band"].tolist() == np.where(expected > 0, "high", "low").tolist()
    quarantined = world.table("quarantine")
    assert quarantined["sensor"].tolist() == rows["sensor"][high].tolist()
    assert world.latest().code.modules.keys() == {"own_flows"}
    assert world.latest().model.warnings == ()


def test_a_challenger_and_the_gate_of_promote_use_the_adapters_too(adapted, lamplighter, world, monkeypatch, capsys):
    world.change_job(limits={"quarantine_share": 0.5})
    model = joblib.load("model.joblib")
    model.intercept_ += 1
    # Its own adapter: the other one's column would be another.
    (world.folder / "own_flows/features.py").write_text(
        OWN + "\ndef other(returned):\n    return to_columns(returned - 1)\n"
    )
    given = ("--adapter", "own_flows.features:to_input", "--output-adapter", "own_flows.features:other")
    for name in [name for name in sys.modules if name.partition(".")[0] == "own_flows"]:
        del sys.modules[name]
    code, out, err = lamplighter(model, *given, name="adapted")
    assert (code, err) == (0, "")
    registry = Registry(world.lake)
    registry.set_alias("adapted", "challenger", 2, at=dt.datetime.now(dt.UTC), actor="test", reason="a test")
    # Production's package is not what it was registered with, and its child process sees that.
    table = scores(world, "PublishedWithWarnings")
    theirs = pd.concat(pd.read_parquet(file) for file in (world.folder / "lake/challengers").rglob("*.parquet"))
    np.testing.assert_allclose(theirs.sort_values("sensor")["score"], table["score"], atol=1e-9)
    # Versions are examined in this process: in others it takes long, and is tested elsewhere.
    monkeypatch.setattr("tasks.shards.examination.worker_count", lambda *_: 0)
    run = typist(monkeypatch, capsys)
    code, out, err = run("promote", "adapted", "--version", "2", "--reason", "a test")
    assert (code, err) == (0, ""), out


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
