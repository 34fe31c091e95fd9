"""Models of a real MLflow tracking server: its aliases are followed, its files pass the same gate as all others."""

import contextlib
import http.server
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.core.definitions.mlflow_names import lake_name
from tasks.core.definitions.project import Project
from tasks.core.errors import ModelBlocked, SourceError
from tasks.core.models.mlflow import mirror
from tasks.core.models.registry import Registry
from tasks.core.settings import prepare_mlflow
from tasks.core.storage import Folder
from tests.flows.conftest import DAY, World, logistic_model, make_project, readings
from tests.integration.conftest import wait_for

pytestmark = [pytest.mark.extras, pytest.mark.usefixtures("prefect_harness")]

FEATURES = ["kind", "x", "y"]
NEXT_DAY = "2024-05-02"
SECRET = "hunter2"
FOLLOW = """
import datetime as dt, sys
from tasks.core.definitions.project import Project
from tasks.core.models.mlflow import mirror
from tasks.core.models.registry import Registry
from tasks.core.storage import Folder, Lake
job = Project(Folder(sys.argv[1])).load("readings").job
print("ready", flush=True)
sys.stdin.readline()
print(mirror.followed(Registry(Lake(sys.argv[2])), job, at=dt.datetime.now(dt.UTC)).version)
"""


@dataclass
class Server:
    """A tracking server, and the folder in which it keeps artifacts."""

    mlflow: Any
    address: str
    artifacts: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """MLflow with a tracking server on SQLite."""
    prepare_mlflow()
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    address = f"http://127.0.0.1:{_free_port()}"
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--workers", "1"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log = (folder / "server.log").open("w")
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        wait_for(lambda: _listens(address), seconds=120, what=f"MLflow, see {log.name}")
        mlflow.set_tracking_uri(address)
        yield Server(mlflow, address, folder / "artifacts")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
        log.close()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _listens(address: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))):
        return True
    return False


@dataclass
class Followed:
    """The project `readings`, whose model is one of MLflow's, under a name of the test's own."""

    world: World
    server: Server
    name: str

    def log(self, model, *, flavor="sklearn", alias="production", rows=None, example=True, **options) -> int:
        """Logs and registers a model as its authors would, and sets the alias; the version's number."""
        mlflow, rows = self.server.mlflow, readings()[FEATURES] if rows is None else rows
        if flavor == "sklearn":
            options = {"serialization_format": "cloudpickle"} | options
        with warnings.catch_warnings(), mlflow.start_run():
            warnings.simplefilter("ignore")
            mlflow.log_metric("auc", 0.75)
            logged = getattr(mlflow, flavor).log_model(
                model,
                name="model",
                registered_model_name=self.name,
                signature=mlflow.models.infer_signature(rows),
                input_example=rows.head(20) if example else None,
                pip_requirements=[],
                **options,
            )
        self.set_alias(alias, logged.registered_model_version)
        return int(logged.registered_model_version)

    def set_alias(self, alias: str, number: int) -> None:
        self.server.mlflow.MlflowClient().set_registered_model_alias(self.name, alias, str(number))

    def artifact(self, number: int, file: str) -> Path:
        """Where the server keeps a file of a version."""
        client = self.server.mlflow.MlflowClient()
        location = client.get_model_version_download_uri(self.name, str(number))
        return self.server.artifacts / location.removeprefix("mlflow-artifacts:/") / file

    def follow(self):
        """The version of the lake that a run opened now would score with."""
        job = Project(Folder(self.world.folder)).load("readings").job
        return mirror.followed(self.registry, job, at=readings(1)["at"][0].to_pydatetime())

    @property
    def registry(self) -> Registry:
        return Registry(self.world.lake)

    @property
    def lake_name(self) -> str:
        return lake_name(self.name)


