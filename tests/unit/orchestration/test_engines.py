"""Which engine a run has: what is set where it is started, and what its job says."""

import threading

import pytest

from tasks.core.definitions.engine import MOST_SHARDS, Engine
from tasks.core.errors import DefinitionError, WorkerError
from tasks.core.settings import Settings
from tasks.orchestration.engines import settled
from tasks.orchestration.engines.cluster import Cluster, knock, within

DASK = Engine(kind="dask", address="tcp://jobs:8786", workers=4, wait_for_workers="5min")


@pytest.mark.parametrize(
    ("given", "said", "engine"),
    [
        ({}, Engine(), Engine()),
        ({}, DASK, DASK),
        # An operator moves a job away from a cluster, or to another one,
        ({"engine": "local"}, DASK, Engine()),
        ({"engine": "local", "engine_address": "tcp://ops:8786"}, DASK, Engine()),
        (
            {"engine_address": "tcp://ops:8786"},
            DASK,
            Engine(kind="dask", address="tcp://ops:8786", workers=4, wait_for_workers="5min"),
        ),
        # of which the job knows neither address nor size.
        ({"engine": "ray"}, DASK, Engine(kind="ray", wait_for_workers="5min")),
        (
            {"engine": "ray", "engine_address": "ray://ops:10001"},
            DASK,
            Engine(kind="ray", address="ray://ops:10001", wait_for_workers="5min"),
        ),
        ({"engine": "dask", "engine_workers": 8}, DASK, DASK.model_copy(update={"workers": 8})),
        ({"engine_workers": 0}, DASK, DASK.model_copy(update={"workers": 0})),
        # Where the cluster is does not say that a local job goes to it.
        ({"engine_address": "tcp://ops:8786"}, Engine(), Engine()),
        ({"engine_address": "tcp://ops:8786"}, Engine(kind="dask"), Engine(kind="dask", address="tcp://ops:8786")),
    ],
)
def test_what_is_set_comes_before_what_the_job_says(given, said, engine, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert settled(said, Settings(**given)) == engine


def test_an_address_of_another_kind_is_refused():
    with pytest.raises(DefinitionError, match="the engine is ray, and LAMPLIGHTER_ENGINE_ADDRESS does not go with it"):
        settled(Engine(kind="ray"), Settings(engine_address="tcp://ops:8786"))


class Known(Cluster):
    """Workers that are given, by machine."""

    def __init__(self, known, **engine):
        super().__init__(Engine(kind="dask", **engine), None)
        self.known = known

    def present(self):
        return self.known

    ask_each = ended = result = stop = submit = None


Known.__abstractmethods__ = frozenset()


def test_room_is_that_of_the_workers_up_to_what_is_asked_for():
    two = {"a:1": ("a", 2), "a:2": ("a", 2), "b:1": ("b", 4)}
    assert Known(two).room() == 8
    assert Known(two, workers=3).room() == 3
    assert Known({f"{n}:1": (str(n), 16) for n in range(100)}).room() == MOST_SHARDS == 100


def test_a_machine_s_cores_are_shared_by_as_many_shards_as_come_to_it():
    two = {"a:1": ("a", 2), "a:2": ("a", 2), "b:1": ("b", 4)}
    assert Known(two).rooms() == {"a": 4, "b": 4}
    # Three shards on two machines: two of them may meet.
    assert Known(two).rooms(3) == {"a": 2, "b": 2}
    # A hundred machines of sixteen: a shard each, which has all of its machine.
    assert set(Known({f"{n}:1": (str(n), 16) for n in range(100)}).rooms().values()) == {1}


def test_a_cluster_without_workers_is_given_up_in_time():
    with pytest.raises(WorkerError, match="has no workers: none came within 0 s"):
        Known({}, wait_for_workers="0min").rooms()


def test_nobody_waits_for_an_answer_for_ever():
    never = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        within(0.05, never.wait)
    never.set()
    assert within(60, lambda: 42) == 42


def test_a_port_that_is_none_is_an_address_where_nobody_is():
    with pytest.raises(WorkerError, match=r"the dask cluster at tcp://127\.0\.0\.1:99999 cannot be reached"):
        knock(Engine(kind="dask", address="tcp://127.0.0.1:99999"))
