import datetime as dt
import decimal
import math
import uuid

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.definitions.column_types import parse_type
from tasks.core.errors import SchemaBlocked
from tasks.core.rows.conform import check_columns, conform, extra_columns

D = decimal.Decimal
UTC = dt.UTC


def converted(values, declared, found=None, **options):
    """The values after conversion, and for each rejected row its value and message."""
    column = values if isinstance(values, pa.Array) else pa.array(values, found)
    batch = pa.RecordBatch.from_arrays([column], names=["x"])
    result, rejections = conform(batch, pa.schema([("x", parse_type(declared))]), 0, **options)
    result.validate(full=True)
    assert result.schema.field("x").type == parse_type(declared)
    return result["x"].to_pylist(), {row: reason.value for row, reason in rejections}


def instant(*parts, **named):
    return dt.datetime(*parts, tzinfo=UTC, **named)


@pytest.mark.parametrize(
    ("found", "values", "declared", "expected"),
    [
        # Whole numbers
        (pa.int16(), [1, None, -3], "int64", [1, None, -3]),
        (pa.int64(), [127, -128], "int8", [127, -128]),
        (pa.uint64(), [2**63 - 1], "int64", [2**63 - 1]),
        (pa.bool_(), [True, False, None], "int64", [1, 0, None]),
        (pa.float64(), [2.0, -0.0, None], "int64", [2, 0, None]),
        (pa.decimal128(5, 2), [D("2.00"), None], "int32", [2, None]),
        (pa.string(), ["1", " -2 ", "+3", "4.0", "5.", None], "int64", [1, -2, 3, 4, 5, None]),
        (pa.string(), ["9223372036854775807", "-9223372036854775808"], "int64", [2**63 - 1, -(2**63)]),
        # Floats
        (pa.float32(), [0.5, None], "float64", [0.5, None]),
        (pa.float16(), [0.5, math.inf], "float32", [0.5, math.inf]),
        (pa.float64(), [0.5, math.inf, -math.inf], "float32", [0.5, math.inf, -math.inf]),
        (pa.int64(), [2**53], "float64", [9007199254740992.0]),
        (pa.bool_(), [True], "float64", [1.0]),
        (pa.decimal128(5, 2), [D("2.05")], "float64", [2.05]),
        (pa.string(), ["1.5", "-1e3", "+.5", "Infinity", "-inf", None], "float64", [1.5, -1000.0, 0.5, math.inf, -math.inf, None]),
        # Decimals
        (pa.string(), ["1.50", "1.500", "-7", "1e2", None], "decimal(5, 2)", [D("1.50"), D("1.50"), D("-7"), D("100"), None]),
        (pa.int64(), [999, None], "decimal(5, 2)", [D(999), None]),
        (pa.uint64(), [2**64 - 1], "decimal(20, 0)", [D(2**64 - 1)]),
        (pa.float64(), [0.1, 999.99, None], "decimal(5, 2)", [D("0.10"), D("999.99"), None]),
        (pa.float32(), [0.1], "decimal(5, 2)", [D("0.10")]),
        (pa.decimal128(10, 4), [D("1.2500")], "decimal(5, 2)", [D("1.25")]),
        (pa.decimal256(40, 4), [D("1.2500")], "decimal(5, 2)", [D("1.25")]),
        # Booleans
        (pa.int64(), [0, 1, None], "bool", [False, True, None]),
        (pa.float64(), [0.0, 1.0, None], "bool", [False, True, None]),
        (pa.decimal128(3, 1), [D(1), D(0)], "bool", [True, False]),
        (pa.string(), ["true", "F", "1", "0", "t", "FALSE", None], "bool", [True, False, True, False, True, False, None]),
        # Text
        (pa.large_string(), ["a", None], "string", ["a", None]),
        (pa.string_view(), ["a", None], "string", ["a", None]),
        (pa.binary(), ["ü".encode(), None], "string", ["ü", None]),
        (pa.int64(), [1632], "string", ["1632"]),
        (pa.bool_(), [True], "string", ["true"]),
        (pa.decimal128(5, 2), [D("2.50")], "string", ["2.50"]),
        (pa.date32(), [dt.date(2013, 7, 1)], "string", ["2013-07-01"]),
        (pa.json_(), ['{"a":1}', None], "string", ['{"a":1}', None]),
        (pa.binary(2), [b"ab"], "binary", [b"ab"]),
        (pa.string(), ["ab"], "binary", [b"ab"]),
        # Days and times of day
        (pa.string(), ["2013-07-01", "2013-07-01 00:00:00", "2013-07-01T00:00"], "date", [dt.date(2013, 7, 1)] * 3),
        (pa.date64(), [dt.date(2013, 7, 1)], "date", [dt.date(2013, 7, 1)]),
        (pa.timestamp("ns"), [dt.datetime(2013, 7, 1), None], "date", [dt.date(2013, 7, 1), None]),
        (pa.string(), ["05:06", "05:06:07.5"], "time", [dt.time(5, 6), dt.time(5, 6, 7, 500_000)]),
        (pa.time32("s"), [dt.time(5, 6)], "time", [dt.time(5, 6)]),
        (pa.time64("ns"), [1_999], "time", [dt.time(0, 0, 0, 1)]),
        # Instants
        (pa.timestamp("s", "America/New_York"), [instant(2013, 7, 1, 4)], "timestamp", [instant(2013, 7, 1, 4)]),
        (pa.string(), ["2013-07-01 04:00:00", "2013-07-01T04:00", "2013-07-01"], "timestamp",
            [instant(2013, 7, 1, 4), instant(2013, 7, 1, 4), instant(2013, 7, 1)]),
        (pa.string(), ["2013-07-01T00:00:00-04:00", "2013-07-01 04:00:00Z", "2013-07-01 09:30:00+0530", "2013-07-01 04:00+00"],
            "timestamp", [instant(2013, 7, 1, 4)] * 4),
        (pa.string(), ["2013-07-01 04:00:00.123456789", "2013-07-01 04:00:00.1234567Z"], "timestamp",
            [instant(2013, 7, 1, 4, 0, 0, 123_456)] * 2),
        (pa.timestamp("ms"), [dt.datetime(2013, 7, 1)], "timestamp_naive", [dt.datetime(2013, 7, 1)]),
        (pa.string(), ["2013-07-01 04:00:00.5"], "timestamp_naive", [dt.datetime(2013, 7, 1, 4, 0, 0, 500_000)]),
        (pa.date32(), [dt.date(2013, 7, 1)], "timestamp_naive", [dt.datetime(2013, 7, 1)]),
        # Lists
        (pa.list_(pa.int32()), [[1, None], None, []], "list<float64>", [[1.0, None], None, []]),
        (pa.large_list(pa.string()), [["a"], None], "list<string>", [["a"], None]),
        (pa.list_(pa.int64(), 2), [[1, 2], None], "list<int64>", [[1, 2], None]),
        (pa.list_(pa.list_(pa.string())), [[["1"], []]], "list<list<int64>>", [[[1], []]]),
        # Nothing to go by
        (pa.null(), [None, None], "timestamp", [None, None]),
        (pa.null(), [None], "list<int64>", [None]),
    ],
)  # fmt: skip
def test_converts_without_loss(found, values, declared, expected):
    assert converted(values, declared, found) == (expected, {})


