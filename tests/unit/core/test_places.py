"""A cluster's machine: processes x threads = cores, however many shards are on it."""

import os
import threading

import pytest

from tasks.core import places, workers
from tasks.core.errors import WorkerError
from tasks.core.places import Place
from tasks.core.workers import Workers, stop_children, worker_count


@pytest.mark.parametrize(
    ("shards", "wanted", "cores", "processes"),
    [
        (1, 0, 16, 16),  # A shard alone on a machine has children on every core,
        (16, 0, 16, 16),  # sixteen have one each,
        (3, 0, 16, 15),  # and three have five each.
        (4, 2, 16, 4),  # Fewer are wanted than there are shards: each has one, or it could do nothing.
        (1, 4, 16, 4),
        (8, 0, 2, 8),  # More shards than cores.
    ],
)
def test_the_shards_of_a_machine_share_its_cores(shards, wanted, cores, processes):
    assert Place("run", shards, "").processes(wanted, cores) == processes


def test_on_a_cluster_s_machine_no_model_runs_in_the_worker_itself(monkeypatch):
    monkeypatch.setattr(workers, "cpu_count", lambda: 4)
    assert worker_count(0, 1, "auto") == 0
    with places.lent(Place("run", 2, "")):
        assert worker_count(0, 1, "auto") == 4
    assert worker_count(0, 1, "auto") == 0


def test_shards_follow_the_room_of_the_cluster():
    assert places.room() is None
    with places.with_room(lambda: 7):
        assert places.room() == 7
    assert places.room() is None


def answer():
    return os.getpid()


def test_a_run_that_is_stopped_gets_no_child_and_another_one_does():
    with places.lent(Place("stopped", 1, "")):
        stop_children("stopped")
        with pytest.raises(WorkerError, match="the run was stopped"):
            Workers(1, 60).call("a batch", answer)
    with places.lent(Place("another", 1, "")):
        assert Workers(1, 60).call("a batch", answer) != os.getpid()


def test_a_place_is_the_shard_s_own():
    seen = []
    with places.lent(Place("run", 1, "")):
        thread = threading.Thread(target=lambda: seen.append(places.here()))
        thread.start()
        thread.join()
    assert seen == [None]
