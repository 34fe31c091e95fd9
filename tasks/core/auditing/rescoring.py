"""Which batches are scored again, with what, and what came of it; the scoring itself is done in child processes."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.core import layout, provenance
from tasks.core.auditing.asked import Asked
from tasks.core.auditing.chain import Checked, is_taken_by_retention
from tasks.core.auditing.drawing import Drawn, Urn, draw
from tasks.core.auditing.records import Apart, AuditRecord, Finding, Rescored
from tasks.core.auditing.walking import Walked
from tasks.core.models.model_version import ModelVersion
from tasks.core.runs.manifest import Manifest

_MOST_COLUMNS = 5


class Again:
    """What came of all that was scored again. No dataclass: Prefect would take it apart."""

    def __init__(self) -> None:
        self.rescored: list[Rescored] = []
        self.apart: list[Apart] = []
        self.findings: list[Finding] = []
        self.notes: list[str] = []


def to_score(asked: Asked, walked: Walked, earlier: AuditRecord | None) -> list[Drawn]:
    """The batches that were drawn; then those of partitions that are not as published, to say which rows changed; and
    those in which the last audit has found rows that differ: luck does not clear them.
    """
    windows = {one.as_of: one for one in walked.windows if one.manifest}
    urns = [Urn.of(one.manifest) for one in windows.values() if one.manifest]
    drawn = draw(urns, asked.rows, asked.job.audit.windows, asked.seed, each=bool(asked.scope))
    batches = {urn.as_of: urn.batches for urn in urns}
    damaged = [
        (as_of, batch)
        for as_of, one in windows.items()
        if layout.PREDICTIONS in one.broken
        for batch in range(len(batches[as_of]))
    ]
    differed = [
        (one.as_of, one.batch - 1)
        for one in (earlier.standing if earlier else ())
        if one.link == "scores" and one.batch and one.batch <= len(batches.get(one.as_of, ()))
    ]
    return list(dict.fromkeys([*drawn, *_up_to(asked.rows, damaged, batches), *differed]))


def why_not(checked: Checked, walked: Walked) -> Apart | None:
    """Why a window cannot be scored again; None where it can."""
    manifest = checked.manifest
    if manifest is None or manifest.snapshot is None:
        return Apart(as_of=checked.as_of, why="nothing is known of its snapshot")
    if is_taken_by_retention(manifest):
        taken = manifest.pruned[-1]
        return Apart(as_of=checked.as_of, why=f"its snapshot is gone: {taken.sentence}", is_retention=True)
    if checked.is_broken("snapshot"):
        return Apart(as_of=checked.as_of, why="its snapshot is not what was pulled")
    if layout.QUARANTINE in checked.broken:
        return Apart(
            as_of=checked.as_of, why="which of its rows went into quarantine cannot be known: that table is damaged"
        )
    broken = {one.label for one in walked.versions if one.findings}
    label = f"{manifest.model.name}/{manifest.model.version:04d}"
    if label in broken:
        return Apart(as_of=checked.as_of, why=f"its model {label} is not what was registered")
    return None


def changed_since(asked: Asked, manifest: Manifest, version: ModelVersion) -> list[str]:
    """What of the code and the environment is other than when the run was made, in words."""
    code = provenance.code_of(asked.job, asked.project, version)
    changed = []
    if code.digest != manifest.code.digest:
        then, now = (f"{one.version}, digest {one.digest[:8]}" for one in (manifest.code, code))
        changed.append(f"Lamplighter's code ({then} then, {now} now)")
    packages = sorted({*code.modules, *manifest.code.modules})
    changed += [
        f"the project's own package '{package}'"
        for package in packages
        if code.modules.get(package) != manifest.code.modules.get(package)
    ]
    before = manifest.environment
    changed += [
        f"{name} ({before.get(name, 'none')} then, {version_now} now)"
        for name, version_now in provenance.environment().items()
        if before.get(name, "none") != version_now
    ]
    return changed


def is_defined_otherwise(asked: Asked, manifest: Manifest) -> bool:
    """Whether the job's definition is another than the run's."""
    return asked.definition.digest != manifest.job_digest


def finding_of(asked: Asked, manifest: Manifest, again: Rescored, next_step: str) -> Finding:
    """That rows differ, in a sentence with the first of them."""
    columns = sorted(again.by_column.items(), key=lambda item: -item[1])[:_MOST_COLUMNS]
    named = ", ".join(f"{name} ({count:,})" for name, count in columns)
    first = again.examples[0]
    key = ", ".join(f"{name} {value}" for name, value in first.key.items())
    how = "bit by bit" if again.is_exact else "within 1e-12"
    since = f"; other than then: {', '.join(again.other_than_then)}" if again.other_than_then else ""
    return Finding(
        link="scores",
        as_of=manifest.as_of,
        file=asked.lake.address(manifest.files[layout.PREDICTIONS].key),
        what=f"what readers see of {again.differing:,} of {again.rows:,} rows of batch {again.batch}, in {named},",
        found=f"other (of {key}, {first.column} is {first.published})",
        expected=f"what {again.model} makes of the same rows of the snapshot, {how} ({first.again}){since}",
        next_step=next_step,
        batch=again.batch,
    )


def _up_to(rows: int, drawn: Sequence[Drawn], batches: dict[str, tuple[int, ...]]) -> list[Drawn]:
    """The first of these that hold so many rows."""
    found, held = list[Drawn](), 0
    for as_of, batch in drawn:
        if held >= rows:
            break
        found.append((as_of, batch))
        held += max(batches[as_of][batch], 1)
    return found
