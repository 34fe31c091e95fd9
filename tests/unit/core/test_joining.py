"""What is told of a worker that cannot work for a run."""

import datetime as dt
import http.server
import pickle
import threading
import types

import pytest

from tasks.core import places, provenance
from tasks.core.errors import WorkerError
from tasks.core.joining import Joining
from tasks.core.storage import Folder, Lake


class Run(types.SimpleNamespace):
    """So much of a run as a worker is asked about."""

    def key(self, name):
        return f"runs/late/as_of=2024-05-01/one/{name}"


@pytest.fixture
def code(monkeypatch):
    """The code that this process finds; the project's own modules in it may be changed."""
    found = provenance.code_record().model_copy(update={"modules": {}})
    monkeypatch.setattr(provenance, "code_of", lambda *_: found)
    return found


@pytest.fixture
def run(lake, tmp_path, code):
    made = Run(lake=lake, project=Folder(tmp_path), job=None, model=None, name="late 2024-05-01", plan_key="abc")
    made.started_at = dt.datetime(2024, 5, 2, tzinfo=dt.UTC)
    lake.write_bytes(made.key("manifest.json"), b"{}")
    return made


def test_a_worker_with_all_of_it_is_fit(run):
    assert Joining(run, {}, None).fault() == ""


def test_a_lake_of_its_own_is_not_the_run_s(run, tmp_path):
    joining = Joining(run, {}, None)
    run.lake = Lake(tmp_path / "nowhere")
    assert (
        joining.fault()
        == f"it does not find {tmp_path}/nowhere/{run.key('manifest.json')}, so it does not have the run's lake"
    )
    with pytest.raises(WorkerError) as caught, joining.joined("10.0.0.7"):
        pass
    told = str(caught.value)
    assert told.startswith("the cluster's worker 10.0.0.7, process ")
    assert "Nothing was published; complete batches are kept. Next: give every worker the run's Lamplighter" in told


def test_another_version_of_what_decides_a_number(run, monkeypatch):
    joining = Joining(run, {}, None)
    there = provenance.environment() | {"numpy": "1.0", "platform": "another"}
    monkeypatch.setattr(provenance, "environment", lambda: there)
    here = joining.environment["numpy"]
    assert joining.fault() == f"it has numpy 1.0 and not {here}, which may change a number"


def test_modules_of_the_project_that_are_others_or_not_there(run, tmp_path, code):
    code.modules["ours"] = "1"
    joining = pickle.loads(pickle.dumps(Joining(run, {}, None).code)), Joining(run, {}, None)
    joining[1].code = joining[0]
    assert joining[1].fault() == ""
    code.modules["ours"] = "2"
    assert joining[1].fault() == f"of the project's own modules in {tmp_path} it has others, or had when it began: ours"
    code.modules.clear()
    run.project = Folder(tmp_path / "nowhere")
    assert (
        joining[1].fault()
        == f"it does not have the project's folder {tmp_path}/nowhere, whose modules the job uses (ours)"
    )


def test_a_shard_gets_its_part_of_the_machine_and_gives_it_back(run):
    joining = Joining(run, {"10.0.0.7": 4}, None)
    for machine in ("10.0.0.7", "one that came later"):
        with joining.joined(machine):
            place = places.here()
            assert place is not None
            assert (place.shards, place.run) == (4, "abc 2024-05-02T00:00:00+00:00")
        assert places.here() is None


def test_a_server_that_is_not_reached_is_named_and_one_that_asks_who_is_there_is_reached(run):
    assert (
        Joining(run, {}, "http://127.0.0.1:1/api")
        .fault_at_first()
        .startswith("it does not reach the Prefect server at http://127.0.0.1:1/api (")
    )

    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(401)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert Joining(run, {}, f"http://127.0.0.1:{server.server_port}/api").fault_at_first() == ""
        server.shutdown()
        thread.join()
