"""Runs the benchmarks and prints a table; every figure is written to tests/bench/results/latest.json.

    python -m tests.bench --rows 5000000

Each contender runs in a process of its own, three times; the median counts. CPU seconds are of the work alone, after its
imports. Memory is the peak proportional set size of the process tree, less that of a bare interpreter.
"""

import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import psutil

HERE = pathlib.Path(__file__).parent
RUNS = 3
CONTENDERS = ("pyarrow", "lamplighter", "stock_gx", "polars", "pandera")
_MB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench")
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder, "readings.parquet")
        subprocess.run([sys.executable, "-m", "tests.bench.validating", "make", str(data), str(rows)], check=True)
        bare = measure([sys.executable, "-c", "import time; time.sleep(0.3); print('{}')"])[1]
        found = {name: _median(name, data, bare) for name in CONTENDERS}
    _check_same_verdicts(found)
    figures = _figures(found)
    _write(figures, rows)
    _print(found, rows)


def measure(command: list[str]) -> tuple[dict, float]:
    """What the command prints as JSON in its last line, and the peak PSS of its process tree in MB."""
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _pss(process))
        time.sleep(0.02)
    if process.returncode:
        return {}, float("nan")
    return json.loads(process.stdout.read().splitlines()[-1]), peak


def _pss(process: psutil.Process) -> float:
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_full_info().pss
    except psutil.Error:
        pass
    return total / _MB


def _median(name: str, data: pathlib.Path, bare: float) -> dict:
    runs = [measure([sys.executable, "-m", "tests.bench.validating", name, str(data)]) for _ in range(RUNS)]
    if not all(said for said, _ in runs):
        return {}
    return {
        "cpu_s": statistics.median(said["cpu_s"] for said, _ in runs),
        "peak_mb": statistics.median(peak for _, peak in runs) - bare,
        "failing": runs[0][0]["failing"],
    }


def _check_same_verdicts(found: dict) -> None:
    """A contender that does less is no contender: all must find the same number of failing rows, check by check."""
    expected = found["pyarrow"]["failing"]
    for name, said in found.items():
        if said and said["failing"] != expected:
            sys.exit(f"{name} found {said['failing']} failing rows, and pyarrow {expected}")


def _figures(found: dict) -> list[dict]:
    ours, arrow, stock = found["lamplighter"], found["pyarrow"], found["stock_gx"]
    return [
        {
            "name": "validate_cpu_vs_pyarrow",
            "value": ours["cpu_s"],
            "unit": "s",
            "versus": arrow["cpu_s"],
            "ratio": ours["cpu_s"] / arrow["cpu_s"],
        },
        {
            "name": "validate_cpu_vs_stock_gx",
            "value": ours["cpu_s"],
            "unit": "s",
            "versus": stock["cpu_s"],
            "ratio": ours["cpu_s"] / stock["cpu_s"],
        },
        {
            "name": "validate_peak_mb",
            "value": ours["peak_mb"],
            "unit": "MB",
            "versus": stock["peak_mb"],
            "ratio": ours["peak_mb"] / stock["peak_mb"],
        },
    ]


def _write(figures: list[dict], rows: int) -> None:
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "latest.json").write_text(json.dumps(figures, indent=2) + "\n")
    machine = (
        f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}"
    )
    (results / "latest.md").write_text(f"{rows:,} rows, {machine}\n\n{json.dumps(figures, indent=2)}\n")


def _print(found: dict, rows: int) -> None:
    base = found["pyarrow"]["cpu_s"]
    print(f"12 expectations on {rows:,} rows x 12 columns, with the failing rows; median of {RUNS} runs\n")
    print("| | CPU s | against pyarrow | peak MB above a bare interpreter |")
    print("|---|---|---|---|")
    for name, said in found.items():
        if said:
            print(f"| {name} | {said['cpu_s']:.2f} | {said['cpu_s'] / base:.2f}x | {said['peak_mb']:.0f} |")
        else:
            print(f"| {name} | did not run | | |")


if __name__ == "__main__":
    main()
