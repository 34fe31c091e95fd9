"""`lamplighter score` as a command, and what its run was: `python -m tests.bench.scoring.ours FOLDER MODEL ROWS`.

Each run has a lake of its own, which begins with the registry alone; `--keep LAKE` names it, and leaves it there.
PREFECT_API_URL names a server that is running: tests.bench.scoring.server starts one.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import sys
import tempfile

import pyarrow.parquet as pq

from tests.bench.measuring import measured
from tests.bench.scoring.world import DAY, LAMPLIGHTER, job_of


@contextlib.contextmanager
def a_lake(folder: pathlib.Path, keep: str = ""):
    """A lake with the world's registry, and nothing else."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="lake-") as scratch:
        lake = pathlib.Path(keep or scratch).resolve()
        for name in ("runs", "predictions"):
            shutil.rmtree(lake / name, ignore_errors=True)
        shutil.copytree(folder / "lake" / "models", lake / "models", dirs_exist_ok=True)
        yield lake


def places(folder: pathlib.Path, rows: int, lake: pathlib.Path) -> dict[str, str]:
    return {"LAMPLIGHTER_PROJECT": str(folder / str(rows)), "LAMPLIGHTER_LAKE": str(lake)}


def manifest_of(lake: pathlib.Path, job: str, day: str) -> dict:
    """Of the newest run of a window; {} where there is none."""
    found = sorted((lake / "runs" / job / f"as_of={day}").glob("*/manifest.json"), key=lambda one: one.stat().st_mtime)
    return json.loads(found[-1].read_text()) if found else {}


def facts(manifest: dict) -> dict:
    counts = manifest.get("rows") or {}
    return {
        "verdict": manifest.get("verdict"),
        "rows": counts.get("pulled", 0),
        "scored": counts.get("scored", 0),
        "quarantined": counts.get("quarantined", 0),
        "expectations": len((manifest.get("suite") or {}).get("expectations", ())),
        "stages": {one["stage"]: one["seconds"] for one in manifest.get("timings", ())},
    }


def run(
    folder: pathlib.Path,
    model: str,
    rows: int,
    *,
    compiled: bool = False,
    keep: str = "",
    limit: float = 900,
    environment=os.environ,
) -> dict:
    """The command's figures, and under `said` the run's stages and what became of the rows."""
    job = job_of(model, compiled=compiled)
    command = [LAMPLIGHTER, "score", job, "--as-of", DAY, "--json"]
    with a_lake(folder, keep) as lake:
        found = measured(command, limit=limit, environment={**environment} | places(folder, rows, lake))
        if "failed" in found:
            return found
        return found | {"said": facts(manifest_of(lake, job, DAY)) | {"mean": _mean_score(lake, job)}}


def _mean_score(lake: pathlib.Path, job: str) -> float | None:
    """Of all that was published, to be held against what a peer computed."""
    total = count = 0
    for file in (lake / "predictions" / job).rglob("*.parquet"):
        parquet = pq.ParquetFile(file)
        name = next(one for one in ("probability_late", "delay") if one in parquet.schema_arrow.names)
        for batch in parquet.iter_batches(1_000_000, columns=[name]):
            total, count = total + float(batch[0].to_numpy().sum()), count + len(batch)
    return total / count if count else None


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.scoring.ours")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("model")
    parser.add_argument("rows", type=int)
    parser.add_argument("--keep", default="")
    parser.add_argument("--limit", type=float, default=900)
    parser.add_argument("--compiled", action="store_true")
    given = parser.parse_args()
    folder = given.folder.resolve()
    if "PREFECT_API_URL" not in os.environ:
        sys.exit("PREFECT_API_URL names no server: start one with python -m tests.bench.scoring.server")
    print(json.dumps(run(folder, given.model, given.rows, compiled=given.compiled, keep=given.keep, limit=given.limit)))


if __name__ == "__main__":
    main()
