"""The binds of a job's query: `:start`, `:end`, `:as_of` and `:known_at`. The database is handed values, never text.

`:known_at` is the instant whose knowledge the window is scored with: the same in each run of the window, and in training.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping

from tasks.core.definitions.window import Window
from tasks.core.errors import JobError

BINDS = ("start", "end", "as_of", "known_at")
Bound = Mapping[str, dt.datetime | str]

# What may hold a colon that binds nothing comes first, and is passed over whole.
_TOKENS = re.compile(
    r"""
      (?<!\w)[eE]'(?:[^'\\]|\\.|'')*'      # an escape string of PostgreSQL
    | '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*`
    | --[^\n]* | /\*.*?\*/
    | (?P<tag>\$\w*\$).*?(?P=tag)          # a dollar-quoted string
    | ::                                   # a cast
    | \\(?P<literal>:)
    | (?<![\w:]):(?P<name>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)


def bound_values(window: Window, known_at: dt.datetime) -> Bound:
    """What each bind stands for: instants, and the window's label."""
    return {"start": window.start, "end": window.end, "as_of": window.as_of, "known_at": known_at}


def binds_of(query: str) -> frozenset[str]:
    """The names that a query binds, known or not."""
    return frozenset(token["name"] for token in _TOKENS.finditer(query) if token["name"])


def spell_binds(query: str, spell: Callable[[str], str]) -> str:
    r"""The query with each bind as `spell` writes it, and `\:` as a plain colon; JobError for a bind that is unknown."""

    def replace(token: re.Match[str]) -> str:
        if token["literal"]:
            return ":"
        name = token["name"]
        if name is None:
            return token[0]
        if name not in BINDS:
            raise JobError(
                f"the query binds :{name}; a query may bind {', '.join(f':{bind}' for bind in BINDS)}",
                state="nothing was started",
                next_step=rf"use one of these; a colon that is meant as it stands is written \:{name}",
            )
        return spell(name)

    return _TOKENS.sub(replace, query)
