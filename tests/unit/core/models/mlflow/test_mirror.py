"""The mirror of MLflow's registry, with a registry of the tests' own; tests/integration/test_mlflow.py has a real one."""

import dataclasses
import datetime as dt
import functools
import json
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.core.definitions.job import Job
from tasks.core.definitions.mlflow_names import MlflowAlias
from tasks.core.definitions.project import Project
from tasks.core.errors import DefinitionError, ModelBlocked, ModelNotFound, SourceError
from tasks.core.models.gate.candidacy import consider
from tasks.core.models.mlflow import mirror
from tasks.core.models.mlflow.registry import Artifacts, MlflowRun, MlflowVersion
from tasks.core.models.model import load_model, predict
from tasks.core.models.model_version import Candidate
from tasks.core.models.registry import Registry
from tasks.core.models.rollback import move_back
from tasks.core.storage import Folder
from tests.flows.conftest import COLUMNS, logistic_model, readings
from tests.lake_tools import Killed

AT = dt.datetime(2024, 5, 2, tzinfo=dt.UTC)
INPUTS = (("kind", "string"), ("x", "double"), ("y", "double"))
URI = "models:/readings@production"


def job(**changes) -> Job:
    values = {
        "job": "readings",
        "window": {"kind": "interval", "every": "1d"},
        "source": {"type": "files", "path": "data"},
        "keys": ["sensor"],
        "event_time": "at",
        "columns": COLUMNS,
        "model": {"name": URI},
        "output": {"columns": {"probability": {"method": "predict_proba", "class": 1}}},
    }
    return Job.model_validate(values | changes)


@functools.cache
def model_bytes(opposite: bool = False) -> bytes:
    """A plain pickle, as MLflow writes it, of a model of x > 0, or of the opposite."""
    rows = readings()
    return pickle.dumps(logistic_model().fit(rows[["kind", "x", "y"]], ((rows["x"] > 0) != opposite).astype(int)))


def example(count: int = 5, **changed) -> bytes:
    """As MLflow writes a frame: missing is NaN, text too."""
    rows = readings(count)[["kind", "x", "y"]].assign(**changed)
    return json.dumps({"columns": list(rows.columns), "data": rows.to_numpy().tolist()}).encode()


def description(flavor=None, inputs=INPUTS, **changes) -> bytes:
    flavor = flavor or {
        "sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle", "sklearn_version": "1.9.1"}
    }
    found = {
        "flavors": {"python_function": {"loader_module": "mlflow.sklearn"}} | flavor,
        "signature": {"inputs": json.dumps([{"name": name, "type": kind} for name, kind in inputs])},
        "saved_input_example_info": {"artifact_path": "input_example.json", "type": "dataframe"},
    }
    return yaml.safe_dump(found | changes).encode()


def files(**changes) -> dict[str, bytes]:
    return {"MLmodel": description(), "model.pkl": model_bytes(), "input_example.json": example()} | changes


