"""What profiling costs while the demo's model scores: a share of CPU time, and memory.

    python -m tests.bench.profiling --rows 5000000       all of it, in a folder of its own
    python -m tests.bench.profiling make FOLDER ROWS     rows to score, of the flights that are there
    python -m tests.bench.profiling cost FOLDER          CPU seconds of scoring batches, and of profiling them
    python -m tests.bench.profiling with|without FOLDER  scores all rows once, and compares: for the memory

A batch is scored as in a run: read, predicted, written, in one process. Threads are pinned to one.
"""

import datetime as dt
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core import layout
from tasks.core.definitions.project import Project
from tasks.core.models.registry import Registry
from tasks.core.profiles import drift
from tasks.core.profiles.profile import empty
from tasks.core.runs.manifest import SnapshotRecord
from tasks.core.storage import Folder, Lake
from tasks.shards import scoring
from tests.bench.measuring import said_and_peak
from tests.bench.report import Figure, Part, add, table
from tests.bench.world import JOB

DAY, DAY_ROWS = "2013-07-01", 1_000
LARGE = "2013-07-02"
ROUNDS = 7


def make(folder: pathlib.Path, rows: int) -> None:
    """Two snapshots: of a day as the demo has them, and of so many rows in the job's batches."""
    job = Project(Folder(str(folder))).load(JOB).job
    flights = pq.read_table(folder / "flights.parquet")
    for as_of, size, batch_rows in ((DAY, DAY_ROWS, DAY_ROWS), (LARGE, rows, job.limits.batch_rows)):
        target = pathlib.Path(Lake(str(folder / "lake")).path(layout.workspace(JOB, as_of, "bench")))
        target.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(target / "snapshot.parquet", job.arrow_schema, compression="zstd") as writer:
            for first in range(0, size, batch_rows):
                count = min(batch_rows, size - first)
                writer.write_table(_rows(job, flights, first, count), row_group_size=count)


def _rows(job, flights, first, count):
    """So many flights from some place on, over again where they end; what no feature is gets a value of its type."""
    found = flights.take((np.arange(first, first + count) * 7) % len(flights))
    numbers = np.arange(first, first + count)

    def column(field):
        if field.name in found.column_names:
            return found[field.name].cast(field.type)
        if pa.types.is_integer(field.type):
            return pa.array(numbers, field.type)
        if pa.types.is_timestamp(field.type):
            return pa.array(np.full(count, 1_372_651_200_000_000), pa.int64()).cast(field.type)
        return pa.repeat("2013-07-01", count).cast(field.type)

    return pa.table([column(field) for field in job.arrow_schema], schema=job.arrow_schema)


def _task(folder: pathlib.Path, as_of: str) -> scoring.Scoring:
    lake, definition = Lake(str(folder / "lake")), Project(Folder(str(folder))).load(JOB)
    workspace = layout.workspace(JOB, as_of, "bench")
    file = pq.ParquetFile(lake.path(f"{workspace}/snapshot.parquet"))
    snapshot = SnapshotRecord(
        digest="",
        rows=file.metadata.num_rows,
        batches=file.num_row_groups,
        batch_rows=file.metadata.row_group(0).num_rows,
        bytes=0,
        sha256="",
        complete_at=dt.datetime(2013, 7, 1, tzinfo=dt.UTC),
        columns={},
    )
    registry = Registry(lake)
    return scoring.Scoring(
        lake=lake,
        workspace=workspace,
        run_id="bench",
        job=definition.job,
        window=definition.job.window.parse(as_of),
        model=registry.version(JOB, max(registry.numbers(JOB))),
        snapshot=snapshot,
        give_up_after=1,
    )


def _score(task: scoring.Scoring, batch: int) -> scoring.BatchScored:
    pathlib.Path(task.lake.path(f"{task.workspace}/batches/{batch:06d}.json")).unlink(missing_ok=True)
    return scoring.score_batch(task, batch)


