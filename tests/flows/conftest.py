"""A small world for whole flows: a project with one job, its files, a registered model, and one Prefect server."""

import datetime as dt
import json
import os
import pathlib
import shutil
import sqlite3
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tasks.core.settings import prepare_prefect

prepare_prefect(quiet=True)

import tasks.pull
from flows.cli import main
from tasks.core.definitions.column_types import parse_type
from tasks.core.definitions.modelling import Prediction
from tasks.core.models.formats import get_format
from tasks.core.models.model import expected_outputs, input_frame
from tasks.core.models.model_version import Candidate, InputColumn, InputSchema, Signature, TrainingRecord, Usual
from tasks.core.models.registry import Registry
from tasks.core.profiles.profile import reference_profile
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.run import latest_manifest, published_manifest
from tasks.core.storage import Lake
from tests.flows.hostile_model import TYPE, Hostile

DAY = "2024-05-01"
CHALLENGED_AT = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
LABELS = {"query": "SELECT sensor, hot FROM outcomes WHERE at >= :start AND at < :end", "target": "hot", "type": "bool"}
QUERY = "SELECT sensor, at, kind, x, y FROM readings WHERE at >= :start AND at < :end ORDER BY sensor"
COLUMNS = {"sensor": "string", "at": "timestamp", "kind": "string", "x": "float64", "y": "float64"}


@pytest.fixture(scope="session", autouse=True)
def _prefect(prefect_harness):
    """Every test here runs flows."""


@dataclass
class World:
    """A project and a lake of their own, with the job `readings`."""

    folder: pathlib.Path
    lake: Lake

    @property
    def job_file(self) -> pathlib.Path:
        return self.folder / "deployments/jobs/readings.yaml"

    def change_job(self, **changes) -> None:
        """Puts other values into the job; `a__b=1` reaches into a section, None takes a key away."""
        job = yaml.safe_load(self.job_file.read_text())
        for path, value in changes.items():
            *sections, key = path.split("__")
            section = job
            for name in sections:
                section = section.setdefault(name, {})
            section.pop(key, None)
            if value is not None:
                section[key] = value
        self.job_file.write_text(yaml.safe_dump(job, sort_keys=False))

    def write_suite(self, *expectations: dict) -> None:
        suite = {"name": "readings", "expectations": list(expectations), "meta": {}}
        (self.folder / "expectations/readings.json").write_text(json.dumps(suite))

    def write_rows(self, rows: pd.DataFrame, name: str = "a.parquet") -> None:
        """Puts a file where the job's source reads."""
        pq.write_table(as_table(rows), self.folder / "data" / name)

    def score(self, as_of: str = DAY, rescore: str = ""):
        """The flow's final state."""
        from flows.score import score

        return score("readings", as_of, rescore, return_state=True)

    def table(self, name: str = "predictions") -> pd.DataFrame:
        return pd.read_parquet(self.folder / "lake" / name / "readings").sort_values("sensor", ignore_index=True)

    def latest(self, as_of: str = DAY) -> Manifest:
        manifest = latest_manifest(self.lake, "readings", as_of)
        assert manifest is not None
        return manifest

    def published(self, as_of: str = DAY) -> Manifest | None:
        return published_manifest(self.lake, "readings", as_of)

    def partition_bytes(self, as_of: str = DAY) -> dict[str, bytes]:
        folder = self.folder / "lake/predictions/readings" / f"as_of={as_of}"
        return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


def as_table(rows: pd.DataFrame) -> pa.Table:
    """The rows in the job's own types."""
    schema = pa.schema([(name, parse_type(COLUMNS[name])) for name in rows.columns])
    return pa.Table.from_pandas(rows, schema=schema, preserve_index=False)


def readings(count: int = 200, day: str = DAY) -> pd.DataFrame:
    """Rows of one day, each with a key of its own."""
    random = np.random.default_rng(7)
    start = pd.Timestamp(day, tz="UTC")
    return pd.DataFrame(
        {
            "sensor": [f"s{number:05d}" for number in range(count)],
            "at": [start + pd.Timedelta(minutes=number % 1440) for number in range(count)],
            "kind": random.choice(["hot", "cold"], count),
            "x": random.normal(size=count),
            "y": random.normal(size=count),
        }
    )


