"""What else somebody might use, each as its own documentation has it: `python -m tests.bench.scoring.peers NAME FOLDER MODEL ROWS`.

bare: `predict_proba` on a frame in memory, on all cores; its wall time is of that call alone. naive: pandas, a stock Great
Expectations checkpoint of the same twelve expectations, predict, to_parquet. mlflow: pyfunc over chunks. ray: Ray Data's
map_batches with two actors. spark: a vectorised function over Arrow batches. The last three validate nothing.
"""

import json
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import time

from tests.bench.scoring import models

KEPT = ["flight_date", "carrier", "flight", "origin", "scheduled_departure", "dest"]
CHUNK = 500_000
NAMES = ("bare", "naive", "mlflow", "ray", "spark")


def bare(folder: pathlib.Path, model: str, rows: int) -> dict:
    import joblib
    import pandas as pd

    estimator = joblib.load(folder / f"{model}.joblib")
    columns = list(estimator.feature_names_in_)
    frame = pd.read_parquet(folder / str(rows) / "rows.parquet", columns=columns)
    began, cpu = time.perf_counter(), _cpu()
    scores = _predict(estimator, model, frame)
    return {"work_s": time.perf_counter() - began, "work_cpu_s": _cpu() - cpu, "rows": len(scores)}


def _predict(estimator, model: str, frame):
    if models.method_of(model) == "predict":
        return estimator.predict(frame)
    return estimator.predict_proba(frame)[:, 1]


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def naive(folder: pathlib.Path, model: str, rows: int, out: pathlib.Path) -> dict:
    import joblib
    import pandas as pd

    frame = pd.read_parquet(folder / str(rows) / "rows.parquet")
    failing, failed = _stock_gx(folder / str(rows) / "expectations" / "flight_delays.json", frame)
    frame = frame.drop(index=failing)
    estimator = joblib.load(folder / f"{model}.joblib")
    frame["score"] = _predict(estimator, model, frame[list(estimator.feature_names_in_)])
    frame[[*KEPT, "score"]].to_parquet(out / "scores.parquet")
    return {"rows": rows, "scored": len(frame), "mean": float(frame["score"].mean()), "failed": failed}


def _stock_gx(path: pathlib.Path, frame) -> tuple[list, list]:
    """The rows that the row-level expectations with `quarantine` refuse, and the names of all that failed."""
    import great_expectations as gx

    import expectations  # noqa: F401 - the project's own expectation registers itself

    text = json.loads(path.read_text())
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = context.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
    suite = context.suites.add(gx.ExpectationSuite(**text))
    validation = context.validation_definitions.add(gx.ValidationDefinition(name="v", data=batch, suite=suite))
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name="c",
            validation_definitions=[validation],
            result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False},
        )
    )
    result = next(iter(checkpoint.run(batch_parameters={"dataframe": frame}).run_results.values()))
    failing: set = set()
    for one in result.results:
        if (one.expectation_config.meta or {}).get("on_failure") == "quarantine":
            failing |= set(one.result.get("unexpected_index_list") or ())
    return sorted(failing), [one.expectation_config.type for one in result.results if not one.success]


def mlflow(folder: pathlib.Path, model: str, rows: int, out: pathlib.Path) -> dict:
    import pyarrow.parquet as pq

    loaded, columns = _pyfunc(folder, model, out)
    writer, scored = None, 0
    for batch in pq.ParquetFile(folder / str(rows) / "rows.parquet").iter_batches(CHUNK):
        frame = batch.to_pandas()
        found = loaded.predict(frame[columns])
        frame = frame[KEPT].assign(score=found[:, 1] if found.ndim > 1 else found)
        writer, scored = _append(writer, frame, out), scored + len(frame)
    writer.close()
    return {"rows": scored, "scored": scored}


def _pyfunc(folder: pathlib.Path, model: str, out: pathlib.Path):
    """The pipeline as MLflow logs and loads it; that it is saved here costs no second."""
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_TRACKING_URI": f"file:{out}/mlruns"}
    import joblib
    import mlflow.pyfunc
    import mlflow.sklearn

    estimator = joblib.load(folder / f"{model}.joblib")
    saved = out / "model"
    mlflow.sklearn.save_model(
        estimator,
        saved,
        pyfunc_predict_fn=models.method_of(model),
        pip_requirements=[],
        serialization_format="cloudpickle",
    )
    return mlflow.pyfunc.load_model(str(saved)), list(estimator.feature_names_in_)


def _append(writer, frame, out: pathlib.Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    writer = writer or pq.ParquetWriter(out / "scores.parquet", table.schema)
    writer.write_table(table)
    return writer


class _Scorer:
    """An actor of Ray: the model is loaded once."""

    def __init__(self, file: str, model: str):
        import joblib

        self.estimator, self.model = joblib.load(file), model
        self.columns = list(self.estimator.feature_names_in_)

    def __call__(self, batch):
        # Handed over as pandas, whole numbers with gaps would come in a type of Arrow's, which scikit-learn refuses.
        frame = batch.to_pandas()
        return frame[KEPT].assign(score=_predict(self.estimator, self.model, frame[self.columns]))


def ray(folder: pathlib.Path, model: str, rows: int, out: pathlib.Path) -> dict:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    import ray

    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    scores = ray.data.read_parquet(str(folder / str(rows) / "rows.parquet")).map_batches(
        _Scorer,
        fn_constructor_args=(str(folder / f"{model}.joblib"), model),
        batch_format="pyarrow",
        batch_size=100_000,
        compute=ray.data.ActorPoolStrategy(size=2),
        # With a core for each actor none would be left that reads.
        num_cpus=0.5,
    )
    scores.write_parquet(str(out / "scores"))
    ray.shutdown()
    return {"rows": rows, "scored": _written(out / "scores")}


def spark(folder: pathlib.Path, model: str, rows: int, out: pathlib.Path) -> dict:
    # Its workers are to be this Python too, not the first one on the path.
    os.environ["PYSPARK_PYTHON"] = sys.executable
    import joblib
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master(f"local[{os.cpu_count()}]")
        .config("spark.driver.memory", "4g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", 100_000)
        .config("spark.local.dir", str(out))
        .getOrCreate()
    )
    shared = session.sparkContext.broadcast(joblib.load(folder / f"{model}.joblib"))

    def score(frames):
        estimator = shared.value
        for frame in frames:
            # Whole numbers with gaps come in a type of pandas' own, which scikit-learn refuses.
            own = [name for name in frame.columns[frame.dtypes == "Int64"] if name not in KEPT]
            taken = frame[list(estimator.feature_names_in_)].astype(dict.fromkeys(own, "float64"))
            yield frame[KEPT].assign(score=_predict(estimator, model, taken))

    read = session.read.parquet(str(folder / str(rows) / "rows.parquet"))
    kinds = ", ".join(f"{name} {read.schema[name].dataType.simpleString()}" for name in KEPT)
    read.mapInPandas(score, f"{kinds}, score double").write.parquet(str(out / "scores"))
    session.stop()
    return {"rows": rows, "scored": _written(out / "scores")}


def _written(folder: pathlib.Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in folder.glob("*.parquet"))


def main() -> None:
    name, folder, model, rows = sys.argv[1:5]
    folder = pathlib.Path(folder).resolve()
    if name == "bare":
        print(json.dumps(bare(folder, model, int(rows))))
        return
    out = pathlib.Path(tempfile.mkdtemp(dir=folder, prefix=f"{name}-"))
    try:
        said = globals()[name](folder, model, int(rows), out)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
