"""joblib files: scikit-learn's own way, loaded through an unpickler that knows nothing but the allow-list.

A joblib file is not one pickle. Arrays lie between its opcodes as raw bytes, arrays of objects as pickles of their
own, so a reader of opcodes stops at the first nested end and misses what stands behind it. Here joblib's own reader
walks the file: once with a stand-in for every name, to list them all without running any, then with the names that
are allowed. The file is refused before its first name is called.
"""

from __future__ import annotations

import functools
import io
import lzma
import math
import pickle  # noqa: TID251 - the name of what it raises
import re
import types
import zlib
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib.numpy_pickle import NumpyArrayWrapper, NumpyPickler, NumpyUnpickler

from tasks.core.errors import ModelBlocked
from tasks.core.models.formats.allow_list import NotAllowed, is_allowed, is_forbidden, may_be_partial, resolve
from tasks.core.models.formats.refusals import cannot_be_kept, not_here, refused, unreadable
from tasks.core.models.formats.unpacking import unpacked

if TYPE_CHECKING:
    from tasks.core.models.model_version import InputSchema

_PROTOCOL = 5  # Fixed, so that another Python writes the same bytes.
FindClass = Callable[[str, str], Any]


class JoblibFormat:
    name = "joblib"
    packages = ("scikit-learn", "numpy", "scipy", "pandas", "joblib")
    probe_rtol = 1e-9

    def dump(self, model: Any, _inputs: InputSchema | None = None, /) -> bytes:
        file = io.BytesIO()
        try:
            NumpyPickler(file, protocol=_PROTOCOL).dump(model)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise cannot_be_kept(self.name, model, error) from error
        return file.getvalue()

    def as_kept(self, data: bytes) -> tuple[str, bytes]:
        return self.name, data

    def load(self, data: bytes, allowed_types: Collection[str] = ()) -> Any:
        plain = _decompressed(data)
        accepted = frozenset(allowed_types)
        _refuse_unlisted(_names_in(plain), accepted)
        return _read(plain, lambda module, name: resolve(module, name, accepted))

    def types_in(self, data: bytes) -> list[str]:
        return sorted({f"{module}.{name}" for module, name in _names_in(_decompressed(data))})

    def types_to_accept(self, data: bytes) -> list[str]:
        return [name for name in self.types_in(data) if not is_allowed(name)]


FORMAT = JoblibFormat()


class _ArrayWrapper(NumpyArrayWrapper):  # type: ignore[misc]
    """Reads an array of objects with the guarded unpickler, whatever joblib does by itself."""

    def read(self, unpickler: _Unpickler, ensure_native_byte_order: bool) -> Any:
        # With numpy 1 joblib would make an instance of the subclass, for which a stand-in may be here.
        return self.read_array(unpickler, ensure_native_byte_order)

    def read_array(self, unpickler: _Unpickler, ensure_native_byte_order: bool) -> Any:
        if self.dtype.hasobject:
            return _Unpickler(unpickler.file_handle, unpickler.find).load()
        return super().read_array(unpickler, ensure_native_byte_order)


class _Unpickler(NumpyUnpickler):  # type: ignore[misc]
    """joblib's reader, which gets every name from `find`, and never calls what could reach around it."""

    dispatch = NumpyUnpickler.dispatch.copy()

    def __init__(self, file: io.BytesIO, find: FindClass) -> None:
        super().__init__("", file, ensure_native_byte_order=True)
        self.find = find

    def find_class(self, module: str, name: str) -> Any:
        found = self.find(module, name)
        return _INSTEAD.get(f"{module}.{name}", found)

    def load_reduce(self) -> None:
        _check_call(self.stack[-2], self.stack[-1])
        super().load_reduce()

    def load_newobj(self) -> None:
        _check_call(self.stack[-2], self.stack[-1])
        super().load_newobj()

    def load_newobj_ex(self) -> None:
        _check_call(self.stack[-3], self.stack[-2])
        super().load_newobj_ex()

    def load_build(self) -> None:
        target, state = self.stack[-2], self.stack[-1]
        if isinstance(target, _DtypeRecipe):
            del self.stack[-2:]
            self._put_in_place_of(target, target.made_with(state))
            return
        _check_change(target, state)
        super().load_build()

    def _put_in_place_of(self, recipe: _DtypeRecipe, made: np.dtype[Any]) -> None:
        self.stack.append(made)
        for key, known in reversed(self.memo.items()):
            if known is recipe:
                self.memo[key] = made
                return

    def load_legacy(self) -> None:
        raise NotAllowed("an instruction that no current Python writes")


for _opcode, _handler in {
    b"R": _Unpickler.load_reduce,
    b"\x81": _Unpickler.load_newobj,
    b"\x92": _Unpickler.load_newobj_ex,
    b"b": _Unpickler.load_build,
    b"i": _Unpickler.load_legacy,  # INST and OBJ call a class, EXT1 to EXT4 take one from a table of the process.
    b"o": _Unpickler.load_legacy,
    b"\x82": _Unpickler.load_legacy,
    b"\x83": _Unpickler.load_legacy,
    b"\x84": _Unpickler.load_legacy,
}.items():
    _Unpickler.dispatch[_opcode[0]] = _handler


