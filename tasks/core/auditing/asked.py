"""What an audit is of: a job, a day, which windows, how many rows, and the seed of its draws."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from tasks.core.auditing.drawing import seed_of
from tasks.core.definitions.job import Job
from tasks.core.definitions.project import Definition
from tasks.core.storage import Folder, Lake


class Asked:
    """Small, and handed from stage to stage. No dataclass: Prefect takes those apart."""

    def __init__(
        self,
        lake: Lake,
        project: Folder,
        definition: Definition,
        at: dt.datetime,
        *,
        scope: tuple[str, ...] = (),
        rows: int = 0,
        seed: int | None = None,
    ) -> None:
        self.lake = lake
        self.project = project
        self.definition = definition
        self.at = at
        self.scope = scope
        self.rows = rows or definition.job.audit.rows
        self.day = at.astimezone(ZoneInfo(definition.job.window.timezone)).date().isoformat()
        self.seed = seed_of(definition.job.job, self.day) if seed is None else seed

    @property
    def job(self) -> Job:
        return self.definition.job

    @property
    def name(self) -> str:
        return f"{self.job.job} on {self.day}"
