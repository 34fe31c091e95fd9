"""What a source's columns are called, and which differences count."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.definitions.job import SchemaChanges
from tasks.core.definitions.schema_changes import SourceColumns, compare, refuse, widens
from tasks.core.errors import SchemaBlocked


def columns_of(*tables, names=None, **options):
    columns = SourceColumns(**options)
    columns.begin(names or tables[0].schema.names)
    batches = [batch for table in tables for batch in table.to_batches()]
    assert list(columns.watch(batches)) == [batch for batch in batches if batch.num_rows]
    return columns.types


def changes_of(before, now, declared=("a", "b"), **policy):
    return [
        (one.change, one.column, one.before, one.now, one.consequence)
        for one in compare(before, now, SchemaChanges(**policy), declared)
    ]


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
)
def test_storage_is_not_a_type(kind):
    assert columns_of(pa.table({"a": pa.array(["x"]).cast(kind)})) == {"a": "string"}


def test_the_zone_that_an_instant_is_shown_in_is_not_its_type():
    paris, tokyo = (pa.table({"a": pa.array([0], pa.timestamp("us", tz))}) for tz in ("Europe/Paris", "Asia/Tokyo"))
    assert columns_of(paris) == columns_of(tokyo) == {"a": "timestamp"}
    assert columns_of(pa.table({"a": pa.array([0], pa.timestamp("us"))})) == {"a": "timestamp_naive"}


def test_nulls_alone_and_columns_that_are_not_read_have_no_type():
    table = pa.table({"a": pa.nulls(2), "b": pa.array([1, 2])})
    assert columns_of(table, names=["a", "b", "c"]) == {"a": "unknown", "b": "int64", "c": "unknown"}
    assert columns_of(table, pa.table({"a": ["x"], "b": [1]}))["a"] == "string"


def test_batches_that_differ_keep_all_their_types_and_empty_ones_say_nothing():
    numbers, texts = pa.table({"a": [1.5]}), pa.table({"a": ["1.5"]})
    assert columns_of(numbers, texts) == columns_of(texts, numbers) == {"a": "float64 or string"}
    assert columns_of(numbers, texts.slice(0, 0)) == {"a": "float64"}


def test_a_column_that_one_file_lacks_is_lacking():
    both, one = pa.table({"a": [1], "b": [1]}), pa.table({"a": [1]})
    assert columns_of(both, one) == columns_of(one, both) == {"a": "int64"}


def test_sqlite_types_values_so_whole_and_broken_numbers_are_one():
    whole, broken = pa.table({"a": [1]}), pa.table({"a": [1.5]})
    assert columns_of(whole, types_values=True) == columns_of(broken, types_values=True) == {"a": "number"}


@pytest.mark.parametrize(
    ("before", "now", "is_wider"),
    [
        ("int32", "int64", True),
        ("int64", "int32", False),
        ("uint32", "int64", True),
        ("uint64", "int64", False),
        ("int8", "uint16", False),  # Negative numbers do not fit.
        ("uint8", "uint16", True),
        ("float32", "float64", True),
        ("float64", "float32", False),
        ("int32", "float64", True),
        ("int64", "float64", False),  # 2^53 + 1 is no float.
        ("int16", "float32", True),
        ("int32", "float32", False),
        ("float64", "int64", False),
        ("int32", "decimal(10, 0)", True),
        ("int32", "decimal(10, 1)", False),  # 2,147,483,647 has ten digits before the point.
        ("decimal(9, 2)", "decimal(12, 4)", True),
        ("decimal(9, 2)", "decimal(9, 4)", False),
        ("timestamp", "timestamp[ns, tz=UTC]", True),
        ("timestamp[s, tz=UTC]", "timestamp", True),
        ("timestamp[ns]", "timestamp_naive", False),
        ("timestamp_naive", "timestamp", False),
        ("date", "timestamp_naive", True),
        ("int64", "string", False),
        ("string", "int64", False),
    ],
)
def test_what_widens(before, now, is_wider):
    assert widens(before, now) is is_wider


@given(bits=st.sampled_from([8, 16, 32]), wider=st.sampled_from([16, 32, 64]), unsigned=st.booleans())
def test_a_wider_integer_holds_both_ends_of_the_narrower(bits, wider, unsigned):
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    fits = -(2 ** (wider - 1)) <= low and high <= 2 ** (wider - 1) - 1 and wider > bits
    assert widens(f"{'u' if unsigned else ''}int{bits}", f"int{wider}") is fits


def test_each_kind_of_change_follows_its_word():
    before = {"a": "int32", "b": "float64", "gone": "string"}
    now = {"a": "int64", "b": "string", "new": "bool"}
    assert changes_of(before, now) == [
        ("added", "new", None, "bool", "accepted"),
        ("missing", "gone", "string", None, "accepted"),
        ("widened", "a", "int32", "int64", "accepted"),
        ("retyped", "b", "float64", "string", "warns"),
    ]
    strict = changes_of(before, now, added="block", widened="warn", retyped="block")
    assert [one[-1] for one in strict] == ["blocks", "accepted", "warns", "blocks"]


def test_without_an_earlier_window_only_what_is_missing_counts():
    assert changes_of({}, {"a": "int64", "new": "bool"}) == [("missing", "b", None, None, "blocks")]
    assert changes_of({}, {"a": "int64"}, missing="fill_null") == [("missing", "b", None, None, "warns")]
    assert changes_of({"a": "int64"}, {}) == []


@pytest.mark.parametrize(("before", "now"), [("unknown", "int64"), ("int64", "unknown"), ("int64", "int64 or string")])
def test_a_type_that_is_not_one_is_not_compared(before, now):
    assert changes_of({"a": before, "b": "bool"}, {"a": now, "b": "bool"}) == []


def test_a_block_shows_every_difference_and_the_key_to_change():
    changes = compare(
        {"a": "int32", "b": "float64"},
        {"a": "int64", "b": "string", "c": "bool"},
        SchemaChanges(retyped="block"),
        ("a", "b"),
    )
    with pytest.raises(SchemaBlocked) as caught:
        refuse(changes, "flights 2024-05-02", "2024-05-01")
    said = str(caught.value)
    for part in ("'c' is new (bool)", "'a' was int32 and is int64", "'b' was float64 and is string", "2024-05-01"):
        assert part in said
    assert "schema_changes.retyped" in caught.value.next_step
    refuse(compare({}, {"a": "int64", "b": "bool"}, SchemaChanges(), ("a", "b")), "flights 2024-05-02", None)
