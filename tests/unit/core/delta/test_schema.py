"""The columns of a Delta table, and the figures of its files."""

import datetime as dt
import json

import pyarrow as pa
import pytest

from tasks.core.definitions.column_types import parse_type
from tasks.core.delta import actions, schema
from tasks.core.errors import DefinitionError

TABLE = "predictions/late"
# By hand, from the protocol's list of primitive types.
TYPES = {
    "bool": "boolean",
    "int8": "byte",
    "int16": "short",
    "int32": "integer",
    "int64": "long",
    "float32": "float",
    "float64": "double",
    "string": "string",
    "binary": "binary",
    "date": "date",
    "timestamp": "timestamp",
    "decimal(10, 2)": "decimal(10,2)",
    "list<string>": {"type": "array", "elementType": "string", "containsNull": True},
}


def fields(**types):
    return schema.fields_of(pa.schema([(name, parse_type(kind)) for name, kind in types.items()]), table=TABLE)


@pytest.mark.parametrize(("name", "kind"), TYPES.items())
def test_each_type_has_its_own(name, kind):
    one, partition = fields(x=name)
    assert one == {"name": "x", "type": kind, "nullable": True, "metadata": {}}
    assert partition == {"name": "as_of", "type": "string", "nullable": True, "metadata": {}}


@pytest.mark.parametrize("name", ["time", "timestamp_naive", "decimal(4, -2)", "list<time>"])
def test_a_type_that_delta_does_not_have_is_refused(name):
    with pytest.raises(
        DefinitionError, match=r"'x' of predictions/late is .*, which no plain Delta table holds"
    ) as raised:
        fields(x=name)
    assert "output.format: parquet" in raised.value.next_step


def test_a_new_column_comes_last_and_one_that_is_gone_stays():
    found = schema.merged(fields(a="int64", b="string"), fields(b="string", c="float64"), table=TABLE)
    assert [one["name"] for one in found] == ["a", "b", "as_of", "c"]
    assert schema.merged(found, fields(a="int64"), table=TABLE) == found


def test_a_column_of_another_type_is_refused_with_both():
    with pytest.raises(DefinitionError, match="column 'a' as long, and the job would publish it as string"):
        schema.merged(fields(a="int64"), fields(a="string"), table=TABLE)


@pytest.mark.parametrize("standing", [{"Score": "int64"}, {}])
def test_names_that_differ_in_case_alone_are_refused(standing):
    """The deltalake package opens no such table (seen with 1.6)."""
    wanted = fields(score="int64") if standing else fields(Score="int64", score="int64")
    with pytest.raises(DefinitionError, match="column 'Score' as long, and the job would publish it as 'score'"):
        schema.merged(fields(**standing) if standing else [], wanted, table=TABLE)


def test_the_figures_of_a_file(lake):
    """Two row groups; every figure by hand. Instants are rounded away from the rows; of floats and flags there is none."""
    table = pa.table(
        {
            "i": pa.array([3, None, -1, 2], pa.int64()),
            "s": ["b", "a", None, None],
            "long": ["x" * 65, "y", "z", "z"],
            "at": pa.array([1_500_001, 0, None, 2_000_999], pa.timestamp("us", tz="UTC")),
            "d": pa.array([0, 1, 2, 3], pa.date32()),
            "f": [float("nan"), 1.0, None, 2.0],
            "b": [True, False, None, True],
            "none": pa.array([None] * 4, pa.int32()),
            "list": [[1], [2], None, []],
        }
    )
    with lake.parquet_writer("x.parquet", table.schema) as writer:
        writer.write_table(table, row_group_size=2)

    assert actions.figures(lake, "x.parquet") == {
        "numRecords": 4,
        "minValues": {"i": -1, "s": "a", "at": "1970-01-01T00:00:00.000Z", "d": "1970-01-01"},
        "maxValues": {"i": 3, "s": "b", "at": "1970-01-01T00:00:02.001Z", "d": "1970-01-04"},
        "nullCount": {"i": 1, "s": 2, "long": 0, "at": 1, "d": 0, "f": 1, "b": 1, "none": 4},
    }


def test_a_file_without_rows_has_figures(lake):
    with lake.parquet_writer("x.parquet", pa.schema([("i", pa.int64())])):
        pass
    assert actions.figures(lake, "x.parquet") == {"numRecords": 0, "minValues": {}, "maxValues": {}, "nullCount": {}}


def test_an_instant_that_has_no_year_of_ours_has_no_figure(lake):
    """Rounding up would leave the years that there are."""
    assert actions._shown(dt.datetime.max.replace(tzinfo=dt.UTC), upwards=True) is None
    assert actions._shown(dt.datetime(1, 1, 1, tzinfo=dt.UTC), upwards=False) is None
    assert actions._shown(dt.datetime(2013, 7, 1), upwards=False) is None


def test_what_a_schema_is_written_as_is_read_again():
    some = fields(a="int64", b="list<string>")
    assert schema.fields_in(schema.schema_string(some)) == some
    assert json.loads(schema.schema_string(some))["type"] == "struct"
