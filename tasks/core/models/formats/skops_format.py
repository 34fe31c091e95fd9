"""skops files: a tree of types and values that is audited as a whole before any of it is made. No pickle.

What skops trusts by itself is little: trees are not among it, because scikit-learn follows the numbers inside them
without looking. Every other type must stand in the job's own allowed_types. Of the attributes that the tree gives to
objects skops asks nothing, so these are looked through here.
"""

from __future__ import annotations

import importlib
import io
import json
import zipfile
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from tasks.core.models.formats.allow_list import Misused, is_forbidden
from tasks.core.models.formats.refusals import misused, refused, unreadable
from tasks.core.models.formats.special_names import is_read_as_memory
from tasks.core.models.formats.unpacking import check_zip

if TYPE_CHECKING:
    from tasks.core.models.model_version import InputSchema

# By name: the package is an extra, and what is missing is said by get_format.
_skops: Any = importlib.import_module("skops.io")
_SCHEMA = "schema.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # The earliest that a zip file can say.


class SkopsFormat:
    name = "skops"
    packages = ("scikit-learn", "numpy", "scipy", "skops")
    probe_rtol = 1e-9

    def dump(self, model: Any, _inputs: InputSchema | None = None, /) -> bytes:
        return _without_addresses(_skops.dumps(model))

    def as_kept(self, data: bytes) -> tuple[str, bytes]:
        return self.name, data

    def load(self, data: bytes, allowed_types: Collection[str] = ()) -> Any:
        accepted = {name for name in allowed_types if not is_forbidden(name)}
        if unknown := [name for name in self.types_to_accept(data) if name not in accepted]:
            raise refused(unknown)
        try:
            return _skops.loads(data, trusted=sorted(accepted))
        except Exception as error:
            raise unreadable(self.name, f"{type(error).__name__}: {error}") from error

    def types_in(self, data: bytes) -> list[str]:
        try:
            schema = _checked_schema(data)
            return sorted({f"{node['__module__']}.{node['__class__']}" for node in _nodes(schema)})
        except Misused as error:
            raise misused(error.type_name) from error
        except Exception as error:
            raise unreadable(self.name, f"{type(error).__name__}: {error}") from error

    def types_to_accept(self, data: bytes) -> list[str]:
        try:
            _checked_schema(data)
            return list(_skops.get_untrusted_types(data=data))
        except Misused as error:
            raise misused(error.type_name) from error
        except Exception as error:
            raise unreadable(self.name, f"{type(error).__name__}: {error}") from error


FORMAT = SkopsFormat()


def _checked_schema(data: bytes) -> Any:
    """The file's tree, in which no object is said to be an array at an address."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        check_zip(file, len(data))
        schema = json.loads(file.read(_SCHEMA))
    for text in _texts(schema):
        if is_read_as_memory(text):
            raise Misused(f"an object that says of itself {text}")
    return schema


def _texts(part: Any) -> Iterator[str]:
    """Every text in a tree, keys among them, and in the JSON that stands in it as a text."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield key
            yield from _texts(value)
        if part.get("__loader__") == "JsonNode" and isinstance(part.get("content"), str):
            yield from _texts(json.loads(part["content"]))
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)
    elif isinstance(part, str):
        yield part


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """The records of a file's tree, each before its parts."""
    if isinstance(schema, dict):
        if "__class__" in schema and "__module__" in schema:
            yield schema
        for part in schema.values():
            yield from _nodes(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _nodes(part)


def _without_addresses(data: bytes) -> bytes:
    """The same file with its parts numbered in their order.

    skops calls them by their addresses in memory and notes the hour, so that no two files of a model are alike.
    """
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w") as new:
        schema = json.loads(old.read(_SCHEMA))
        for node in _nodes(schema):
            if "__id__" in node:
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
            if "file" in node:
                ending = node["file"].rpartition(".")[2]
                node["file"] = files.setdefault(node["file"], f"{len(files) + 1}.{ending}")
        for old_name, new_name in files.items():
            new.writestr(zipfile.ZipInfo(new_name, _EPOCH), old.read(old_name))
        new.writestr(zipfile.ZipInfo(_SCHEMA, _EPOCH), json.dumps(schema))
    return packed.getvalue()
