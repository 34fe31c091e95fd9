"""What the instructions of a joblib file may do with what it names.

To stand on the list of names is not to be called: a file may call only what scikit-learn's, numpy's and scipy's own
pickles call, and with such arguments as these have. Instructions change only what the file itself has made.
"""

from __future__ import annotations

import collections
import datetime
import functools
import math
import types
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from tasks.core.models.formats.allow_list import Misused, canonical_name, is_called_by_files, may_be_partial
from tasks.core.models.formats.special_names import is_read_as_memory, is_special

_DEPTH = 4  # How deep a state holds the dicts that become attributes.
_OLD_STATE = 4  # Entries of an array's state, before the version was the first of them.


class Inert:
    """What stands in for a named thing while a file is only listed: takes everything, does nothing."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None: ...

    def __call__(self, *_args: Any, **_kwargs: Any) -> Inert:
        return self

    def __setstate__(self, _state: Any) -> None: ...

    def __setitem__(self, _key: Any, _value: Any) -> None: ...

    def append(self, _item: Any) -> None: ...

    def extend(self, _items: Any) -> None: ...

    def add(self, _item: Any) -> None: ...


class Calls:
    """The things that one file has named, and the checks of what it does with them."""

    def __init__(self, accepted: Collection[str] = ()) -> None:
        self._accepted = accepted
        self._names: dict[int, str] = {}
        self._found: list[Any] = []  # Kept, so that no other thing gets the address of one.

    def note(self, module: str, name: str, found: Any) -> None:
        """The file has named this. Of two names for one thing the one that may be called counts."""
        full_name = canonical_name(module, name)
        self._found.append(found)
        if not self._may_call(self._names.get(id(found), "")):
            self._names[id(found)] = full_name

    def check_call(self, function: Any, arguments: Any) -> None:
        """Of REDUCE: only what stands on the list of what is called, with plain arguments."""
        self._check_arguments(function, arguments)
        name = self._names.get(id(function), "")
        if _is_inert(function) or name in self._accepted:
            return
        if check := _CHECKS.get(name):
            check(arguments)
        if not is_called_by_files(name):
            raise Misused(f"a call of {name or type(function).__name__}")
        for argument in arguments:
            if not self._is_plain(argument):
                raise Misused(f"a call of {name} with a {type(argument).__name__}")

    def check_new(self, cls: Any, arguments: Any, keywords: Any = None) -> None:
        """Of NEWOBJ and NEWOBJ_EX: scikit-learn's own are made empty, and get their state afterwards."""
        self._check_arguments(cls, arguments)
        if not issubclass(type(cls), type) or id(cls) not in self._names:
            raise Misused("an object of what is no class")
        if keywords is not None and type(keywords) is not dict:
            raise Misused("a call whose keywords are no dict")
        check_items(keywords or ())
        if _is_inert(cls) or self._names[id(cls)] in self._accepted:
            return
        if arguments or keywords or self._names[id(cls)].startswith("numpy.random."):
            # A random generator that is made empty has no state behind its pointer.
            raise Misused(f"a call of {self._names[id(cls)]}")

    def check_change(self, target: Any, state: Any) -> None:
        """Of BUILD. Refuses state for what has its state already, or is no file's to change."""
        if id(target) in self._names or isinstance(target, _SHARED):
            # State set on a class would change it for the whole process.
            raise Misused(f"a change of {getattr(target, '__name__', target)!r} itself")
        if "__setstate__" in getattr(target, "__dict__", ()):
            raise Misused("an object with a __setstate__ of the file's own")
        if isinstance(target, np.ndarray):
            _check_array_state(target, state)
            return
        ours = self._is_ours(type(target))
        if not ours and type(state) not in (dict, tuple, types.NoneType):
            raise Misused(f"a state that is a {type(state).__name__}")
        _refuse_keys(state, is_read_as_memory if ours else is_special)
        if isinstance(target, functools.partial):
            self._check_arguments(functools.partial, state)
            _check_partial(state)

    def _check_arguments(self, function: Any, arguments: Any) -> None:
        if type(arguments) is not tuple:
            # What is checked here must be what is called with.
            raise Misused("a call whose arguments are no tuple")
        if function is np.ndarray:
            # np.ndarray(shape, object, buffer) takes raw bytes for addresses of objects.
            raise Misused("numpy.ndarray called as a function")

    def _is_ours(self, cls: type) -> bool:
        """Whether a person has allowed this class, or what makes its objects: its state is its own affair."""
        if name := self._names.get(id(cls)):
            return _is_inert(cls) or name in self._accepted
        return cls.__module__.partition(".")[0] not in _LIBRARIES

    def _may_call(self, name: str) -> bool:
        return name in self._accepted or is_called_by_files(name)

    def _is_plain(self, value: Any) -> bool:
        """Whether this is a value or a name, and no object that the file has given a state of its choice."""
        return type(value) in _PLAIN or issubclass(type(value), _PLAIN_KINDS) or id(value) in self._names