class _DtypeRecipe:
    """A numpy type between its two instructions: its code, and its parts. The type is made anew from both.

    numpy takes the parts at their word, and later changes of them too. With a type that hides the objects in it, bytes
    of the file would be taken for addresses.
    """

    def __init__(self, code: Any, *_align_and_copy: Any) -> None:
        if not isinstance(code, str) or not _DTYPE_CODE.fullmatch(code):
            raise NotAllowed(f"numpy.dtype of {code!r}")
        self.code = code

    def made_with(self, state: Any) -> np.dtype[Any]:
        _, order, subarray, names, fields, size, _, flags, *unit = state
        if subarray is not None:
            return np.dtype(tuple(subarray))
        if names is not None:
            parts = [fields[name] for name in names]
            formats, offsets = [part[0] for part in parts], [part[1] for part in parts]
            wanted: Any = {"names": list(names), "formats": formats, "offsets": offsets, "itemsize": size}
            made: np.dtype[Any] = np.dtype(wanted, align=bool(flags & _ALIGNED))
            return made
        return np.dtype(self.code + _time_unit(*unit)).newbyteorder(order)


_DTYPE_CODE = re.compile(r"[biufcmMOSUV]\d*")
_ALIGNED = 0x80


def _time_unit(metadata: Any = None) -> str:
    """Of datetime64 and timedelta64: '[25us]'."""
    if metadata is None:
        return ""
    name, count, *_ = metadata[1]
    return f"[{int(count)}{name.decode()}]"


def _latin1(text: str, _encoding: str) -> bytes:
    # Protocol 2 writes bytes as text. The real function knows encodings that are programs.
    return text.encode("latin1")


_INSTEAD: dict[str, Any] = {
    "_codecs.encode": _latin1,
    "joblib.numpy_pickle.NumpyArrayWrapper": _ArrayWrapper,
    "numpy.dtype": _DtypeRecipe,
}


def _check_call(function: Any, arguments: Any) -> None:
    """Refuses calls of allowed names that take bytes for something else."""
    if type(arguments) is not tuple:
        # What is checked here must be what is called with.
        raise NotAllowed("a call whose arguments are no tuple")
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    first = arguments[0] if arguments else None
    if function is np.ndarray:
        # np.ndarray(shape, object, buffer) takes raw bytes for addresses of objects.
        raise NotAllowed("numpy.ndarray called as a function")
    if function is functools.partial and not may_be_partial(first):
        raise NotAllowed(f"functools.partial of {getattr(first, '__qualname__', first)}")
    if name == "numpy._core.multiarray.scalar" and getattr(first, "names", None):
        raise NotAllowed("a numpy scalar with fields")
    if name == "numpy._core.numeric._frombuffer" and type(first) not in (bytes, bytearray):
        raise NotAllowed("an array that shares the memory of another")


def _check_change(target: Any, state: Any) -> None:
    """Refuses state for what has its state already, or is no file's to change."""
    if isinstance(target, type | types.FunctionType | types.BuiltinFunctionType | types.ModuleType | np.dtype):
        # State set on a class would change it for the whole process.
        raise NotAllowed(f"a change of {getattr(target, '__name__', target)!r} itself")
    if isinstance(target, np.ndarray):
        _check_array_state(target, state)
    if isinstance(target, functools.partial):
        _check_call(functools.partial, state)


def _check_array_state(target: np.ndarray[Any, Any], state: Any) -> None:
    if target.size:
        raise NotAllowed("a change of an array that is in use")
    shape, _, _, values = state[1:5] if len(state) > _OLD_STATE else state
    if type(state) is not tuple or (isinstance(values, list) and len(values) != math.prod(shape)):
        # numpy does not count the objects of the list, and reads on behind its end.
        raise NotAllowed("an array of objects with fewer objects than its shape says")


_OLD_STATE = 4  # Entries, before the version was the first of them.


class _Inert:
    """What stands in for a named thing while a file is only listed: takes everything, does nothing."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None: ...

    def __call__(self, *_args: Any, **_kwargs: Any) -> _Inert:
        return self

    def __setstate__(self, _state: Any) -> None: ...

    def __setitem__(self, _key: Any, _value: Any) -> None: ...

    def append(self, _item: Any) -> None: ...

    def extend(self, _items: Any) -> None: ...

    def add(self, _item: Any) -> None: ...


def _names_in(plain: bytes) -> list[tuple[str, str]]:
    """Every (module, name) that the file looks up, in its order."""
    found: dict[tuple[str, str], Any] = {}

    def stand_in(module: str, name: str) -> Any:
        full_name = f"{module}.{name}"
        if (module, name) not in found:
            found[module, name] = type(full_name, (_Inert,), {})
        return found[module, name]

    try:
        _read(plain, stand_in)
    except ModelBlocked as error:
        # What cloudpickle wrote cannot even be listed with stand-ins, and this is not why it is refused.
        if never := [name for name in (".".join(one) for one in found) if is_forbidden(name)]:
            raise refused(never) from error
        raise
    return list(found)


def _read(plain: bytes, find: FindClass) -> Any:
    file = io.BytesIO(plain)
    try:
        model = _Unpickler(file, find).load()
    except NotAllowed as error:
        raise refused([error.type_name]) from error
    except Exception as error:
        raise unreadable("joblib", f"{type(error).__name__}: {error}") from error
    if left := len(plain) - file.tell():
        raise unreadable("joblib", f"{left} bytes stand behind the model's end")
    return model


def _decompressed(data: bytes) -> bytes:
    try:
        return unpacked(data)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise unreadable("joblib", f"it cannot be decompressed: {error}") from error


def _refuse_unlisted(names: list[tuple[str, str]], accepted: frozenset[str]) -> None:
    unknown = []
    for module, name in names:
        try:
            resolve(module, name, accepted)
        except NotAllowed as error:
            unknown.append(error.type_name)
        except (Exception, SystemExit) as error:
            # A module of somebody's own raises what it likes.
            raise not_here("joblib", f"{module}.{name}", error) from error
    if unknown:
        raise refused(unknown)