class Store:
    """What MLflow keeps of one version, as its client hands it out."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents

    def download_artifacts(self, name: str, dst_path: str) -> None:
        (Path(dst_path) / name).write_bytes(self.contents[name])


class Server:
    """A tracking server: its versions by number, its aliases, and whether it answers."""

    def __init__(self, monkeypatch, **versions: dict[str, bytes]) -> None:
        self.versions = {number.removeprefix("v"): contents for number, contents in versions.items()}
        self.aliases = {"production": next(iter(self.versions))}
        self.run = MlflowRun({"auc": 0.9}, ("readings.csv", "abc"), "c0ffee")
        self.answers = True
        monkeypatch.setattr(mirror, "Tracking", lambda: self)

    def version_of(self, wanted: MlflowAlias) -> MlflowVersion:
        if not self.answers:
            raise SourceError("MLflow at http://mlflow could not be asked: refused", next_step="see that it answers")
        if wanted.alias not in self.aliases:
            raise ModelNotFound(f"'{wanted.name}' of MLflow has no alias '{wanted.alias}'")
        number = self.aliases[wanted.alias]
        return MlflowVersion(wanted.name, number, "http://mlflow", "", "models:/m-1", f"run{number}", AT, AT, "of May")

    def run_of(self, _version: MlflowVersion) -> MlflowRun:
        return self.run

    def artifacts(self, version: MlflowVersion, lake, scratch: str) -> Artifacts:
        contents = self.versions[version.number]
        sizes = {name: len(content) for name, content in contents.items()}
        return Artifacts(version, sizes, Store(contents), lambda call: call(), lake, scratch)


@pytest.fixture
def registry(lake):
    return Registry(lake)


@pytest.fixture
def server(monkeypatch):
    return Server(monkeypatch, v1=files(), v2=files(**{"model.pkl": model_bytes(opposite=True)}))


def follow(registry, of: Job | None = None):
    return mirror.followed(registry, of or job(), at=AT)


def test_a_model_of_the_lake_is_the_one_that_its_alias_names(registry, server):
    with pytest.raises(ModelNotFound, match="there is no model 'readings'"):
        follow(registry, job(model={"name": "readings"}))


def test_a_version_holds_what_any_other_does_and_says_what_it_is_in_mlflow(registry, server):
    version = follow(registry)

    assert (version.name, version.version, version.format) == ("mlflow_readings", 1, "joblib")
    assert registry.read(version, "model.joblib") == model_bytes()
    assert [(one.name, one.type) for one in version.inputs.columns] == [
        ("kind", "string"),
        ("x", "float64"),
        ("y", "float64"),
    ]
    origin = version.manifest.origin
    assert (origin.uri, origin.run_id, origin.tracking) == ("models:/readings/1", "run1", "http://mlflow")
    assert set(origin.artifacts) == {"MLmodel", "model.pkl", "input_example.json"}
    assert registry.card(version) | {"mlflow": "models:/readings/1", "mlflow_run": "run1"} == registry.card(version)
    assert registry.benchmark(version) == {
        "mlflow_metrics": {"auc": 0.9},
        "source": "run run1 of MLflow at http://mlflow",
    }
    assert version.manifest.training.digest == "abc"
    assert registry.profile(version) == {}

    loaded = load_model(registry, version)
    probe, expected = registry.probe(version)
    assert probe.to_pylist() == readings(5)[["kind", "x", "y"]].to_dict("records")
    by_hand = pickle.loads(model_bytes()).predict_proba(readings(5)[["kind", "x", "y"]])[:, 1]
    np.testing.assert_allclose(expected["probability"].to_numpy(), by_hand, rtol=1e-12)
    np.testing.assert_allclose(predict(loaded, probe, version.outputs)["probability"].to_numpy(), by_hand, rtol=1e-12)


def test_a_version_is_mirrored_once_and_the_history_tells_of_each_move(registry, server):
    assert [follow(registry).version for _ in range(2)] == [1, 1]
    server.aliases["production"] = "2"
    assert follow(registry).version == 2
    server.aliases["production"] = "1"
    assert follow(registry).version == 1

    events = registry.history("mlflow_readings")
    assert [(one.version, one.actor, one.reason) for one in events] == [
        (1, "MLflow", "MLflow alias production"),
        (2, "MLflow", "MLflow alias production"),
        (1, "MLflow", "MLflow alias production"),
    ]
    assert events[1].evidence["mlflow"] == "models:/readings/2"
    assert events[1].evidence["run_id"] == "run2"
    assert registry.numbers("mlflow_readings") == [1, 2]


def test_nothing_is_left_of_what_was_fetched(registry, server, lake):
    follow(registry)

    assert not any("/." in key for key in lake.files("models"))


def test_a_run_that_was_killed_while_it_fetched_is_no_hindrance(registry, server, lake):
    lake.write_bytes("models/mlflow_readings/.mirror/model.pkl", b"half")

    assert follow(registry).version == 1


def test_of_runs_at_once_one_registers(registry, server):
    found, start = [], threading.Barrier(4)

    def run():
        start.wait()
        found.append(follow(registry).version)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [1, 1, 1, 1]
    assert registry.numbers("mlflow_readings") == [1]
    assert len(registry.history("mlflow_readings")) == 1


def test_without_an_answer_nothing_is_scored_and_the_last_one_is_named(registry, server):
    server.answers = False
    with pytest.raises(SourceError, match="never mirrored here"):
        follow(registry)
    server.answers = True
    follow(registry)
    server.answers = False

    with pytest.raises(SourceError) as caught:
        follow(registry)

    said = str(caught.value)
    assert "at the last answer it was models:/readings/1, here mlflow_readings version 1, which was not used" in said
    assert "put model: {name: mlflow_readings, alias: production} into the job" in said
    knowingly = job(model={"name": "mlflow_readings", "alias": "production"})
    assert follow(registry, knowingly).version == 1


@pytest.mark.parametrize("file", ["MLmodel", "model.pkl", "input_example.json"])
def test_other_files_under_the_same_version_are_blocked(registry, server, file):
    follow(registry)
    other = {"MLmodel": description(more=1), "model.pkl": model_bytes(opposite=True), "input_example.json": example(6)}
    server.versions["1"] = files(**{file: other[file]})

    with pytest.raises(ModelBlocked, match=f"SHA-256 of its file '{file}' is .* and was .*run run1"):
        follow(registry)
    assert registry.numbers("mlflow_readings") == [1]


def test_a_recalled_version_is_not_taken_over_again(registry, server):
    version = follow(registry)
    registry.recall(version.name, version.version, at=AT, actor="ann", reason="wrong units")

    with pytest.raises(ModelBlocked, match=r"was recalled at .* by ann: wrong units.*move the alias in MLflow"):
        follow(registry)


def test_an_alias_is_moved_in_mlflow_and_not_here(registry, server):
    follow(registry)
    server.aliases["production"] = "2"
    name = follow(registry).name
    project = Project(Folder(registry.lake.root))

    for move in (
        lambda: registry.set_alias(name, "production", 1, at=AT, actor="ann", reason="mine", forced=True),
        lambda: move_back(registry, name, "production", at=AT, by="ann", reason="mine"),
        lambda: consider(registry, project, name, 1, "production", ""),
    ):
        with pytest.raises(DefinitionError, match=r"is models:/readings/1 of MLflow at http://mlflow.*alias in MLflow"):
            move()
    assert registry.aliases(name) == {"production": 2}


def test_a_run_that_was_killed_before_the_alias_followed_is_no_hindrance(registry, server, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(registry, "set_alias", _kill)
        with pytest.raises(Killed):
            follow(registry)
    assert (registry.numbers("mlflow_readings"), registry.history("mlflow_readings")) == ([1], [])

    assert follow(registry).version == 1
    assert registry.aliases("mlflow_readings") == {"production": 1}


def _kill(*_arguments, **_options):
    raise Killed


def test_a_job_of_other_types_gets_a_version_of_its_own(registry, server):
    server.versions["1"] = files(**{"input_example.json": example(y=1.0)})
    ours, theirs = job(), job(columns=COLUMNS | {"y": "int64"})

    found = [follow(registry, one).version for one in (ours, theirs, ours, theirs)]

    assert found == [1, 2, 1, 2]
    assert [registry.version("mlflow_readings", one).origin for one in (1, 2)] == ["models:/readings/1"] * 2


def test_an_example_of_many_rows_is_the_reference_and_a_hundred_of_them_are_the_probe(registry, server):
    server.versions["1"] = files(**{"input_example.json": example(1000)})

    version = follow(registry)

    assert registry.profile(version)["features"]["rows"] == 1000
    assert registry.profile(version)["predictions"]["columns"].keys() == {"probability"}
    assert len(registry.probe(version)[0]) == 100


def test_what_is_missing_in_the_example_is_null(registry, server):
    server.versions["1"] = files(**{"input_example.json": example(x=[float("nan")] * 5)})

    assert registry.probe(follow(registry))[0]["x"].null_count == 5


def test_one_record_is_an_example_too(registry, server):
    one = json.dumps({"kind": "hot", "x": 1, "y": 2.5}).encode()
    server.versions["1"] = files(**{"input_example.json": one})

    assert registry.probe(follow(registry))[0].to_pylist() == [{"kind": "hot", "x": 1.0, "y": 2.5}]


def test_a_model_of_another_scikit_learn_says_so_when_it_is_loaded(registry, server):
    flavor = {"sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle", "sklearn_version": "1.2.0"}}
    server.versions["1"] = files(MLmodel=description(flavor))

    warnings = load_model(registry, follow(registry)).warnings

    assert any(
        one.startswith("the model was registered with scikit-learn 1.2.0, and is scored with") for one in warnings
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MLmodel": description(saved_input_example_info=None)}, "logged without an input example"),
        ({"MLmodel": description(signature=None)}, "logged without a signature"),
        ({"MLmodel": description(signature=None, saved_input_example_info=None)}, "a signature and an input example"),
        (
            {"MLmodel": description(signature={"inputs": '[{"type": "tensor", "tensor-spec": {}}]'})},
            "without a signature of columns with names",
        ),
        ({"MLmodel": description({"lightgbm": {}})}, "its flavors are lightgbm, python_function; taken are sklearn"),
        ({"MLmodel": b"flavors: ["}, "MLmodel file cannot be read"),
        ({"MLmodel": b"[]"}, "MLmodel file cannot be read"),
        ({"MLmodel": b"\xff\xfe\x00"}, "MLmodel file cannot be read"),
        ({"MLmodel": b"x" * 1_000_001}, "has 1,000,001 bytes, and may have 1,000,000"),
        (
            {"MLmodel": description({"sklearn": {"pickled_model": "m", "serialization_format": "dill"}})},
            "its flavor sklearn was saved by dill",
        ),
        ({"MLmodel": description({"sklearn": {"pickled_model": "../../../secret"}})}, "no file '../../../secret'"),
        ({"MLmodel": description({"sklearn": {"pickled_model": "/etc/passwd"}})}, "no file '/etc/passwd'"),
        ({"MLmodel": description({"sklearn": {"pickled_model": None}})}, "no file 'None'"),
        ({"MLmodel": description(inputs=(*INPUTS, ("z", "double")))}, "'z' (double) is not among the job's columns"),
        ({"MLmodel": description(inputs=(("kind", "double"),))}, "'kind' is double, and the job declares string"),
        ({"MLmodel": description(inputs=(("x", "datetime"),))}, "'x' is datetime, and the job declares float64"),
        ({"MLmodel": description(inputs=(("x", "object"),))}, "'x' is object, which no model takes"),
        ({"input_example.json": b"{"}, "no table of the signature's columns"),
        ({"input_example.json": b"[[1, 2]]"}, "no table of the signature's columns"),
        ({"input_example.json": b'{"kind": ["hot"], "x": [1]}'}, "no table of the signature's columns (KeyError: 'y')"),
        ({"input_example.json": b'{"kind": ["hot", "cold"], "x": [1], "y": [2]}'}, "columns of several lengths"),
        ({"input_example.json": b'{"kind": [], "x": [], "y": []}'}, "has no rows"),
        ({"input_example.json": b'{"kind": "hot", "x": "far", "y": 1}'}, "column 'x': 'far' cannot be converted"),
        ({"input_example.json": b'{"kind": "hot", "x": "far", "y": [1, "a"]}'}, "no table of the signature's columns"),
        ({"input_example.json": b'{"columns": ["kind"], "data": [["hot", 1]]}'}, "no table of the signature's columns"),
        ({"input_example.json": b"[" * 100_000}, "no table of the signature's columns"),
        ({"model.pkl": b"no pickle"}, "its file 'model.pkl': the model's file is not a joblib file"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_in_one_paragraph(registry, server, changes, said):
    server.versions["1"] = files(**changes)

    with pytest.raises(ModelBlocked) as caught:
        follow(registry)

    assert said in str(caught.value)
    assert "models:/readings/1 of MLflow at http://mlflow cannot be taken over" in str(caught.value)
    assert caught.value.next_step
    assert registry.names() == []


def test_a_file_that_is_not_there_is_named_with_those_that_are(registry, server):
    server.versions["1"] = {"conda.yaml": b"", "python_env.yaml": b""}

    with pytest.raises(ModelBlocked, match=r"has no file 'MLmodel'; there are: conda\.yaml, python_env\.yaml"):
        follow(registry)


def test_a_file_that_came_larger_than_the_store_said_is_refused(registry, server, monkeypatch):
    monkeypatch.setattr(mirror, "_LARGEST_MODEL_BYTES", 10)
    said_too_little = server.artifacts

    def artifacts(*arguments):
        return dataclasses.replace(said_too_little(*arguments), sizes=dict.fromkeys(files()))

    monkeypatch.setattr(server, "artifacts", artifacts)

    with pytest.raises(ModelBlocked, match=r"'model\.pkl' has .* bytes, and may have 10"):
        follow(registry)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_hostile_pickle_is_refused_and_nothing_ran(registry, server, tmp_path):
    ran = tmp_path / "ran"
    server.versions["1"] = files(**{"model.pkl": pickle.dumps([pickle.loads(model_bytes()), Hostile(ran)])})

    with pytest.raises(
        ModelBlocked, match=r"names what is on no allow-list: posix\.system.*nothing in the file was run"
    ):
        follow(registry, job(model={"name": URI, "allowed_types": ["posix.system"]}))

    assert not ran.exists()
    assert registry.names() == []


def test_what_only_the_job_allows_is_taken_over(registry, server):
    from sklearn.preprocessing import FunctionTransformer

    model = pickle.loads(model_bytes())
    model.steps.insert(0, ("same", FunctionTransformer(pd.DataFrame)))
    server.versions["1"] = files(**{"model.pkl": pickle.dumps(model)})

    with pytest.raises(ModelBlocked, match=r"names what is on no allow-list: pandas\.DataFrame"):
        follow(registry)
    assert follow(registry, job(model={"name": URI, "allowed_types": ["pandas.DataFrame"]})).version == 1


def test_a_model_that_cannot_score_its_own_example_is_refused(registry, server):
    outputs = {"columns": {"probability": {"method": "predict_proba", "class": "late"}}}

    with pytest.raises(ModelBlocked, match="knows no class 'late'"):
        follow(registry, job(output=outputs))
    assert registry.names() == []


def test_versions_of_the_lakes_own_beside_the_mirrored_ones_are_left_alone(registry, server):
    version = follow(registry)
    parts = {field.name: None for field in dataclasses.fields(Candidate)}
    parts |= {"model_bytes": model_bytes(), "signature": version.signature, "profile": {}, "benchmark": {}}
    parts |= dict(zip(("probe", "expected"), registry.probe(version), strict=True))
    own = registry.register(version.name, Candidate(**parts), at=AT, actor="ann")

    assert (own.origin, follow(registry).version) == (None, 1)


# -- the challenger -------------------------------------------------------------------------------------------------


def test_the_challenger_is_mlflows_too(registry, server):
    follow(registry)
    server.aliases["challenger"] = "2"
    mirror.follow_challenger(registry, job(), at=AT)
    assert registry.aliases("mlflow_readings") == {"production": 1, "challenger": 2}

    del server.aliases["challenger"]
    mirror.follow_challenger(registry, job(), at=AT)
    mirror.follow_challenger(registry, job(), at=AT)

    last = registry.history("mlflow_readings")[-1]
    assert (last.action, last.alias, last.reason) == (
        "drop_alias",
        "challenger",
        "'readings' of MLflow has no alias 'challenger'",
    )
    assert len(registry.history("mlflow_readings")) == 3


def test_a_challenger_that_cannot_be_taken_over_is_none(registry, server):
    server.versions["3"] = files(**{"model.pkl": pickle.dumps(Hostile("/dev/null"))})
    follow(registry)
    server.aliases["challenger"] = "2"
    mirror.follow_challenger(registry, job(), at=AT)

    server.aliases["challenger"] = "3"
    mirror.follow_challenger(registry, job(), at=AT)

    assert registry.aliases("mlflow_readings") == {"production": 1}
    assert "is on no allow-list" in registry.history("mlflow_readings")[-1].reason


def test_a_model_of_the_lake_has_a_challenger_of_the_lake(registry, server):
    mirror.follow_challenger(registry, job(model={"name": "readings"}), at=AT)

    assert registry.names() == []
