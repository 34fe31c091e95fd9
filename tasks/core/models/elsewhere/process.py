"""A child process of another interpreter, that is asked and answers over two pipes, each time within a limit."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os  # noqa: TID251 - pipes and signals of a child process; no file is touched
import select
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import IO, Any

from tasks.core.models.elsewhere import wire
from tasks.core.storage import Folder

_START = "tasks.core.models.elsewhere.start"
_START_SECONDS = 120
_WATCH_SECONDS = 0.5
_TAIL_BLOCKS, _TAIL_LINES, _TAIL_LETTERS = 16, 5, 600


class Ended(Exception):
    """The child is no more, and how it ended."""


class Overran(Exception):
    """The child did not answer within its limit, and was ended."""


class ChildProcess:
    """Runs our own code in another environment. What it prints is kept, its last lines, for when it dies.

    It ends when this object is no longer held, and with this process, however that ends.
    """

    def __init__(self, python: str) -> None:
        """OSError where there is no such program; Ended, Overran or wire.Garbled where it is not a Python that serves."""
        from_us, self._requests = os.pipe()
        self._answers, to_us = os.pipe()
        try:
            self._process = _started(python, from_us, to_us)
        except BaseException:
            os.close(self._requests)
            os.close(self._answers)
            raise
        finally:
            os.close(from_us)
            os.close(to_us)
        for pipe in (self._requests, self._answers):
            os.set_blocking(pipe, False)
        self._printed: deque[bytes] = deque(maxlen=_TAIL_BLOCKS)
        self._listener = threading.Thread(target=_listen, args=(self._process.stdout, self._printed), daemon=True)
        self._listener.start()
        self.end: Callable[[], Any] = weakref.finalize(self, _end, self._process, self._requests, self._answers)
        self.greeting, _ = self._within(_START_SECONDS, self._read)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, header: wire.Header, body: Any, seconds: float) -> tuple[wire.Header, Any]:
        """The answer. Ended or Overran where there is none; the child is no more then, as after an interrupt."""

        def exchange(deadline: float) -> tuple[wire.Header, Any]:
            self._write(wire.packed({**header, "seconds": seconds}, len(body)), deadline)
            self._write(body, deadline)
            return self._read(deadline)

        return self._within(seconds, exchange)

    def _within(self, seconds: float, exchange: Callable[[float], tuple[wire.Header, Any]]) -> tuple[wire.Header, Any]:
        try:
            return exchange(time.monotonic() + seconds)
        except BaseException as error:
            # Half a message may be under way: nothing that came after could be understood.
            self.end()
            if isinstance(error, Ended):
                raise Ended(self._how_it_ended()) from error
            raise

    def _read(self, deadline: float) -> tuple[wire.Header, Any]:
        def exactly(size: int) -> memoryview:
            content = memoryview(bytearray(size))
            got = 0
            while got < size:
                self._wait(self._answers, select.POLLIN, deadline)
                if not (count := os.readv(self._answers, [content[got:]])):
                    self._let_end()
                    raise Ended
                got += count
            return content

        return wire.read(exactly)

    def _write(self, data: Any, deadline: float) -> None:
        left = memoryview(data)
        while left:
            self._wait(self._requests, select.POLLOUT, deadline)
            try:
                left = left[os.write(self._requests, left) :]
            except BrokenPipeError as error:
                self._let_end()
                raise Ended from error

    def _wait(self, pipe: int, event: int, deadline: float) -> None:
        """Until the pipe can be used. A child of the child may hold a pipe open, so its end is looked for as well."""
        poll = select.poll()
        poll.register(pipe, event)
        while (left := deadline - time.monotonic()) > 0:
            if poll.poll(1000 * min(left, _WATCH_SECONDS)):
                return
            if self.has_ended():
                raise Ended
        raise Overran

    def has_ended(self) -> bool:
        return bool(os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))

    def _let_end(self) -> None:
        """It closed its pipes, so it is about to end: how, only it can tell."""
        deadline = time.monotonic() + _WATCH_SECONDS
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(_WATCH_SECONDS / 100)

    def _how_it_ended(self) -> str:
        self._listener.join(_WATCH_SECONDS)
        code = self._process.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        lines = b"".join(self._printed).decode(errors="replace").split("\n")
        said = " ".join(" ".join([line for line in lines if line.strip()][-_TAIL_LINES:]).split())[-_TAIL_LETTERS:]
        return f"{how}; its last words: {said}" if said else how


def _started(python: str, requests: int, answers: int) -> subprocess.Popen[bytes]:
    told = {
        "requests": requests,
        "answers": answers,
        "parent": os.getpid(),
        "package": next(iter(sys.modules["tasks"].__path__)),
        "also": _code_folders(),
    }
    found = importlib.util.find_spec(_START)
    if found is None or found.origin is None:
        raise ImportError(_START)
    # -E: what PYTHONPATH adds is of our environment. -B: it writes no bytecode beside our code. Its own group: Ctrl-C in
    # a terminal is for us, and what it starts ends with it. Fixed arguments, no shell.
    return subprocess.Popen(  # noqa: S603
        [python, "-E", "-B", found.origin, json.dumps(told)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(requests, answers),
        start_new_session=True,
    )


def _code_folders() -> list[str]:
    """Where this process finds modules that belong to no environment: the project's own, which its models may need."""
    standard = Folder(sysconfig.get_path("stdlib")).root
    found = dict.fromkeys(Folder(entry or ".").root for entry in sys.path)
    return [
        str(path)
        for path in found
        if path.name not in ("site-packages", "dist-packages")
        and path.suffix != ".zip"
        and not path.is_relative_to(standard)
    ]


def _listen(stream: IO[bytes], printed: deque[bytes]) -> None:
    """Keeps the pipe of what the child prints empty, so that it never waits for us."""
    with stream:
        for block in iter(lambda: stream.read1(1 << 12), b""):  # type: ignore[attr-defined]
            printed.append(block)


def _end(process: subprocess.Popen[bytes], *pipes: int) -> None:
    """Kills the child with whatever it started, and asks for its end, so that nothing of it remains."""
    for pipe in pipes:
        os.close(pipe)
    with contextlib.suppress(ProcessLookupError):
        # Not asked for its end yet, its number is still its own.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