@pytest.mark.parametrize(
    ("found", "values", "declared", "rejected"),
    [
        (pa.int64(), [128, 1], "int8", {0: "128"}),
        (pa.uint64(), [1, 2**63], "int64", {1: "9223372036854775808"}),
        (pa.float64(), [1.5, 1.0, math.nan, math.inf, 9.3e18], "int64", {0: "1.5", 2: "nan", 3: "inf", 4: "9.3e+18"}),
        (pa.decimal128(5, 2), [D("1.50"), D("1.00")], "int64", {0: "1.50"}),
        (pa.string(), ["0x1F", "", "1_000", "1.5", "abc", "12"], "int64",
            {0: "'0x1F'", 1: "''", 2: "'1_000'", 3: "'1.5'", 4: "'abc'"}),
        (pa.string(), ["9223372036854775808", "1"], "int64", {0: "'9223372036854775808'"}),
        (pa.int64(), [2**53 + 1, 2**53], "float64", {0: "9007199254740993"}),
        (pa.int64(), [2**24 + 1, 2**24], "float32", {0: "16777217"}),
        (pa.float64(), [1e300, 1.0], "float32", {0: "1e+300"}),
        (pa.string(), ["1e400", "x", "", "1.0"], "float64", {0: "'1e400'", 1: "'x'", 2: "''"}),
        (pa.string(), ["1.505", "nan", "1000.00", "1"], "decimal(5, 2)", {0: "'1.505'", 1: "'nan'", 2: "'1000.00'"}),
        (pa.int64(), [1000, 999], "decimal(5, 2)", {0: "1000"}),
        (pa.float64(), [0.1 + 0.2, math.nan, 0.3], "decimal(5, 2)", {0: "0.30000000000000004", 1: "nan"}),
        (pa.decimal128(5, 3), [D("1.005"), D("1.010")], "decimal(5, 2)", {0: "1.005"}),
        (pa.int64(), [2, 1], "bool", {0: "2"}),
        (pa.float64(), [math.nan, 1.0], "bool", {0: "nan"}),
        (pa.string(), ["yes", "1"], "bool", {0: "'yes'"}),
        (pa.binary(), [b"\xff", b"a"], "string", {0: "b'\\xff'"}),
        (pa.string(), ["2013-02-29", "20130701", "01.07.2013", "2013-07-01 12:00", "2013-07-01"], "date",
            {0: "'2013-02-29'", 1: "'20130701'", 2: "'01.07.2013'", 3: "'2013-07-01 12:00'"}),
        (pa.timestamp("us"), [dt.datetime(2013, 7, 1, 12), dt.datetime(2013, 7, 1)], "date", {0: "2013-07-01 12:00:00"}),
        (pa.string(), ["24:00", "5:06", "05:06"], "time", {0: "'24:00'", 1: "'5:06'"}),
        (pa.string(), ["yesterday", "1372651200", "2013-07-01 25:00", "2013-07-01"], "timestamp",
            {0: "'yesterday'", 1: "'1372651200'", 2: "'2013-07-01 25:00'"}),
        (pa.string(), ["2013-07-01T00:00Z", "2013-07-01T00:00"], "timestamp_naive", {0: "'2013-07-01T00:00Z'"}),
        (pa.list_(pa.string()), [["1", "x"], ["2"], None], "list<int64>", {0: "['1', 'x']"}),
    ],
)  # fmt: skip
def test_rejects_only_what_would_lose(found, values, declared, rejected):
    result, reasons = converted(values, declared, found)
    assert reasons == rejected
    assert [value is None for value in result] == [row in rejected or value is None for row, value in enumerate(values)]


