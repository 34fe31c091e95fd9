"""The bench itself, on few rows: it ends, writes every figure that it promises, and all contenders do the same work."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.timeout(1500)
def test_the_bench_of_few_rows_writes_every_figure(tmp_path):
    parts = [f"--only={part}" for part in ("fixed", "scoring", "scale", "profile")]
    peers = ["--contender=naive", "--contender=mlflow", "--model=boosted"]
    places = ["--rows=20000", f"--folder={tmp_path / 'world'}", f"--out={tmp_path / 'results'}"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "LAMPLIGHTER_"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", *places, *parts, *peers],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    figures = {one["name"]: one for one in json.loads((tmp_path / "results" / "latest.json").read_text())}
    held = {f"score_wall_vs_{name}_boosted" for name in ("bare", "naive", "mlflow")}
    assert held | {"fixed_cost_s", "peak_mb", "help_s", "score_linear_fit_r2"} <= set(figures)
    assert all(set(one) == {"name", "value", "unit", "versus", "ratio"} for one in figures.values())
    assert all(figures[name]["ratio"] == figures[name]["value"] / figures[name]["versus"] for name in held)
    text = (tmp_path / "results" / "latest.md").read_text()
    assert "NOT THE SAME WORK" not in text
    assert "Did not finish" not in text
    assert "scikit-learn 1." in text
    # Runs and their tables go; the rows, the models and the registry stay for the next bench.
    left = {path.name for path in (tmp_path / "world" / "16-columns").iterdir()}
    assert not [name for name in left if name.startswith(("lake-", "naive-", "mlflow-"))]
    assert {"flights.parquet", "boosted.joblib", "lake"} <= left
