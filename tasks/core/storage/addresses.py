"""Where a lake lies that is no folder: an address in an object store, `s3://bucket/prefix`."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from tasks.core.errors import DefinitionError

_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
_URI = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]+)://")
_LONGEST_SHOWN = 100


class Address(NamedTuple):
    """An object store's address without its prefix, and the prefix, which may be empty."""

    container: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.container}/{self.prefix}".rstrip("/")


def is_address(text: object) -> bool:
    """Whether it names a place by a URI, and no path."""
    return isinstance(text, str) and bool(_URI.match(text))


def parse_address(text: str) -> Address:
    """DefinitionError where it is of another kind, or holds more than a place: keys come from the environment."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _wrong("the lake's address is no address", "s3://BUCKET/PREFIX") from None  # It may hold keys.
    if parts.scheme.lower() not in _SCHEMES:
        raise _wrong(f"{parts.scheme}:// is no object store that Lamplighter knows", "s3://, gs://, abfs:// or az://")
    # The name before '@' is the container in abfs://container@account.dfs.core.windows.net. Keys may hold a '/', so that
    # what follows it would seem to be the prefix.
    keys = ":" if parts.scheme.lower().startswith("abfs") else ":@"
    if any(sign in text.partition("://")[2] for sign in keys) or parts.query or parts.fragment:
        raise _wrong(
            "the lake's address holds more than a bucket and a prefix", "s3://BUCKET/PREFIX; keys are not shown"
        )
    prefix = parts.path.strip("/")
    if not parts.netloc or (any(part in ("", ".", "..") for part in prefix.split("/")) and prefix):
        raise _wrong(f"'{text[:_LONGEST_SHOWN]}' names no bucket, or no plain prefix in it", "s3://BUCKET/PREFIX")
    return Address(f"{parts.scheme.lower()}://{parts.netloc}", prefix)


def _wrong(what: str, right: str) -> DefinitionError:
    return DefinitionError(
        what, state="nothing was started", next_step=f"set LAMPLIGHTER_LAKE to a folder, or as {right}"
    )
