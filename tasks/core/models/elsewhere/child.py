"""The other side of `elsewhere`: loads one model and scores batches with it, in the environment that it was made for.

Whatever this imports must be installed there: Arrow, numpy, pandas, pydantic, and what the model's format needs.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import faulthandler
import json
from importlib.metadata import distributions
from typing import IO, Any

import numpy as np
import pyarrow as pa

from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import DefinitionError, ModelBlocked
from tasks.core.models.adapters import open_adapters
from tasks.core.models.elsewhere.wire import Header, packed, read
from tasks.core.models.formats import get_format
from tasks.core.models.loading import MISSING, libraries, open_here
from tasks.core.models.model_version import ModelManifest, ModelVersion, Signature
from tasks.core.models.prediction import METHODS, LoadedModel, PredictRaised, arrow_stream, kinds_of_prediction, predict
from tasks.core.storage import Folder

# The parent ends a child that is late. Of a parent that was killed nothing comes, and a model may hold the interpreter
# so that no thread of it notices: then this ends it.
_GRACE_SECONDS = 30


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers one request after the other, until nobody is left to ask."""
    served = _Served()
    while _answer_next(served, requests, answers):
        pass


def _answer_next(served: _Served, requests: IO[bytes], answers: IO[bytes]) -> bool:
    def exactly(size: int) -> bytes:
        content = requests.read(size)
        if len(content) < size:
            raise EOFError
        return content

    try:
        request, body = read(exactly)
    except EOFError:
        return False
    faulthandler.dump_traceback_later(request["seconds"] + _GRACE_SECONDS, exit=True)
    header, content = served.answer(request, body)
    faulthandler.cancel_dump_traceback_later()
    answers.write(packed(header, len(content)))
    answers.write(content)
    answers.flush()
    return True


class _Served:
    """The model of this process, as soon as it is loaded."""

    model: LoadedModel

    def answer(self, request: Header, body: bytes) -> tuple[Header, Any]:
        try:
            return getattr(self, f"do_{request['do']}")(request, body)  # type: ignore[no-any-return]
        except (ModelBlocked, DefinitionError) as error:
            return _told(error, failed=error.failed, state=error.state, next_step=error.next_step), b""
        except PredictRaised as error:
            return _told(error, failed=error.message), b""
        except MemoryError as error:
            return _told(error, failed=str(error)), b""
        except Exception as error:  # noqa: BLE001 - the parent raises it
            return {"raised": {"kind": "Exception", "failed": f"{type(error).__name__}: {error}"}}, b""

    def do_load(self, request: Header, content: bytes) -> tuple[Header, Any]:
        signature = Signature.model_validate(request["signature"])
        adapters = open_adapters(signature.adapter, signature.output_adapter, Folder(request["project"]))
        try:
            opened = open_here(signature.format, content, request["allowed_types"])
        except (ModelBlocked, DefinitionError) as error:
            lacks = _missing(signature.format)
            return {
                **_told(error, failed=error.failed, state=error.state, next_step=error.next_step),
                "missing": lacks,
            }, b""
        self.model = LoadedModel(_version(request, signature), opened.estimator, adapters=adapters)
        return {"warnings": opened.warnings, "libraries": opened.libraries, **_facts(opened.estimator)}, b""

    def do_predict(self, request: Header, batch: bytes) -> tuple[Header, Any]:
        outputs = {name: Prediction.model_validate(each) for name, each in request["outputs"].items()}
        scored = predict(self.model, pa.ipc.open_stream(batch).read_all(), outputs)
        return {}, arrow_stream(scored)

    def do_kind(self, _request: Header, batch: bytes) -> tuple[Header, Any]:
        """Of what numpy type `predict` is: b, i, f, U, ..."""
        return {"kind": kinds_of_prediction(self.model, pa.ipc.open_stream(batch).read_all())[""]}, b""

    def do_packages(self, _request: Header, _body: bytes) -> tuple[Header, Any]:
        """Every distribution that is installed here, with its version."""
        return {"packages": {each.name.lower(): each.version for each in distributions()}}, b""

    def do_types_to_accept(self, request: Header, content: bytes) -> tuple[Header, Any]:
        return {"types": get_format(request["format"]).types_to_accept(content)}, b""


def _facts(estimator: Any) -> Header:
    """What registration asks of an estimator: what it is, what it can do, and what it says of its inputs and classes."""
    said: Header = {}
    for name in ("classes_", "feature_names_in_", "n_features_in_"):
        with contextlib.suppress(Exception):
            values = np.asarray(getattr(estimator, name)).tolist()
            json.dumps(values)
            said[name] = values
    return {"methods": [name for name in METHODS if hasattr(estimator, name)], "said": said}


def _told(error: Exception, **parts: str) -> Header:
    return {"raised": {"kind": type(error).__name__, **parts}}


def _missing(format_name: str) -> list[str]:
    """What a format needs and is not installed here."""
    try:
        found = libraries(get_format(format_name))
    except DefinitionError as error:
        return [getattr(error.__cause__, "name", format_name)]
    return [package for package, number in found.items() if number == MISSING]


def _version(request: Header, signature: Signature) -> ModelVersion:
    """What `predict` asks of a version: what it is called, and what it takes. The parent has checked its files."""
    manifest = ModelManifest.model_construct(
        name=request["name"],
        version=request["version"],
        registered_at=dt.datetime.min.replace(tzinfo=dt.UTC),
        registered_by="",
        files={},
        environment={},
    )
    return ModelVersion(manifest, signature)
