"""The manifest: the record of one run. It is the truth of what was published; everything else is a view of it."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from tasks.core import layout
from tasks.core.records import Record, parse_record
from tasks.core.runs.seal import SEAL, sealed

MANIFEST_VERSION: Literal[1] = 1
# What to do about one that cannot be read.
MENDED = "restore the file from a backup, or move the run's folder away and score the window again"

Verdict = Literal["published", "published_with_warnings", "blocked", "failed"]
# running: nothing is decided. publishing: all is staged, and what lies in the lake tells how far it got. concluded: the
# verdict stands. superseded: it was published, and another run took its place. withdrawing: its model version was recalled,
# and its partition is on the way out of the tables. withdrawn: it is out of them, for ever. dry_run: all was done but
# publication, and the verdict is what it would have been.
State = Literal["running", "publishing", "concluded", "superseded", "withdrawing", "withdrawn", "dry_run"]


class Interval(Record):
    """A figure with its 95 % interval; None where it is not known."""

    value: float | None
    low: float | None = None
    high: float | None = None


class WindowRecord(Record):
    kind: Literal["interval", "snapshot"]
    start: dt.datetime
    end: dt.datetime
    timezone: str
    known_at: Annotated[dt.datetime | None, Field(description="What the query bound as :known_at.")] = None


class RowCounts(Record):
    """Rows by fate: pulled = scored + quarantined + duplicates."""

    pulled: NonNegativeInt = 0
    scored: NonNegativeInt = 0
    quarantined: NonNegativeInt = 0
    duplicates: NonNegativeInt = 0

    @property
    def quarantine_share(self) -> float:
        """Of the rows pulled that are no duplicates, the share in quarantine; 0 of none."""
        distinct = self.pulled - self.duplicates
        return self.quarantined / distinct if distinct else 0.0


class KeyDigests(Record):
    """Sums modulo 2^128 of the hashes of the keys, in hex: they balance as the counts do, in any order of rows."""

    pulled: str
    scored: str
    quarantined: str
    duplicates: str


class SnapshotRecord(Record):
    digest: str
    rows: int
    batches: int
    batch_rows: int
    bytes_per_row: Annotated[
        int | None, Field(description="Of the first rows, in memory: what the batches' size follows from.")
    ] = None
    bytes: int
    sha256: str
    complete_at: dt.datetime
    columns: dict[str, str]
    ignored_columns: tuple[str, ...] = ()
    source_columns: dict[str, str] = Field(
        default_factory=dict, description="The source's own columns and types, as found."
    )


class RowChanges(Record):
    """What differs from the rows that readers saw before, by key; of a key's rows that differ, those on both sides pair.

    Only columns that both snapshots have in one type are compared.
    """

    of_run: Annotated[str, Field(description="The run whose rows were replaced.")]
    added: int
    removed: int
    changed: int
    not_compared: Annotated[
        tuple[str, ...], Field(description="Columns that only one of them has, or in another type.")
    ] = ()

    @property
    def sentence(self) -> str:
        counts = (
            f"{self.added:,} rows added, {self.removed:,} removed, {self.changed:,} changed since run {self.of_run}"
        )
        return f"{counts}; not compared: {', '.join(self.not_compared)}" if self.not_compared else counts

    @property
    def told(self) -> str:
        """The sentence, as one that stands alone."""
        return f"Against what readers saw before: {self.sentence}."


class SchemaChangeRecord(Record):
    """A difference between the source's columns and those of the window that was published before."""

    change: Literal["added", "missing", "widened", "retyped"]
    column: str
    before: str | None
    now: str | None
    consequence: Literal["accepted", "warns", "blocks"]
    sentence: str


class ModelRecord(Record):
    name: str
    version: int
    digest: str
    alias: str
    format: str
    origin: Annotated[
        str | None, Field(description="models:/NAME/VERSION, of one mirrored from MLflow's registry.")
    ] = None
    warnings: tuple[str, ...] = ()
    interpreter: Annotated[str | None, Field(description="Whose environment loaded it, where that is another.")] = None
    libraries: dict[str, str] = Field(default_factory=dict, description="The versions of what loaded it.")

    @property
    def loaded_by(self) -> str:
        """Which interpreter loaded it, with its libraries; '' where that was Lamplighter's own."""
        if self.interpreter is None:
            return ""
        versions = ", ".join(f"{name} {version}" for name, version in self.libraries.items())
        return f"the interpreter {self.interpreter}{f' ({versions})' if versions else ''}"


