"""The binds of a job's query: `:start`, `:end` and `:as_of`. They are handed to the database as values, never as text."""

from __future__ import annotations

import re
from collections.abc import Callable

from tasks.core.errors import JobError

BINDS = ("start", "end", "as_of")

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
