"""What an audit has come to: its record, with what an earlier one has found and this one did not look at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from tasks.core.auditing.asked import Asked
from tasks.core.auditing.records import AuditRecord, Finding
from tasks.core.auditing.rescoring import Again
from tasks.core.auditing.walking import Walked
from tasks.core.errors import Differs

_MOST_FINDINGS, _MOST_NOTES = 500, 200


def record_of(
    asked: Asked, walked: Walked, again: Again, earlier: AuditRecord | None, finished_at: dt.datetime
) -> AuditRecord:
    """The record of an audit. Its lists are bounded, and its counts are of all."""
    published = walked.published
    findings = [*walked.findings, *again.findings]
    return AuditRecord(
        job=asked.job.job,
        day=asked.day,
        at=asked.at,
        finished_at=finished_at,
        seed=asked.seed,
        scope=asked.scope,
        windows=len(published),
        rows=sum(one.rows.scored for one in published),
        versions=tuple(one.label for one in walked.versions),
        rescored=tuple(again.rescored),
        not_rescored=tuple(again.apart[:_MOST_FINDINGS]),
        left_out=tuple(walked.left_out[:_MOST_FINDINGS]),
        findings=tuple(findings[:_MOST_FINDINGS]),
        findings_count=len(findings),
        carried=tuple(_carried(asked, walked, again, earlier))[:_MOST_FINDINGS],
        notes=tuple(dict.fromkeys([*walked.notes, *again.notes]))[:_MOST_NOTES],
    )


def refuse_findings(record: AuditRecord) -> AuditRecord:
    """The same; Differs, with it, where anything is not what it must be."""
    if not record.findings_count:
        return record
    error = Differs(
        f"{record.headline} {record.told}",
        state=f"nothing was changed, and readers see what they saw. {record.sentence}",
        next_step=record.findings[0].next_step,
    )
    error.summary = record
    raise error


def _carried(asked: Asked, walked: Walked, again: Again, earlier: AuditRecord | None) -> Sequence[Finding]:
    """Of an earlier audit, what this one cannot say anything of."""
    if earlier is None:
        return ()
    left_out = {one.as_of for one in walked.left_out}
    not_again = {one.as_of for one in again.apart}
    held = {f"models/{one.name}/versions/{one.number:04d}/" for one in walked.versions}

    def is_open(one: Finding) -> bool:
        if one.link == "model":
            return bool(asked.scope) and not any(folder in one.file for folder in held)
        if not one.as_of:
            return bool(asked.scope)
        if asked.scope and one.as_of not in asked.scope:
            return True
        # That rows differ is only shown by scoring them again.
        return one.as_of in left_out or (one.link == "scores" and one.as_of in not_again)

    return [one for one in earlier.standing if is_open(one)]
