"""audits/<job>/as_of=<day>.json: what an audit has found, kept by its day; and which findings somebody was told of."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

from tasks.core import layout
from tasks.core.auditing.records import AuditRecord, Finding, Standing
from tasks.core.errors import LakeError
from tasks.core.events import AUDIT_FAILED
from tasks.core.records import Record, read_beside, read_record
from tasks.core.rows.digest import digest_json
from tasks.core.storage import ABANDONED_SECONDS, Folder, Lake

_AS_OF, _JSON = "as_of=", ".json"
_KIND, _STANDING = "audit", "standing"


class Told(Record):
    """The findings that somebody was told of, and which stood at the last audit, by their names."""

    names: tuple[str, ...]


def keep(lake: Lake, record: AuditRecord) -> None:
    """Puts an audit in the place of the one of its day."""
    lake.write_bytes(layout.audit_record(record.job, record.day), record.model_dump_json(indent=2).encode() + b"\n")
    for folder in (layout.audits(record.job), layout.alarms(record.job)):
        lake.sweep(folder, idle_seconds=ABANDONED_SECONDS)


def days_audited(lake: Folder, job: str) -> list[str]:
    """The days of which an audit is kept, in the order of time."""
    names = lake.names(layout.audits(job))
    return [name[len(_AS_OF) : -len(_JSON)] for name in names if name.startswith(_AS_OF) and name.endswith(_JSON)]


def newest(lake: Folder, job: str) -> AuditRecord | None:
    """The last audit of a job; None where there was none, LakeCorrupt where it cannot be read."""
    days = days_audited(lake, job)
    if not days:
        return None
    return read_beside(
        lake,
        layout.audit_record(job, days[-1]),
        AuditRecord,
        wrong="is not what an audit leaves",
        state="it was left as it is",
        next_step=f"remove it, and lamplighter audit {job}",
    )


def standing(lake: Folder, job: str) -> Standing | None:
    """What the last audit says, quickly."""
    days = days_audited(lake, job)
    if not days:
        return None
    key = layout.audit_record(job, days[-1])
    wrong, step = "is not what an audit leaves", f"remove it, and lamplighter audit {job}"
    return read_record(lake, key, Standing, wrong=wrong, next_step=step)


def name_of(finding: Finding) -> str:
    """The same for the same break, on whichever day it is found."""
    return digest_json([finding.link, finding.as_of, finding.file, finding.what, finding.found])[:32]


def has_news(lake: Folder, job: str, findings: Sequence[Finding]) -> bool:
    """Whether any of these was told to nobody."""
    return bool({name_of(one) for one in findings} - _told(lake, job))


def remember_told(lake: Lake, job: str, findings: Sequence[Finding]) -> None:
    """Notes what was told and stands; what does not stand any more is news when it comes again."""
    names = tuple(sorted({name_of(one) for one in findings}))
    if set(names) != _told(lake, job):
        told = Told(names=names)
        lake.write_bytes(_told_key(job), told.model_dump_json(indent=2).encode() + b"\n")


def forget_mended(lake: Lake, job: str, findings: Sequence[Finding]) -> None:
    """Notes that what was told before, and is not among these, stands no more."""
    left = _told(lake, job) & {name_of(one) for one in findings}
    if left != _told(lake, job):
        lake.write_bytes(_told_key(job), Told(names=tuple(sorted(left))).model_dump_json(indent=2).encode() + b"\n")


def event_id(lake: Lake, job: str, day: str, findings: Sequence[Finding]) -> UUID:
    """The event's own name: sent again after a kill, before it was noted, it is the same event."""
    of = digest_json([day, sorted(name_of(one) for one in findings)])
    return uuid5(NAMESPACE_URL, f"{lake.address()}/{layout.audits(job)}#{AUDIT_FAILED}#{of}")


def _told(lake: Folder, job: str) -> set[str]:
    # What cannot be read is told again, as the same event.
    with contextlib.suppress(LakeError):
        if found := read_beside(lake, _told_key(job), Told, wrong="is not what was told"):
            return set(found.names)
    return set()


def _told_key(job: str) -> str:
    return layout.told_alarm(job, _KIND, _STANDING)
