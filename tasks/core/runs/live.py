"""Which run each live window shows, at the cost of one listing: only windows whose folder is another one are looked into.

A publication puts another folder in a window's place, and nothing else changes what a window shows. So a folder that is the
one of the last look shows the run that it showed then. What was seen is kept in caches/: it may be lost at any
time, and is then seen anew.
"""

from __future__ import annotations

import contextlib

from pydantic import BaseModel

from tasks.core import layout
from tasks.core.delta.log import LOG
from tasks.core.errors import LakeError
from tasks.core.records import read_record
from tasks.core.runs import partitions
from tasks.core.runs.showing import live_runs
from tasks.core.storage import Lake


class _Seen(BaseModel):
    """Of each window the mark of its folder on the disk, and the run that it shows."""

    windows: dict[str, tuple[str, str]] = {}


def live_runs_seen(lake: Lake, job: str, *, keep: bool = False) -> dict[str, str]:
    """By window, in the order of time, the run whose rows predictions/ has.

    With `keep` what was seen is kept: whoever calls holds the lock of the table of latest rows.
    """
    if keep:
        lake.sweep(layout.live_seen(job))
    table = layout.table(layout.PREDICTIONS, job)
    marks = lake.folder_marks(table)
    if LOG in marks and partitions.is_delta(lake, table):
        # Its log says it all at once.
        return live_runs(lake, job)
    before = _read(lake, job).windows
    now: dict[str, tuple[str, str]] = {}
    # The folders' marks were first: one that is put in place meanwhile has another mark at the next look.
    for name, mark in marks.items():
        label = name.removeprefix("as_of=")
        known = before.get(label)
        if known and known[0] == mark:
            now[label] = known
        elif name.startswith("as_of=") and (parts := lake.names(f"{table}/{name}")):
            now[label] = (mark, layout.run_of(parts[0]))
    if keep and now != before:
        lake.write_bytes(_key(job), _Seen(windows=now).model_dump_json().encode() + b"\n")
    return {label: run_id for label, (_, run_id) in now.items()}


def _read(lake: Lake, job: str) -> _Seen:
    with contextlib.suppress(LakeError):
        return read_record(lake, _key(job), _Seen, wrong="is not what was seen")
    return _Seen()


def _key(job: str) -> str:
    return f"{layout.live_seen(job)}/windows.json"
