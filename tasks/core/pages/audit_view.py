"""What the last audit of a job has found, on the job's index: a line, and what is wrong where anything is."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.core.auditing.records import Standing
from tasks.core.pages import verdicts, wording
from tasks.core.pages.verdicts import Piece, Tone

MOST_FINDINGS = 5


@dataclass(frozen=True)
class Broken:
    """A finding as it is listed."""

    sentence: str
    next_step: tuple[Piece, ...]


@dataclass(frozen=True)
class AuditLine:
    """An audit in a few words, the sentence behind them, and its first findings."""

    words: str
    tone: Tone
    sentence: str
    findings: tuple[Broken, ...] = ()
    findings_count: int = 0


def line(found: Standing | None) -> AuditLine | None:
    """None of a job that was never audited."""
    if found is None:
        return None
    on = wording.cut(found.day, 40)
    sentence = (
        f"{wording.plural(found.windows, 'window')} held against the records, "
        f"{wording.plural(found.rows_compared, 'row')} scored again"
    )
    if not found.count:
        return AuditLine(f"Audited on {on}", "good", f"{sentence}: what readers see is what the records say.")
    return AuditLine(
        words(found),
        "bad",
        f"{sentence}: something is not what its records say.",
        tuple(
            Broken(one.sentence, verdicts.pieces(verdicts.capitalised(one.next_step)))
            for one in found.standing[:MOST_FINDINGS]
        ),
        found.count,
    )


def words(found: Standing) -> str:
    """The findings of an audit in three words and its day."""
    return f"{wording.plural(found.count, 'break')} found by the audit of {wording.cut(found.day, 40)}"
