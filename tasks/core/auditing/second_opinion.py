"""What the package deltalake finds in a Delta table, held against what Lamplighter does: readers come by a log of their own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from urllib.parse import unquote

import pyarrow as pa

from tasks.core import layout
from tasks.core.auditing.records import Finding
from tasks.core.delta import log
from tasks.core.runs import partitions
from tasks.core.storage import Folder

_MOST_NAMED = 5


def differences(lake: Folder, job: str) -> Iterator[Finding]:
    """A finding for each table of the job of which the package shows other files; none where it is not installed."""
    for name in partitions.FORMATTED:
        table = layout.table(name, job)
        if partitions.is_delta(lake, table) and (said := _difference(lake, table)):
            yield Finding(
                link="partition",
                file=lake.address(log.folder(table)),
                what="what the package deltalake shows by it",
                found=said,
                expected="the files that it names",
                next_step=f"restore it from a backup; then: lamplighter audit {job}",
            )


def _difference(lake: Folder, table: str) -> str:
    """Of a table that is changed while it is looked at the versions differ: that one is looked at by the next audit."""
    try:
        package = importlib.import_module("deltalake")
    except ModuleNotFoundError:
        return ""
    mine = log.read(lake, table)
    try:
        opened = package.DeltaTable(lake.address(table))
        theirs = {unquote(str(path)) for path in pa.table(opened.get_add_actions())["path"].to_pylist()}
    except Exception as error:  # noqa: BLE001 - whatever a reader would be told
        return f"nothing ({' '.join(str(error).split())[:300]})"
    if mine is None or opened.version() != mine.version or theirs == set(mine.files):
        return ""
    return f"others: {', '.join(sorted(theirs ^ set(mine.files))[:_MOST_NAMED])}"
