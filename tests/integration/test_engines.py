"""Whole runs on clusters of several processes: the bytes of a local run, whatever becomes of a worker in its midst."""

import _thread
import contextlib
import datetime as dt
import os
import shutil
import signal
import sys
import tempfile
import threading
import types
import uuid
from pathlib import Path

import numpy as np
import pytest

import tasks.pull
from tasks.core import own_code
from tasks.core.definitions.modelling import Prediction
from tasks.core.definitions.project import Project
from tasks.core.storage import Folder
from tests.flows.conftest import World, as_table, make_project, open_world, readings, register
from tests.integration import held_model
from tests.integration.engine_tools import DaskCluster, RayCluster, answers, is_alive, until, worker_above

pytestmark = [pytest.mark.extras, pytest.mark.usefixtures("prefect_harness")]
EACH = pytest.mark.parametrize("kind", ["dask", "ray"])
# Each run begins processes of Ray anew, which import everything.
EACH_IN_TIME = pytest.mark.parametrize("kind", ["dask", pytest.param("ray", marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """A scheduler with two workers, one of them under a nanny."""
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"))
    try:
        cluster.begin_worker(nanny=True)
        cluster.begin_worker()
        until(lambda: answers(cluster.address))
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="module")
def ray():
    """A node with two processors, and a token that all must know."""
    # A short path: that of a socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    with pytest.MonkeyPatch.context() as patch:
        # Before Ray is imported, which looks at it once.
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", uuid.uuid4().hex)
        cluster = RayCluster(folder, 2)
        try:
            until(lambda: answers(cluster.address))
            yield cluster
        finally:
            cluster.end()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A project whose window has six batches and a row for quarantine, with a model of its own; time stands still."""
    world = make_project(tmp_path / "made", batch_rows=40)
    rows = readings(240).assign(x=np.arange(240.0))
    rows.loc[100, "kind"] = "tepid"
    world.write_rows(rows)
    (world.folder / "held").mkdir()
    shutil.copy(held_model.__file__, world.folder / "held_back.py")
    world.change_job(model__allowed_types=["held_back.Held"])
    Project(Folder(world.folder)).load("readings")
    model = own_code.named("held_back:Held")(world.folder / "held")
    sample = as_table(readings(20).assign(x=-np.arange(1.0, 21.0)))
    outputs = {"probability": Prediction(method="predict_proba", class_=1)}
    register(world.lake, "readings", model, {"x": "float64"}, outputs, sample)
    still = types.SimpleNamespace(now={dt.UTC: dt.datetime(2024, 5, 2, tzinfo=dt.UTC)}.get)
    monkeypatch.setattr(tasks.pull, "dt", types.SimpleNamespace(datetime=still, UTC=dt.UTC))
    yield world
    own_code.join(Folder(own_code.package_folder("tasks").root.parent))


@pytest.fixture
def local(made, tmp_path, monkeypatch) -> World:
    """The same, scored on this machine."""
    world = open_world(tmp_path / "local", monkeypatch, like=made)
    assert world.score().is_completed()
    (made.folder / "held/log").unlink()
    return world


@pytest.fixture
def far(made, tmp_path, monkeypatch):
    """Another copy, whose shards go to a cluster."""

    def copied(cluster) -> World:
        world = open_world(tmp_path / "far", monkeypatch, like=made)
        world.change_job(engine={"kind": cluster.kind, "address": cluster.address, "wait_for_workers": "0min"})
        return world

    return copied


def tables(world):
    """The bytes of what was published, by name."""
    found = {
        f"{table}/{path.name}": path.read_bytes()
        for table in ("predictions", "quarantine")
        for path in (world.folder / "lake" / table).rglob("*.parquet")
    }
    assert len(found) in (0, 2)
    return found


def logged(made):
    """What the model was given: first rows and processes."""
    path = made.folder / "held/log"
    return [tuple(map(int, line.split())) for line in path.read_text().splitlines()] if path.exists() else []


@contextlib.contextmanager
def meanwhile(made, act):
    """Holds the model, and does something once it works on two batches at once."""
    (made.folder / "held/hold").write_text("")
    raised, is_over = [], threading.Event()

    def wait_and_act():
        try:
            until(lambda: len(logged(made)) >= 2 or is_over.is_set(), 120)
            act()
        except BaseException as error:
            raised.append(error)
        finally:
            (made.folder / "held/hold").unlink(missing_ok=True)

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    assert not raised, raised


@EACH_IN_TIME
def test_what_one_engine_left_unfinished_another_one_finishes(kind, local, made, far, monkeypatch, request):
    world = far(request.getfixturevalue(kind))
    world.change_job(limits__batch_timeout_seconds=3)
    (made.folder / "held/hold").write_text("130")
    state = world.score()

    # The failed stage's error is the flow's, with what it says of itself.
    assert state.name == "Failed", state
    error = state.result(raise_on_failure=False)
    assert (type(error).__name__, error.exit_code) == ("WorkerError", 1)
    assert "score of batch 4 of 6 (rows 120 to 159) of readings 2024-05-01 did not end within 3 s" in error.failed
    assert tables(world) == {}
    run_id = world.latest().run_id

    (made.folder / "held/hold").unlink()
    (made.folder / "held/log").unlink()
    monkeypatch.setenv("LAMPLIGHTER_ENGINE", "local")
    assert world.score().is_completed()

    assert (world.latest().run_id, world.latest().engine.kind) == (run_id, "local")
    assert tables(world) == tables(local)
    # Batches 4 and, of the same shard, 6: the others had been scored.
    assert sorted({row for row, _ in logged(made)}) == [120, 200]


@pytest.mark.slow
@EACH_IN_TIME
def test_a_run_that_is_stopped_leaves_no_child_on_a_worker(kind, made, far, request):
    world, children = far(request.getfixturevalue(kind)), []
    (made.folder / "held/hold").write_text("")

    def interrupt():
        until(lambda: len(logged(made)) >= 2, 120)
        children.extend(child for _, child in logged(made))
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        world.score()
    thread.join()
    # The model would hold for ever.
    until(lambda: not any(map(is_alive, children)), 20)
    assert tables(world) == {}
    assert world.latest().verdict == "failed"


@pytest.mark.slow
def test_a_row_that_ends_its_process_costs_itself_on_a_cluster_too(made, far, dask, tmp_path, monkeypatch):
    (made.folder / "held/deadly").write_text("215")
    world = open_world(tmp_path / "local", monkeypatch, like=made)
    assert world.score().is_completed()
    elsewhere = far(dask)
    assert elsewhere.score().is_completed()
    assert elsewhere.latest().rows.quarantined == 2
    assert elsewhere.latest().quarantine_reasons["model_died"] == 1
    assert tables(elsewhere) == tables(world)


def task_runs(state):
    """The types of the states that the server knows of the task runs of a flow run."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    with get_client(sync_client=True) as client:
        flow_run = {"id": {"any_": [state.state_details.flow_run_id]}}
        runs = client.read_task_runs(flow_run_filter=FlowRunFilter.model_validate(flow_run))
    assert len(runs) < 100
    return {run.state_type.value for run in runs if run.name.startswith(("Validate b", "Score b"))}


@EACH
def test_a_cluster_gives_the_bytes_of_a_local_run_though_a_worker_is_killed(kind, local, made, far, request):
    cluster = request.getfixturevalue(kind)
    world, killed = far(cluster), []

    def kill():
        row, child = logged(made)[0]
        worker = worker_above(child)
        killed.extend((row, child))
        os.kill(worker, signal.SIGKILL)
        until(lambda: not is_alive(worker))
        # No child is left to work for nobody, or to write what another one writes.
        until(lambda: not is_alive(child))

    with meanwhile(made, kill):
        state = world.score()

    assert state.is_completed(), state.message
    assert tables(world) == tables(local) != {}
    assert (world.latest().engine.kind, world.latest().engine.room) == (kind, 2)
    # The batch that was lost is scored again, and no other.
    assert sorted(row for row, _ in logged(made)) == sorted([0, 40, 80, 120, 160, 200, killed[0]])
    until(lambda: task_runs(state) == {"COMPLETED"})
    if kind == "dask":
        cluster.replace_the_dead()


@pytest.mark.slow
def test_a_cluster_that_is_gone_in_the_midst_of_a_run_is_told_in_time(made, far, tmp_path):
    cluster = DaskCluster(tmp_path)
    try:
        cluster.begin_worker()
        until(lambda: answers(cluster.address))
        world = far(cluster)
        world.change_job(suite=None)
        with meanwhile(made, lambda: os.kill(cluster.scheduler.pid, signal.SIGKILL)):
            state = world.score()
    finally:
        cluster.end()
    assert state.name == "Failed", state
    assert f"was given up by the dask cluster at {cluster.address}: FutureCancelledError" in state.message
    assert "Nothing was published; complete batches are kept" in state.message
    assert tables(world) == {}


def test_a_worker_of_another_lamplighter_is_refused_before_anything_is_pulled(made, far, tmp_path):
    root = Path(tasks.__file__).parents[1]
    for package in ("flows", "tasks", "expectations"):
        shutil.copytree(root / package, tmp_path / "other" / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "other/tasks/__init__.py").write_text('"""Another one."""\n')
    cluster = DaskCluster(tmp_path)
    try:
        until(lambda: answers(cluster.address))
        world = far(cluster)
        nobody = world.score()
        cluster.begin_worker(PYTHONPATH=str(tmp_path / "other"))
        world.change_job(engine__wait_for_workers="1min")
        other = world.score()
    finally:
        cluster.end()
    assert (nobody.name, other.name) == ("Failed", "Failed")
    assert f"the dask cluster at {cluster.address} has no workers: none came within 0 s. Nothing was" in nobody.message
    assert "cannot work for this run: its Lamplighter is 0.1.0 with the code" in other.message
    assert "Nothing was published" in other.message
    assert world.latest().snapshot is None


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ({"kind": "dask", "address": "tcp://127.0.0.1:1"}, "the dask cluster at tcp://127.0.0.1:1 cannot be reached"),
        ({"kind": "ray", "address": "127.0.0.1:1"}, "the ray cluster at 127.0.0.1:1 cannot be reached"),
        ({"kind": "ray", "address": "ray://127.0.0.1:1"}, "the ray cluster at ray://127.0.0.1:1 cannot be reached"),
    ],
)
def test_an_address_where_nobody_is_stops_the_run_before_anything_is_pulled(engine, said, made, monkeypatch):
    made.change_job(engine=engine)
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(made.folder))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(made.folder / "lake"))
    state = made.score()
    assert state.name == "Failed"
    assert said in state.message
    assert "Nothing was pulled, and nothing was published. Next: start it" in state.message
    assert made.latest().snapshot is None


@pytest.mark.parametrize(("kind", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_an_extra_that_is_missing_is_named(kind, module, made, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(made.folder))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(made.folder / "lake"))
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"tasks.orchestration.engines.{kind}_cluster", raising=False)
    monkeypatch.setenv("LAMPLIGHTER_ENGINE", kind)
    state = made.score()
    assert state.name == "Failed"
    assert f"the engine is {kind}, and the module {module} is not installed" in state.message
    assert f"pip install 'lamplighter[{kind}]'" in state.message


@pytest.mark.slow
@EACH
def test_a_cluster_of_its_own_needs_no_address(kind, local, made, far, monkeypatch, request):
    world = far(types.SimpleNamespace(kind=kind, address=None))
    monkeypatch.setenv("LAMPLIGHTER_ENGINE_WORKERS", "2")
    assert world.score().is_completed()
    assert (world.latest().engine.kind, world.latest().engine.room) == (kind, 2)
    assert tables(world) == tables(local) != {}
