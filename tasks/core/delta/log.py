"""The log of a Delta table: one small file a commit, in the order of their numbers, and now and then a checkpoint of all.

What other programs wrote into it is read as well. Commits are written through `tasks.core.storage`, and not by the
deltalake package, which flushes none of them to the disk (seen with strace, 1.6): after a loss of power the table would be
unreadable. A commit's file is put in place only where none stands, so that of two at once one wins and the other reads
what the first has done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from tasks.core.delta.schema import PARTITION, Field, fields_in
from tasks.core.errors import LakeCorrupt, LakeError
from tasks.core.storage import Folder, Lake

LOG = "_delta_log"
# What plain tables of this protocol need. A program that has raised it wrote things that are not known here.
READER, WRITER = 1, 2
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")
_MAPS = ("partitionValues", "configuration", "tags", "options")
_ATTEMPTS = 100
_NO_VERSION = -1
_RESTORE = "restore its _delta_log from a backup; the files of rows are beside it, and are not changed by this"

Action = dict[str, Any]


@dataclass(frozen=True)
class Log:
    """What a table's log says at one version: its files by path, what was removed when, its columns and its protocol."""

    version: int = _NO_VERSION
    files: Mapping[str, Action] = field(default_factory=dict)
    removed: Mapping[str, Action] = field(default_factory=dict)
    metadata: Action | None = None
    protocol: Action | None = None
    others: tuple[Action, ...] = ()
    tail: bytes = b""  # The commit that it ends with.
    checkpoint: int = 0  # The last version of which there is one.

    @property
    def fields(self) -> list[Field]:
        return fields_in(self.metadata["schemaString"]) if self.metadata else []

    @property
    def at_milliseconds(self) -> int:
        """The instant of the last change: the log's own clock."""
        come = [one["modificationTime"] for one in self.files.values()]
        return max(come + [one.get("deletionTimestamp", 0) for one in self.removed.values()], default=0)

    def names(self, as_of: str) -> list[str]:
        """The names of the files that a partition shows, sorted."""
        return sorted(path.rpartition("/")[2] for path, one in self.files.items() if label_of(one) == as_of)

    def by_label(self) -> dict[str, list[str]]:
        """Of each partition that shows anything, in the order of time, the names of its files."""
        return {label: self.names(label) for label in sorted({label_of(one) for one in self.files.values()})}


def label_of(add: Action) -> str:
    return str((add.get("partitionValues") or {}).get(PARTITION))


def folder(table: str) -> str:
    return f"{table}/{LOG}"


def commit_key(table: str, version: int) -> str:
    return f"{folder(table)}/{version:020d}.json"


def checkpoint_key(table: str, version: int) -> str:
    return f"{folder(table)}/{version:020d}.checkpoint.parquet"


def commits_in(names: Iterable[str]) -> set[int]:
    return {int(found[1]) for name in names if (found := _COMMIT.fullmatch(name))}


def checkpoints_in(names: Iterable[str]) -> set[int]:
    return {int(found[1]) for name in names if (found := _CHECKPOINT.fullmatch(name))}


# By lake and table what was read last: of a log that has grown only the new commits are read.
_read_before: dict[tuple[str, str], Log] = {}


def read(lake: Folder, table: str) -> Log | None:
    """What the log says now; None where the folder is no Delta table. LakeCorrupt where it cannot be told."""
    names = lake.names(folder(table))
    commits, checkpoints = commits_in(names), checkpoints_in(names)
    if not commits and not checkpoints:
        return None
    last, place = max(commits | checkpoints), (repr(lake), table)
    log = _known(lake, table, _read_before.get(place), commits)
    if log is None:
        log = _from_checkpoint(lake, table, checkpoints)
    for version in range(log.version + 1, last + 1):
        if version not in commits:
            raise LakeCorrupt(f"{lake.address(commit_key(table, version))} is missing", next_step=_RESTORE)
        log = _after(log, version, lake.read_bytes(commit_key(table, version)), lake.address(table))
    _read_before[place] = log = replace(log, checkpoint=max(checkpoints, default=0))
    return log