@pytest.fixture
def followed(tmp_path, monkeypatch, server, request):
    world = make_project(tmp_path / "project")
    world.write_rows(readings())
    world.write_rows(readings(day=NEXT_DAY), "b.parquet")
    name = f"Readings of {request.node.name}".replace("/", " ").replace(":", " ")[:200]
    world.change_job(model={"name": f"models:/{name}@production"})
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(world.folder))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(world.folder / "lake"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.setattr("tasks.core.source.problems._sleep", lambda _seconds: None)
    return Followed(world, server, name)


def fitted(opposite: bool = False):
    """A model of x > 0, or of the opposite."""
    rows = readings()
    return logistic_model().fit(rows[FEATURES], ((rows["x"] > 0) != opposite).astype(int))


def scores(model, day: str = DAY) -> np.ndarray:
    return model.predict_proba(readings(day=day)[FEATURES])[:, 1]


def of_day(world: World, day: str):
    table = world.table()
    return table[table["as_of"].astype(str) == day]


def test_runs_follow_an_alias_of_mlflow_and_the_table_says_which_version_that_was(followed, monkeypatch, capsys):
    from flows.cli import main

    world, first, second = followed.world, fitted(), fitted(opposite=True)
    followed.log(first)
    assert world.score().name == "Published"
    followed.log(second)
    assert world.score(NEXT_DAY).name == "Published"

    for day, model, version in ((DAY, first, 1), (NEXT_DAY, second, 2)):
        rows = of_day(world, day)
        np.testing.assert_allclose(rows["probability"], scores(model, day), rtol=1e-12)
        assert set(rows["model_version"]) == {f"{followed.lake_name}/{version:04d}"}
        assert world.published(day).model.origin == f"models:/{followed.name}/{version}"

    monkeypatch.setattr(sys, "argv", ["lamplighter", "history", f"models:/{followed.name}@production", "--json"])
    capsys.readouterr()
    with contextlib.suppress(SystemExit):
        main()
    told = json.loads(capsys.readouterr().out)
    assert told["aliases"] == {"production": 2}
    assert [(one["version"], one["reason"]) for one in told["events"]] == [
        (1, "MLflow alias production"),
        (2, "MLflow alias production"),
    ]
    benchmark = followed.registry.benchmark(followed.registry.version(followed.lake_name, 1))
    assert benchmark["mlflow_metrics"] == {"auc": 0.75}


def test_a_server_that_is_down_is_no_excuse_for_an_old_version_and_no_matter_to_a_finished_window(
    followed, monkeypatch
):
    world = followed.world
    followed.log(fitted())
    assert world.score().name == "Published"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:{SECRET}@127.0.0.1:{_free_port()}")

    assert world.score().name == "AlreadyPublished"
    state = world.score(NEXT_DAY)

    assert state.name == "Failed"
    assert "Connection refused (4 attempts)" in state.message
    assert f"at the last answer it was models:/{followed.name}/1, here {followed.lake_name} version 1" in state.message
    assert SECRET not in state.message
    assert world.published(NEXT_DAY) is None
    world.change_job(model={"name": followed.lake_name})
    assert world.score(NEXT_DAY).name == "Published"


def test_an_address_with_a_password_leaves_no_trace_of_it(followed, monkeypatch):
    followed.log(fitted())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", followed.server.address.replace("//", f"//ann:{SECRET}@"))

    assert followed.follow().manifest.origin.tracking == followed.server.address
    lake = followed.world.lake
    assert not [key for key in lake.files() if SECRET.encode() in lake.read_bytes(key)]


def test_skops_is_loaded_behind_the_jobs_own_list(followed):
    model = fitted()
    followed.log(model, serialization_format="skops", skops_trusted_types=["numpy.dtype"])

    with pytest.raises(ModelBlocked, match=r"on no allow-list: numpy\.dtype"):
        followed.follow()
    followed.world.change_job(model__allowed_types=["numpy.dtype"])

    assert followed.follow().format == "skops"
    assert followed.world.score().name == "Published"
    np.testing.assert_allclose(followed.world.table()["probability"], scores(model), rtol=1e-12)


def test_onnx_is_scored_by_onnxruntime(followed):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    rows = readings()[["x", "y"]].astype("float32")
    model = LogisticRegression().fit(rows.to_numpy(), (rows["x"] > 0).astype(int))
    followed.log(to_onnx(model, rows.to_numpy(), options={"zipmap": False}), flavor="onnx", rows=rows)

    assert followed.world.score().name == "Published"
    assert followed.follow().format == "onnx"
    expected = model.predict_proba(rows.to_numpy())[:, 1]
    np.testing.assert_allclose(followed.world.table()["probability"], expected, atol=1e-6)


def test_tensors_in_a_file_of_their_own_are_refused_with_the_option_that_keeps_them_in(followed):
    import onnx

    weights = onnx.numpy_helper.from_array(np.ones((2, 400), dtype="float32"), "weights")
    values = [onnx.helper.make_tensor_value_info(name, 1, [None, width]) for name, width in (("in", 2), ("out", 400))]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["in", "weights"], ["out"])], "wide", values[:1], values[1:], [weights]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    followed.log(model, flavor="onnx", rows=readings()[["x", "y"]].astype("float32"))

    with pytest.raises(ModelBlocked, match=r"outside of itself.*save_as_external_data=False"):
        followed.follow()


