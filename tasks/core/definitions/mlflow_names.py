"""A model of MLflow's registry, as a job names it (models:/NAME@ALIAS), and what it is called in the lake.

In MLflow nearly anything is a name. In the lake `flight_delays` is `mlflow_flight_delays`; what is no name there, such as
'Flight delays', is its readable part and 32 digits of its SHA-256. No two names become one: a name that looks as if it
had such digits gets digits of its own.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

SCHEME = "models:"
# The last @ parts the two, as in MLflow.
PATTERN = r"models:/[^/:\x00-\x1f]+@[\w-]+"

_URI = re.compile(PATTERN)
_NAMED = re.compile(r"models:/([^/:\x00-\x1f]+?)(?:@[\w-]+|/\d+)?")
_PLAIN = re.compile(r"[a-z0-9_]{1,56}")
_PLAIN_ALIAS = re.compile(r"[a-z][a-z0-9_]{0,62}")
_DIGITS = 32
_LOOKS_DIGESTED = re.compile(rf"__[0-9a-f]{{{_DIGITS}}}")
_READABLE = 22  # With the prefix and the digits: 63 characters, the longest name that the lake takes.


@dataclass(frozen=True)
class MlflowAlias:
    """An alias in MLflow's registry."""

    name: str
    alias: str

    def __str__(self) -> str:
        return f"models:/{self.name}@{self.alias}"

    @property
    def lake_name(self) -> str:
        return lake_name(self.name)

    @property
    def lake_alias(self) -> str:
        """Itself where the lake takes it for a name, which 'production' and 'challenger' are."""
        if _PLAIN_ALIAS.fullmatch(self.alias) and not _LOOKS_DIGESTED.search(self.alias):
            return self.alias
        return _digested("alias", self.alias)


def parse(uri: str) -> MlflowAlias | None:
    """What models:/NAME@ALIAS names; None of a text that is not of this form."""
    if not _URI.fullmatch(uri):
        return None
    name, _, alias = uri.removeprefix("models:/").rpartition("@")
    return MlflowAlias(name, alias)


def registry_name(given: str) -> str:
    """The name in the lake of a model that a person names, by models:/NAME with or without an alias, or as it is."""
    found = _NAMED.fullmatch(given)
    return lake_name(found[1]) if found else given


def lake_name(name: str) -> str:
    """What a model of MLflow's registry is called in the lake's."""
    if _PLAIN.fullmatch(name) and not _LOOKS_DIGESTED.search(name):
        return f"mlflow_{name}"
    return _digested("mlflow", name)


def _digested(prefix: str, text: str) -> str:
    readable = re.sub(r"[^a-z0-9]+", "_", text.lower())[:_READABLE].strip("_")
    return f"{prefix}_{readable}__{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"
