"""The formats that a model may be kept in: one small module each, `<name>_format.py`, behind one protocol.

A format is found by its module's name, so a new one touches no other file. Models are unpickled nowhere else.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection
from typing import Any, Protocol, cast

from tasks.core.errors import DefinitionError

_SUFFIX = "_format"


class Format(Protocol):
    """What a format module's `FORMAT` is."""

    @property
    def name(self) -> str:
        """Also the extension of the model's file."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions whose versions decide whether a file loads and scores as it did."""
        ...

    def dump(self, model: Any) -> bytes:
        """The model's file; the same bytes for the same model."""
        ...

    def load(self, data: bytes, allowed_types: Collection[str]) -> Any:
        """An estimator from these very bytes. ModelBlocked for whatever is not on the allow-list, before it runs."""
        ...

    def types_in(self, data: bytes) -> list[str]:
        """Every type or function that the file names, as 'module.Name', without running any of them."""
        ...

    def types_to_accept(self, data: bytes) -> list[str]:
        """Those of `types_in` that a person must allow by name before the file loads."""
        ...


def format_names() -> list[str]:
    """The formats that there are a module for, sorted."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name.removesuffix(_SUFFIX) for name in modules if name.endswith(_SUFFIX))


def get_format(name: str) -> Format:
    """The format of this name; DefinitionError lists those there are, or says which extra is missing."""
    if name not in format_names():
        raise DefinitionError(
            f"'{name}' is not a model format; there are: {', '.join(format_names())}",
            next_step="give one of these names",
        )
    try:
        module = importlib.import_module(f"{__name__}.{name}{_SUFFIX}")
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "tasks":
            raise
        raise DefinitionError(
            f"the model format '{name}' needs the package '{package}', which is not installed here",
            next_step=f"pip install 'lamplighter[{name}]'",
        ) from error
    return cast("Format", module.FORMAT)
