"""Child processes: one that dies, hangs or raises is told from the others, and takes nothing with it."""

import ctypes
import json
import multiprocessing
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest

from tasks.core import workers
from tasks.core.errors import ChildDied, LakeFull, WorkerError
from tasks.core.workers import Workers, threads_of, worker_count
from tests.lake_tools import Child

ROOT = pathlib.Path(__file__).parents[3]
LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


# What children do: they import this file.


def double(x):
    return 2 * x


def process_id(*_):
    return os.getpid()


def exit_with(code):
    os._exit(code)


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def segfault():
    ctypes.string_at(0)


def sleep(seconds):
    time.sleep(seconds)


def tell_and_sleep(path):
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(600)


def stop_the_interpreter(code):
    raise SystemExit(code)


def fork_and_die(code):
    # What it has forked holds its pipe open, and lives on.
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os._exit(code)


def raise_(error):
    raise error


def fail_to_pickle():
    return threading.Lock()


class Stubborn(Exception):
    """An exception as libraries write them: it cannot be unpickled."""

    def __init__(self, code, *, hint):
        super().__init__(f"{code}: {hint}")


def raise_stubborn():
    raise Stubborn(7, hint="x")


def limits():
    return {name: os.environ.get(name) for name in LIMITS}


def threads_of_libraries():
    import numpy  # noqa: F401
    import pyarrow
    import sklearn.ensemble  # noqa: F401
    from threadpoolctl import threadpool_info

    return {info["user_api"]: info["num_threads"] for info in threadpool_info()} | {"arrow": pyarrow.cpu_count()}


def gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module", autouse=True)
def _no_children_left():
    yield
    workers._end_all()


@pytest.fixture
def two():
    return Workers(2, timeout_seconds=60)


@pytest.mark.parametrize(
    ("wanted", "batches", "isolate", "count"),
    [
        (0, 1, "auto", 0),
        (4, 1, "auto", 0),
        (4, 0, "auto", 0),
        (4, 0, "always", 1),
        (4, 1, "always", 1),
        (4, 2, "auto", 2),
        (4, 100, "auto", 4),
        (1, 100, "auto", 1),
    ],
)
def test_how_many_children_serve_a_window(wanted, batches, isolate, count):
    assert worker_count(wanted, batches, isolate) == count


def test_by_default_there_is_a_child_a_core(monkeypatch):
    monkeypatch.setattr(workers, "cpu_count", lambda: 3)
    assert worker_count(0, 100, "auto") == 3
    assert [threads_of(count) for count in (1, 2, 3, 4, 100)] == [3, 1, 1, 1, 1]


def test_without_children_the_work_is_done_here():
    here = Workers(0, timeout_seconds=0.001)
    assert here.call("a batch", process_id) == os.getpid()
    with pytest.raises(TimeoutError, match="mine"):
        here.call("a batch", raise_, TimeoutError("mine"))


def test_a_child_does_the_work_and_the_next(two):
    first = two.call("a batch", process_id)
    assert first != os.getpid()
    assert two.call("a batch", double, x=21) == 42
    assert two.call("a batch", process_id) == first


@pytest.mark.parametrize(
    ("function", "arguments", "how"),
    [
        (exit_with, (0,), "exit code 0"),
        (exit_with, (7,), "exit code 7"),
        (kill_itself, (), "signal SIGKILL"),
        (segfault, (), "signal SIGSEGV"),
        (fork_and_die, (7,), "exit code 7"),
        # It would end the run, and with 0 as if all were well.
        (stop_the_interpreter, (3,), "exit code 3"),
        (stop_the_interpreter, (0,), "exit code 1"),
        (stop_the_interpreter, ("done",), "exit code 1"),
    ],
    ids=[
        "exit 0",
        "exit 7",
        "SIGKILL",
        "SIGSEGV",
        "a pipe held open",
        "sys.exit(3)",
        "sys.exit(0)",
        "sys.exit('done')",
    ],
)
def test_a_child_that_dies_is_told_with_its_batch_and_its_end(two, function, arguments, how):
    with pytest.raises(ChildDied) as failed:
        two.call("score of batch 3 of 9", function, *arguments)
    said = str(failed.value)
    assert failed.value.how == pickle.loads(pickle.dumps(failed.value)).how == how
    assert f"he process that worked on score of batch 3 of 9 died: it ended with {how}" in said
    assert "lower limits.batch_rows" in said
    assert "\n" not in said
    # The next batch has a child again.
    assert two.call("a batch", double, 21) == 42


