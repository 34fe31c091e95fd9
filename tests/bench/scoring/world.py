"""The world that is scored: rows made of the real flights, a project with a job a model, and a registry with the models.

    python -m tests.bench.scoring.world FOLDER --rows 10000000 [--columns 200] [--model boosted --model linear] [--compile]

What stands already is kept. In FOLDER: `flights.parquet` (the 336,776 real ones), `reference.parquet`, `<model>.joblib`,
`lake/` (the registry alone), and a project for each number of rows, `<rows>/`, with its `rows.parquet`.
"""

import argparse
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tasks.core.definitions.column_types import parse_type
from tests.bench.scoring import models

ROOT = pathlib.Path(__file__).parents[3]
LAMPLIGHTER = str(pathlib.Path(sys.executable).with_name("lamplighter"))
DEMO = "flight_delays"
SEED = 20130701
CHUNK = 250_000
DAYS = ("2013-07-01", "2013-07-02", "2013-07-03", "2013-07-04", "2013-07-05")
DAY = DAYS[0]
# Midnight of the first day in New York.
_START, _DAY_US = np.datetime64("2013-07-01T04:00:00", "us"), 86_400_000_000
_TRAINED_UNTIL, _REFERENCE_ROWS = "2013-06-30", 50_000
# One row in so many is spoilt, in a way that the suite finds.
_SPOILT = 2_000
# Where the world is kept, so that it is made once.
CACHE = pathlib.Path(os.environ.get("LAMPLIGHTER_BENCH") or ROOT / ".bench")
# Of a project of few rows: so many in each of the five days, for what a run costs that scores next to nothing.
SMALL = 1_000


def make(folder: pathlib.Path, rows: int, columns: int = 16, wanted=("boosted", "linear"), *, compiled=False) -> None:
    """Everything that a run over so many rows needs; SMALL makes the project of five small days."""
    folder.mkdir(parents=True, exist_ok=True)
    extra = [f"x{number:03d}" for number in range(max(0, columns - len(models.FEATURES)))]
    _once(folder / "flights.parquet", lambda path: _write_flights(path, extra))
    _once(folder / "reference.parquet", lambda path: _write_reference(folder, path))
    for size in sorted({SMALL, rows}):
        _make_project(folder, size, extra, wanted)
    for name in wanted:
        _once(folder / f"{name}.joblib", lambda path, name=name: _fit(folder, path, name, extra))
        _register(folder, name)
        if compiled:
            _register(folder, name, compiled=True)


def folder_of(cache: pathlib.Path, columns: int) -> pathlib.Path:
    """A world for each number of columns."""
    return (cache / f"{columns}-columns").resolve()


def columns_of(folder: pathlib.Path) -> int:
    """How many a model takes in the world that stands there."""
    names = pq.read_schema(folder / "flights.parquet").names
    return len(models.FEATURES) + sum(map(_is_extra, names))


def _is_extra(name: str) -> bool:
    return name.startswith("x") and name[1:].isdigit()


def job_of(model: str, *, compiled: bool = False) -> str:
    return f"flights_{model}_compiled" if compiled else f"flights_{model}"


def read_sample(folder: pathlib.Path):
    return pq.read_table(folder / "reference.parquet")


def _once(path: pathlib.Path, write) -> None:
    """A file that stands is whole: it is written beside its place, and moved there."""
    if not path.exists():
        beside = path.with_name(f"{path.name}.{os.getpid()}.part")
        write(beside)
        beside.rename(path)


def _write_flights(path: pathlib.Path, extra) -> None:
    """The real flights with the demo's columns, by the demo's own warehouse and query, and what came true."""
    from tasks.core.storage import Lake
    from tasks.demo import WAREHOUSE, build_warehouse

    folder = path.parent / "warehouse"
    build_warehouse(Lake(str(folder)))
    query = (ROOT / "deployments" / "jobs" / f"{DEMO}.sql").read_text()
    query = query.replace("FROM flights AS f", ", f.arr_delay, f.arr_delay > 15 AS late FROM flights AS f")
    with sqlite3.connect(folder / WAREHOUSE) as warehouse:
        found = warehouse.execute(query, {"start": "2013-01-01", "end": "2014-02-01"})
        names = [one[0] for one in found.description]
        columns = dict(zip(names, zip(*found.fetchall(), strict=True), strict=True))
    shutil.rmtree(folder)
    kinds = demo_job()["columns"] | {models.DELAY: "float64", models.LATE: "bool"}
    table = pa.table({name: _typed(values, kinds[name]) for name, values in columns.items()})
    random = np.random.default_rng(SEED)
    for name in extra:
        table = table.append_column(name, pa.array(random.normal(size=len(table)).round(3)))
    pq.write_table(table, path)


