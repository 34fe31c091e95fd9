"""The formats that a model may be kept in: one small module each, `<name>_format.py`, behind one protocol.

A format is found by its module's name, so a new one touches no other file. Models are unpickled nowhere else.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol, cast

from tasks.core.errors import DefinitionError

if TYPE_CHECKING:
    from tasks.core.models.model_version import InputSchema

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

    @property
    def probe_rtol(self) -> float:
        """How far a score may be off, relative, and still be the same: what the format's arithmetic can promise."""
        ...

    def dump(self, model: Any, inputs: InputSchema | None = None, /) -> bytes:
        """The model's file; the same bytes for the same model. ModelBlocked for a model that it cannot hold.

        A file that must say what types it takes needs `inputs`; others take no notice of them.
        """
        ...

    def as_kept(self, data: bytes) -> tuple[str, bytes]:
        """The format and the file in which the registry keeps a model that comes as this file: mostly these very two.

        A format that is only ever converted gives another's name here, so that nothing is converted at each run.
        """
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
