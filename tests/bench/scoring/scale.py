"""Whether time grows with the rows and memory does not: `python -m tests.bench.scoring.scale [--rows 50000000]`."""

import argparse
import pathlib
import sys

import numpy as np

from tests.bench import report
from tests.bench.scoring import ours, server, world

SHARES = (0.1, 0.2, 0.5, 1.0)


def run(folder: pathlib.Path, environment: dict, sizes, known=None, model="boosted", limit=3600.0) -> report.Part:
    """`known` are runs that have been made, by their rows."""
    found = dict(known or {})
    for rows in sorted(set(sizes) - set(found)):
        world.make(folder, rows, world.columns_of(folder), (model,))
        found[rows] = ours.run(folder, model, rows, limit=limit, environment=environment)
        said = found[rows]
        print(f"{model} {rows:,} rows: {said.get('failed') or said['wall_s']}", file=sys.stderr, flush=True)
    return _part(model, {rows: found[rows] for rows in sorted(found)})


def fit(rows, walls) -> tuple[float, float, float]:
    """Least squares of wall = fixed + each * rows: both, and R2."""
    each, fixed = np.polyfit(rows, walls, 1)
    off = np.asarray(walls) - (fixed + each * np.asarray(rows))
    return fixed, each, 1 - float(off @ off) / float(np.sum((np.asarray(walls) - np.mean(walls)) ** 2))


def _part(model: str, found: dict[int, dict]) -> report.Part:
    done = {rows: one for rows, one in found.items() if "failed" not in one}
    lines = [f"- Did not finish: {rows:,} rows, {one['failed']}" for rows, one in found.items() if "failed" in one]
    if len(done) < 2:
        return report.Part(f"From few rows to many: {model}", [], lines)
    sizes, walls = list(done), [one["wall_s"] for one in done.values()]
    fixed, each, r2 = fit(sizes, walls)
    rows = [
        (
            f"{size:,}",
            f"{one['wall_s']:.1f}",
            f"{fixed + each * size:.1f}",
            f"{one['cpu_s']:.1f}",
            f"{one['peak_mb']:.0f}",
        )
        for size, one in done.items()
    ]
    lines += report.table(("rows", "wall s", "fitted", "CPU s", "peak MB"), rows)
    lines += ["", f"wall = {fixed:.1f} s + {each * 1e6:.2f} s a million rows; R2 = {r2:.5f}."]
    peaks = [one["peak_mb"] for one in done.values()]
    figures = [
        report.Figure("score_linear_fit_r2", r2, ""),
        report.Figure("score_seconds_per_million_rows", each * 1e6, "s"),
        report.Figure.against(f"peak_mb_{max(sizes)}_rows", peaks[-1], "MB", peaks[0]),
    ]
    return report.Part(f"From few rows to many: {model}", figures, lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.scoring.scale")
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--folder", type=pathlib.Path, default=world.CACHE)
    parser.add_argument("--model", default="boosted")
    parser.add_argument("--columns", type=int, default=16)
    given = parser.parse_args()
    folder = world.folder_of(given.folder, given.columns)
    sizes = [int(given.rows * share) for share in (0.02, 0.04, 0.1, 0.2, 1.0)]
    world.make(folder, world.SMALL, given.columns, (given.model,))
    with server.running(folder) as environment:
        found = run(folder, environment, sizes, model=given.model)
    report.add(found, "scale")


if __name__ == "__main__":
    main()