def _typed(values, kind: str) -> pa.Array:
    if kind == "bool":
        return pa.array([None if one is None else bool(one) for one in values])
    found = pa.array(values)
    if kind == "timestamp":
        return found.cast(pa.timestamp("us")).cast(parse_type(kind))
    return found.cast(parse_type(kind))


def _write_reference(folder: pathlib.Path, path: pathlib.Path) -> None:
    """A sample of the rows that the models were fitted on, as a user hands it to `register`."""
    past = _past(folder)
    chosen = np.random.default_rng(SEED).choice(len(past), min(_REFERENCE_ROWS, len(past)), replace=False)
    pq.write_table(past.take(np.sort(chosen)), path)


def _past(folder: pathlib.Path) -> pa.Table:
    flights = pq.read_table(folder / "flights.parquet")
    dates = flights["flight_date"].to_numpy()
    return flights.filter(pa.array(dates <= np.datetime64(_TRAINED_UNTIL))).filter(
        pa.compute.field(models.DELAY).is_valid()
    )


def _fit(folder: pathlib.Path, path: pathlib.Path, name: str, extra) -> None:
    import joblib
    from threadpoolctl import threadpool_limits

    frame = _past(folder).to_pandas()
    model = models.make(name, extra)
    # Threads that wait for each other turn seconds into minutes where others use the cores too. Only libraries that are
    # loaded are limited: the model is made before.
    with threadpool_limits(1):
        model.fit(frame[[*models.FEATURES, *extra]], frame[models.target_of(name)])
    joblib.dump(model, path)


def write_rows(flights: pa.Table, path: pathlib.Path, rows: int, days: int = 1) -> None:
    """So many rows, in as many in each day; each chunk has a seed of its own, so that a longer file begins with a shorter."""
    kept = flights.drop_columns([models.DELAY, models.LATE])
    with pq.ParquetWriter(path, kept.schema, compression="zstd") as writer:
        for first in range(0, rows, CHUNK):
            count = min(CHUNK, rows - first)
            chunk = _chunk(kept, first, count, np.random.default_rng((SEED, first)))
            day = np.arange(first, first + count) * days // rows
            writer.write_table(_placed(chunk, day, np.random.default_rng((SEED, first, 1))), row_group_size=CHUNK)


def _chunk(flights: pa.Table, first: int, count: int, random) -> pa.Table:
    """Flights drawn with replacement, their numbers moved a little; `flight` counts, so that no key comes twice."""
    drawn = flights.take(random.integers(0, len(flights), count))
    moved = {
        "flight": np.arange(first, first + count),
        "departure_minute": lambda v: np.clip(v + random.integers(-15, 16, count), 0, 1439),
        "distance": lambda v: np.maximum(v + random.integers(-3, 4, count), 17),
        "temp": None,
        "dewp": None,
        "humid": lambda v: (v + random.normal(0, 0.5, count)).round(2),
        "wind_speed": lambda v: np.abs(v + random.normal(0, 0.5, count)).round(3),
        "pressure": lambda v: (v + random.normal(0, 0.3, count)).round(1),
    }
    warmer = random.normal(0, 1, count).round(2)
    moved["temp"] = moved["dewp"] = lambda v: (v + warmer).round(2)
    for name in drawn.column_names:
        if _is_extra(name):
            moved[name] = lambda v: (v + random.normal(0, 0.1, count)).round(3)
    for name, change in moved.items():
        drawn = _with(drawn, name, change)
    return _spoilt(drawn, random)


def _with(table: pa.Table, name: str, change) -> pa.Table:
    place, field = table.schema.get_field_index(name), table.schema.field(name)
    if not callable(change):
        return table.set_column(place, field, pa.array(change, field.type))
    column = table[name].combine_chunks()
    empty = column.is_null().to_numpy(zero_copy_only=False)
    values = change(column.fill_null(0).to_numpy())
    return table.set_column(place, field, pa.array(values, field.type, mask=empty))