_SHARED = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, np.dtype, np.ufunc)
_LIBRARIES = frozenset(
    ("builtins", "collections", "datetime", "functools", "joblib", "numpy", "pandas", "scipy", "sklearn")
)
_PLAIN = frozenset(
    (types.NoneType, bool, int, float, complex, str, bytes, bytearray, tuple, list, dict, set, frozenset, np.ndarray)
)
_PLAIN_KINDS = (np.dtype, np.generic, np.random.BitGenerator, datetime.timedelta, datetime.timezone)


def _is_inert(found: Any) -> bool:
    return isinstance(found, Inert) or (isinstance(found, type) and issubclass(found, Inert))


def check_appended(target: Any) -> None:
    """Of APPEND and APPENDS, which call whatever a file has put in the place of a method."""
    if not isinstance(target, list | collections.deque | Inert) or _has(target, "append", "extend"):
        raise Misused(f"items for a {type(target).__name__}")


def check_added(target: Any) -> None:
    """Of ADDITEMS."""
    if not isinstance(target, set | Inert) or _has(target, "add"):
        raise Misused(f"items for a {type(target).__name__}")


def check_set(target: Any) -> None:
    """Of SETITEM and SETITEMS."""
    if not isinstance(target, dict | Inert):
        raise Misused(f"items for a {type(target).__name__}")


def check_items(keys: Collection[Any]) -> None:
    """Keys of a dict, which may become attributes of an object."""
    for key in keys:
        if is_read_as_memory(key):
            raise Misused(f"an object that says of itself {key}")


def _has(target: Any, *names: str) -> bool:
    return any(name in getattr(target, "__dict__", ()) for name in names)


def _refuse_keys(state: Any, is_refused: Callable[[object], bool], depth: int = _DEPTH) -> None:
    if isinstance(state, dict):
        for key in state:
            if is_refused(key):
                raise Misused(f"an object that says of itself {key}")
    elif isinstance(state, tuple | list) and depth:
        for part in state:
            # Pairs can stand for a dict.
            if is_read_as_memory(part):
                raise Misused(f"an object that says of itself {part}")
            _refuse_keys(part, is_refused, depth - 1)


# -- numpy -----------------------------------------------------------------------------------------------------------


def is_shape(shape: Any) -> bool:
    """Whether this is a tuple of Python's own numbers: numpy's wrap around when they are multiplied."""
    return type(shape) is tuple and all(type(length) is int and length >= 0 for length in shape)


def _check_array_state(target: np.ndarray[Any, Any], state: Any) -> None:
    if target.size:
        raise Misused("a change of an array that is in use")
    if type(state) is not tuple:
        raise Misused("an array whose state is no tuple")
    shape, dtype, _, values = state[1:5] if len(state) > _OLD_STATE else state
    if not is_shape(shape) or not issubclass(type(dtype), np.dtype):
        raise Misused("an array whose shape or type is not plain")
    if type(values) is list:
        if len(values) != math.prod(shape):
            # numpy does not count the objects of the list, and reads on behind its end.
            raise Misused("an array of objects with fewer objects than its shape says")
    elif type(values) is not bytes:
        raise Misused("an array of what is neither bytes nor a list")


