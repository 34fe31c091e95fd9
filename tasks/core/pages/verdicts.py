"""What a run's end means, in words and in the tone of its colours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.core.pages.wording import count, instant, plural
from tasks.core.runs.manifest import AcceptanceRecord, Manifest, Verdict, Withdrawal

Tone = Literal["good", "warn", "stop", "bad", "idle"]
# What stands in quotation marks belongs to it, whatever it is.
_COMMAND = re.compile(r"""(?<!\S)(lamplighter [a-z](?:'[^']*'|"[^"]*"|[^;,'"])*)""")
# What a list of windows says of one: the verdict of its run, unless a recall has changed what readers see.
Shown = Verdict | Literal["withdrawn", "restored"]
WORDS: dict[Shown | None, tuple[str, Tone]] = {
    "published": ("Published", "good"),
    "published_with_warnings": ("Published with warnings", "warn"),
    "restored": ("Restored", "warn"),
    "withdrawn": ("Withdrawn", "stop"),
    "blocked": ("Blocked", "stop"),
    "failed": ("Failed", "bad"),
    None: ("Not finished", "idle"),
}
_OF_DRY_RUN: dict[Verdict | None, str] = {
    "published": "Dry run: would be published",
    "published_with_warnings": "Dry run: would be published with warnings",
    "blocked": "Dry run: would be blocked",
    "failed": "Dry run: failed",
    None: "Dry run: not finished",
}
# From the worst to the best: what a group of windows is coloured by.
WORST_FIRST: tuple[Shown | None, ...] = (
    "failed",
    "blocked",
    "withdrawn",
    None,
    "restored",
    "published_with_warnings",
    "published",
)


_IN_A_TABLE: tuple[Shown | None, ...] = ("published", "published_with_warnings", "restored")


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


def words(verdict: Shown | None) -> str:
    return WORDS[verdict][0]


def words_of(verdict: Shown | None, *, shadow: bool) -> str:
    """The words for a run, which of one in shadow say so."""
    return f"{words(verdict)}, in shadow" if shadow and verdict in _IN_A_TABLE else words(verdict)


def tone(verdict: Shown | None) -> Tone:
    return WORDS[verdict][1]


def shown(manifest: Manifest) -> Shown | None:
    """What a list of windows says of this run."""
    if manifest.state in ("withdrawing", "withdrawn"):
        return "withdrawn"
    return "restored" if manifest.is_published and manifest.restored else manifest.verdict


def headline(manifest: Manifest) -> Headline:
    """The verdict of a run in one line."""
    if manifest.state == "superseded":
        return Headline("Superseded", "idle", "It was published, and another run has taken its place.")
    of_list = shown(manifest)
    if manifest.is_dry_run:
        return Headline(_OF_DRY_RUN[manifest.verdict], tone(of_list), _of_dry_run(manifest))
    sentence = _recalled(manifest.withdrawal) if manifest.withdrawal else _sentence(manifest)
    return Headline(words_of(of_list, shadow=manifest.shadow), tone(of_list), sentence)


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


def _of_dry_run(manifest: Manifest) -> str:
    return f"{_sentence(manifest)} Nothing was published." if manifest.state == "dry_run" else _sentence(manifest)


def acceptance(one: AcceptanceRecord) -> str:
    """What was let through, by whom and why; or that it need not have been."""
    who = f"{one.gate}, by {one.by} on {instant(one.at)}"
    if not one.needed:
        return f"{who}, was not needed: it did not fail."
    return f"{who}: {one.reason.rstrip('.')}. What failed: {one.sentence.rstrip('.')}."


def _recalled(why: Withdrawal) -> str:
    place = f"What run {why.restores} had published" if why.restores else "Nothing"
    return (
        f"Version {why.version} of {why.model} was recalled on {instant(why.at)} by {why.by}: {why.reason.rstrip('.')}. "
        f"{place} is in its place."
    )


def readers_see(manifest: Manifest, standing: Manifest | None) -> str:
    """What somebody who reads this window of the table gets now."""
    seen = manifest if manifest.is_published else standing
    if seen is None:
        gone = shown(manifest) == "withdrawn"
        return f"Nothing for this window: {'what it had was withdrawn' if gone else 'it has not been published'}."
    if seen.shadow:
        whose = "this run's" if seen is manifest else f"run {seen.run_id}'s"
        rows = f"{plural(seen.rows.scored, 'row')}, scored by {seen.model.name} version {seen.model.version}"
        return f"Nothing for this window. In shadow, until the team switches over, it has {whose} {rows}."
    whose = "This run's" if seen is manifest else f"What run {seen.run_id} published on {instant(seen.finished_at)}:"
    again = f", back since run {seen.restored.instead_of} was withdrawn" if seen.restored else ""
    return (
        f"{whose} {plural(seen.rows.scored, 'row')}, scored by {seen.model.name} version {seen.model.version}{again}."
    )


def next_step(manifest: Manifest) -> str:
    """What to do now: the run's own word, or that nothing is to be done."""
    if shown(manifest) == "withdrawn":
        return f"`lamplighter backfill {manifest.job} --queued`"
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


def worst(verdicts: Sequence[Shown | None]) -> Shown | None:
    """The worst of a group of windows."""
    return min(verdicts, key=WORST_FIRST.index)
