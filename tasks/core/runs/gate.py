"""The gates that a run passes: what failed, by the name that people see, and what somebody has accepted of it this once."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.core.definitions.job import Job
from tasks.core.errors import Blocked
from tasks.core.rows import rejects
from tasks.core.rows.snapshot import batch_bounds, required_record
from tasks.core.runs.manifest import AcceptanceRecord, ExpectationRecord, Manifest, SuiteRecord, VolumeRecord
from tasks.core.runs.run import Run, manifest_of, published_manifest, record

QUARANTINE_SHARE, VOLUME = "quarantine_share", "volume"
_MOST_REASONS, _MOST_EXAMPLES, _LONGEST_EXAMPLE = 3, 3, 40


@dataclass(frozen=True)
class Failure:
    """A gate that would block, and how it failed: how many of how many rows, and the limit."""

    gate: str
    sentence: str
    may_be_accepted: bool = True


def judge(run: Run, failures: Sequence[Failure], *, mend: str) -> None:
    """Blocked by the failures that nobody accepted; what was accepted is recorded, and lets the run go on."""
    manifest = manifest_of(run)
    passed = [one for one in failures if one.may_be_accepted and one.gate in manifest.trigger.accept]
    left = [one for one in failures if one not in passed]
    acceptances = {one.gate: one for one in manifest.acceptances}
    acceptances |= {one.gate: _acceptance(run, manifest, one.gate, one.sentence) for one in passed}
    blocked_by = tuple(one.gate for one in left if one.may_be_accepted)
    record(run, acceptances=tuple(acceptances.values()), blocked_by=blocked_by)
    if left:
        raise Blocked(
            "; and ".join(one.sentence for one in left),
            state="nothing was published, and what readers saw before stands",
            next_step=_next_step(run, left, mend),
        )


def settle_acceptances(run: Run) -> Manifest:
    """All gates are passed: what was accepted and had not failed is recorded as not needed."""
    manifest = manifest_of(run)
    known = [one.gate for one in manifest.acceptances]
    spare = [_acceptance(run, manifest, gate) for gate in manifest.trigger.accept if gate not in known]
    return record(run, acceptances=(*manifest.acceptances, *spare))


def _acceptance(run: Run, manifest: Manifest, gate: str, sentence: str = "") -> AcceptanceRecord:
    return AcceptanceRecord(
        gate=gate,
        needed=bool(sentence),
        sentence=sentence,
        reason=manifest.trigger.reason or "",
        by=manifest.trigger.actor,
        at=run.started_at,
    )


def _next_step(run: Run, left: Sequence[Failure], mend: str) -> str:
    """The commands for both: what failed is right, and it is wrong. Of a published window, nobody may accept a run."""
    window = f"{run.job.job} --as-of {run.window.as_of}"
    steps = f"lamplighter show {window}; then {mend}, and score the window again"
    if not all(one.may_be_accepted for one in left) or published_manifest(run.lake, run.job.job, run.window.as_of):
        return steps
    gates = dict.fromkeys([*manifest_of(run).trigger.accept, *(one.gate for one in left)])
    return f"{steps}; or publish it as it is, once: {accepting(window, gates)}"


def accepting(window: str, gates: Iterable[str]) -> str:
    """The command that publishes a blocked window, `window` being 'JOB --as-of AS_OF'."""
    accept = " ".join(f"--accept {shlex.quote(gate)}" for gate in gates)
    return f'lamplighter score {window} {accept} --reason "why"'


# -- what failed ----------------------------------------------------------------------------------------------------


def suite_failures(suite: SuiteRecord | None, names: Sequence[str], rows: str = "rows") -> list[Failure]:
    """The expectations of a suite that block, or would; `names` are theirs, in order, and `rows` what they are of."""
    found = zip(suite.expectations, names, strict=True) if suite else ()
    return [_suite_failure(one, name, rows) for one, name in found if one.consequence in ("blocks", "accepted")]


def _suite_failure(one: ExpectationRecord, name: str, rows: str) -> Failure:
    if one.exception is not None:
        return Failure(name, f"{one.sentence}, which nobody can accept", may_be_accepted=False)
    if one.unexpected_count is None or one.element_count is None:
        return Failure(name, one.sentence)
    mostly = one.kwargs.get("mostly")
    limit = in_percent(1 - mostly if isinstance(mostly, int | float) else 0)
    failed = f"{one.unexpected_count:,} of {one.element_count:,} {rows} fail {name}; limit {limit}"
    return Failure(name, f"{failed}{_for_example(one)}")


def volume_failures(volume: VolumeRecord | None) -> list[Failure]:
    blocks = volume is not None and volume.consequence in ("blocks", "accepted")
    return [Failure(VOLUME, volume.sentence)] if volume and blocks else []


def quarantine_failures(run: Run) -> list[Failure]:
    """Counts the rows that left; a failure where they are more than the job allows, with the most frequent reasons."""
    quarantined = count_quarantined(run)
    manifest, job = manifest_of(run), run.job
    distinct = manifest.rows.pulled - manifest.rows.duplicates
    if quarantined <= quarantine_limit(job, distinct):
        return []
    head, limit = f"{quarantined:,} of {distinct:,} rows", in_percent(job.limits.quarantine_share)
    reasons = list(manifest.quarantine_reasons.items())
    expectations = {f"{one.type}({', '.join(one.columns)})": one for one in _expectations(manifest)}
    if len(reasons) == 1 and reasons[0][0] in expectations:
        name = reasons[0][0]
        sentence = f"{head} fail {name}; limit {limit}{_for_example(expectations[name])}"
    else:
        most = ", ".join(f"{count:,} x {name}" for name, count in reasons[:_MOST_REASONS])
        sentence = f"{head} are quarantined; limit {limit}: {most}"
    return [Failure(QUARANTINE_SHARE, sentence)]


def quarantine_limit(job: Job, distinct: int) -> float:
    """How many of so many distinct rows may be quarantined; a count above it blocks."""
    return job.limits.quarantine_share * distinct


def count_quarantined(run: Run) -> int:
    """Counts the rows that the stages so far took out, and records them by reason."""
    snapshot = required_record(run.lake, run.workspace)
    taken = [
        rejects.read_taken_out(run.lake, run.workspace, batch, batch_bounds(snapshot, batch))
        for batch in range(snapshot.batches)
    ]
    quarantined = sum(len(one.quarantined) for one in taken)
    rows = manifest_of(run).rows.model_copy(update={"quarantined": quarantined})
    record(run, rows=rows, quarantine_reasons=rejects.total_count_by_reason(taken))
    return quarantined


def in_percent(share: float) -> str:
    """0.02 is '2 %'."""
    return f"{100 * share:.4g} %"


def _expectations(manifest: Manifest) -> Sequence[ExpectationRecord]:
    return manifest.suite.expectations if manifest.suite else ()


def _for_example(one: ExpectationRecord) -> str:
    """A few of the values that failed, on one line, whatever they hold."""
    values = list(dict.fromkeys(" ".join(value.split()) or "(empty)" for value in one.examples))[:_MOST_EXAMPLES]
    shown = [f"{value[:_LONGEST_EXAMPLE]}..." if len(value) > _LONGEST_EXAMPLE else value for value in values]
    return f"; for example {', '.join(shown)}" if shown else ""
