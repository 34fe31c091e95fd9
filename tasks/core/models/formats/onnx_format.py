"""ONNX files: of any framework and language that exports them, scored by onnxruntime. No code of the file's own is run.

The file's operators are its types, as 'domain.Op': those of the standard (ai.onnx, ai.onnx.ml) need nobody's word,
others that onnxruntime has, such as com.microsoft.Gelu, the job's. Numbers are mostly float32: the same bits come out
for the same batch on the same kind of processor, and a score is off by about 1e-6 elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

from tasks.core.errors import ModelBlocked
from tasks.core.models.formats.onnx_conversion import converted
from tasks.core.models.formats.onnx_estimator import estimator
from tasks.core.models.formats.onnx_file import OnnxFile
from tasks.core.models.formats.refusals import refused, unreadable
from tasks.core.models.model_version import InputSchema


class OnnxFormat:
    name = "onnx"
    packages = ("onnxruntime",)
    probe_rtol = 1e-5

    def dump(self, model: Any, inputs: InputSchema | None = None, /) -> bytes:
        return converted(model, inputs)

    def as_kept(self, data: bytes) -> tuple[str, bytes]:
        return self.name, data

    def load(self, data: bytes, allowed_types: Collection[str] = ()) -> Any:
        with _readable():
            file = OnnxFile(data)
            file.check()
            if unknown := [name for name in file.operators_to_accept() if name not in allowed_types]:
                raise refused(unknown)
            return estimator(file)

    def types_in(self, data: bytes) -> list[str]:
        with _readable():
            return OnnxFile(data).operators()

    def types_to_accept(self, data: bytes) -> list[str]:
        with _readable():
            file = OnnxFile(data)
            file.check()
            return file.operators_to_accept()


FORMAT = OnnxFormat()


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """A file may be broken anywhere: a name that is no text is noticed only when it is asked for."""
    try:
        yield
    except ModelBlocked:
        raise
    except Exception as error:
        raise unreadable("onnx", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}") from error
