"""Text that may repeat anything, made fit for a terminal, a log line or a page: shown, and not obeyed."""

from __future__ import annotations

import re

# Ends of lines, what a terminal obeys, what turns the direction of text, and what UTF-8 cannot hold.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    """The text with whatever could end a line, move a cursor or turn the text around spelt out, as Python spells it."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def harmless_lines(text: str) -> str:
    """The same of each line: for texts that have lines of their own, as a traceback has."""
    return "\n".join(map(harmless, text.split("\n")))