def commit(lake: Lake, table: str, changes: Callable[[Log], list[Action]]) -> Log:
    """Appends one commit of what `changes` makes of the log; nothing where it makes nothing. Returns the log.

    Where another commit was faster, its number is taken: what it says is read, and `changes` is asked once more. So a
    commit whose answer was lost is met as what stands already.
    """
    for _ in range(_ATTEMPTS):
        log = read(lake, table) or Log()
        refuse_unknown(log, lake.address(table))
        actions = changes(log)
        if not actions:
            return log
        if log.metadata is None and not any("metaData" in one for one in actions):
            raise LakeCorrupt(f"{lake.address(folder(table))} says nothing of the table's columns", next_step=_RESTORE)
        data = b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in actions)
        version = log.version + 1
        if lake.create(commit_key(table, version), data):
            return _after(log, version, data, lake.address(table))
    raise LakeError(
        f"{_ATTEMPTS} commits of others came before this one into {lake.address(folder(table))}",
        state="what was published stands as it was",
        next_step="run it again",
    )


def refuse_unknown(log: Log, where: str) -> None:
    """LakeError for a table that another program has changed into what is not known here."""
    found = log.protocol or {}
    reader, writer = found.get("minReaderVersion", READER), found.get("minWriterVersion", WRITER)
    if reader > READER or writer > WRITER:
        raise LakeError(
            f"{where} is a Delta table of reader version {reader} and writer version {writer}: another program has raised "
            f"it, and Lamplighter writes tables of {READER} and {WRITER} alone",
            state="nothing was changed, and readers see what they saw",
            next_step="restore its _delta_log as it was before, or publish under the name of another job",
        )


def _known(lake: Folder, table: str, before: Log | None, commits: set[int]) -> Log | None:
    """What was read last, if the log still goes on from there: one that was put back from a backup does not."""
    if before is None or before.version not in commits:
        return None
    return before if lake.read_bytes(commit_key(table, before.version)) == before.tail else None


def _from_checkpoint(lake: Folder, table: str, checkpoints: set[int]) -> Log:
    """The log as the last checkpoint has it; an empty one where there is none."""
    if not checkpoints:
        return Log()
    version = max(checkpoints)
    with lake.parquet(checkpoint_key(table, version)) as file:
        rows = file.read().to_pylist()
    log = Log()
    for row in rows:
        for kind, said in row.items():
            if said is not None:
                log = _told(log, {kind: _without_nothing(said)})
    return replace(log, version=version)


def _without_nothing(said: Action) -> Action:
    """A row of a checkpoint as the commit had it: Arrow has maps as pairs, and None where nothing was said."""
    found = {name: dict(one) if name in _MAPS else one for name, one in said.items() if one is not None}
    return found | ({"format": _without_nothing(found["format"])} if "format" in found else {})


def _after(log: Log, version: int, data: bytes, where: str) -> Log:
    """The log with one more commit."""
    if not data.strip():
        raise LakeCorrupt(f"commit {version} of the Delta table {where} is empty", next_step=_RESTORE)
    try:
        actions = [json.loads(line) for line in data.decode().splitlines() if line.strip()]
        # Copied once, and not with each action.
        log = replace(log, files=dict(log.files), removed=dict(log.removed))
        for action in actions:
            log = _told(log, action)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LakeCorrupt(
            f"commit {version} of the Delta table {where} cannot be read: {str(error)[:300]}", next_step=_RESTORE
        ) from error
    return replace(log, version=version, tail=data)


def _told(log: Log, action: Action) -> Log:
    """The log with one more action; its two tables are this function's to change."""
    files, removed = _own(log.files), _own(log.removed)
    if said := action.get("add"):
        path = unquote(said["path"])
        files[path] = said
        removed.pop(path, None)
    elif said := action.get("remove"):
        path = unquote(said["path"])
        files.pop(path, None)
        removed[path] = said
    elif said := action.get("metaData"):
        return replace(log, files=files, removed=removed, metadata=said)
    elif said := action.get("protocol"):
        return replace(log, files=files, removed=removed, protocol=said)
    elif said := action.get("txn"):
        return replace(log, files=files, removed=removed, others=(*log.others, said))
    return replace(log, files=files, removed=removed)


def _own(table: Mapping[str, Action]) -> dict[str, Action]:
    return table if isinstance(table, dict) else dict(table)