def test_a_rejection_says_row_column_value_and_type():
    batch = pa.RecordBatch.from_pydict({"n": ["1", "x" * 300], "d": ["?", "2013-07-01"]})
    # In the order of rows, whatever that of the columns.
    _, rejections = conform(batch, pa.schema([("n", pa.int8()), ("d", pa.date32())]), 1_000)
    assert [row for row, _ in rejections] == [1_000, 1_001]
    first, second = (reason for _, reason in rejections)
    assert (first.kind, first.rule, first.column, first.value) == ("not_convertible", "not_convertible", "d", "'?'")
    assert first.message == "column 'd': '?' cannot be converted to date without loss"
    assert len(second.value) < 210
    assert len(second.message) < 200


def test_nan_and_infinity_of_floats_stay():
    (nan, inf, none), reasons = converted([math.nan, math.inf, None], "float64", pa.float64())
    assert math.isnan(nan)
    assert (inf, none, reasons) == (math.inf, None, {})


def test_digits_beyond_the_microsecond_are_cut_downwards():
    # One nanosecond before 1970 lies in the last microsecond of 1969.
    values, reasons = converted(pa.array([1_999, -1], pa.timestamp("ns", "UTC")), "timestamp")
    assert values == [instant(1970, 1, 1, 0, 0, 0, 1), instant(1969, 12, 31, 23, 59, 59, 999_999)]
    assert reasons == {}


def test_instants_outside_the_calendar_are_rejected():
    # What the driver makes of PostgreSQL's infinity and -infinity, and the edges of the years 1 and 9999.
    ticks = [-9222425352054775809, -9222425352054775808, -62135596800000000, 253402300799999999, 253402300800000000]
    values, reasons = converted(pa.array(ticks, pa.timestamp("us", "UTC")), "timestamp")
    assert values[2:4] == [instant(1, 1, 1), instant(9999, 12, 31, 23, 59, 59, 999_999)]
    assert list(reasons) == [0, 1, 4]
    assert "-9222425352054775809" in reasons[0]
    days, reasons = converted(pa.array([-719162, 2932896, 2932897, 2**31 - 1], pa.date32()), "date")
    assert days[:2] == [dt.date(1, 1, 1), dt.date(9999, 12, 31)]
    assert list(reasons) == [2, 3]


