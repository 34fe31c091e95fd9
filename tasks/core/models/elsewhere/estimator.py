"""A version that another interpreter must load: a child process of that environment holds it, Arrow in and Arrow out.

The registry knows an interpreter by a name. LAMPLIGHTER_PYTHON_<NAME> says where it is on this machine.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tasks.core import own_code
from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import ChildDied, DefinitionError, ModelBlocked, WorkerError
from tasks.core.models.elsewhere.process import ChildProcess, Ended, Overran
from tasks.core.models.elsewhere.wire import Garbled, Header
from tasks.core.models.formats import get_format
from tasks.core.models.loading import Opened
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.prediction import Elsewhere, PredictRaised, arrow_stream
from tasks.core.settings import environment

# The oldest of each that were seen to serve.
_NEEDED = {"joblib": ">=1.6", "numpy": "", "pandas": ">=2.2", "pyarrow": "", "pydantic": ">=2.12"}
_ASK_SECONDS = 60
_RUN_AGAIN = (
    "look for a lack of memory (lower limits.batch_rows) or a fault in the model's own code, and run it again; "
    "limits.batch_timeout_seconds is the limit on its time"
)


@dataclass(frozen=True)
class Interpreter:
    """A Python of another environment: what it is called, and the program."""

    name: str
    python: str

    def __str__(self) -> str:
        return f"the interpreter {self.name} ({self.python})" if self.name else f"the interpreter {self.python}"


def variable_of(name: str) -> str:
    """The variable that says where the interpreter of this name is."""
    return f"LAMPLIGHTER_PYTHON_{name.upper()}"


def find_interpreter(name: str, what: str = "it") -> Interpreter:
    """Where the interpreter of this name is on this machine; ModelBlocked says how to tell."""
    if python := environment(variable_of(name)):
        return Interpreter(name, python)
    raise ModelBlocked(
        f"{what} must be loaded by the interpreter '{name}', and this machine does not say where that is",
        state="no row was scored",
        next_step=f"set {variable_of(name)} to the path of its Python, in the environment or in .env",
    )


def interpreter_of(version: ModelVersion) -> Interpreter | None:
    """Where the interpreter is that the version names; None of one that names none."""
    name = version.signature.interpreter
    return find_interpreter(name, str(version)) if name else None


def open_elsewhere(
    interpreter: Interpreter,
    version: ModelVersion,
    content: bytes,
    allowed_types: Collection[str],
    *,
    timeout_seconds: float,
) -> Opened:
    """The model in these bytes, whose digest was checked, loaded there: through the same format and allow-list."""
    model = _ModelElsewhere(interpreter, version, content, allowed_types, timeout_seconds)
    loaded = model.start()
    return Opened(model, tuple(loaded["warnings"]), loaded["libraries"])


def packages_of(interpreter: Interpreter) -> dict[str, str]:
    """The versions of Python and of all that is installed there; ModelBlocked where it cannot serve."""
    child = _started(interpreter)
    found, _ = _asked(interpreter, child, {"do": "packages"})
    child.end()
    return {"python": child.greeting["python"], **found["packages"]}


def types_to_accept_elsewhere(interpreter: Interpreter, format_name: str, content: bytes) -> list[str]:
    """What a person must allow before the file loads there: of a class that moved, the default list knows one place."""
    child = _started(interpreter)
    found, _ = _asked(interpreter, child, {"do": "types_to_accept", "format": format_name}, content)
    child.end()
    return list(found["types"])


class _ModelElsewhere(Elsewhere):
    """The model as a child holds it. One that died is started again for the next batch, from the same bytes."""

    def __init__(
        self,
        interpreter: Interpreter,
        version: ModelVersion,
        content: bytes,
        allowed_types: Collection[str],
        timeout_seconds: float,
    ) -> None:
        self._interpreter = interpreter
        self._version = version
        self._content = content
        self._allowed_types = sorted(allowed_types)
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._child: ChildProcess | None = None

    @property
    def process(self) -> int:
        return self._child.pid if self._child else 0

    def start(self) -> Header:
        """What the child told of the model when it was loaded."""
        child = _started(self._interpreter, self._version)
        request = {
            "do": "load",
            "name": self._version.name,
            "version": self._version.version,
            "signature": self._version.signature.model_dump(mode="json", by_alias=True),
            "allowed_types": self._allowed_types,
            "project": str(own_code.current().root),
        }
        answer, _ = self._ask(child, request, self._content, f"load {self._version}")
        if missing := answer.get("missing"):
            raise _lacks(self._interpreter, missing, self._version)
        _raise_told(answer, self._interpreter)
        self._child = child
        self.methods = frozenset(answer["methods"])
        vars(self).update(answer["said"])
        return answer

    def outputs(self, batch: pa.RecordBatch | pa.Table, outputs: Mapping[str, Prediction]) -> pa.Table:
        request = {
            "do": "predict",
            "outputs": {name: each.model_dump(mode="json", by_alias=True) for name, each in outputs.items()},
        }
        return pa.ipc.open_stream(pa.py_buffer(self._answered(request, batch)[1])).read_all()

    def kind_of_prediction(self, batch: pa.RecordBatch | pa.Table) -> str:
        return str(self._answered({"do": "kind"}, batch)[0]["kind"])

    def _answered(self, request: Header, batch: pa.RecordBatch | pa.Table) -> tuple[Header, Any]:
        what = f"score {batch.num_rows:,} rows with {self._version}"
        with self._lock:
            if self._child is None or self._child.has_ended():
                self.start()
            child, self._child = self._child, None
            assert child is not None  # noqa: S101 - narrowing
            answer, content = self._ask(child, request, arrow_stream(batch), what)
            self._child = child
        _raise_told(answer, self._interpreter)
        return answer, content

    def _ask(self, child: ChildProcess, request: Header, body: Any, what: str) -> tuple[Header, Any]:
        try:
            return child.ask(request, body, self._timeout_seconds)
        except Overran as error:
            raise WorkerError(
                f"{self._interpreter} did not {what} within {self._timeout_seconds:g} s, and its process was ended",
                state="complete batches are kept",
                next_step=_RUN_AGAIN,
            ) from error
        except (Ended, Garbled) as error:
            died = ChildDied(
                f"the process in which {self._interpreter} was to {what} died: {error}",
                state="complete batches are kept",
                next_step=_RUN_AGAIN,
            )
            died.how = str(error).partition(";")[0] or type(error).__name__
            raise died from error


# -- an interpreter that cannot serve ---------------------------------------------------------------------------------


def _started(interpreter: Interpreter, version: ModelVersion | None = None) -> ChildProcess:
    try:
        child = ChildProcess(interpreter.python)
    except (OSError, Ended, Overran, Garbled, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise _unusable(interpreter, f"could not be started: {why or type(error).__name__}") from error
    if missing := child.greeting.get("missing"):
        raise _lacks(interpreter, missing, version)
    if problem := child.greeting.get("problem"):
        raise _unusable(interpreter, f"cannot run Lamplighter's part: {problem}", _install(interpreter, version))
    return child


def _asked(interpreter: Interpreter, child: ChildProcess, request: Header, body: Any = b"") -> tuple[Header, Any]:
    try:
        answer, content = child.ask(request, body, _ASK_SECONDS)
    except (Ended, Overran, Garbled) as error:
        raise _unusable(interpreter, f"could not answer: {error or type(error).__name__}") from error
    _raise_told(answer, interpreter)
    return answer, content


def _lacks(interpreter: Interpreter, missing: list[str], version: ModelVersion | None) -> ModelBlocked:
    return _unusable(interpreter, f"lacks {', '.join(missing)}", _install(interpreter, version))


def _unusable(interpreter: Interpreter, what: str, next_step: str = "") -> ModelBlocked:
    where = f"{variable_of(interpreter.name)} must be" if interpreter.name else "give"
    return ModelBlocked(
        f"{interpreter} {what}",
        state="no row was scored",
        next_step=next_step or f"{where} the path of a Python of 3.11 or later, such as ENVIRONMENT/bin/python",
    )


def _install(interpreter: Interpreter, version: ModelVersion | None) -> str:
    """The command that puts there what Lamplighter and the model need, as it was where the version was registered."""
    registered = version.manifest.environment if version else {}
    needed = dict.fromkeys(_packages(version) if version else ("scikit-learn",), "") | _NEEDED
    wanted = [
        f"{name}=={registered[name]}" if registered.get(name, "none") not in ("none", "unknown") else name + least
        for name, least in sorted(needed.items())
    ]
    return f"{interpreter.python} -m pip install {' '.join(repr(each) if '>' in each else each for each in wanted)}"


def _packages(version: ModelVersion) -> tuple[str, ...]:
    try:
        return get_format(version.format).packages
    except DefinitionError:
        # Its packages need not be here, if they are there.
        return (version.format,)


# -- back over the border --------------------------------------------------------------------------------------------------


def _raise_told(answer: Header, interpreter: Interpreter) -> None:
    """Raises here what was raised there."""
    told = answer.get("raised")
    if told is None:
        return
    if told["kind"] == "PredictRaised":
        raise PredictRaised(told["failed"])
    if told["kind"] == "MemoryError":
        raise MemoryError(told["failed"])
    if told["kind"] in ("ModelBlocked", "DefinitionError"):
        raise ModelBlocked(told["failed"], state=told["state"], next_step=told["next_step"])
    raise WorkerError(
        f"{interpreter} failed: {told['failed']}", state="complete batches are kept", next_step=_RUN_AGAIN
    )