def make_project(folder, batch_rows: int = 1000, lake: str = "") -> World:
    """A project with the job `readings`, a suite that passes, and a model of them as production; without any rows."""
    folder = pathlib.Path(folder)
    for name in ("deployments/jobs", "expectations", "data"):
        (folder / name).mkdir(parents=True)
    job = {
        "job": "readings",
        "window": {"kind": "interval", "every": "1d"},
        "source": {"type": "files", "path": "data", "format": "parquet"},
        "keys": ["sensor"],
        "event_time": "at",
        "columns": COLUMNS,
        "suite": "readings",
        "model": {"name": "readings"},
        "output": {"columns": {"probability": {"method": "predict_proba", "class": 1}}, "pass_through": ["kind"]},
        "limits": {"batch_rows": batch_rows, "quarantine_share": 0.1},
    }
    (folder / "deployments/jobs/readings.yaml").write_text(yaml.safe_dump(job, sort_keys=False))
    made = World(folder, Lake(lake or folder / "lake"))
    made.write_suite(
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "kind", "value_set": ["hot", "cold"]},
            "severity": "critical",
            "meta": {"on_failure": "quarantine"},
        }
    )
    register(
        made.lake,
        "readings",
        logistic_model(),
        {"kind": "string", "x": "float64", "y": "float64"},
        {"probability": Prediction(method="predict_proba", class_=1)},
        as_table(readings()),
    )
    return made


@pytest.fixture
def world(tmp_path, monkeypatch):
    """The project `readings` with two hundred rows of one day."""
    made = make_project(tmp_path / "project")
    made.write_rows(readings())
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(made.folder))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(made.folder / "lake"))
    return made


def make_warehouse(world: World) -> sqlite3.Connection:
    """Three days of readings and of what came true (x > 0), in a SQLite file; the job trains on them in order of time."""
    days = ("2024-05-01", "2024-05-02", "2024-05-03")
    rows = pd.concat([readings(200, day).assign(sensor=lambda frame, day=day: frame["sensor"] + day) for day in days])
    rows["at"] = rows["at"].dt.strftime("%Y-%m-%d %H:%M:%S")
    database = sqlite3.connect(world.folder / "warehouse.sqlite")
    with database:
        rows.to_sql("readings", database, index=False)
        rows.assign(hot=(rows["x"] > 0).astype(int))[["sensor", "at", "hot"]].to_sql("outcomes", database, index=False)
    world.change_job(
        source={"type": "sql", "driver": "sqlite", "uri": "warehouse.sqlite", "query": QUERY},
        labels=LABELS | {"suite": "outcomes"},
        output__columns={"probability": {"method": "predict_proba", "class": True}},
        training={
            "estimator": "tests.flows.conftest:logistic_model",
            "features": ["kind", "x", "y"],
            "fit": {"first": days[0], "last": days[0]},
            "calibrate": {"first": days[1], "last": days[1]},
            "benchmark": {"first": days[2], "last": days[2]},
        },
    )
    unique = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "sensor"}, "severity": "critical"}
    (world.folder / "expectations/outcomes.json").write_text(json.dumps({"name": "outcomes", "expectations": [unique]}))
    return database


def open_world(folder: pathlib.Path, monkeypatch, *, like: World | None = None) -> World:
    """The world in a folder, or a copy there of another one, as the one that flows and commands work in."""
    if like is not None:
        shutil.copytree(like.folder, folder)
    monkeypatch.setenv("LAMPLIGHTER_PROJECT", str(folder))
    monkeypatch.setenv("LAMPLIGHTER_LAKE", str(folder / "lake"))
    return World(folder, Lake(folder / "lake"))


@pytest.fixture(scope="session")
def graded(tmp_path_factory) -> World:
    """A job with labels and six versions of its model; it is copied for each test."""
    from tests.flows.graded import make_graded

    return make_graded(tmp_path_factory.mktemp("graded") / "project")


@pytest.fixture
def judged(graded, tmp_path, monkeypatch, request) -> World:
    """A copy of that world. Versions are examined in this process, unless the test asks for `processes`: they take long."""
    if "processes" not in request.fixturenames:
        monkeypatch.setattr("tasks.shards.examination.worker_count", lambda *_: 0)
    return open_world(tmp_path / "project", monkeypatch, like=graded)