def _spoilt(table: pa.Table, random) -> pa.Table:
    """A few rows that the suite sends into quarantine: an empty carrier, a gauge gone mad."""
    bad = random.integers(0, _SPOILT, len(table))
    carrier = pa.compute.if_else(pa.array(bad == 0), "", table["carrier"])
    table = table.set_column(table.schema.get_field_index("carrier"), table.schema.field("carrier"), carrier)
    return _with(table, "wind_speed", lambda values: np.where(bad == 1, 1048.36, values))


def _placed(table: pa.Table, day: np.ndarray, random) -> pa.Table:
    at = (
        _START.astype("int64")
        + day * _DAY_US
        + np.sort(random.integers(0, _DAY_US // 1_000_000, len(table))) * 1_000_000
    )
    table = _with(table, "scheduled_departure", np.sort(at))
    return _with(table, "flight_date", np.array(DAYS, "datetime64[D]")[day])


def demo_job() -> dict:
    return yaml.safe_load((ROOT / "deployments" / "jobs" / f"{DEMO}.yaml").read_text())


def _make_project(folder: pathlib.Path, rows: int, extra, wanted) -> None:
    project = folder / str(rows)
    (project / "deployments" / "jobs").mkdir(parents=True, exist_ok=True)
    (project / "expectations").mkdir(exist_ok=True)
    for file in (ROOT / "expectations").glob("*.py"):
        shutil.copy(file, project / "expectations")
    suite = json.loads((ROOT / "expectations" / f"{DEMO}.json").read_text())
    suite["expectations"][0]["kwargs"] = {"min_value": 1, "max_value": rows}
    (project / "expectations" / f"{DEMO}.json").write_text(json.dumps(suite, indent=1))
    for name in wanted:
        for compiled in (False, True):
            text = yaml.safe_dump(_job(name, extra, compiled=compiled), sort_keys=False)
            (project / "deployments" / "jobs" / f"{job_of(name, compiled=compiled)}.yaml").write_text(text)
    flights = folder / "flights.parquet"
    total, days = (SMALL * len(DAYS), len(DAYS)) if rows == SMALL else (rows, 1)
    _once(project / "rows.parquet", lambda path: write_rows(pq.read_table(flights), path, total, days))


def _job(name: str, extra, *, compiled: bool) -> dict:
    """The demo's job, on files, without what belongs to training and promotion; its suite of twelve."""
    demo = demo_job()
    output = {"method": models.method_of(name), "type": "float64"}
    if output["method"] == "predict_proba":
        output["class"] = True
    job = job_of(name, compiled=compiled)
    kept = {key: demo[key] for key in ("window", "keys", "event_time", "on_empty", "suite", "schema_changes")}
    return {
        "job": job,
        **kept,
        "source": {"type": "files", "path": "rows.parquet", "format": "parquet"},
        "columns": demo["columns"] | dict.fromkeys(extra, "float64"),
        "model": {"name": job},
        "output": {
            "columns": {"delay" if name == "regression" else "probability_late": output},
            "pass_through": ["dest"],
        },
        "limits": {"quarantine_share": 0.02},
    }


def takes_compile() -> bool:
    """Whether this Lamplighter compiles models at registration."""
    return (
        "--compile"
        in subprocess.run([LAMPLIGHTER, "register", "--help"], capture_output=True, text=True, check=False).stdout
    )


def _register(folder: pathlib.Path, name: str, *, compiled: bool = False) -> None:
    """As a user does, and once: the first version becomes production."""
    job = job_of(name, compiled=compiled)
    if (folder / "lake" / "models" / job).exists():
        return
    places = {"LAMPLIGHTER_PROJECT": str(folder / str(SMALL)), "LAMPLIGHTER_LAKE": str(folder / "lake")}
    command = [LAMPLIGHTER, "register", job, "--model", str(folder / f"{name}.joblib")]
    command += ["--reference", str(folder / "reference.parquet"), "--target", models.target_of(name), "--job", job]
    command += ["--compile"] if compiled else []
    print("$", " ".join(command), flush=True)
    subprocess.run(command, env=os.environ | places, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.scoring.world")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--columns", type=int, default=len(models.FEATURES), help="How many the model takes.")
    parser.add_argument("--model", action="append", choices=models.NAMES, help="Once for each.")
    parser.add_argument("--compile", action="store_true", help="Each model compiled too.")
    given = parser.parse_args()
    wanted = given.model or ("boosted", "linear")
    make(given.folder.resolve(), given.rows, given.columns, wanted, compiled=given.compile)


if __name__ == "__main__":
    main()
