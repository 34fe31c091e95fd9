"""A reference sample: the types that it comes to, what may be missing, and the values of its categories."""

import datetime as dt
import decimal
import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.definitions.project import parse_job
from tasks.core.errors import DefinitionError
from tasks.core.models.registering.sample import column_of, read_sample, typed

JOB = """
job: late
window: {kind: interval, every: 1d}
source: {type: files, path: data}
keys: [id]
event_time: at
columns: {id: string, at: timestamp, x: int32, kind: string, day: date}
model: {name: late}
output: {columns: {p: {}}}
"""


def sample_of(tmp_path, table):
    path = tmp_path / "sample.parquet"
    if isinstance(table, pa.Table):
        pq.write_table(table, path)
    else:
        table.to_parquet(path, index=False)
    return read_sample(str(path))


NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
COLUMNS = {
    "text": (pa.array(["a", None], pa.large_string()), "string", True),
    "view": (pa.array(["a", "b"], pa.string_view()), "string", False),
    "whole": (pa.array([1, 2], pa.int16()), "int16", False),
    "unsigned": (pa.array([1, None], pa.uint8()), "int16", True),
    "large": (pa.array([1, 2], pa.uint64()), "int64", False),
    "real": (pa.array([0.5, math.nan]), "float64", True),
    "half": (pa.array([0.5, 1.5], pa.float16()), "float32", False),
    "flag": (pa.array([True, None]), "bool", True),
    "money": (pa.array([decimal.Decimal("1.50"), None]), "decimal(3, 2)", True),
    "day": (pa.array([dt.date(2024, 5, 1), None]), "date", True),
    "instant": (pa.array([NOON, NOON], pa.timestamp("ns", tz="Europe/Berlin")), "timestamp", False),
    "local": (pa.array([NOON.replace(tzinfo=None)] * 2, pa.timestamp("ms")), "timestamp_naive", False),
}


def test_types_come_from_the_sample(tmp_path):
    sample = sample_of(tmp_path, pa.table({name: values for name, (values, _, _) in COLUMNS.items()}))
    names = list(COLUMNS)[::-1]
    inputs, rows = typed(sample, names, None)
    assert [(column.name, column.type, column.nullable) for column in inputs.columns] == [
        (name, *COLUMNS[name][1:]) for name in names
    ]
    assert rows.schema.equals(inputs.arrow_schema)
    assert rows["instant"].to_pylist() == [NOON, NOON]
    assert rows["unsigned"].to_pylist() == [1, None]


def test_types_come_from_the_job_where_one_is_known(tmp_path):
    table = pa.table({"x": [1.0, 2.0], "kind": pa.array(["a", "b"]).dictionary_encode(), "day": ["2024-05-01", None]})
    inputs, rows = typed(sample_of(tmp_path, table), ["day", "x", "kind"], parse_job(JOB, where="late.yaml"))
    assert [(column.type, column.nullable, column.categories) for column in inputs.columns] == [
        ("date", True, None),
        ("int32", False, None),
        ("string", False, ("a", "b")),
    ]
    assert rows.to_pydict() == {"day": [dt.date(2024, 5, 1), None], "x": [1, 2], "kind": ["a", "b"]}


def test_the_known_values_of_a_category_keep_their_order_and_the_unused_ones(tmp_path):
    kinds = pd.Categorical(["b", "a", None] * 40, categories=["b", "unseen", "a"])
    path = tmp_path / "sample.parquet"
    pd.DataFrame({"kind": kinds, "x": 1.0}).to_parquet(path, index=False, row_group_size=10)
    inputs, rows = typed(read_sample(str(path)), ["kind"], None)
    (kind,) = inputs.columns
    assert (kind.type, kind.encoding, kind.categories, kind.nullable) == (
        "string",
        "category",
        ("b", "unseen", "a"),
        True,
    )
    assert rows["kind"].to_pylist()[:3] == ["b", "a", None]
    pl.DataFrame({"kind": pl.Series(["b", "a"], dtype=pl.Enum(["zz", "b", "a"]))}).write_parquet(path)
    assert typed(read_sample(str(path)), ["kind"], None)[0].columns[0].categories == ("zz", "b", "a")


