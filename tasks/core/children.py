"""A child process that works on one call after the other, forked by a server that has the heavy libraries already.

The server (multiprocessing's forkserver) runs none of our work and has no threads, so that forking it is safe; children share
its memory. What a call says goes through a pipe, and so does its answer: there is nothing to be locked, and so nothing that
a child which is killed could leave locked.
"""

from __future__ import annotations

import contextlib
import io
import os  # noqa: TID251 - pipes, an environment and the end of a process; no file is touched
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection, context, forkserver, popen_forkserver, process, reduction, spawn, util
from typing import Any

# Imported by the server: what takes long, and is known before any work is.
PRELOADED = "tasks.shards.preloaded"
_IDLE_SECONDS = 600
# Python would look into the current folder, which may be a project's, before it looks into its own.
_SAFE_PATH = "PYTHONSAFEPATH"


class Died(Exception):
    """The child is gone, and with it what it was asked. `exit_code` is negative for a signal."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class Gone(Exception):
    """The child had ended before it was asked."""


class Stopped(Exception):
    """The child was ended on purpose while somebody waited for its answer."""


class Overran(Exception):
    """No answer came in time; the child still works on it."""


class NotHandedOver(Exception):
    """The answer came, and nothing can be made of it at this end."""


@dataclass(frozen=True)
class Answer:
    """What a call returned, or the exception that it raised."""

    raised: bool
    value: Any


def warm_up() -> None:
    """Starts the server, if there is none: it imports the libraries while its parent does something else."""
    forkserver.set_forkserver_preload([PRELOADED])
    with _safe_path():
        forkserver.ensure_running()


class Child:
    """One process. `begin(*args)` is called in it first."""

    def __init__(self, begin: Callable[..., object], *args: Any) -> None:
        warm_up()
        self._ours, theirs = connection.Pipe()
        self._is_stopped = False
        # The environment of now: the server's is that of when it was started.
        self._process = _Process(target=_serve, args=(theirs, dict(os.environ), begin, args))
        self._process.start()
        theirs.close()

    @property
    def number(self) -> int:
        return self._process.pid or 0

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def ask(self, timeout_seconds: float, function: Callable[..., Any], args: Any, kwargs: Any) -> Answer:
        """What the function gave there. Gone, Died, Stopped, Overran or NotHandedOver; after each it is to be killed."""
        try:
            self._ours.send_bytes(reduction.ForkingPickler.dumps((function, args, kwargs)))
        except OSError as error:
            raise self._ended(Gone()) from error
        if not connection.wait([self._ours, self._process.sentinel], timeout_seconds):
            raise Overran
        try:
            answer = self._ours.recv_bytes()
        except (EOFError, OSError) as error:
            self._process.join()
            raise self._ended(Died(self._process.exitcode)) from error
        try:
            return Answer(*reduction.ForkingPickler.loads(answer))
        except Exception as error:
            raise NotHandedOver(f"A result has failed to un-serialize: {type(error).__name__}: {error}") from error

    def kill(self) -> None:
        """Ends it at once, whatever it does."""
        self._is_stopped = True
        self._process.kill()

    def _ended(self, otherwise: Exception) -> Exception:
        return Stopped() if self._is_stopped else otherwise


# --- In the child ----------------------------------------------------------------------------------------------------


def _serve(channel: Any, environment: dict[str, str], begin: Callable[..., object], args: Any) -> None:
    # Whoever types Ctrl-C means the parent, which ends its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(environment)
    _end_with_parent()
    begin(*args)
    with contextlib.suppress(EOFError, OSError):
        while channel.poll(_IDLE_SECONDS):
            channel.send_bytes(_answer(channel.recv_bytes()))
    # Nothing is open that would have to be closed, and there are libraries that take seconds to leave.
    os._exit(0)


def _answer(request: bytes) -> Any:
    try:
        function, args, kwargs = reduction.ForkingPickler.loads(request)
        answer = False, function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is told
        answer = True, _with_trace(error)
    try:
        return reduction.ForkingPickler.dumps(answer)
    except Exception as error:  # noqa: BLE001 - pickling runs the code of what is pickled
        return reduction.ForkingPickler.dumps((True, error))


def _with_trace(error: BaseException) -> BaseException:
    """A traceback does not go through a pipe; what it says does."""
    error.add_note("".join(traceback.format_tb(error.__traceback__)).rstrip())
    return error


def _end_with_parent() -> None:
    """A child whose parent was killed would hold its memory for nobody."""
    parent: Any = process.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


# --- Of the server ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    was = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if was is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = was


class _Popen(popen_forkserver.Popen):
    """As the library's, but that the child never imports what its parent was started with: that may be Prefect's engine."""

    _fds: list[int]

    def _launch(self, process_obj: Any) -> None:
        about = spawn.get_preparation_data(process_obj.name)
        for main in ("init_main_from_name", "init_main_from_path"):
            about.pop(main, None)
        said = io.BytesIO()
        context.set_spawning_popen(self)
        try:
            reduction.dump(about, said)
            reduction.dump(process_obj, said)
        finally:
            context.set_spawning_popen(None)
        self.sentinel, told = forkserver.connect_to_new_process(self._fds)
        # Open as long as this process lives: by its end the child knows of ours.
        parent_lives = os.dup(told)
        self.finalizer = util.Finalize(self, _close, (parent_lives, self.sentinel))
        with open(told, "wb", closefd=True) as pipe:  # noqa: PTH123 - a pipe
            pipe.write(said.getbuffer())
        self.pid = forkserver.read_signed(self.sentinel)


def _close(*descriptors: int) -> None:
    for one in descriptors:
        os.close(one)


class _Process(context.ForkServerProcess):
    # What a library locks with in the child is made as after a fork: without a name that a killed child would leave behind.
    _start_method = None

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - the library's name
        return _Popen(process_obj)