def test_a_hostile_file_in_the_artifact_store_is_refused_and_nothing_ran(followed, tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    number = followed.log(fitted())
    followed.artifact(number, "model.pkl").write_bytes(pickle.dumps([fitted(), Hostile()]))
    followed.world.change_job(model__allowed_types=["posix.system"])

    state = followed.world.score()

    assert state.name == "Blocked"
    assert "its file 'model.pkl': the model's file names what is on no allow-list: posix.system" in state.message
    assert not (tmp_path / "ran").exists()
    assert followed.registry.numbers(followed.lake_name) == []


def test_a_version_whose_file_was_changed_is_blocked(followed):
    number = followed.log(fitted())
    was = followed.follow().manifest.origin.artifacts["model.pkl"]
    followed.artifact(number, "model.pkl").write_bytes(pickle.dumps(fitted(opposite=True)))

    with pytest.raises(ModelBlocked, match=f"is not what was mirrored.*its file 'model.pkl' is .*and was {was}"):
        followed.follow()


def test_a_model_without_an_example_is_refused_with_the_way_to_log_one(followed):
    followed.log(fitted(), example=False)

    state = followed.world.score()

    assert state.name == "Blocked"
    assert "logged without an input example" in state.message
    assert "input_example=rows.head(100)" in state.message


def test_an_alias_or_a_model_that_is_not_there_is_named(followed):
    assert f"has no registered model '{followed.name}'" in followed.world.score().message

    followed.log(fitted(), alias="champion")

    state = followed.world.score()
    assert (state.name, followed.registry.numbers(followed.lake_name)) == ("Failed", [])
    assert "has no alias 'production'; aliases: champion = 1" in state.message


def test_two_processes_at_once_make_one_version(followed):
    followed.log(fitted())
    folder = followed.world.folder
    both = [
        subprocess.Popen(
            [sys.executable, "-c", FOLLOW, str(folder), str(folder / "lake")],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()

    assert [process.communicate()[0] for process in both] == ["1\n"] * 2
    assert followed.registry.numbers(followed.lake_name) == [1]


def test_the_challenger_of_mlflow_is_the_challenger_here(followed):
    followed.log(fitted())
    followed.log(fitted(opposite=True), alias="challenger")

    assert followed.world.score().name == "Published"

    assert followed.registry.aliases(followed.lake_name) == {"production": 1, "challenger": 2}
    assert set(followed.world.table("challengers")["model_version"]) == {f"{followed.lake_name}/0002"}


# -- a server that means no good ------------------------------------------------------------------------------------


class _Lying(http.server.BaseHTTPRequestHandler):
    """Answers as MLflow does, with one version whose files are what `listing` and `content` say."""

    listing: list[dict]
    content: bytes

    def do_GET(self):
        version = {"name": "m", "version": "1", "status": "READY", "source": "", "run_id": ""}
        answers = {
            "registered-models/get": {
                "registered_model": {"name": "m", "aliases": [{"alias": "production", "version": "1"}]}
            },
            "model-versions/get": {"model_version": version},
            "model-versions/get-download-uri": {"artifact_uri": "mlflow-artifacts:/a"},
            "mlflow-artifacts/artifacts": {"files": [] if "MLmodel" in self.path else self.listing},
        }
        path = self.path.partition("?")[0].split("/api/2.0/")[-1].removeprefix("mlflow/")
        body = json.dumps(answers[path]).encode() if path in answers else self.content
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def lying(monkeypatch, followed):
    """A function that starts such a server and lets the job follow it."""
    with contextlib.ExitStack() as stack:

        def start(listing, content=b""):
            handler = type("Handler", (_Lying,), {"listing": listing, "content": content})
            server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")

        yield start


@pytest.mark.parametrize("path", ["../../../MLmodel", "/tmp/MLmodel", "..%2f..%2fMLmodel"])
def test_a_file_that_would_leave_its_folder_is_refused(followed, lying, path):
    before = {file for file in followed.world.folder.rglob("*") if file.is_file()}
    lying([{"path": path, "is_dir": False, "file_size": 3}], b"abc")

    with pytest.raises((SourceError, ModelBlocked)):
        followed.follow()

    assert {file for file in followed.world.folder.rglob("*") if file.is_file()} == before


def test_a_file_that_is_larger_than_it_was_said_to_be_is_refused(followed, lying):
    lying([{"path": "MLmodel", "is_dir": False, "file_size": 3}], b"x" * 1_000_001)

    with pytest.raises(ModelBlocked, match="'MLmodel' has 1,000,001 bytes, and may have 1,000,000"):
        followed.follow()
