"""What a Delta table shows, by its log alone: read here by a few lines of the tests' own, from commits without a checkpoint.

What the deltalake package makes of the same log is in the tests that are marked as extras.
"""

import datetime as dt
import json
import pathlib

import pyarrow as pa

from tasks.core.delta import schema
from tasks.core.runs import formats

TABLE, MADE_AT = "predictions/late", dt.datetime(2013, 7, 2, tzinfo=dt.UTC)


def begin(lake, table=TABLE, at=MADE_AT) -> None:
    """An empty Delta table of the scenes' one column."""
    formats.begin(lake, table, schema.fields_of(pa.schema([("x", pa.int64())]), table=table), at=at)


def is_delta(lake_root, table=TABLE) -> bool:
    return (pathlib.Path(lake_root) / table / "_delta_log").is_dir()


def commits(lake_root, table=TABLE) -> list[list[dict]]:
    """The actions of each commit."""
    folder = pathlib.Path(lake_root) / table / "_delta_log"
    files = sorted(folder.glob("[0-9]*.json"))
    assert [int(path.stem) for path in files] == list(range(len(files)))
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in files]


def shown(lake_root, table=TABLE) -> dict[str, list[str]]:
    """By partition the names of the files that the table shows."""
    paths: dict[str, None] = {}
    for commit in commits(lake_root, table):
        gone = [one["remove"]["path"] for one in commit if "remove" in one]
        come = [one["add"]["path"] for one in commit if "add" in one]
        for path in gone:
            del paths[path]
        for path in come:
            assert path not in paths
            paths[path] = None
    found: dict[str, list[str]] = {}
    for path in sorted(paths):
        folder, _, name = path.partition("/")
        found.setdefault(folder.removeprefix("as_of="), []).append(name)
    return found


def files(lake_root, table=TABLE) -> list[pathlib.Path]:
    """The files that readers of the table see, whichever format it has."""
    folder = pathlib.Path(lake_root) / table
    if not is_delta(lake_root, table):
        return sorted(path for path in folder.rglob("*") if path.is_file())
    return [folder / f"as_of={label}" / name for label, names in shown(lake_root, table).items() for name in names]
