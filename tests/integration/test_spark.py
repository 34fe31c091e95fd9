"""Spark reads the table that Lamplighter publishes, with nothing of Lamplighter's."""

import shutil

import pandas as pd
import pyarrow as pa
import pytest

from tasks.core.definitions.project import parse_job
from tasks.core.rows.contract import predictions_schema
from tasks.core.storage import Lake

pytestmark = pytest.mark.extras

JOB = """
job: readings
window: { kind: interval, every: 1d }
source: { type: files, path: data }
keys: [sensor]
event_time: at
columns: { sensor: string, at: timestamp, day: date, count: int64, price: "decimal(10, 2)" }
model: { name: readings }
output:
  columns: { probability: { method: predict_proba, class: 1 } }
  pass_through: [day, count, price]
"""


def _published(folder) -> pa.Table:
    """Two partitions in the published schema, written through the lake's own door."""
    import datetime as dt
    from decimal import Decimal

    job = parse_job(JOB, where="readings.yaml")
    tables = []
    for day in (1, 2):
        at = dt.datetime(2024, 5, day, 12, 30, 0, 123456, tzinfo=dt.UTC)
        values = {
            "sensor": ["a", "é"],
            "at": [at, at],
            "window_start": [at.replace(hour=0, minute=0, second=0, microsecond=0)] * 2,
            "probability": [0.25, 0.5],
            "day": [at.date(), None],
            "count": [2**53 + 1, None],
            "price": [Decimal("1.10"), None],
            "model_version": ["readings/0001"] * 2,
            "run_id": ["run"] * 2,
            "scored_at": [at, at],
        }
        table = pa.table(values, schema=predictions_schema(job))
        with Lake(folder).parquet_writer(
            f"predictions/readings/as_of=2024-05-0{day}/part-run.parquet", table.schema
        ) as out:
            out.write_table(table)
        tables.append(table)
    return pa.concat_tables(tables)


def test_spark_reads_every_row_and_value(tmp_path):
    assert shutil.which("java"), "this test needs Java, which CI has"
    from pyspark.sql import SparkSession

    expected = _published(tmp_path)
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    try:
        rows = spark.read.parquet(str(tmp_path / "predictions/readings")).orderBy("as_of", "sensor").collect()
    finally:
        spark.stop()

    assert [row.sensor for row in rows] == expected["sensor"].to_pylist()
    assert [row["count"] for row in rows] == expected["count"].to_pylist()
    assert [row.price for row in rows] == expected["price"].to_pylist()
    assert [row.probability for row in rows] == expected["probability"].to_pylist()
    found = [pd.Timestamp(row["at"]).tz_localize("UTC") if row["at"].tzinfo is None else row["at"] for row in rows]
    assert [moment.microsecond for moment in found] == [123456] * 4
    assert {str(row.as_of) for row in rows} == {"2024-05-01", "2024-05-02"}
