"""What an ONNX file may hold. It is parsed, judged and written anew before onnxruntime sees a byte of it.

An ONNX file names operators, and no code. What could reach out of it is refused: tensors that lie in other files (or, as
onnxruntime has it, at an address in memory), operators that only a library of somebody's own knows, and functions that
call each other until their expansion fills the memory.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from tasks.core.errors import ModelBlocked
from tasks.core.models.formats.refusals import unreadable

# By name: the packages are an extra, and what is missing is said by get_format.
_onnx: Any = importlib.import_module("onnx")
_runtime: Any = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
_STANDARD = frozenset({"ai.onnx", "ai.onnx.ml"})
_LARGEST_BYTES = 2**31 - 1  # What a protobuf message can hold.
_MOST_NODES = 1_000_000  # With every function written out.
# They change the shape of a value or its type, and not what it is.
_CARRY_ON = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
Node = tuple[str, str]


class OnnxFile:
    """A file that could be parsed, without a field that is unknown here. Whatever onnx raises passes."""

    def __init__(self, data: bytes) -> None:
        if len(data) > _LARGEST_BYTES:
            raise unreadable("onnx", f"it has {len(data):,} bytes, and an ONNX file has at most {_LARGEST_BYTES:,}")
        self.model = _onnx.ModelProto()
        self.model.ParseFromString(data)
        self.model.DiscardUnknownFields()

    def __reduce__(self) -> tuple[Any, ...]:
        return OnnxFile, (self.data,)

    @property
    def data(self) -> bytes:
        """What was looked at, written anew: nothing that was not is in it."""
        return bytes(self.model.SerializeToString(deterministic=True))

    # -- what it uses -----------------------------------------------------------------------------------------------

    def operators(self) -> list[str]:
        """Every operator that the file uses and does not define itself, as 'domain.Op'."""
        own = {_key(function.domain, function.name) for function in self.model.functions}
        used = {_key(node.domain, node.op_type) for node in _nodes(self.model)}
        return sorted(f"{domain}.{name}" for domain, name in used - own)

    def operators_to_accept(self) -> list[str]:
        """Those that no standard of ONNX has."""
        return [name for name in self.operators() if name.rpartition(".")[0] not in _STANDARD]

    def check(self) -> None:
        """ModelBlocked for what nobody can accept: a file that reaches out, or is no valid ONNX."""
        _check_closed(self.model)
        _check_known(self.operators_to_accept())
        _check_functions(self.model)
        try:
            _onnx.checker.check_model(self.model)
        except Exception as error:
            raise unreadable("onnx", " ".join(str(error).split())[:300]) from error

    # -- what it says of itself -------------------------------------------------------------------------------------

    @cached_property
    def classes(self) -> tuple[Any, ...] | None:
        """The classes that its metadata names under 'classes', as a JSON list; None where it names none."""
        return self._list_in_metadata("classes", (bool, int, str))

    @cached_property
    def features(self) -> list[str]:
        """The columns that its metadata names under 'features', as a JSON list, in the order of its one input."""
        return list(self._list_in_metadata("features", (str,)) or ())

    def made_by(self, output: str) -> Any:
        """The node that makes a value, past those that change only its shape or type; None for an input."""
        makers = {name: node for node in self.model.graph.node for name in node.output}
        node = makers.get(output)
        while node is not None and node.op_type in _CARRY_ON and node.input:
            node = makers.get(node.input[0])
        return node

    def zipped_classes(self, output: str) -> tuple[Any, ...] | None:
        """The keys of an output that is a sequence of maps from class to probability."""
        return _names_in(self.made_by(output), ("classlabels_int64s", "classlabels_strings"))

    def classes_of_label(self, label: str) -> tuple[Any, ...] | None:
        """The classes of the classifier (of ai.onnx.ml) that makes the label."""
        return _names_in(self.made_by(label), ("classlabels_ints", "classlabels_int64s", "classlabels_strings"))

    def _list_in_metadata(self, key: str, kinds: tuple[type, ...]) -> tuple[Any, ...] | None:
        found = {entry.key: entry.value for entry in self.model.metadata_props}
        if key not in found:
            return None
        try:
            names = json.loads(found[key])
        except ValueError:
            names = None
        one_kind = isinstance(names, list) and len({type(name) for name in names}) == 1
        if not one_kind or type(names[0]) not in kinds or len(set(names)) != len(names):
            raise unreadable("onnx", f"its metadata '{key}' must be a JSON list of different names, all of one kind")
        return tuple(names)


def _names_in(node: Any, attributes: Sequence[str]) -> tuple[Any, ...] | None:
    for attribute in node.attribute if node is not None else ():
        if attribute.name in attributes and (attribute.ints or attribute.strings):
            return tuple(attribute.ints) or tuple(name.decode() for name in attribute.strings)
    return None


def _check_closed(model: Any) -> None:
    if outside := [each.name for each in _each(model, "TensorProto") if each.external_data or each.data_location]:
        raise ModelBlocked(
            f"the model's file keeps tensors outside of itself: {', '.join(map(repr, outside[:5]))}",
            state="nothing outside of it was read",
            next_step="export it as one file (torch.onnx.export: external_data=False; onnx: load it, then save it)",
        )


def _check_known(operators: Sequence[str]) -> None:
    known = {f"{_domain(each.domain)}.{each.name}" for each in _runtime.get_all_operator_schema()}
    if strange := [name for name in operators if name not in known]:
        raise ModelBlocked(
            f"the model's file uses operators that only a library beside onnxruntime knows: {', '.join(strange)}",
            state="nothing in the file was run, and no library is loaded for it",
            next_step="export the model with the standard operators of ONNX",
        )


def _check_functions(model: Any) -> None:
    """ModelBlocked where a function calls itself, or functions of functions come to more nodes than a model has."""
    called: dict[Node, list[Node]] = {
        _key(function.domain, function.name): [_key(node.domain, node.op_type) for node in _nodes(function)]
        for function in model.functions
    }
    sizes: dict[Node, int] = {}
    waiting = dict(called)
    while ready := [key for key, calls in waiting.items() if not any(call in waiting for call in calls)]:
        for key in ready:
            sizes[key] = sum(sizes.get(call, 1) for call in waiting.pop(key))
    nodes = sum(sizes.get(_key(node.domain, node.op_type), 1) for node in _nodes(model.graph))
    if waiting or nodes > _MOST_NODES:
        raise unreadable("onnx", f"its functions call each other in a circle, or come to over {_MOST_NODES:,} nodes")


def _nodes(message: Any) -> Iterator[Any]:
    return _each(message, "NodeProto")


def _each(message: Any, kind: str) -> Iterator[Any]:
    """Every message of a kind within another, wherever the format has a place for it."""
    if message.DESCRIPTOR.name == kind:
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "DESCRIPTOR") else value:
                yield from _each(part, kind)


def _key(domain: str, name: str) -> Node:
    return _domain(domain), name


def _domain(domain: str) -> str:
    return domain or "ai.onnx"