def test_an_instant_without_zone_is_refused_with_advice():
    with pytest.raises(SchemaBlocked, match=r"instant without zone.*declares it as timestamp.*x AT TIME ZONE"):
        converted([dt.datetime(2013, 7, 1)], "timestamp", pa.timestamp("us"))


def test_an_instant_without_zone_is_read_in_the_zone_that_is_given():
    # In New York 2013-03-10 02:30 never was, and 2013-11-03 01:30 was twice.
    local = [dt.datetime(2013, 7, 1), dt.datetime(2013, 3, 10, 2, 30), dt.datetime(2013, 11, 3, 1, 30)]
    values, reasons = converted(local, "timestamp", pa.timestamp("us"), naive_zone="America/New_York")
    assert values == [instant(2013, 7, 1, 4), None, None]
    assert reasons == {1: "2013-03-10 02:30:00", 2: "2013-11-03 01:30:00"}
    text, _ = converted(["2013-07-01 00:00", "2013-07-01 00:00Z"], "timestamp", naive_zone="America/New_York")
    assert text == [instant(2013, 7, 1, 4), instant(2013, 7, 1)]


@pytest.mark.parametrize(
    ("found", "declared", "named", "advice"),
    [
        (pa.list_(pa.int64()), "int64", "list<int64>", "cast 'x'"),
        (pa.int64(), "list<int64>", "int64", "cast 'x'"),
        (pa.list_(pa.bool_()), "list<date>", "bool", "cast 'x'"),
        (pa.int64(), "timestamp", "int64", "to_timestamp"),
        (pa.date32(), "timestamp", "date", "AT TIME ZONE"),
        (pa.timestamp("us", "UTC"), "date", "timestamp", "cast 'x'"),
        (pa.timestamp("us", "UTC"), "timestamp_naive", "timestamp", "cast 'x'"),
        (pa.float64(), "string", "float64", "cast 'x'"),
        (pa.struct([("a", pa.int64())]), "string", "struct<a: int64>", "cast 'x'"),
        (pa.month_day_nano_interval(), "int64", "month_day_nano_interval", "cast 'x'"),
        (pa.duration("us"), "int64", "duration[us]", "cast 'x'"),
        (pa.binary(), "int64", "binary", "cast 'x'"),
    ],
)
def test_a_type_that_can_never_convert_blocks(found, declared, named, advice):
    with pytest.raises(SchemaBlocked) as blocked:
        converted([None], declared, found)
    assert f"column 'x' as {named}" in str(blocked.value)
    assert f"declares it as {declared}" in str(blocked.value)
    assert advice in str(blocked.value)


def test_dictionaries_and_runs_are_decoded():
    assert converted(pa.array(["a", None, "a"]).dictionary_encode(), "string") == (["a", None, "a"], {})
    assert converted(pa.array(["1", "2", "1"]).dictionary_encode(), "int64") == ([1, 2, 1], {})
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"])
    assert converted(runs, "string") == (["a", "a", "b"], {})


def test_uuids_become_text_as_python_writes_it():
    ids = [uuid.UUID(int=0x0123456789ABCDEF0123456789ABCDEF), None, uuid.UUID(int=5)]
    stored = pa.array([i and i.bytes for i in ids], pa.binary(16))
    column = pa.ExtensionArray.from_storage(pa.uuid(), stored)
    expected = ["01234567-89ab-cdef-0123-456789abcdef", None, "00000000-0000-0000-0000-000000000005"]
    assert converted(column, "string") == (expected, {})
    assert converted(column.slice(1), "string") == (expected[1:], {})
    assert converted(column.slice(0, 0), "string") == ([], {})


def opaque(storage, name):
    return pa.ExtensionArray.from_storage(pa.opaque(storage.type, name, "PostgreSQL"), storage)


