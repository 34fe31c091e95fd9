"""What a run's end means, in words and in the tone of its colours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.core.pages.wording import count, instant, plural
from tasks.core.runs.manifest import Manifest, Verdict

Tone = Literal["good", "warn", "stop", "bad", "idle"]
_COMMAND = re.compile(r"(?<!\S)(lamplighter [a-z][^;,]*)")
WORDS: dict[Verdict | None, tuple[str, Tone]] = {
    "published": ("Published", "good"),
    "published_with_warnings": ("Published with warnings", "warn"),
    "blocked": ("Blocked", "stop"),
    "failed": ("Failed", "bad"),
    None: ("Not finished", "idle"),
}
# From the worst to the best: what a group of windows is coloured by.
WORST_FIRST: tuple[Verdict | None, ...] = ("failed", "blocked", None, "published_with_warnings", "published")


@dataclass(frozen=True)
class Headline:
    """The verdict, and the sentence that says what it means for whoever reads the table."""

    words: str
    tone: Tone
    sentence: str


@dataclass(frozen=True)
class Piece:
    """A piece of a sentence: words, or what can be typed."""

    text: str
    is_code: bool


def words(verdict: Verdict | None) -> str:
    return WORDS[verdict][0]


def tone(verdict: Verdict | None) -> Tone:
    return WORDS[verdict][1]


def headline(manifest: Manifest) -> Headline:
    """The verdict of a run in one line."""
    if manifest.state == "superseded":
        return Headline("Superseded", "idle", "It was published, and another run has taken its place.")
    return Headline(words(manifest.verdict), tone(manifest.verdict), _sentence(manifest))


def _sentence(manifest: Manifest) -> str:
    rows = manifest.rows
    if manifest.verdict in ("published", "published_with_warnings"):
        if not rows.pulled:
            return "The window has no rows; it is published empty."
        end = f"; {plural(rows.quarantined, 'row')} in quarantine." if rows.quarantined else "; none in quarantine."
        return f"{count(rows.scored)} of {plural(rows.pulled, 'row')} scored{end}"
    if manifest.verdict == "blocked":
        return "A gate said no. Nothing that readers see has changed."
    if manifest.verdict == "failed":
        return "The run broke off. Nothing that readers see has changed."
    if manifest.state == "publishing":
        return "All is staged for publishing; the next run of this window completes it or undoes it."
    return "The run has not ended; the next run of this window continues it."


def readers_see(manifest: Manifest, standing: Manifest | None) -> str:
    """What somebody who reads this window of the table gets now."""
    seen = manifest if manifest.is_published else standing
    if seen is None:
        return "Nothing for this window: it has not been published."
    whose = "This run's" if seen is manifest else f"What run {seen.run_id} published on {instant(seen.finished_at)}:"
    return f"{whose} {plural(seen.rows.scored, 'row')}, scored by {seen.model.name} version {seen.model.version}."


def next_step(manifest: Manifest) -> str:
    """What to do now: the run's own word, or that nothing is to be done."""
    if manifest.next_step:
        return capitalised(manifest.next_step)
    if manifest.verdict == "published_with_warnings" and manifest.is_published:
        return "Read the warnings. The rows are published, and nothing has to be repeated."
    return "Nothing to do." if manifest.is_published else f"`lamplighter show {manifest.job} --as-of {manifest.as_of}`"


def capitalised(sentence: str) -> str:
    """The sentence with a capital, unless it begins with a command."""
    return sentence if sentence.startswith("lamplighter ") else sentence[:1].upper() + sentence[1:]


def pieces(sentence: str) -> tuple[Piece, ...]:
    """A sentence cut at its backticks; without any, a command of ours is code up to the next comma or semicolon."""
    parts = sentence.split("`") if "`" in sentence else _COMMAND.split(sentence)
    closed = len(parts) % 2 == 1
    return tuple(Piece(text, is_code=closed and i % 2 == 1) for i, text in enumerate(parts) if text)


def worst(verdicts: Sequence[Verdict | None]) -> Verdict | None:
    """The worst of a group of windows."""
    return min(verdicts, key=WORST_FIRST.index)