def _check_empty_array(arguments: tuple[Any, ...]) -> None:
    *classes, shape, code = arguments
    if not all(issubclass(type(each), type) and issubclass(each, np.ndarray) for each in classes):
        raise Misused("an array of what is no class of arrays")
    if not is_shape(shape) or shape != (0,) or type(code) not in (bytes, str) or code not in (b"b", "b"):
        raise Misused("an array that is made with a shape")


def _check_scalar(arguments: tuple[Any, ...]) -> None:
    dtype = arguments[0]
    if not issubclass(type(dtype), np.dtype) or dtype.hasobject or dtype.names or dtype.subdtype:
        raise Misused("a numpy scalar with fields")
    if [type(one) for one in arguments[1:]] != [bytes]:
        raise Misused("a numpy scalar of what is no bytes")


def _check_frombuffer(arguments: tuple[Any, ...]) -> None:
    if type(arguments[0]) not in (bytes, bytearray):
        raise Misused("an array that shares the memory of another")


# -- what else is called --------------------------------------------------------------------------------------------


def _check_partial(arguments: tuple[Any, ...]) -> None:
    first = arguments[0] if arguments else None
    if not may_be_partial(first):
        raise Misused(f"functools.partial of {getattr(first, '__qualname__', first)}")


def _check_reconstructor(arguments: tuple[Any, ...]) -> None:
    """What protocols 0 and 1 make an empty object with."""
    cls, base, state = arguments
    if not issubclass(type(cls), type) or cls is np.ndarray or base is not object or state is not None:
        raise Misused("copyreg._reconstructor of more than an object")


def _check_factory(arguments: tuple[Any, ...]) -> None:
    if len(arguments) > 1 or not all(each is None or issubclass(type(each), type) for each in arguments):
        raise Misused("collections.defaultdict of what is no class")


def _check_no_pairs(arguments: tuple[Any, ...]) -> None:
    if any(type(each) is not dict for each in arguments):
        raise Misused("a dict that is made of pairs")


def _check_generator(arguments: tuple[Any, ...]) -> None:
    for argument in arguments:
        a_class = issubclass(type(argument), type) and issubclass(argument, np.random.BitGenerator)
        its_maker = getattr(argument, "__name__", "") == "__bit_generator_ctor" and isinstance(
            argument, types.FunctionType
        )
        if not (type(argument) is str or a_class or its_maker or isinstance(argument, np.random.BitGenerator)):
            raise Misused("a random generator that is made by something else")


def _check_new_object(arguments: tuple[Any, ...]) -> None:
    cls = arguments[0] if arguments else None
    if not issubclass(type(cls), type) or not str(getattr(cls, "__module__", "")).startswith(
        ("sklearn.", "numpy.", "_loss")
    ):
        raise Misused("an object of what is no class of scikit-learn")


_CHECKS: dict[str, Callable[[tuple[Any, ...]], None]] = {
    "collections.Counter": _check_no_pairs,
    "collections.OrderedDict": _check_no_pairs,
    "collections.defaultdict": _check_factory,
    "copyreg._reconstructor": _check_reconstructor,
    "functools.partial": _check_partial,
    "numpy._core.multiarray._reconstruct": _check_empty_array,
    "numpy._core.multiarray.scalar": _check_scalar,
    "numpy._core.numeric._frombuffer": _check_frombuffer,
    "numpy.ma.core._mareconstruct": _check_empty_array,
    "numpy.random._pickle.__bit_generator_ctor": _check_generator,
    "numpy.random._pickle.__generator_ctor": _check_generator,
    "numpy.random._pickle.__randomstate_ctor": _check_generator,
    "sklearn.metrics._dist_metrics.newObj": _check_new_object,
    "sklearn.neighbors._ball_tree.newObj": _check_new_object,
    "sklearn.neighbors._kd_tree.newObj": _check_new_object,
}
