"""A child process that works on one call after the other, forked by a server that has the heavy libraries already.

The server (multiprocessing's forkserver) imports, and runs nothing of ours, so that it can be forked; children share its memory. What a call says goes through a pipe, and so does its answer: there is nothing to be locked, and so nothing that
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
_TOLD_SECONDS = 5.0
_UNKNOWN = 256  # No exit code is so great.
# Held while the server or a child is started: the environment is another for that time.
_starting = threading.Lock()
# Python would look into the current folder, which may be a project's, before it looks into its own.
_SAFE_PATH = "PYTHONSAFEPATH"


class Died(Exception):
    """The child is gone, and with it what it was asked. `exit_code` is negative for a signal, None where nobody knows it."""

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
    """Starts the server, if there is none: it imports the libraries while its parent does something else.

    A head start, and no more: whoever needs a child is told why there is no server.
    """
    with contextlib.suppress(OSError), _starting:
        _start_server()


class Child:
    """One process. `begin(*args)` is called in it first. OSError or EOFError where none can be started."""

    def __init__(self, begin: Callable[..., object], *args: Any) -> None:
        self._ours, theirs = connection.Pipe()
        self.is_stopped = False
        self._has_answered = False
        with _starting:
            _start_server()
            # The environment of now: the server's is that of when it was started.
            self._process = _Process(target=_serve, args=(theirs, dict(os.environ), begin, args))
            self._process.start()
        theirs.close()
        try:
            # By its number another process might be meant, once the server has seen it end.
            self._handle = os.pidfd_open(self._process.pid or 0)
        except ProcessLookupError:
            self._handle = os.open(os.devnull, os.O_RDONLY)  # It has ended already: what is readable at once.

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._handle)

    @property
    def number(self) -> int:
        return self._process.pid or 0

    def is_alive(self) -> bool:
        return not connection.wait([self._handle], 0)

    def ask(self, timeout_seconds: float, function: Callable[..., Any], args: Any, kwargs: Any) -> Answer:
        """What the function gave there. Gone, Died, Stopped, Overran or NotHandedOver; after each it is to be killed."""
        request = reduction.ForkingPickler.dumps((function, args, kwargs))
        try:
            self._ours.send_bytes(request)
        except OSError as error:
            # One that has just begun and is gone would be replaced by another that is.
            raise self._ended(Gone() if self._has_answered else Died(self._exit_code())) from error
        if not connection.wait([self._ours, self._handle], timeout_seconds):
            raise Overran
        try:
            # Processes of its own may hold the pipe when it is gone: what is not there will never come.
            answer = self._ours.recv_bytes() if self._ours.poll(0) else None
        except (EOFError, OSError):
            answer = None
        if answer is None:
            raise self._ended(Died(self._exit_code()))
        self._has_answered = True
        try:
            return Answer(*reduction.ForkingPickler.loads(answer))
        except Exception as error:
            raise NotHandedOver(f"A result has failed to un-serialize: {type(error).__name__}: {error}") from error

    def kill(self) -> None:
        """Ends it at once, whatever it does."""
        self.is_stopped = True
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _exit_code(self) -> int | None:
        """The server tells it as soon as it knows; without a server nobody does."""
        self._process.join(_TOLD_SECONDS)
        code = self._process.exitcode
        return None if code == _UNKNOWN else code

    def _ended(self, otherwise: Exception) -> Exception:
        return Stopped() if self.is_stopped else otherwise


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
    except (SystemExit, KeyboardInterrupt) as error:
        # It would end the run. Who asks for the end of the process gets it, and the row that asks is found.
        code = getattr(error, "code", None)
        os._exit(code if isinstance(code, int) and 0 < code < _UNKNOWN else 1)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is told
        answer = True, _with_trace(error)
    try:
        return reduction.ForkingPickler.dumps(answer)
    except Exception as error:  # noqa: BLE001 - pickling runs the code of what is pickled
        return reduction.ForkingPickler.dumps((True, error))


def _with_trace(error: BaseException) -> BaseException:
    """A traceback does not go through a pipe; what it says does."""
    with contextlib.suppress(TypeError):  # Its notes may be anything.
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


def _start_server() -> None:
    forkserver.set_forkserver_preload([PRELOADED])
    with _safe_path():
        forkserver.ensure_running()


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

    def __init__(self, process_obj: Any) -> None:
        self._reading = threading.Lock()
        super().__init__(process_obj)

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """As the library's, but that the code is read once, however many threads ask, and is not made up without a server."""
        if self.returncode is None and connection.wait([self.sentinel], None if flag == 0 else 0):
            with self._reading:
                if self.returncode is None:
                    try:
                        self.returncode = forkserver.read_signed(self.sentinel)
                    except (OSError, EOFError):
                        self.returncode = _UNKNOWN
        return self.returncode

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
    _start_method: Any = None

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - the library's name
        return _Popen(process_obj)
