"""Messages between Lamplighter and another interpreter: a header of JSON, and a body (Arrow, or a model's file).

The standard library alone: the other side reads this before it knows what else is there.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_HEAD = struct.Struct("!8sQQ")
_MARK = b"lamplit1"

Header = dict[str, Any]


class Garbled(Exception):
    """What came is no message of ours."""


def packed(header: Header, size: int = 0) -> bytes:
    """What goes before a body of this size."""
    text = json.dumps(header).encode()
    return _HEAD.pack(_MARK, len(text), size) + text


def read(exactly: Callable[[int], Any]) -> tuple[Header, Any]:
    """The next header and body; `exactly(n)` gives n bytes."""
    mark, of_header, of_body = _HEAD.unpack(exactly(_HEAD.size))
    if mark != _MARK:
        raise Garbled(bytes(mark))
    header: Header = json.loads(bytes(exactly(of_header)))
    return header, exactly(of_body)
