"""Processes that must stay: started, watched, started again with a growing pause, and ended with all that they began."""

from __future__ import annotations

import contextlib
import os  # noqa: TID251 - processes are signalled; no file is touched
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from tasks.core.errors import LamplighterError, OrchestrationError
from tasks.core.storage import Folder, Lake

_MARK = "STARTED_BY_LAMPLIGHTER_UP"
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
# A process that stood for so long did not die of the same cause as the one before.
_STEADY_SECONDS = 60.0
_LOOK_SECONDS = 0.3
# A run that was ended before it could speak is the worker's to report.
_LAST_WORD_SECONDS = 1.0
_LOG_BYTES = 10_000_000
_LAST_LINES, _LAST_CHARACTERS = 4, 400


@dataclass
class Service:
    """A Python command that is to run for as long as its supervisor does; what it says goes to a log in a folder."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Lake
    log: str
    process: subprocess.Popen[str] | None = None
    reader: threading.Thread | None = None
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))
    began: float = 0.0
    pause: float = _FIRST_PAUSE_SECONDS
    due: float | None = None

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    @property
    def said(self) -> str:
        """Its last words, on one line; of one that has ended all of them, if nobody else holds its output open."""
        if self.has_ended and self.reader:
            self.reader.join(timeout=_LAST_WORD_SECONDS)
        return " / ".join(self.last_lines)[-_LAST_CHARACTERS:]


class Supervisor:
    """Keeps services alive. Everything that they start carries a mark, by which it is found when all is ended."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._mark = uuid.uuid4().hex
        self._services: list[Service] = []

    def start(self, service: Service) -> None:
        """Starts it, and keeps it from now on. To be called by the main thread: the kernel's leash is the thread's."""
        self._services.append(service)
        self._begin(service)

    def check(self) -> None:
        """Starts what has ended again, when its pause is over."""
        for service in self._services:
            self._look_after(service, time.monotonic())

    def watch(self) -> None:
        """Keeps all of them alive until the caller is interrupted."""
        while True:
            self.check()
            time.sleep(_LOOK_SECONDS)

    def run(
        self, what: str, command: Sequence[str], environment: Mapping[str, str], *, fine: Sequence[int] = (0,)
    ) -> None:
        """Runs a command to its end, on this terminal, and keeps the services meanwhile.

        OrchestrationError where its exit code is not a fine one.
        """
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            self._leashed(command), env=self._marked(environment), stdin=subprocess.DEVNULL
        )
        while process.poll() is None:
            self.check()
            time.sleep(_LOOK_SECONDS)
        if process.returncode not in fine:
            raise OrchestrationError(
                f"{what} ended with exit code {process.returncode}",
                next_step="mend what it says above, and start again",
            )

    def stop(self, seconds: float = 10.0) -> None:
        """Ends what the services have started, then the services, last first; whoever does not go in time is killed."""
        groups = {service.process.pid for service in self._services if service.process}
        # Runs first: they tell the server how they ended, and their worker sees it. A run ends its own children.
        runs = {pid for pid in self._marked_now() if _group(pid) == pid} - groups
        _end_all(lambda: {pid for pid in self._marked_now() if _group(pid) == pid} - groups, seconds)
        if runs:
            time.sleep(_LAST_WORD_SECONDS)
        for service in reversed(self._services):
            self._end(service, seconds)
        _end_all(self._marked_now, seconds)

    def _marked_now(self) -> set[int]:
        return marked(self._mark)

    def _begin(self, service: Service) -> None:
        service.began, service.due = time.monotonic(), None
        service.process = subprocess.Popen(  # noqa: S603 - the command is ours
            self._leashed(service.command),
            env=self._marked(service.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # Ctrl-C in the terminal is this process's alone: it ends the others in their order.
            start_new_session=True,
        )
        assert service.process.stdout is not None  # noqa: S101 - narrowing
        service.last_lines.clear()
        service.reader = threading.Thread(target=_keep_log, args=(service.process.stdout, service), daemon=True)
        service.reader.start()

    def _look_after(self, service: Service, now: float) -> None:
        process = service.process
        if process is None or process.poll() is None:
            return
        if service.due is None:
            steady = now - service.began >= _STEADY_SECONDS
            service.pause = _FIRST_PAUSE_SECONDS if steady else service.pause
            service.due = now + service.pause
            # What it has left in its group would hold its port. The runs of a worker have groups of their own, and go on.
            _signal_group(process.pid, signal.SIGKILL)
            self._tell(f"{service.name} ended ({_how(service)}). It is started again in {service.pause:.0f} s.")
        elif now >= service.due:
            service.pause = min(2 * service.pause, _LONGEST_PAUSE_SECONDS)
            self._begin(service)
            self._tell(f"{service.name} is started again.")

    def _end(self, service: Service, seconds: float) -> None:
        process = service.process
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()

    def _leashed(self, command: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "tasks.orchestration.leashed", str(os.getpid()), *command]

    def _marked(self, environment: Mapping[str, str]) -> dict[str, str]:
        return {**environment, _MARK: self._mark}


def marked(mark: str) -> set[int]:
    """The processes that carry this mark in their environment, however they came by their parent."""
    processes, wanted = Folder("/proc"), f"{_MARK}={mark}".encode()
    found = set()
    for name in processes.names():
        if name.isdigit():
            # Another user's, or one that is just going.
            with contextlib.suppress(LamplighterError):
                if wanted in processes.read_bytes(f"{name}/environ").split(b"\0"):
                    found.add(int(name))
    return found - {os.getpid()}


def _end_all(those: Callable[[], set[int]], seconds: float) -> None:
    """Asks those processes to end, also such as come meanwhile, and kills who is there when the time is up."""
    for kind, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, seconds)):
        end, asked = time.monotonic() + patience, set[int]()
        while (there := those()) and time.monotonic() < end:
            for pid in there - asked:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, kind)
            asked |= there
            time.sleep(_LOOK_SECONDS / 3)


def _group(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        return os.getpgid(pid)
    return -1


def _signal_group(leader: int, kind: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, kind)


def _keep_log(lines: IO[str], service: Service) -> None:
    """Writes what a service says into its log; a log that has grown long gives way to the one before."""
    folder, log = service.folder, service.log
    with lines:
        for line in lines:
            if line.strip():
                service.last_lines.append(line.strip())
            # A full disk must not halt who writes: what is not read fills the pipe, and it would wait for ever.
            with contextlib.suppress(LamplighterError):
                folder.append(log, line.encode())
                if folder.size_bytes(log) > _LOG_BYTES:
                    folder.remove(f"{log}.1")
                    folder.rename(log, f"{log}.1")


def _how(service: Service) -> str:
    """A signal, or an exit code and what was said last: who was killed had no time to say why."""
    code = service.process.returncode if service.process else 0
    return f"signal {-code}" if code < 0 else f"exit code {code}: {service.said or 'nothing was said'}"
