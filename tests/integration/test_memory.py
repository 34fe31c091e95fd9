"""Memory is bounded by the batch: a window of thirty times the rows takes hardly more of it."""

import json
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.extras

ROOT = pathlib.Path(__file__).parents[2]
# A window is scored in a process of its own, stage by stage as the flow does it, without a Prefect server.
SCRIPT = """
import json, os, sys
sys.path.insert(0, {root!r})
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from tests.flows.conftest import make_project, COLUMNS
from tasks.core.definitions.column_types import parse_type

rows, folder = int(sys.argv[1]), sys.argv[2]
world = make_project(folder, batch_rows=100_000)
schema = pa.schema([(name, parse_type(kind)) for name, kind in COLUMNS.items()])
start = 1_714_521_600_000_000
with pq.ParquetWriter(f"{{folder}}/data/a.parquet", schema) as writer:
    for first in range(0, rows, 100_000):
        numbers = np.arange(first, first + 100_000)
        writer.write_table(pa.table({{
            "sensor": pa.array([f"s{{number:09d}}" for number in numbers]),
            "at": pa.array(start + numbers, pa.timestamp("us", "UTC")),
            "kind": pa.array(np.where(numbers % 2, "hot", "cold")),
            "x": numbers / rows, "y": np.sin(numbers),
        }}, schema=schema))
os.environ |= {{"LAMPLIGHTER_PROJECT": folder, "LAMPLIGHTER_LAKE": f"{{folder}}/lake"}}
from tasks import load, publish, pull, score, validate
from tasks.core.runs.shards import deal
from tasks.open import opened

with opened("readings", "2024-05-01") as planned:
    run = pull.pull_window(planned)
    validate.conclude_validated(run, [validate.validate_batches(run, shard) for shard in deal(run)])
    load.load_checked(run)
    score.conclude_scored(run, [score.score_batches(run, shard) for shard in deal(run)])
    manifest = publish.publish_run(run)
print(json.dumps({{"scored": manifest.rows.scored, "peak": manifest.peak_memory_bytes}}))
"""


def _score(rows: int, folder: pathlib.Path) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(root=str(ROOT)), str(rows), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_peak_memory_does_not_grow_with_the_window(tmp_path):
    small, large = (_score(rows, tmp_path / str(rows)) for rows in (100_000, 3_000_000))

    assert (small["scored"], large["scored"]) == (100_000, 3_000_000)
    # 3,000,000 rows of 60 bytes are 180 MB in Arrow and several times that in pandas: held at once, they would show.
    assert large["peak"] - small["peak"] == pytest.approx(0, abs=60 * 2**20)
