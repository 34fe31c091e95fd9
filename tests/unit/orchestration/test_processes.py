"""The supervisor: what dies comes back, what is ended takes all with it, and nothing outlives who started it."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tasks.core.errors import OrchestrationError
from tasks.core.storage import Lake
from tasks.orchestration import processes
from tasks.orchestration.processes import Service, Supervisor
from tests.lake_tools import Child

STANDS = "import time; print('it stands', flush=True); time.sleep(600)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STANDS}"
# As a worker starts a run: in a session of its own.
WITH_A_RUN = (
    f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STANDS!r}], start_new_session=True); {STANDS}"
)


@pytest.fixture
def told():
    return []


@pytest.fixture
def supervisor(told, monkeypatch):
    monkeypatch.setattr(processes, "_FIRST_PAUSE_SECONDS", 0.05)
    made = Supervisor(told.append)
    yield made
    made.stop(seconds=1)


@pytest.fixture
def start(supervisor, tmp_path):
    def start(code, name="It"):
        service = Service(name, ("-c", code), os.environ, Lake(tmp_path), "it.log", pause=0.05)
        supervisor.start(service)
        return service

    return start


def wait_for(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return found


def stands(service):
    return "it stands" in service.said


def test_what_is_killed_is_started_again_and_somebody_is_told(supervisor, start, told):
    service = start(STANDS)
    wait_for(lambda: stands(service), "it to stand")
    first = service.process.pid
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: supervisor.check() or service.process.pid != first, "it to be started again")
    wait_for(lambda: stands(service), "it to stand again")
    assert told == ["It ended (signal 9). It is started again in 0 s.", "It is started again."]


def test_who_dies_at_once_every_time_is_waited_for_longer_and_longer(supervisor, start, told):
    service = start("raise SystemExit('no such database')")
    pauses = []
    for _ in range(4):
        wait_for(lambda: supervisor.check() or service.due is not None, "its end")
        pauses.append(service.pause)
        wait_for(lambda: supervisor.check() or service.due is None, "its start")
    assert pauses == [0.05, 0.1, 0.2, 0.4]
    assert told[0].startswith("It ended (exit code 1: no such database).")


def test_the_end_takes_what_was_started_in_sessions_of_its_own(supervisor, start):
    service = start(WITH_A_RUN)
    wait_for(lambda: stands(service) and len(supervisor._marked_now()) == 2, "both to stand")
    supervisor.stop(seconds=5)
    assert supervisor._marked_now() == set()
    assert service.has_ended


def test_a_run_outlives_its_worker_and_ends_with_the_supervisor(supervisor, start):
    service = start(WITH_A_RUN)
    both = wait_for(lambda: stands(service) and len(there := supervisor._marked_now()) == 2 and there, "both to stand")
    os.kill(service.process.pid, signal.SIGKILL)
    (run,) = wait_for(lambda: len(left := supervisor._marked_now()) == 1 and left, "the worker to go")
    assert {run} == both - {service.process.pid}
    supervisor.stop(seconds=5)
    assert supervisor._marked_now() == set()


def test_who_is_deaf_to_a_word_is_killed_in_time(supervisor, start):
    service = start(DEAF)
    wait_for(lambda: stands(service), "it to stand")
    began = time.monotonic()
    supervisor.stop(seconds=0.5)
    assert service.process.returncode == -signal.SIGKILL
    assert time.monotonic() - began < 10


def test_it_ends_when_its_supervisor_is_killed(tmp_path):
    code = f"""
import os, time
from tasks.core.storage import Lake
from tasks.orchestration.processes import Service, Supervisor
service = Service("It", ("-c", {STANDS!r}), os.environ, Lake({str(tmp_path)!r}), "it.log")
Supervisor(print).start(service)
while "it stands" not in service.said:
    time.sleep(0.02)
print(service.process.pid, flush=True)
time.sleep(600)
"""
    with Child([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as killed:
        pid = killed.stdout.readline().strip()
        killed.kill()
    wait_for(lambda: not _runs(pid), f"{pid} to end")


def _runs(pid):
    status = pathlib.Path(f"/proc/{pid}/status")
    try:
        # Whoever waits for it is gone, and init may take its time: a zombie has ended.
        return "State:\tZ" not in status.read_text()
    except FileNotFoundError:
        return False


def test_a_step_runs_to_its_end_and_its_exit_code_is_judged(supervisor):
    supervisor.run("The step", ("-c", "raise SystemExit(2)"), os.environ, fine=(0, 2))
    with pytest.raises(OrchestrationError, match="The step ended with exit code 3"):
        supervisor.run("The step", ("-c", "raise SystemExit(3)"), os.environ)


def test_a_log_that_has_grown_long_gives_way(start, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_LOG_BYTES", 1000)
    service = start(f"[print('x' * 99) for _ in range(25)]; {STANDS}")
    wait_for(lambda: stands(service), "it to have said all")
    wait_for(lambda: (tmp_path / "it.log").read_text().endswith("it stands\n"), "the log")
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2500
    assert (tmp_path / "it.log.1").exists()
