"""The rows that a release carries: some of a published window, with the scores that readers saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.errors import DefinitionError
from tasks.core.models.model_version import ModelVersion
from tasks.core.rows import snapshot
from tasks.core.rows.digest import Hashes, hash_rows
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.run import as_of_labels, published_manifest
from tasks.core.runs.showing import partition_of
from tasks.core.storage import Lake


@dataclass(frozen=True)
class Chosen:
    """Rows as their snapshot holds them. `scores`: what was published of them, where this very version scored them."""

    manifest: Manifest
    rows: pa.Table
    scores: pa.Table | None


def choose_sample(lake: Lake, job: Job, version: ModelVersion, *, most: int, as_of: str = "") -> Chosen:
    """Rows from all over a window: of the latest that this version scored, else of the latest at all; or of the one asked for."""
    windows = [as_of] if as_of else list(reversed(as_of_labels(lake, job.job)))
    usable = (
        one for one in (published_manifest(lake, job.job, label) for label in windows) if one and _fits(lake, job, one)
    )
    found = _first(usable, version)
    if found is None:
        raise DefinitionError(
            f"{job.job} has no published window{f' {as_of}' if as_of else ''} of which a snapshot with the job's columns is "
            "kept, and a release carries some of its rows",
            state="nothing was written",
            next_step=f"lamplighter score {job.job} --as-of ..., and release again",
        )
    return _rows_of(lake, job, found, most, of_version=found.model.digest == version.digest)


def _first(usable: Iterator[Manifest], version: ModelVersion) -> Manifest | None:
    latest = None
    for manifest in usable:
        if manifest.model.digest == version.digest:
            return manifest
        latest = latest or manifest
    return latest


def _fits(lake: Lake, job: Job, manifest: Manifest) -> bool:
    key = _snapshot_key(manifest)
    if not manifest.rows.scored or not manifest.snapshot or not lake.exists(key):
        return False
    with lake.parquet(key) as file:
        return bool(file.schema_arrow.equals(job.arrow_schema))


def _rows_of(lake: Lake, job: Job, manifest: Manifest, most: int, *, of_version: bool) -> Chosen:
    part = f"{partition_of(manifest, layout.PREDICTIONS)}/{layout.part(manifest.run_id)}"
    outputs = [name for name in job.output.columns if of_version]
    with lake.parquet(part) as file:
        if set(outputs) - set(file.schema_arrow.names):
            outputs = []
        published = file.read(columns=[*job.keys, *outputs])
    spread = np.unique(np.linspace(0, len(published) - 1, min(most, len(published))).astype(np.int64))
    published = published.take(spread)
    rows, order = _found(lake, job, manifest, hash_rows(published, job.keys))
    scores = published.take(order).select(outputs).combine_chunks() if outputs else None
    return Chosen(manifest, rows, scores)


def _found(lake: Lake, job: Job, manifest: Manifest, wanted: Hashes) -> tuple[pa.Table, pa.Int64Array]:
    """The rows of the snapshot with these keys, each once, and which of the wanted ones each is. A batch at a time."""
    record = snapshot.required_record(lake, _workspace(manifest))
    snapshot.check_bytes(lake, _workspace(manifest), record)
    missing = {bytes(one): number for number, one in enumerate(wanted)}
    tables, order = [job.arrow_schema.empty_table()], []
    for batch in range(record.batches):
        if not missing:
            break
        table, here = snapshot.read_batch(lake, _workspace(manifest), batch), []
        for row, one in enumerate(hash_rows(table, job.keys)):
            number = missing.pop(bytes(one), None)
            if number is not None:
                here.append(row)
                order.append(number)
        tables.append(table.take(pa.array(here, pa.int64())))
    return pa.concat_tables(tables).combine_chunks(), pa.array(order, pa.int64())


def _workspace(manifest: Manifest) -> str:
    return layout.workspace(manifest.job, manifest.as_of, manifest.run_id)


def _snapshot_key(manifest: Manifest) -> str:
    return f"{_workspace(manifest)}/{snapshot.SNAPSHOT}"
