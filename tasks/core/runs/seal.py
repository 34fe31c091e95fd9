"""The seal of a manifest: the SHA-256 of all else that its file says, which stands in the file as `digest`.

It shows what an accident, a careless hand or a disk has changed. It stops nobody who may write the lake, and so may write
the seal as well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

SEAL = "digest"


@dataclass(frozen=True)
class Seal:
    """What a file says its digest is, None where it says nothing, and what it is."""

    said: str | None
    found: str

    @property
    def is_broken(self) -> bool:
        return self.said is not None and self.said != self.found


def sealed(text: str) -> bytes:
    """The text of an indented JSON object as a file, with its seal as the last key."""
    return f'{text.removesuffix("}").rstrip()},\n  "{SEAL}": "{_digest_of(json.loads(text))}"\n}}\n'.encode()


def seal_of(data: bytes) -> Seal:
    """The seal of a file; ValueError where it is no JSON object. Blanks and the order of keys do not count."""
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - as whatever else is no such file
    said = found.pop(SEAL, None)
    return Seal(None if said is None else str(said), _digest_of(found))


def _digest_of(parts: dict[str, Any]) -> str:
    from tasks.core.rows.digest import digest_json  # noqa: PLC0415 - heavy, and manifests are known to every command

    return digest_json(parts)
