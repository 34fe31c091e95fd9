"""A run: what is decided before anything is pulled, and its record in the lake."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Iterator
from typing import Any

from tasks.core import layout, logs
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Definition
from tasks.core.definitions.window import Window
from tasks.core.errors import LakeCorrupt, WindowFinished
from tasks.core.models.model_version import ModelVersion
from tasks.core.rows.digest import digest_json
from tasks.core.runs.manifest import (
    MENDED,
    CodeRecord,
    Manifest,
    ModelRecord,
    StageTiming,
    Trigger,
    WindowRecord,
    read_manifest,
)
from tasks.core.runs.run_rows import keep_row
from tasks.core.storage import Folder, Lake

_MANIFEST = "manifest.json"


class Run:
    """One job, one window, one model version, one state of the code; small, and handed from stage to stage.

    It is never changed. It is no dataclass because Prefect takes those apart, at each task that is given one.
    """

    def __init__(
        self,
        lake: Lake,
        project: Folder,
        definition: Definition,
        window: Window,
        model: ModelVersion,
        *,
        plan_key: str,
        workspace: str,
        started_at: dt.datetime,
        takes_over: bool = False,
    ) -> None:
        self.lake = lake
        self.project = project
        self.definition = definition
        self.window = window
        self.model = model
        self.plan_key = plan_key
        self.workspace = workspace
        self.started_at = started_at
        # An earlier attempt came to no end: it was killed, or the model took its process with it.
        self.takes_over = takes_over

    def under(self, workspace: str) -> Run:
        """The same run, in a workspace of another name."""
        moved = copy.copy(self)
        moved.workspace = workspace
        return moved

    @property
    def job(self) -> Job:
        return self.definition.job

    @property
    def run_id(self) -> str:
        return self.workspace.rpartition("/")[2]

    @property
    def name(self) -> str:
        return f"{self.job.job} {self.window.as_of}"

    @property
    def is_dry_run(self) -> bool:
        return self.folder == layout.dry_runs(self.job.job, self.window.as_of)

    @property
    def folder(self) -> str:
        """Where its workspace lies, under whichever name it has now."""
        return self.workspace.rpartition("/")[0]

    def key(self, name: str) -> str:
        """The key of a file in this run's workspace."""
        return f"{self.workspace}/{name}"


def plan_key(definition: Definition, window: Window, model: ModelVersion, code_digest: str) -> str:
    """What decides a run's result, but for the rows: a run with another key starts a new workspace."""
    # It follows from the schedule, which else decides nothing.
    known_at = definition.known_at(window)
    return plan_digest(definition.digest, window, (model.label, model.digest), code_digest, known_at)


def plan_digest(
    definition: str, window: Window, model: tuple[str, str], code: str, known_at: dt.datetime | None
) -> str:
    """The plan key, of digests alone; `model` is the version's label with its digest."""
    bound = {"known_at": known_at.isoformat()} if known_at else {}
    return digest_json(
        {
            "definition": definition,
            "window": [window.as_of, window.start.isoformat(), window.end.isoformat()],
            # The same bytes registered twice are two versions, and each row names its own.
            "model": list(model),
            "code": code,
            **bound,
        }
    )


def pulling_name(plan: str) -> str:
    """The workspace's name until its snapshot is complete."""
    return f"pulling-{plan[:16]}"


def run_id_of(
    plan: str, snapshot_digest: str, accepted: tuple[str, ...] = (), *, again: dt.datetime | None = None
) -> str:
    """The run's name: the plan with the rows that it was applied to, and with what was accepted of them.

    What an acceptance lets through is a run of its own: the blocked one keeps its record, and who scores the same rows
    again without it does not meet its result. `again` is the instant of the rows' snapshot, of a run that could not be taken
    up where its file's name was still that of a version of a Delta table.
    """
    parts = [snapshot_digest, sorted(accepted), *([again.isoformat()] if again else [])]
    rows = digest_json(parts) if accepted or again else snapshot_digest
    return f"{plan[:16]}-{rows[:16]}"


def first_manifest(run: Run, *, code: CodeRecord, environment: dict[str, str], trigger: Trigger) -> Manifest:
    """The record of a run that has just begun."""
    window = run.job.window
    return Manifest(
        job=run.job.job,
        as_of=run.window.as_of,
        run_id=run.run_id,
        plan_key=run.plan_key,
        job_digest=run.definition.digest,
        window=WindowRecord(
            kind=window.kind,
            start=run.window.start,
            end=run.window.end,
            timezone=window.timezone,
            known_at=run.definition.known_at(run.window),
        ),
        model=ModelRecord(
            name=run.model.name,
            version=run.model.version,
            digest=run.model.digest,
            alias=run.job.model.alias,
            format=run.model.format,
            origin=run.model.origin,
        ),
        code=code,
        environment=environment,
        contract_version=run.job.output.version,
        shadow=run.job.output.shadow,
        trigger=trigger,
        started_at=run.started_at,
    )


