"""Twelve checks by Lamplighter, stock GX, pyarrow, Polars and pandera: CPU seconds and memory, as ratios.

Each contender runs in a process of its own, three times if nothing else is said; the median counts. CPU seconds are of the work alone, after its
imports. Memory is the peak proportional set size of the process tree, less that of a bare interpreter.
"""

import pathlib
import statistics
import subprocess
import sys
import tempfile

from tests.bench.measuring import said_and_peak
from tests.bench.report import Figure, Part, table

RUNS = 3
CONTENDERS = ("pyarrow", "lamplighter", "stock_gx", "polars", "pandera")
BARE = (sys.executable, "-c", "import time; time.sleep(0.3); print('{}')")


def run(rows: int, runs: int = RUNS) -> Part:
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder, "readings.parquet")
        subprocess.run([sys.executable, "-m", "tests.bench.validating", "make", str(data), str(rows)], check=True)
        bare = said_and_peak(list(BARE))[1]
        found = {name: _median(name, data, bare, runs) for name in CONTENDERS}
    _check_same_verdicts(found)
    title = f"Validating {rows:,} rows x 12 columns by 12 expectations, with the failing rows; median of {runs}"
    return Part(title, _figures(found), _lines(found))


def _median(name: str, data: pathlib.Path, bare: float, runs: int) -> dict:
    each = [said_and_peak([sys.executable, "-m", "tests.bench.validating", name, str(data)]) for _ in range(runs)]
    if not all(said for said, _ in each):
        return {}
    return {
        "cpu_s": statistics.median(said["cpu_s"] for said, _ in each),
        "peak_mb": statistics.median(peak for _, peak in each) - bare,
        "failing": each[0][0]["failing"],
    }


def _check_same_verdicts(found: dict) -> None:
    """A contender that does less is no contender: all must find the same number of failing rows, check by check."""
    expected = found["pyarrow"]["failing"]
    for name, said in found.items():
        if said and said["failing"] != expected:
            sys.exit(f"{name} found {said['failing']} failing rows, and pyarrow {expected}")


def _figures(found: dict) -> list[Figure]:
    ours, arrow, stock = found["lamplighter"], found["pyarrow"], found["stock_gx"]
    return [
        Figure.against("validate_cpu_vs_pyarrow", ours["cpu_s"], "s", arrow["cpu_s"]),
        Figure.against("validate_cpu_vs_stock_gx", ours["cpu_s"], "s", stock["cpu_s"]),
        Figure.against("validate_peak_mb", ours["peak_mb"], "MB", stock["peak_mb"]),
    ]


def _lines(found: dict) -> list[str]:
    base = found["pyarrow"]["cpu_s"]
    rows = [
        (name, f"{said['cpu_s']:.2f}", f"{said['cpu_s'] / base:.2f}x", f"{said['peak_mb']:.0f}")
        if said
        else (name, "did not run", "", "")
        for name, said in found.items()
    ]
    return table(("", "CPU s", "against pyarrow", "peak MB above a bare interpreter"), rows)