def _without_profiles(task: scoring.Scoring) -> None:
    """From now on no batch is profiled: each has the profile of no rows."""
    scoring.profile_batch = lambda reference, _: empty(reference)


def cost(folder: pathlib.Path) -> dict:
    """Of a day of the demo and of one of its largest batches: CPU seconds, and the share of them that profiling adds."""
    return {name: _added(_task(folder, as_of), times) for name, as_of, times in (("day", DAY, 30), ("batch", LARGE, 1))}


def _added(task: scoring.Scoring, times: int) -> dict:
    """Profiling is timed inside the run that it is a part of, so both have the same machine; the median of the rounds."""
    real, spent = scoring.profile_batch, [0.0]

    def timed(reference, table):
        began = time.process_time()
        found = real(reference, table)
        spent[0] += time.process_time() - began
        return found

    _score(task, 0)  # Loads the model, and the references.
    scoring.profile_batch, found = timed, []
    for _ in range(ROUNDS):
        spent[0], began = 0.0, time.process_time()
        for _ in range(times):
            scored = _score(task, 0)
        whole = time.process_time() - began
        found.append((spent[0] / times, (whole - spent[0]) / times))
    scoring.profile_batch = real
    return {
        "rows": scored.scored,
        "profiling_s": statistics.median(profiling for profiling, _ in found),
        "scoring_s": statistics.median(rest for _, rest in found),
        "share": statistics.median(profiling / rest for profiling, rest in found),
    }


def score_all(folder: pathlib.Path, *, profiled: bool) -> dict:
    """Scores every batch; with profiles also merges them and compares them with the references."""
    task = _task(folder, LARGE)
    if not profiled:
        _without_profiles(task)
    began = time.process_time()
    batches = [_score(task, number) for number in range(task.snapshot.batches)]
    compared = 0
    if profiled:
        features, predictions = scoring.profiles_of(task.lake, task.model)
        observed = [
            drift.observe("feature", features, [one.features for one in batches]),
            drift.observe("prediction", predictions, [one.predictions for one in batches]),
        ]
        compared = sum(len(drift.drift_records(one)) for one in observed) + len(drift.figures(observed).distributions)
    return {"cpu_s": time.process_time() - began, "rows": sum(one.scored for one in batches), "compared": compared}


def run(rows: int) -> Part:
    """Makes all that is needed in a folder of its own, and measures each in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.profiling"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "tests.bench.world", folder], check=True, stdout=sys.stderr)
        subprocess.run([*command, "make", folder, str(rows)], check=True)
        shares, _ = said_and_peak([*command, "cost", folder])
        without, lower = said_and_peak([*command, "without", folder])
        scored, higher = said_and_peak([*command, "with", folder])
    if not (shares and without and scored and without["rows"] == scored["rows"] == rows):
        sys.exit("the rows were not scored to their end")
    figures = [
        Figure(f"profile_cpu_share_{name}", one["profiling_s"], "s", one["scoring_s"], one["share"])
        for name, one in shares.items()
    ]
    figures.append(Figure.against("profile_peak_mb", higher, "MB", lower))
    found = [
        (
            f"{one['rows']:,} rows",
            f"{1000 * one['scoring_s']:.0f}",
            f"{1000 * one['profiling_s']:.1f}",
            f"{one['share']:.1%}",
        )
        for one in shares.values()
    ]
    lines = table(("scored", "CPU ms", "profiled, CPU ms", "share"), found)
    lines += ["", f"Peak memory: {lower:.0f} MB, profiled and compared {higher:.0f} MB, {higher - lower:+.0f}."]
    return Part(f"Profiling {rows:,} rows x 16 features while they are scored", figures, lines)


def main() -> None:
    what = sys.argv[1]
    if what == "--rows":
        add(run(int(sys.argv[2])), "profiling")
        return
    folder = pathlib.Path(sys.argv[2]).resolve()
    if what == "make":
        make(folder, int(sys.argv[3]))
        return
    print(json.dumps(cost(folder) if what == "cost" else score_all(folder, profiled=what == "with")))


if __name__ == "__main__":
    main()
