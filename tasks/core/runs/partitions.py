"""What a window's partition shows, and what changes that, whichever format its table has.

A plain Parquet table shows what lies in the partition's folder, and a swap of folders changes it. A Delta table shows what
its log says, and one commit changes it; the files that were replaced stay in the folder for whoever reads an earlier
version. Either way a prepared folder holds, after a swap, what the partition showed before.
"""

from __future__ import annotations

import datetime as dt

from tasks.core import layout
from tasks.core.delta import actions, log, schema, upkeep
from tasks.core.delta.log import Action, Log
from tasks.core.errors import DefinitionError, LakeCorrupt
from tasks.core.storage import ABANDONED_SECONDS, Folder, Lake

# The tables that a job may have as Delta tables: those that people read.
FORMATTED = (layout.PREDICTIONS, layout.SHADOW)


def names(lake: Folder, partition: str) -> list[str]:
    """The names of the files that a partition shows, sorted."""
    table, label = _parts(partition)
    found = _log_of(lake, table)
    return lake.names(partition) if found is None else found.names(label)


def labels(lake: Folder, table: str) -> list[str]:
    """The windows of which a table shows anything, in the order of time."""
    folders = lake.names(table)
    if log.LOG in folders and (found := log.read(lake, table)):
        return list(found.by_label())
    return [name.removeprefix("as_of=") for name in folders if name.startswith("as_of=")]


def by_label(lake: Folder, table: str) -> dict[str, list[str]]:
    """Of each window that a table shows, in the order of time, the names of its files."""
    if found := _log_of(lake, table):
        return found.by_label()
    return {label: lake.names(f"{table}/as_of={label}") for label in labels(lake, table)}


def is_delta(lake: Folder, table: str) -> bool:
    """Whether a table has a log with a commit: of one that a kill kept from its first there may be the folder."""
    return table.partition("/")[0] in FORMATTED and bool(lake.names(log.folder(table)))


def keeps_name(lake: Folder, partition: str, name: str, *, now: dt.datetime) -> bool:
    """Whether somebody may be reading a file of this name, of the version that stands or of one that was replaced.

    Only of a Delta table: a plain partition is another folder with each swap.
    """
    table, label = _parts(partition)
    found = _log_of(lake, table)
    if found is None:
        return False
    oldest = (now - upkeep.REMOVED_KEPT).timestamp() * 1000
    gone = found.removed.get(f"as_of={label}/{name}", {})
    return name in found.names(label) or gone.get("deletionTimestamp", 0) >= oldest


def why_not_shown(lake: Folder, key: str, partition: str) -> str | None:
    """Why the table cannot show a file, where its columns are not the table's; None if it can. A plain table shows any."""
    table, _ = _parts(partition)
    found = _log_of(lake, table)
    if found is None:
        return None
    try:
        schema.merged(found.fields, _fields_of(lake, key, table), table=table)
    except DefinitionError as error:
        return error.failed
    return None


def swap(lake: Lake, prepared: str, partition: str, *, at: dt.datetime) -> bool:
    """Shows the file of a prepared folder in the place of what the partition shows, in one step; see `Lake.swap`."""
    table, label = _parts(partition)
    if not is_delta(lake, table):
        return lake.swap(prepared, partition)
    new = _only_name(lake, prepared)
    before = names(lake, partition)
    _put_beside(lake, f"{prepared}/{new}", f"{partition}/{new}")
    for name in before:
        if name != new and lake.exists(f"{partition}/{name}"):
            _put_beside(lake, f"{partition}/{name}", f"{prepared}/{name}")
    # From the commit on the prepared folder holds, but for the new file, what the partition showed before.
    _commit(lake, table, label, new, at)
    mend_swap(lake, prepared, partition)
    return True


def mend_swap(lake: Lake, prepared: str, partition: str) -> None:
    """Ends what a kill left of a swap: what the partition shows is not in the prepared folder."""
    table, _ = _parts(partition)
    if not is_delta(lake, table):
        lake.mend_swap(prepared, partition)
        return
    shown, held = names(lake, partition), lake.names(prepared)
    if held and set(held) <= set(shown):
        lake.remove(prepared)
        return
    for name in set(held) & set(shown):
        lake.remove(f"{prepared}/{name}")


def take_out(lake: Lake, partition: str, aside: str, *, at: dt.datetime) -> None:
    """Shows nothing any more of a partition; what it showed is in the folder `aside`, unless that has it already."""
    table, label = _parts(partition)
    if not is_delta(lake, table):
        put_aside(lake, partition, aside)
        return
    for name in names(lake, partition):
        if not lake.exists(f"{aside}/{name}") and lake.exists(f"{partition}/{name}"):
            lake.copy(f"{partition}/{name}", f"{aside}/{name}")
    _commit(lake, table, label, None, at)


def sweep(lake: Lake, job: str, as_of: str) -> None:
    """Ends what killed writers left in a Delta table: in the window's folder, and what is old in the log's."""
    for name in FORMATTED:
        table = layout.table(name, job)
        if is_delta(lake, table):
            lake.sweep(layout.partition(name, job, as_of))
            lake.sweep(log.folder(table), idle_seconds=ABANDONED_SECONDS)
            upkeep.end_what_was_killed(lake, table)


def put_aside(lake: Lake, folder: str, aside: str) -> None:
    """Of what was taken out once, and put back by hand, the first copy stays: it is the one that was published."""
    if lake.exists(aside):
        lake.remove(folder)
    else:
        lake.rename(folder, aside)


def _commit(lake: Lake, table: str, label: str, name: str | None, at: dt.datetime) -> None:
    """One commit: what the partition shows goes, and a file that stands in it comes, or none."""
    new = actions.added(lake, table, label, name, at) if name else None
    fields = _fields_of(lake, f"{table}/as_of={label}/{name}", table) if name else []

    def changes(found: Log) -> list[Action]:
        old = [one for one in found.files.values() if log.label_of(one) == label]
        path = new["add"]["path"] if new else None
        if [one["path"] for one in old] == ([path] if path else []):
            return []
        run_id = layout.run_of(name or "")
        made = [actions.said("WRITE" if new else "DELETE", at, label=label, run_id=run_id)]
        if new and found.metadata and (wider := schema.merged(found.fields, fields, table=table)) != found.fields:
            made.append(actions.with_fields(found.metadata, wider))
        made += [actions.removed(one, at) for one in old if one["path"] != path]
        return [*made, new] if new else made

    upkeep.keep_short(lake, table, log.commit(lake, table, changes))


def _fields_of(lake: Folder, key: str, table: str) -> list[schema.Field]:
    with lake.parquet(key) as file:
        return schema.fields_of(file.schema_arrow, table=table)


def _put_beside(lake: Lake, source: str, target: str) -> None:
    """The same bytes under another key; what stands there with these bytes is left alone: somebody may be reading it."""
    if not lake.exists(target) or lake.sha256(target) != lake.sha256(source):
        lake.copy(source, target)


def _only_name(lake: Folder, prepared: str) -> str:
    found = lake.names(prepared)
    if len(found) != 1:
        raise LakeCorrupt(
            f"{lake.address(prepared)} should hold the one file that is to be published, and holds {len(found)}",
            state="what was published stands as it was",
            next_step="score the window again",
        )
    return found[0]


def _log_of(lake: Folder, table: str) -> Log | None:
    return log.read(lake, table) if table.partition("/")[0] in FORMATTED else None


def _parts(partition: str) -> tuple[str, str]:
    table, _, name = partition.rpartition("/")
    return table, name.removeprefix("as_of=")
