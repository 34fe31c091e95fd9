"""The format of a job's table: made ready before the first publication, and refused where another one stands.

A plain Parquet table becomes a Delta table by one commit that names the files which stand in it: none is written again.
"""

from __future__ import annotations

import datetime as dt
from importlib.util import find_spec

from tasks.core import layout
from tasks.core.definitions.job import Job
from tasks.core.delta import actions, log, schema
from tasks.core.delta.log import Action, Log
from tasks.core.errors import DefinitionError, WindowBusy
from tasks.core.rows import contract
from tasks.core.runs import partitions
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.publication import recover
from tasks.core.runs.run import as_of_labels, latest_manifest, manifests
from tasks.core.runs.showing import table_of
from tasks.core.storage import Folder, Lake

_STANDS = "nothing was pulled, and readers see what they saw"


def check_here(job: Job) -> None:
    """DefinitionError where this environment, or a column's type, does not allow what the job says of its table."""
    if job.output.format != "delta":
        return
    if find_spec("deltalake") is None:
        raise DefinitionError(
            "output.format: delta needs the package 'deltalake', which is not installed here: nobody could read the table",
            state=_STANDS,
            next_step="pip install 'lamplighter[delta]'",
        )
    schema.fields_of(contract.predictions_schema(job), table=table_for(job))


def check_table(lake: Folder, job: Job) -> None:
    """That the job can publish into the table that stands; DefinitionError else. Changes nothing."""
    check_here(job)
    table = table_for(job)
    stands = log.read(lake, table) if partitions.is_delta(lake, table) else None
    if job.output.format == "parquet":
        if stands is not None:
            raise _is_delta_already(job, table)
    else:
        _columns(lake, job, stands)


def make_ready(lake: Lake, job: Job, manifest: Manifest, *, at: dt.datetime) -> None:
    """The table as the job's format has it, for a run that is about to publish. The files of earlier windows stay.

    WindowBusy where a run of another definition is at one of its windows: it would publish as if nothing had changed.
    """
    check_table(lake, job)
    table = table_for(job)
    if job.output.format != "delta" or partitions.is_delta(lake, table):
        return
    _refuse_others_at_work(lake, manifest)
    _end_what_was_cut_short(lake, manifest)
    begin(lake, table, _columns(lake, job, None), at=at)


def begin(lake: Lake, table: str, fields: list[schema.Field], *, at: dt.datetime) -> None:
    """The first commit of a Delta table: its columns, and the files that the folder shows until now."""
    standing = partitions.by_label(lake, table)
    add = [
        actions.added(lake, table, label, name, at, changes=False)
        for label, found in standing.items()
        for name in found
    ]

    def changes(found: Log) -> list[Action]:
        # Another window's run may have been faster.
        if found.metadata:
            return []
        return [actions.said("CONVERT" if add else "CREATE TABLE", at), *actions.made(table, fields, at), *add]

    log.commit(lake, table, changes)


def table_for(job: Job) -> str:
    """The table that the job's next window is published into."""
    return layout.table(table_of(layout.PREDICTIONS, shadow=job.output.shadow), job.job)


def _columns(lake: Folder, job: Job, stands: Log | None) -> list[schema.Field]:
    """The columns of the table with this job's; of one that is to become a Delta table those of all that stands in it."""
    table, fields = table_for(job), list[schema.Field]()
    if stands is not None:
        fields = stands.fields
    else:
        for label, found in partitions.by_label(lake, table).items():
            for name in found:
                with lake.parquet(f"{layout.partition(table.partition('/')[0], job.job, label)}/{name}") as file:
                    here = schema.fields_of(file.schema_arrow, table=table)
                fields = schema.merged(fields, here, table=table)
    return schema.merged(fields, schema.fields_of(contract.predictions_schema(job), table=table), table=table)


def _refuse_others_at_work(lake: Folder, manifest: Manifest) -> None:
    for label in as_of_labels(lake, manifest.job):
        if label == manifest.as_of or not lake.is_locked(layout.lock(manifest.job, label)):
            continue
        other = latest_manifest(lake, manifest.job, label)
        if other is None or other.state != "running" or other.job_digest != manifest.job_digest:
            raise WindowBusy(
                f"{layout.table(layout.PREDICTIONS, manifest.job)} is to become a Delta table, and its window {label} is "
                "being changed by what began before the job said so",
                state="nothing was published; what was scored is kept",
                next_step=f"wait for it to end, and run it again: lamplighter score {manifest.job} --as-of {manifest.as_of}",
            )


def _end_what_was_cut_short(lake: Lake, manifest: Manifest) -> None:
    """Ends what kills left of changes to other windows while the table is plain: a commit would not name rows set aside."""
    for label in as_of_labels(lake, manifest.job):
        states = {one.state for one in manifests(lake, manifest.job, label)} if label != manifest.as_of else set()
        if states & {"publishing", "withdrawing"}:
            holder = f"the run of {manifest.as_of}, which makes a Delta table of it"
            with lake.lock(layout.lock(manifest.job, label), holder=holder):
                recover(lake, manifest.job, label)


def _is_delta_already(job: Job, table: str) -> DefinitionError:
    return DefinitionError(
        f"{table}/ is a Delta table, and the job '{job.job}' would publish plain Parquet into it: whoever reads its folder "
        "would get rows that were replaced as well",
        state=_STANDS,
        next_step=f"set output.format: delta in deployments/jobs/{job.job}.yaml; or move {table}/ out of the lake and score "
        f'its windows again: lamplighter backfill {job.job} --from FIRST --to LAST --rescore "as plain Parquet"',
    )