@pytest.fixture
def processes() -> None:
    """For a test that is about the processes in which versions are examined."""


def typist(monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lamplighter", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def lamplighter(tmp_path, monkeypatch, capsys):
    """Runs a command in this process, in the test's world: exit code, standard output, standard error."""
    if "LAMPLIGHTER_LAKE" not in os.environ:
        # Whichever world comes later sets its own.
        open_world(tmp_path / "nowhere", monkeypatch)

    return typist(monkeypatch, capsys)


def numbered(count: int = 200) -> pd.DataFrame:
    """As readings, with the row's number as its x."""
    return readings(count).assign(x=np.arange(count, dtype=float))


@pytest.fixture
def named(world, monkeypatch):
    """Makes a version the challenger, and leaves production as it is. The job knows the hostile type; time stands still."""
    world.change_job(model__allowed_types=[TYPE])
    world.write_rows(numbered())
    still = types.SimpleNamespace(now={dt.UTC: CHALLENGED_AT}.get)
    monkeypatch.setattr(tasks.pull, "dt", types.SimpleNamespace(datetime=still, UTC=dt.UTC))

    def name(model, features=None, sample=None):
        sample = numbered(20).assign(x=-np.arange(1.0, 21.0)) if sample is None else sample
        rows = as_table(sample.drop(columns=["z"], errors="ignore"))
        if "z" in sample:
            rows = rows.append_column("z", pa.array(sample["z"]))
        outputs = {"probability": Prediction(method="predict_proba", class_=1)}
        made = register(world.lake, "readings", model, features or {"x": "float64"}, outputs, rows)
        registry = Registry(world.lake)
        registry.set_alias("readings", "production", 1, at=CHALLENGED_AT, actor="test", reason="a test")
        registry.set_alias("readings", "challenger", made.version, at=CHALLENGED_AT, actor="test", reason="a test")
        return made

    return name


@pytest.fixture
def hostile(world, named):
    """The challenger does as the text says that is put into its folder."""
    folder = world.folder / "hostile"
    folder.mkdir()
    named(Hostile(folder))
    return (folder / "what").write_text


def logistic_model():
    """A pipeline that knows 'hot' and 'cold', and takes a missing x as 0."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = ColumnTransformer(
        [
            ("kind", OneHotEncoder(handle_unknown="ignore"), ["kind"]),
            ("numbers", SimpleImputer(strategy="constant", fill_value=0), ["x", "y"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression())


def add_wrong_version(world: World):
    """A version that says the opposite of what is true; it is production from now on."""
    rows = as_table(readings())
    target = (rows["x"].to_numpy() < 0).astype(int)
    outputs = {"probability": Prediction(method="predict_proba", class_=1)}
    features = {"kind": "string", "x": "float64", "y": "float64"}
    return register(world.lake, "readings", logistic_model(), features, outputs, rows, target)


def register(
    lake: Lake,
    name: str,
    model,
    features: dict[str, str],
    outputs: dict[str, Prediction],
    sample: pa.Table,
    target=None,
    *,
    training: TrainingRecord | None = None,
    alias: str | None = "production",
    usual: Usual | None = None,
):
    """Fits the model on the sample (by default to x > 0), registers it and makes it production, or nothing."""
    inputs = InputSchema(columns=tuple(InputColumn(name=column, type=kind) for column, kind in features.items()))
    if target is None:
        target = (sample["x"].to_numpy() > 0).astype(int)
    model.fit(input_frame(sample, inputs), target)
    signature = Signature(inputs=inputs, outputs=outputs)
    probe = sample.slice(0, 20)
    registry = Registry(lake)
    at = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    version = registry.register(
        name,
        Candidate(
            model_bytes=get_format("joblib").dump(model),
            signature=signature,
            profile={
                "features": reference_profile(sample.select(list(features))).model_dump(mode="json"),
                "predictions": reference_profile(expected_outputs(model, signature, sample)).model_dump(mode="json"),
            },
            benchmark={},
            probe=probe,
            expected=expected_outputs(model, signature, probe),
            training=training,
            usual=usual,
        ),
        at=at,
        actor="test",
    )
    if alias:
        registry.set_alias(name, alias, version.version, at=at, actor="test", reason="a test")
    return version