def test_a_child_that_died_while_it_waited_is_replaced_in_silence(two):
    pid = two.call("a batch", process_id)
    (waiting,) = (one for some in workers._idle.values() for one in some if one.number == pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not waiting.is_alive())
    other = two.call("a batch", process_id)
    assert other not in (pid, os.getpid())


def test_without_its_server_a_child_keeps_its_time_limit_and_can_be_ended(two, tmp_path):
    path, hasty = tmp_path / "pid", Workers(2, timeout_seconds=3)
    said = []

    def work():
        with pytest.raises(WorkerError) as failed:
            hasty.call("a batch", tell_and_sleep, str(path))
        said.append(str(failed.value))

    shard = threading.Thread(target=work)
    shard.start()
    until(lambda: path.exists() and path.read_text())
    child = int(path.read_text())
    with open(f"/proc/{child}/stat") as file:
        server = int(file.read().rsplit(")", 1)[1].split()[1])
    os.kill(server, signal.SIGKILL)
    shard.join(30)
    assert "did not end within 3 s" in said[0]
    until(lambda: gone(child))
    # The next one has a server again.
    assert two.call("a batch", double, 21) == 42


def test_a_child_that_ends_as_it_begins_is_not_replaced_for_ever(two, monkeypatch):
    monkeypatch.setattr(workers, "_begin_child", exit_with_any)
    with pytest.raises(ChildDied, match="exit code 5"):
        Workers(1, timeout_seconds=60, pool="stillborn").call("a batch", double, b"x" * 4_000_000)


def exit_with_any(*_):
    os._exit(5)


def test_where_no_child_can_be_started_the_run_is_told(two, monkeypatch):
    def refuse(*_):
        raise OSError("AF_UNIX path too long")

    monkeypatch.setattr(workers, "Child", refuse)
    with pytest.raises(WorkerError, match=r"no child process could be started: AF_UNIX path too long.*TMPDIR"):
        Workers(1, timeout_seconds=60, pool="none").call("a batch", double, 1)


def test_a_time_limit_ends_the_child(two, tmp_path):
    hasty = Workers(2, timeout_seconds=2)
    path = tmp_path / "pid"
    started = time.monotonic()
    with pytest.raises(WorkerError) as failed:
        hasty.call("score of batch 3 of 9", tell_and_sleep, str(path))
    assert 2 <= time.monotonic() - started < 20
    said = str(failed.value)
    assert "core of batch 3 of 9 did not end within 2 s, and its process was ended" in said
    assert "raise limits.batch_timeout_seconds" in said
    until(lambda: gone(int(path.read_text())))
    assert two.call("a batch", double, 21) == 42


