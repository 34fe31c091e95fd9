"""joblib files: scikit-learn's own way, loaded through an unpickler that knows nothing but the allow-list.

A joblib file is not one pickle. Arrays lie between its opcodes as raw bytes, arrays of objects as pickles of their
own, so a reader of opcodes stops at the first nested end and misses what stands behind it. Here joblib's own reader
walks the file: once with a stand-in for every name, to list them all without running any, then with the names that
are allowed. The file is refused before its first name is called.
"""

from __future__ import annotations

import io
import lzma
import pickle  # noqa: TID251 - the name of what it raises
import re
import zlib
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib.numpy_pickle import NumpyArrayWrapper, NumpyPickler, NumpyUnpickler

from tasks.core.errors import ModelBlocked
from tasks.core.models.formats.allow_list import Misused, NotAllowed, is_allowed, is_forbidden, resolve
from tasks.core.models.formats.calls import Calls, Inert, check_added, check_appended, check_items, check_set, is_shape
from tasks.core.models.formats.refusals import cannot_be_kept, misused, not_here, refused, unreadable
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
        return _read(plain, lambda module, name: resolve(module, name, accepted), accepted)

    def types_in(self, data: bytes) -> list[str]:
        return sorted({f"{module}.{name}" for module, name in _names_in(_decompressed(data))})

    def types_to_accept(self, data: bytes) -> list[str]:
        return [name for name in self.types_in(data) if not is_allowed(name)]


FORMAT = JoblibFormat()


class _ArrayWrapper(NumpyArrayWrapper):  # type: ignore[misc]
    """Reads an array of objects with the guarded unpickler, whatever joblib does by itself."""

    def __setstate__(self, state: Any) -> None:
        """Takes what joblib writes, and no more: neither a method of the file's own nor a type that changes its mind."""
        if type(state) is not dict or not state.keys() <= _WRAPPER_KEYS:
            raise Misused("a joblib array with a state of its own")
        plain = type(state.get("order")) is str and type(state.get("numpy_array_alignment_bytes", 0)) in (
            int,
            type(None),
        )
        if not plain or not is_shape(state.get("shape")) or not issubclass(type(state.get("dtype")), np.dtype):
            raise Misused("a joblib array whose shape or type is not plain")
        self.__dict__.clear()
        self.__dict__.update(state)

    def read(self, unpickler: _Unpickler, ensure_native_byte_order: bool) -> Any:
        # With numpy 1 joblib would make an instance of the subclass, for which a stand-in may be here.
        return self.read_array(unpickler, ensure_native_byte_order)

    def read_array(self, unpickler: _Unpickler, ensure_native_byte_order: bool) -> Any:
        if self.dtype.hasobject:
            return _Unpickler(unpickler.file_handle, unpickler.find, unpickler.calls).load()
        return super().read_array(unpickler, ensure_native_byte_order)


_WRAPPER_KEYS = frozenset(("subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"))


class _Unpickler(NumpyUnpickler):  # type: ignore[misc]
    """joblib's reader, which gets every name from `find`, and never calls what could reach around it."""

    dispatch = NumpyUnpickler.dispatch.copy()

    def __init__(self, file: io.BytesIO, find: FindClass, calls: Calls) -> None:
        super().__init__("", file, ensure_native_byte_order=True)
        self.find = find
        self.calls = calls

    def find_class(self, module: str, name: str) -> Any:
        found = self.find(module, name)
        found = _INSTEAD.get(f"{module}.{name}", found)
        self.calls.note(module, name, found)
        return found

    def load_reduce(self) -> None:
        self.calls.check_call(self.stack[-2], self.stack[-1])
        super().load_reduce()

    def load_newobj(self) -> None:
        self.calls.check_new(self.stack[-2], self.stack[-1])
        super().load_newobj()

    def load_newobj_ex(self) -> None:
        self.calls.check_new(self.stack[-3], self.stack[-2], self.stack[-1])
        super().load_newobj_ex()

    def load_build(self) -> None:
        target, state = self.stack[-2], self.stack[-1]
        if isinstance(target, _DtypeRecipe):
            del self.stack[-2:]
            self._put_in_place_of(target, target.made_with(state))
            return
        self.calls.check_change(target, state)
        super().load_build()

    def _put_in_place_of(self, recipe: _DtypeRecipe, made: np.dtype[Any]) -> None:
        self.stack.append(made)
        for key, known in reversed(self.memo.items()):
            if known is recipe:
                self.memo[key] = made
                return

    def load_append(self) -> None:
        check_appended(self.stack[-2])
        super().load_append()

    def load_appends(self) -> None:
        check_appended(self.metastack[-1][-1])
        super().load_appends()

    def load_additems(self) -> None:
        check_added(self.metastack[-1][-1])
        super().load_additems()

    def load_setitem(self) -> None:
        check_set(self.stack[-3])
        check_items((self.stack[-2],))
        super().load_setitem()

    def load_setitems(self) -> None:
        check_set(self.metastack[-1][-1])
        check_items(self.stack[::2])
        super().load_setitems()

    def load_dict(self) -> None:
        check_items(self.stack[::2])
        super().load_dict()

    def load_legacy(self) -> None:
        raise Misused("an instruction that no current Python writes")


for _opcode, _handler in {
    b"R": _Unpickler.load_reduce,
    b"\x81": _Unpickler.load_newobj,
    b"\x92": _Unpickler.load_newobj_ex,
    b"b": _Unpickler.load_build,
    b"a": _Unpickler.load_append,
    b"e": _Unpickler.load_appends,
    b"\x90": _Unpickler.load_additems,
    b"s": _Unpickler.load_setitem,
    b"u": _Unpickler.load_setitems,
    b"d": _Unpickler.load_dict,
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
            raise Misused(f"numpy.dtype of {code!r}")
        self.code = code

    def made_with(self, state: Any) -> np.dtype[Any]:
        _, order, subarray, names, fields, size, _, flags, *unit = state
        if subarray is not None:
            base, shape = subarray
            if not issubclass(type(base), np.dtype) or not is_shape(shape):
                raise Misused("a numpy.dtype of what is no type and shape")
            return np.dtype((base, shape))
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
    return f"[{int(count)}{bytes.decode(name)}]"


def _latin1(text: str, _encoding: str) -> bytes:
    # Protocol 2 writes bytes as text. The real function knows encodings that are programs.
    return text.encode("latin1")


_INSTEAD: dict[str, Any] = {
    "_codecs.encode": _latin1,
    "joblib.numpy_pickle.NumpyArrayWrapper": _ArrayWrapper,
    "numpy.dtype": _DtypeRecipe,
}


def _names_in(plain: bytes) -> list[tuple[str, str]]:
    """Every (module, name) that the file looks up, in its order."""
    found: dict[tuple[str, str], Any] = {}

    def stand_in(module: str, name: str) -> Any:
        full_name = f"{module}.{name}"
        if (module, name) not in found:
            found[module, name] = type(full_name, (Inert,), {})
        return found[module, name]

    try:
        _read(plain, stand_in)
    except ModelBlocked as error:
        # What cloudpickle wrote cannot even be listed with stand-ins, and this is not why it is refused.
        if never := [name for name in (".".join(one) for one in found) if is_forbidden(name)]:
            raise refused(never) from error
        raise
    return list(found)


def _read(plain: bytes, find: FindClass, accepted: Collection[str] = ()) -> Any:
    file = io.BytesIO(plain)
    try:
        model = _Unpickler(file, find, Calls(accepted)).load()
    except Misused as error:
        raise misused(error.type_name) from error
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