def test_numerics_of_postgresql_are_text_underneath():
    column = opaque(pa.array(["1.50", "nan", None]), "numeric")
    values, reasons = converted(column, "float64")
    assert values[0] == 1.5
    assert math.isnan(values[1])
    assert reasons == {}
    assert converted(column, "decimal(5, 2)") == ([D("1.50"), None, None], {1: "'nan'"})
    assert converted(column, "string") == (["1.50", "nan", None], {})
    listed = pa.ListArray.from_arrays(pa.array([0, 3], pa.int32()), column)
    assert converted(listed, "list<string>") == ([["1.50", "nan", None]], {})


def test_the_databases_own_coding_is_not_taken_for_text():
    with pytest.raises(SchemaBlocked, match=r"'x' as inet.*cast 'x' to text"):
        converted(opaque(pa.array([b"\x02\x20\x00\x04"]), "inet"), "string")


def test_money_is_refused_because_the_driver_gives_cents():
    field = pa.field("x", pa.int64(), metadata={"POSTGRESQL:type": "money"})
    batch = pa.RecordBatch.from_arrays([pa.array([150])], schema=pa.schema([field]))
    with pytest.raises(SchemaBlocked, match=r"'x' as money.*cents"):
        conform(batch, pa.schema([("x", pa.int64())]), 0)


def test_text_that_is_not_utf8_costs_its_row_alone():
    column = pa.array([b"good", b"caf\xe9", None], pa.binary()).view(pa.string())
    assert converted(column, "string") == (["good", None, None], {1: "b'caf\\xe9'"})
    assert converted(column, "int64")[1] == {0: "'good'", 1: "b'caf\\xe9'"}


def test_columns_come_in_the_declared_order_without_the_extra_ones():
    batch = pa.RecordBatch.from_pydict({"extra": [1], "b": [2], "a": [3]})
    result, rejections = conform(batch, pa.schema([("a", pa.int64()), ("b", pa.int64())]), 0)
    assert result.to_pydict() == {"a": [3], "b": [2]}
    assert rejections == []
    assert extra_columns(["extra", "b", "a", "more"], ["a", "b"]) == ("extra", "more")


def test_a_missing_column_is_named_with_what_was_found_and_the_nearest():
    with pytest.raises(SchemaBlocked) as blocked:
        check_columns(["fligth", "carrier"], ["flight", "carrier", "zzz"], where="the query")
    assert "the query lacks declared columns: 'flight', 'zzz'; found: 'fligth', 'carrier'" in str(blocked.value)
    assert "nearest: 'fligth'" in str(blocked.value)
    assert blocked.value.exit_code == 3


def test_a_declared_column_that_is_there_twice_blocks():
    with pytest.raises(SchemaBlocked, match="more than once: 'a'"):
        check_columns(["a", "a", "b", "b"], ["a"])
    check_columns(["a", "b", "b"], ["a"])


def test_an_empty_batch_keeps_the_declared_types():
    assert converted(pa.array([], pa.string()), "timestamp") == ([], {})
    assert converted(pa.array([], pa.list_(pa.string())), "list<int64>") == ([], {})


def test_a_slice_is_converted_as_the_whole_is():
    lists = pa.array([["9"], ["1", "2"], None, ["x"]]).slice(1)
    assert converted(lists, "list<int64>") == ([[1, 2], None, None], {2: "['x']"})


def python_int(text):
    return int(text) if text.strip("0123456789-") == "" and -(2**63) <= int(text) < 2**63 else None


@given(st.lists(st.one_of(st.none(), st.integers(-(2**70), 2**70).map(str), st.sampled_from(["a", "é", ""]))))
def test_each_row_is_kept_or_rejected_whatever_its_neighbours(texts):
    values, reasons = converted(pa.array(texts, pa.string()), "int64")
    expected = [None if text in (None, "a", "é", "") else python_int(text) for text in texts]
    assert values == expected
    assert set(reasons) == {row for row, text in enumerate(texts) if text is not None and expected[row] is None}


@given(st.lists(st.datetimes(timezones=st.sampled_from([UTC, dt.timezone(dt.timedelta(hours=5, minutes=30))]))))
def test_iso_text_gives_the_instant_that_python_reads(instants):
    in_range = [moment for moment in instants if 2 <= moment.year <= 9998]
    values, reasons = converted(pa.array([moment.isoformat() for moment in in_range], pa.string()), "timestamp")
    assert (values, reasons) == (in_range, {})
