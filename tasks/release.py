"""Release: the production version of a job, the job itself and the code that runs it, as one file."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pyarrow as pa

from tasks.core import provenance
from tasks.core.definitions.project import Definition, Project
from tasks.core.errors import Blocked, DefinitionError
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registry import Registry
from tasks.core.releasing.contents import Sample, check_release_name
from tasks.core.releasing.making import Made, Parts, pack_release, released_version
from tasks.core.releasing.sample import Chosen, choose_sample
from tasks.core.storage import Lake
from tasks.shards.dry_run import DryRun, run_dry, tolerance_of, worst_difference
from tasks.shards.suites import check_suites

MOST_ROWS = 1000


def make_release(
    lake: Lake,
    project: Project,
    job: str,
    name: str,
    *,
    sample_as_of: str = "",
    rows: int = MOST_ROWS,
    created_at: dt.datetime | None = None,
) -> Made:
    """One file's bytes. Whatever would keep it from being installed elsewhere is said here, and nothing is written."""
    check_release_name(name)
    definition = project.load(job)
    check_suites(definition)
    registry = Registry(lake)
    version = released_version(registry, definition)
    chosen = choose_sample(lake, definition.job, version, most=rows, as_of=_window(definition, sample_as_of))
    table, scores, sample = _scored(lake, definition, version, chosen)
    parts = Parts(definition, version, name, provenance.actor(), created_at, table, scores, sample)
    return pack_release(project, registry, parts)


def _window(definition: Definition, as_of: str) -> str:
    return definition.job.window.parse(as_of).as_of if as_of else ""


def _scored(
    lake: Lake, definition: Definition, version: ModelVersion, chosen: Chosen
) -> tuple[pa.Table, pa.Table, Sample]:
    """The sample as it is to be scored elsewhere: the model has just done so here, behind the load gate."""
    found = run_dry(DryRun(lake, version, definition.job, chosen.rows))
    table, scores = chosen.rows.take(pa.array(found.kept, pa.int64())), found.scores.combine_chunks()
    if not len(table):
        raise DefinitionError(
            f"{version} can score no row of {definition.job.job} {chosen.manifest.as_of}, which was to be the sample",
            state="nothing was written",
            next_step="give --sample-as-of of another window",
        )
    if chosen.scores is not None:
        whole = len(found.kept) == len(chosen.rows)
        _refuse_other_scores(version, chosen, worst_difference(chosen.scores, scores) if whole else float("inf"))
        scores = chosen.scores
    return table, scores, Sample(**_facts(version, chosen, len(table)))


def _facts(version: ModelVersion, chosen: Chosen, rows: int) -> dict[str, Any]:
    return {
        "as_of": chosen.manifest.as_of,
        "run_id": chosen.manifest.run_id,
        "rows": rows,
        "scored": "published" if chosen.scores is not None else "at release",
        "tolerance": tolerance_of(version),
    }


def _refuse_other_scores(version: ModelVersion, chosen: Chosen, off: float) -> None:
    """Where not even here the scores come out as they were published, they would nowhere."""
    if off > tolerance_of(version):
        raise Blocked(
            f"{version} does not score the rows of {chosen.manifest.job} {chosen.manifest.as_of} as it did when run "
            f"{chosen.manifest.run_id} published them: a score is off by {off:g}",
            state="nothing was written",
            next_step="look whether the model draws random numbers, or a library of it was changed; or give --sample-as-of",
        )
