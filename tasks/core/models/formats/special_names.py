"""Names in a model's state that numpy and Python read for themselves: with one of them a file says what an object is.

numpy takes any object with an `__array_interface__` for the memory at the address that stands in it.
"""

from __future__ import annotations

import re

_READ_AS_MEMORY = re.compile(r"__(array|arrow|buffer|cuda_array|dataframe|dlpack)\w*__")
_PADDING = "\0 \t\r\n"  # numpy drops zeros at the end of a text.


def is_special(key: object) -> bool:
    """Whether this is a name such as `__class__`."""
    return isinstance(key, str) and str.startswith(key, "__") and str.endswith(key, "__")


def is_read_as_memory(key: object) -> bool:
    """Whether by this name numpy and its like take an object for an array."""
    return isinstance(key, str) and _READ_AS_MEMORY.fullmatch(str.strip(key, _PADDING)) is not None