def test_what_pandas_calls_its_index_is_no_column(tmp_path):
    path = tmp_path / "sample.parquet"
    pd.DataFrame({"x": [1.0, 2.0]}, index=[5, 7]).to_parquet(path)
    assert pq.read_table(path).column_names == ["x", "__index_level_0__"]
    assert read_sample(str(path)).columns == ["x"]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([None, None]), "'x' has no value in any row, so its type is not known"),
        (pa.array([[1.0], [2.0]]), "the column 'x' is list<float64>, which no model takes"),
        (pa.array([{"a": 1}, None]), "'x'.*which no model takes"),
        (pa.array([b"a", b"b"]), "'x' is binary, which no model takes"),
        (pa.array([dt.time(1), None]), "'x' is time, which no model takes"),
        (pa.array([2**63, 1], pa.uint64()), "cannot be converted to int64 without loss .row 0, and 0 more."),
    ],
)
def test_a_column_that_no_model_takes_is_said(tmp_path, column, says):
    with pytest.raises(DefinitionError, match=says) as caught:
        typed(sample_of(tmp_path, pa.table({"x": column})), ["x"], None)
    assert "othing was registered" in str(caught.value)


def test_a_category_of_numbers_whose_codes_are_lost_is_said(tmp_path):
    """Parquet writes the values: codes that the model learnt would be made anew, in another order."""
    sample = sample_of(tmp_path, pd.DataFrame({"x": pd.Categorical([3, 1], categories=[3, 1])}))
    with pytest.raises(
        DefinitionError, match="'x' was a category of int64 in pandas, whose codes Parquet does not keep"
    ):
        typed(sample, ["x"], None)


def test_columns_that_are_missing_are_named_with_the_nearest(tmp_path):
    sample = sample_of(tmp_path, pa.table({"distanse": [1.0], "carrier": ["AA"]}))
    with pytest.raises(DefinitionError, match=r"lacks columns that the model takes: 'distance'; .*nearest: 'distanse'"):
        typed(sample, ["distance", "carrier"], None)
    with pytest.raises(DefinitionError, match="job 'late' does not declare columns that the model takes: 'carrier'"):
        typed(sample, ["carrier"], parse_job(JOB, where="late.yaml"))
    with pytest.raises(DefinitionError, match="lacks the target 'carier'; nearest: 'carrier'"):
        column_of(sample, "carier", "the target")


def test_a_value_that_is_not_of_the_jobs_type_is_shown(tmp_path):
    sample = sample_of(tmp_path, pa.table({"x": [1.0, 2.5, 3.5]}))
    with pytest.raises(
        DefinitionError, match=r"column 'x': 2\.5 cannot be converted to int32 without loss \(row 1, and 1 more\)"
    ):
        typed(sample, ["x"], parse_job(JOB, where="late.yaml"))


@pytest.mark.parametrize("content", [b"", b"not parquet", b"PAR1" + bytes(100), b"x,y\n1,2\n"])
def test_what_is_no_parquet_file_is_said(tmp_path, content):
    (tmp_path / "sample.parquet").write_bytes(content)
    with pytest.raises(DefinitionError, match=r"is not a Parquet file that can be read: .*to_parquet"):
        read_sample(str(tmp_path / "sample.parquet"))


def test_no_file_and_no_rows_are_said(tmp_path):
    for path in (tmp_path / "nothing.parquet", tmp_path):
        with pytest.raises(DefinitionError, match=r"there is no file|is not a Parquet file"):
            read_sample(str(path))
    with pytest.raises(DefinitionError, match="has no rows"):
        sample_of(tmp_path, pa.table({"x": pa.array([], pa.float64())}))


def test_rows_in_many_chunks_are_one(tmp_path):
    path = tmp_path / "sample.parquet"
    pq.write_table(pa.table({"x": np.arange(100.0)}), path, row_group_size=7)
    assert typed(read_sample(str(path)), ["x"], None)[1]["x"].to_pylist() == list(range(100))