@pytest.mark.parametrize(
    "error",
    [
        ValueError("mine", 7),
        TimeoutError("mine"),
        OSError(28, "mine"),
        MemoryError("mine"),
        KeyError("mine"),
        StopIteration("mine"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_passes_through_and_its_child_lives_on(two, error):
    before = two.call("a batch", process_id)
    with pytest.raises(type(error)) as passed:
        two.call("a batch", raise_, error)
    assert type(passed.value) is type(error)
    assert passed.value.args == error.args
    assert two.call("a batch", process_id) == before


def test_our_own_errors_pass_through_whole(two):
    with pytest.raises(LakeFull) as passed:
        two.call("a batch", raise_, LakeFull("the disk is full", state="all stands", next_step="free space"))
    assert (passed.value.failed, passed.value.state, passed.value.next_step) == (
        "the disk is full",
        "all stands",
        "free space",
    )


def test_an_exception_that_cannot_be_handed_over_is_told(two):
    with pytest.raises(WorkerError, match="A result has failed to un-serialize") as failed:
        two.call("a batch", raise_stubborn)
    # Its process did nothing wrong: another would say the same.
    assert not isinstance(failed.value, ChildDied)
    assert two.call("a batch", double, 21) == 42


def test_a_result_that_cannot_be_handed_over_is_the_callers_error(two):
    with pytest.raises((TypeError, pickle.PicklingError)):
        two.call("a batch", fail_to_pickle)
    assert two.call("a batch", double, 21) == 42


def test_a_child_that_dies_takes_no_other_batch_with_it(two, tmp_path):
    """Two shards at once: one's child dies, and is blamed; the other's goes on."""
    results = {}

    def healthy():
        results["healthy"] = two.call("batch 1", slow_double, 21, str(tmp_path / "go"))

    def sick():
        with pytest.raises(WorkerError, match="batch 2"):
            two.call("batch 2", kill_itself)
        with pytest.raises(WorkerError, match="batch 3"):
            Workers(2, timeout_seconds=0.5).call("batch 3", sleep, 600)
        results["sick"] = True
        (tmp_path / "go").touch()

    shards = [threading.Thread(target=healthy), threading.Thread(target=sick)]
    for shard in shards:
        shard.start()
    for shard in shards:
        shard.join(60)
    assert results == {"healthy": 42, "sick": True}


def slow_double(x, path):
    while not os.path.exists(path):
        time.sleep(0.01)
    return 2 * x


def test_no_more_children_than_shards_that_work_at_once(two):
    pids = set()
    barrier = threading.Barrier(2)

    def shard():
        barrier.wait()
        pids.update(two.call(f"batch {batch}", process_id, batch) for batch in range(10))

    shards = [threading.Thread(target=shard) for _ in range(2)]
    for one in shards:
        one.start()
    for one in shards:
        one.join(60)
    assert 1 <= len(pids) <= 2


@pytest.mark.parametrize(("cores", "processes", "threads"), [(6, 2, 3), (6, 4, 1), (2, 4, 1)])
def test_a_child_is_told_how_many_threads_it_may_use(monkeypatch, cores, processes, threads):
    monkeypatch.setattr(workers, "cpu_count", lambda: cores)
    assert Workers(processes, timeout_seconds=60).call("a batch", limits) == dict.fromkeys(LIMITS, str(threads))


def test_the_numeric_libraries_keep_to_it(monkeypatch):
    monkeypatch.setattr(workers, "cpu_count", lambda: 2)
    assert Workers(2, timeout_seconds=120).call("a batch", threads_of_libraries) == {"blas": 1, "openmp": 1, "arrow": 1}


def test_a_run_that_is_stopped_leaves_no_child_at_work(two, tmp_path, monkeypatch):
    """Ctrl-C while a batch is worked on: nobody waits for its child any more, so it is ended."""
    path = tmp_path / "pid"

    def interrupted(ready, timeout=None):
        until(lambda: path.exists() and path.read_text())
        raise KeyboardInterrupt

    monkeypatch.setattr("tasks.core.children.connection.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        two.call("a batch", tell_and_sleep, str(path))
    monkeypatch.undo()
    until(lambda: gone(int(path.read_text())))
    assert two.call("a batch", double, 21) == 42


def test_a_child_does_not_outlive_a_run_that_was_killed():
    body = (
        "import os, time\n"
        "from tasks.core.workers import Workers\n"
        "print(Workers(1, 60).call('a batch', os.getpid), flush=True)\n"
        "time.sleep(600)\n"
    )
    with Child([sys.executable, "-c", body], cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        child = int(run.stdout.readline())
        assert not gone(child)
        run.kill()
    until(lambda: gone(child))


kept = []


def make_a_lock():
    # As tqdm does, and so whatever shows a bar: for as long as the process lives.
    kept.append(multiprocessing.RLock())
    return True


def test_what_a_child_locks_with_is_no_leak_when_it_is_ended():
    body = (
        "from tasks.core.workers import Workers\n"
        "from tests.unit.core.test_workers import make_a_lock\n"
        "print(Workers(1, 60).call('a batch', make_a_lock))\n"
    )
    done = subprocess.run([sys.executable, "-c", body], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


def first_to_be_ended():
    return os.getpid(), int(pathlib.Path("/proc/self/oom_score_adj").read_text())


def test_children_of_a_pool_serve_it_alone_are_ended_first_for_memory_and_end_with_it(two):
    apart = Workers(2, timeout_seconds=60, pool="apart")
    common, _ = two.call("w", first_to_be_ended)

    (one, score), (again, _) = (apart.call("w", first_to_be_ended) for _ in range(2))

    assert (one, score) == (again, 1000)
    assert one != common
    assert two.call("w", first_to_be_ended)[0] == common
    workers.dismiss("apart")
    until(lambda: not pathlib.Path(f"/proc/{one}").exists())
    workers.dismiss("apart")
    assert two.call("w", first_to_be_ended)[0] == common


def test_peak_memory_is_that_of_this_process():
    block = bytearray(50_000_000)
    assert len(block) < workers.peak_memory_bytes() < 100 * len(block)
    json.dumps(workers.peak_memory_bytes())