class ExpectationRecord(Record):
    """One expectation's outcome. Shares are of the non-null rows, as in Great Expectations."""

    type: str
    columns: tuple[str, ...]
    kwargs: dict[str, Any]
    severity: str
    on_failure: str | None
    consequence: Literal["passed", "quarantines", "blocks", "accepted", "warns", "note"]
    success: bool
    element_count: int | None = None
    unexpected_count: int | None = None
    examples: tuple[str, ...] = ()
    observed: str | None = None
    exception: Annotated[str | None, Field(description="Why it could not be checked, which blocks in any case.")] = None
    sentence: str


class SuiteRecord(Record):
    name: str
    digest: str
    success: bool
    expectations: tuple[ExpectationRecord, ...]


class VolumeRecord(Record):
    """Rows scored, against the median of the windows published before."""

    scored: int
    median: float
    windows: int
    least: float
    most: float
    severity: Literal["warning", "critical"]
    consequence: Literal["passed", "warns", "accepted", "blocks"]
    sentence: str


class AcceptanceRecord(Record):
    """A gate that somebody let fail, for this one window."""

    gate: Annotated[str, Field(description="By the name that the report gives it.")]
    needed: Annotated[bool, Field(description="False where the gate passed all the same.")]
    sentence: Annotated[str, Field(description="How it failed.")] = ""
    reason: str
    by: str
    at: dt.datetime

    @property
    def told(self) -> str:
        return f"accepted by {self.by}: {self.gate}: {self.reason}"


class CodeRecord(Record):
    """The code that ran: of Lamplighter, and of the job's own modules."""

    version: str
    commit: str | None
    dirty: bool | None
    digest: str
    modules: dict[str, str] = Field(
        default_factory=dict, description="The project's own packages that the job uses, each with its files' digest."
    )


class EngineRecord(Record):
    """Where the shards were worked on, when that was last begun. No row depends on it."""

    kind: Literal["local", "dask", "ray"] = "local"
    workers: Annotated[NonNegativeInt, Field(description="Of the cluster; 0 where there is none.")] = 0
    room: Annotated[NonNegativeInt, Field(description="How many shards these take at once.")] = 0

    @property
    def told(self) -> str:
        return f"{self.kind}, workers: {self.workers}, shards at once: {self.room}"


class StageTiming(Record):
    stage: str
    seconds: float
    rows_per_second: float | None = None


class FileRecord(Record):
    key: str
    rows: int
    bytes: int
    sha256: str


class FeatureDriftRecord(Record):
    """How far a column's distribution lies from the reference's; what each statistic is, tasks/core/profiles/comparison.py says."""

    column: str
    psi: float | None
    jensen_shannon: float | None
    missing_share_reference: float | None
    missing_share: float | None
    new_category_share: float | None
    kolmogorov_smirnov: Annotated[float | None, Field(description="Of numbers: 0 to 1.")] = None
    wasserstein: Annotated[
        float | None, Field(description="Of numbers, on the scale of the reference's ranks: 0 to 1/2.")
    ] = None
    chi_squared: Annotated[float | None, Field(description="Pearson's statistic, of categories.")] = None
    cramers_v: Annotated[float | None, Field(description="Its size, whatever the rows: 0 to 1.")] = None


class PredictionSummary(Record):
    """Of one prediction column of numbers, over the scored rows."""

    mean: float | None
    minimum: float | None
    maximum: float | None
    quantiles: Annotated[
        tuple[float, ...] | None, Field(description="5, 25, 50, 75 and 95 %, interpolated in the reference's bins.")
    ] = None


class Trigger(Record):
    """Who or what asked for the run."""

    kind: str = "manual"
    actor: str = ""
    flow_run_id: str | None = None
    scheduled_at: Annotated[dt.datetime | None, Field(description="The tick of the schedule that it answers.")] = None
    rescore_reason: str | None = None
    only_if_changed: bool = False
    accept: Annotated[tuple[str, ...], Field(description="The gates that were allowed to fail.")] = ()
    reason: Annotated[str | None, Field(description="Why a gate was allowed to fail, or a backfill asked for it.")] = (
        None
    )
    from_snapshot: Annotated[bool, Field(description="Whether a retained snapshot is read, and not the source.")] = (
        False
    )
    snapshot_of: Annotated[str | None, Field(description="The run whose retained snapshot was read.")] = None


class Withdrawal(Record):
    """Why what a run had published was taken out of the tables, and what came back in its place."""

    model: str
    version: int
    at: dt.datetime
    by: str
    reason: str
    repull: bool = False
    restores: Annotated[str | None, Field(description="The superseded run whose partition came back.")] = None
    restores_model: str | None = None
    notes: Annotated[tuple[str, ...], Field(description="Why a later partition could not come back.")] = ()