def manifest_of(run: Run) -> Manifest:
    return load_manifest(run.lake, run.workspace)


def load_manifest(lake: Folder, workspace: str) -> Manifest:
    """The record in a workspace. Its run id is the folder's name: a kill may come between the two being changed."""
    key = f"{workspace}/{_MANIFEST}"
    manifest = read_manifest(lake.read_bytes(key), where=lake.address(key))
    folder, _, run_id = workspace.rpartition("/")
    if folder.split("/")[1:] != layout.runs(manifest.job, manifest.as_of).split("/")[1:]:
        # Else what is done to that run would be done to another window.
        raise LakeCorrupt(
            f"{lake.address(key)} is the manifest of another window: {manifest.job[:100]} {manifest.as_of[:100]}",
            state="it was left as it is",
            next_step=MENDED,
        )
    return manifest.but(run_id=run_id)


def has_manifest(lake: Folder, workspace: str) -> bool:
    return lake.exists(f"{workspace}/{_MANIFEST}")


def write_manifest(lake: Lake, workspace: str, manifest: Manifest) -> None:
    """Writes the record; before that of a run which has come to a verdict, its row in the table of all runs."""
    keep_row(lake, workspace, manifest)
    lake.write_bytes(f"{workspace}/{_MANIFEST}", manifest.to_json())


def record(run: Run, **changes: Any) -> Manifest:
    """Adds to the run's record what a stage has found."""
    manifest = manifest_of(run).but(**changes)
    write_manifest(run.lake, run.workspace, manifest)
    return manifest


def record_timing(run: Run, stage: str, seconds: float, rows: int | None = None) -> None:
    """Adds how long a stage took; of a stage that ran again, the last time counts."""
    timing = StageTiming(
        stage=stage, seconds=round(seconds, 3), rows_per_second=round(rows / seconds, 1) if rows and seconds else None
    )
    others = tuple(one for one in manifest_of(run).timings if one.stage != stage)
    record(run, timings=(*others, timing))
    logs.count(seconds=seconds, rows=rows)


def manifests(lake: Folder, job: str, as_of: str) -> list[Manifest]:
    """The records of all runs of a window that have one."""
    return manifests_in(lake, layout.runs(job, as_of))


def manifests_in(lake: Folder, folder: str) -> list[Manifest]:
    """The records of the workspaces in a folder."""
    return [
        load_manifest(lake, f"{folder}/{name}") for name in lake.names(folder) if has_manifest(lake, f"{folder}/{name}")
    ]


def published_manifest(lake: Folder, job: str, as_of: str) -> Manifest | None:
    """The record of what readers see of this window now, if anything."""
    return next((one for one in manifests(lake, job, as_of) if one.is_published), None)


def published_before(lake: Folder, job: str, as_of: str) -> Iterator[Manifest]:
    """The records of what readers see of the windows before this one, the latest first.

    One that cannot be read is passed over: a damaged window of last month does not stop tonight's.
    """
    for label in reversed([label for label in as_of_labels(lake, job) if label < as_of]):
        try:
            published = published_manifest(lake, job, label)
        except LakeCorrupt as error:
            logs.log.warning("%s %s is compared with earlier windows but for %s: %s", job, as_of, label, error)
            continue
        if published:
            yield published


def as_of_labels(lake: Folder, job: str) -> list[str]:
    """The windows of a job of which the lake holds any run, in the order of time."""
    return [name.removeprefix("as_of=") for name in lake.names(f"runs/{job}") if name.startswith("as_of=")]


def latest_manifest(lake: Folder, job: str, as_of: str) -> Manifest | None:
    """The record of the run that began last."""
    return max(manifests(lake, job, as_of), key=lambda one: one.started_at, default=None)


def refuse_finished(lake: Folder, job: str, as_of: str) -> None:
    """WindowFinished if the window is published: it is left alone, whatever was promoted or upgraded since."""
    published = published_manifest(lake, job, as_of)
    if published is not None:
        where = ", in shadow" if published.shadow else ""
        raise WindowFinished(
            f"{job} {as_of} is published{where}: {published.rows.scored:,} rows by run {published.run_id}",
            state="it was left as it is, and nothing was pulled",
            next_step=f'lamplighter score {job} --as-of {as_of} --rescore "why", to do it again',
        )
