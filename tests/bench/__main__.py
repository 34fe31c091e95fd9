"""The benchmarks: every figure as a ratio of two that were measured side by side, into results/latest.json and latest.md.

    python -m tests.bench [--rows 10000000] [--quick] [--only scoring --only fixed] [--model forest] [--columns 200]

Parts: validation, profiling, fixed (what a run costs that scores nothing), scoring (against five others, a contest a
model), scale (from few rows to many), profile (where a run's CPU time goes), sql. The rows that are scored are made once,
and kept in --folder, else in $LAMPLIGHTER_BENCH, else in .bench.
"""

import argparse
import importlib.util
import pathlib
import sys
import time
from collections.abc import Callable, Iterator

from tests.bench import report

PARTS = ("validation", "profiling", "fixed", "scoring", "scale", "profile", "sql")
QUICK_ROWS = 500_000
# Up to so many rows each contender has three runs, of which the median counts.
_THREE_RUNS = 1_000_000
_MOST_VALIDATED, _MOST_PROFILED = 5_000_000, 1_000_000


def main() -> None:
    given = _given()
    began, parts = time.monotonic(), []
    for part in _parts(given):
        parts.append(part)
        print("\n".join([f"\n## {part.title}", "", *part.lines]), flush=True)
        report.write(
            parts, [f"`python -m tests.bench {' '.join(sys.argv[1:])}`, {(time.monotonic() - began) / 60:.0f} min"]
        )
    print(f"\nEvery figure: {report.RESULTS / 'latest.json'}; the tables: latest.md")


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=0, help="To score; 10,000,000 where nothing is said.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows, one run each, and no scale.")
    parser.add_argument("--only", action="append", choices=PARTS, help="A part; once for each.")
    parser.add_argument("--model", action="append", choices=("boosted", "linear", "forest", "regression"))
    parser.add_argument("--columns", type=int, default=16, help="How many a model takes: the flights' 16, and numbers.")
    parser.add_argument("--contender", action="append", help="Beside lamplighter and bare: naive, mlflow, ray, spark.")
    parser.add_argument("--folder", type=pathlib.Path, help="Where the rows are kept.")
    parser.add_argument("--out", type=pathlib.Path, default=report.RESULTS, help="Where the results are written.")
    parser.add_argument("--runs", type=int, default=0, help="Of each contender; 3 up to a million rows, else 1.")
    parser.add_argument("--limit", type=float, default=900, help="Seconds that a contender may take.")
    given = parser.parse_args()
    report.RESULTS = given.out
    given.rows = given.rows or (QUICK_ROWS if given.quick else 10_000_000)
    given.is_short = given.quick or given.rows <= QUICK_ROWS
    given.runs = given.runs or (3 if given.rows <= _THREE_RUNS and not given.is_short else 1)
    given.model = given.model or ["boosted", "linear"]
    given.parts = given.only or [one for one in PARTS if not (given.is_short and one in ("scale", "profiling"))]
    return given


def _parts(given: argparse.Namespace) -> Iterator[report.Part]:
    if "validation" in given.parts:
        from tests.bench import validation

        yield validation.run(min(given.rows, _MOST_VALIDATED), 1 if given.is_short else validation.RUNS)
    if "profiling" in given.parts:
        from tests.bench import profiling

        yield profiling.run(min(given.rows, _MOST_PROFILED))
    if {"fixed", "scoring", "scale", "profile"} & set(given.parts):
        from tests.bench.scoring import everything

        yield from everything.parts(given)
    if "sql" in given.parts and (sql := _sql()):
        yield sql(given)


def _sql() -> Callable | None:
    """The part of SQL sources; none where its file is not there."""
    if importlib.util.find_spec("tests.bench.sql") is None:
        return None
    from tests.bench import sql

    return getattr(sql, "part", None)


if __name__ == "__main__":
    main()