class Restoration(Record):
    """Why what a run had published before is what readers see again."""

    at: dt.datetime
    by: str
    reason: str
    instead_of: Annotated[str, Field(description="The run that was withdrawn.")]


class Removal(Record):
    """What retention has taken of a run, when, and by which policy."""

    at: dt.datetime
    kind: Annotated[str, Field(description="The key of the job's `retention` that says so.")]
    policy: Annotated[str, Field(description="How long it was kept.")]
    what: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        return f"retention removed it on {self.at:%Y-%m-%d} ({self.kind}: {self.policy})"


class Manifest(Record):
    """One run of one job and window."""

    manifest_version: Literal[1] = 1
    job: str
    as_of: str
    run_id: str
    plan_key: str
    job_digest: str
    window: WindowRecord
    state: State = "running"
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    next_step: str = ""
    rows: RowCounts = RowCounts()
    quarantine_reasons: dict[str, int] = Field(
        default_factory=dict, description="Rows by reason; a row may have several."
    )
    key_digests: KeyDigests | None = None
    snapshot: SnapshotRecord | None = None
    schema_changes: tuple[SchemaChangeRecord, ...] = ()
    changes: Annotated[RowChanges | None, Field(description="Against what readers saw when it was pulled.")] = None
    model: ModelRecord
    suite: SuiteRecord | None = None
    output_suite: SuiteRecord | None = None
    volume: VolumeRecord | None = None
    blocked_by: Annotated[tuple[str, ...], Field(description="The gates that blocked it and may be accepted.")] = ()
    acceptances: tuple[AcceptanceRecord, ...] = ()
    drift: tuple[FeatureDriftRecord, ...] = ()
    predictions: dict[str, PredictionSummary] = Field(default_factory=dict)
    estimates: dict[str, Interval] = Field(
        default_factory=dict, description="By metric, what is to be expected of these rows before labels come."
    )
    estimate_note: Annotated[str, Field(description="Why there are none.")] = ""
    code: CodeRecord
    environment: dict[str, str]
    engine: EngineRecord = EngineRecord()
    timings: tuple[StageTiming, ...] = ()
    peak_memory_bytes: Annotated[int | None, Field(description="Of the largest process.")] = None
    contract_version: int = 1
    shadow: Annotated[bool, Field(description="Published into shadow/, and not into predictions/.")] = False
    files: dict[str, FileRecord] = Field(default_factory=dict)
    swapped_atomically: bool | None = None
    replaces: str | None = None
    superseded_by: str | None = None
    withdrawal: Withdrawal | None = None
    restored: Restoration | None = None
    pruned: Annotated[tuple[Removal, ...], Field(description="What retention took: none of its rows are kept.")] = ()
    trigger: Trigger = Trigger()
    started_at: dt.datetime
    finished_at: dt.datetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _leave_the_seal(cls, said: Any) -> Any:
        # It is the file's, and not the record's, of which another may be made. What an audit makes of it: tasks.core.auditing.
        return {key: value for key, value in said.items() if key != SEAL} if isinstance(said, dict) else said

    @property
    def is_published(self) -> bool:
        return self.state == "concluded" and self.verdict in ("published", "published_with_warnings")

    @property
    def is_dry_run(self) -> bool:
        return self.trigger.kind == "dry_run"

    @property
    def accepted(self) -> tuple[AcceptanceRecord, ...]:
        """The gates that failed, and were accepted."""
        return tuple(one for one in self.acceptances if one.needed)

    @property
    def workspace(self) -> str:
        """Where in the lake its run has worked."""
        folder = layout.dry_run if self.is_dry_run else layout.workspace
        return folder(self.job, self.as_of, self.run_id)

    def but(self, **changes: Any) -> Self:
        """A copy with other values, checked as the whole is."""
        return type(self).model_validate(dict(self) | changes)

    def begun_again(self, **changes: Any) -> Self:
        """The record of a run that is taken up again: what it was concluded with is no more."""
        undecided: dict[str, Any] = {
            "verdict": None,
            "reasons": (),
            "next_step": "",
            "finished_at": None,
            "restored": None,
            "pruned": (),
            "blocked_by": (),
            "acceptances": (),
        }
        return self.but(state="running", **undecided, **changes)

    def to_json(self) -> bytes:
        """The manifest's file, sealed."""
        return sealed(self.model_dump_json(indent=2))


def read_manifest(data: bytes, *, where: str) -> Manifest:
    """A manifest from its JSON; LakeCorrupt names the file and the first thing that is wrong."""
    wrong = f"{where} is not a manifest of version {MANIFEST_VERSION}"
    return parse_record(data, Manifest, wrong, next_step=MENDED)
