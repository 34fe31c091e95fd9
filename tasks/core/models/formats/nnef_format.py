"""NNEF archives: a graph as text (graph.nnef) and a .dat file a tensor, as a tar or a tgz. Kept in the registry as ONNX.

Nothing is unpacked: the archive's members are read in memory, and a tensor that the graph names is looked up among
them, so no path in either can lead anywhere. Links and bombs are refused.

NNEF writes the number of rows into a graph, mostly as 1. It is left open in what is made of it, so that any number of
rows can be scored at once; a graph that depends on it does not score its probe rows alike, and is refused there.
"""

from __future__ import annotations

import gzip
import importlib
import io
import math
import re
import tarfile
import zlib
from collections.abc import Collection
from typing import Any

from tasks.core.models.formats.onnx_format import FORMAT as ONNX
from tasks.core.models.formats.refusals import unreadable
from tasks.core.models.model_version import InputSchema

# By name: the packages are an extra, and what is missing is said by get_format.
_nnef: Any = importlib.import_module("nnef")
_reader: Any = importlib.import_module("nnef_tools.io.nnef.reader")
_converter: Any = importlib.import_module("nnef_tools.conversion.nnef_to_onnx")
_writer: Any = importlib.import_module("nnef_tools.io.onnx.writer")
_GRAPH, _QUANTIZATION = "graph.nnef", "graph.quant"
_MOST_BYTES = 1 << 29  # Unpacked: half a GiB.
_MOST_FILES = 10_000
_MOST_CELLS = _MOST_BYTES // 8
_DEEPEST = 50
_BRACKETS = re.compile(r"[\[\](){}]")
_GZIP = b"\x1f\x8b"
_IR_VERSION, _OPSET = 6, 11  # What nnef-tools writes.


class NnefFormat:
    name = "nnef"
    packages = ONNX.packages
    probe_rtol = ONNX.probe_rtol

    def dump(self, model: Any, _inputs: InputSchema | None = None, /) -> bytes:
        raise unreadable(self.name, f"a {type(model).__name__} is not written as NNEF")

    def as_kept(self, data: bytes) -> tuple[str, bytes]:
        return ONNX.name, _as_onnx(_files_in(data))

    def load(self, data: bytes, allowed_types: Collection[str] = ()) -> Any:
        return ONNX.load(self.as_kept(data)[1], allowed_types)

    def types_in(self, data: bytes) -> list[str]:
        return ONNX.types_in(self.as_kept(data)[1])

    def types_to_accept(self, data: bytes) -> list[str]:
        return ONNX.types_to_accept(self.as_kept(data)[1])


FORMAT = NnefFormat()


class _Stream(io.BytesIO):
    """Bytes that nnef reads as a stream: of what can be sought it asks for the file's number."""

    def seekable(self) -> bool:
        return False


def _as_onnx(files: dict[str, bytes]) -> bytes:
    try:
        texts = [files.get(name, b"").decode() for name in (_GRAPH, _QUANTIZATION)]
        _check_nesting(texts)
        graph = _nnef.parse_string(texts[0], texts[1] or None)
        _fill(graph, files)
        _nnef.infer_shapes(graph)
        _check_sizes(graph)
        # nnef-tools reads folders by path alone; this is the part of its reader behind that.
        made = _writer.build_model(
            _converter.Converter()(_reader._build_graph(graph)),  # noqa: SLF001
            _IR_VERSION,
            _OPSET,
        )
        _leave_rows_open(made.graph)
    except Exception as error:
        raise unreadable("nnef", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}") from error
    return bytes(made.SerializeToString(deterministic=True))


def _check_nesting(texts: list[str]) -> None:
    """The parser calls itself for each bracket, and its stack has an end that takes the process with it."""
    for text in texts:
        opened = 0
        for bracket in _BRACKETS.findall(text):
            opened += 1 if bracket in "([{" else -1
            if opened > _DEEPEST:
                raise ValueError(f"more than {_DEEPEST} brackets stand in each other")


def _fill(graph: Any, files: dict[str, bytes]) -> None:
    """Puts its values into each variable of the graph."""
    for operation in graph.operations:
        if operation.name != "variable":
            continue
        file = f"{operation.attribs['label']}.dat"
        if file not in files:
            raise ValueError(f"there is no '{file}' in the archive")
        values = _nnef.read_tensor(_Stream(files[file]))
        if list(values.shape) != operation.attribs["shape"]:
            raise ValueError(f"'{file}' has the shape {list(values.shape)}, not {operation.attribs['shape']}")
        name = operation.outputs["output"]
        graph.tensors[name] = graph.tensors[name]._replace(shape=list(values.shape), data=values)


def _check_sizes(graph: Any) -> None:
    """A constant is a few bytes of text, whatever size it says it has."""
    cells = [math.prod(graph.tensors[op.outputs["output"]].shape) for op in graph.operations if op.name == "constant"]
    if sum(cells) > _MOST_CELLS:
        raise ValueError(f"its constants have more than {_MOST_CELLS:,} values")


def _leave_rows_open(graph: Any) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    for value in [*graph.input, *graph.output]:
        sizes = value.type.tensor_type.shape.dim
        if value.name not in constants and sizes and sizes[0].dim_value == 1:
            sizes[0].dim_param = "rows"


# -- the archive ----------------------------------------------------------------------------------------------------


def _files_in(data: bytes) -> dict[str, bytes]:
    """The archive's files, by their names beside graph.nnef; ModelBlocked for what is no plain file, or too much."""
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(data)), mode="r:") as archive:
            files = _contents(archive)
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError) as error:
        raise unreadable("nnef", f"its archive: {error}") from error
    folders = [name.removesuffix(_GRAPH) for name in files if name.rpartition("/")[2] == _GRAPH]
    if len(folders) != 1:
        raise unreadable("nnef", f"its archive holds {_GRAPH} {len(folders)} times")
    return {name.removeprefix(folders[0]): content for name, content in files.items() if name.startswith(folders[0])}


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(_GZIP):
        return data
    with gzip.open(io.BytesIO(data)) as packed:
        plain: bytes = packed.read(_MOST_BYTES + 1)
    if len(plain) > _MOST_BYTES:
        raise ValueError(f"it unpacks to more than {_MOST_BYTES:,} bytes")
    return plain


def _contents(archive: tarfile.TarFile) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = _MOST_BYTES
    while (member := archive.next()) is not None:
        if member.isdir():
            continue
        left -= member.size
        # A sparse file takes no room in the archive, and any amount outside of it.
        if not member.isreg() or member.issparse():
            raise ValueError(f"'{member.name}' is a link or another thing that is no plain file")
        if left < 0 or len(files) == _MOST_FILES:
            raise ValueError(f"it holds more than {_MOST_BYTES:,} bytes, or than {_MOST_FILES:,} files")
        name = _plain(member.name)
        if name in files:
            raise ValueError(f"'{name}' stands in it twice")
        content = archive.extractfile(member)
        files[name] = content.read() if content else b""
    return files


def _plain(name: str) -> str:
    parts = [part for part in name.split("/") if part != "."]
    if not all(parts) or ".." in parts:
        raise ValueError(f"'{name}' leads out of it")
    return "/".join(parts)
