import pyarrow as pa
import pytest

from tasks.core.definitions.column_types import SIMPLE_TYPES, parse_type
from tasks.core.delivery.table import Column, check_columns, columns_of, fits, quoted, sql_type
from tasks.core.errors import NotDelivered


def test_every_type_that_a_job_may_declare_has_one_in_postgresql_but_lists_of_lists():
    assert all(sql_type(kind) and sql_type(pa.list_(kind)) == f"{sql_type(kind)}[]" for kind in SIMPLE_TYPES.values())
    assert sql_type(parse_type("decimal(12, 3)")) == "numeric(12,3)"
    assert sql_type(parse_type("list<list<int64>>")) is None


@pytest.mark.parametrize(
    ("name", "spelt"),
    [("plain", '"plain"'), ('a "b"', '"a ""b"""'), ("sel ect; --", '"sel ect; --"'), ("Ä", '"Ä"')],
)
def test_any_name_is_quoted(name, spelt):
    assert quoted(name) == spelt


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("bigint", "bigint"),
        ("smallint", "bigint"),
        ("integer", "numeric"),
        ("integer", "numeric(10,0)"),
        ("bigint", "numeric(21,2)"),
        ("real", "double precision"),
        ("smallint", "real"),
        ("smallint", "double precision"),
        ("integer", "double precision"),
        ("text", "character varying(20)"),
        ("numeric(10,2)", "numeric"),
        ("numeric(10,2)", "numeric(12,4)"),
    ],
)
def test_a_wider_type_fits(wanted, found):
    assert fits(wanted, found)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("bigint", "integer"),
        ("bigint", "double precision"),
        ("integer", "real"),
        ("integer", "numeric(10,1)"),
        ("double precision", "real"),
        ("double precision", "numeric"),
        ("text", "character(20)"),
        ("text", "jsonb"),
        ("timestamp with time zone", "timestamp without time zone"),
        ("date", "timestamp with time zone"),
        # Digits behind the point, or before it, would be lost.
        ("numeric(10,2)", "numeric(10,1)"),
        ("numeric(10,2)", "numeric(9,2)"),
        ("numeric(10,2)", "bigint"),
        ("bigint[]", "integer[]"),
    ],
)
def test_a_narrower_or_another_type_does_not_fit(wanted, found):
    assert not fits(wanted, found)


def test_the_problems_of_a_table_are_told_together_with_one_statement_for_all():
    with pytest.raises(NotDelivered) as caught:
        check_columns(
            "s.t",
            {"as_of": "text", 'a "b"': "bigint", "gone": "text"},
            {
                "as_of": Column("text", is_required=True),
                'a "b"': Column("integer"),
                "note": Column("text"),
                "by": Column("text", is_required=True),
            },
        )
    assert "it has no column 'gone' (text)" in str(caught.value)
    assert 'ALTER TABLE s.t ALTER COLUMN "a ""b""" TYPE bigint, ADD COLUMN "gone" text, ' in caught.value.next_step
    assert caught.value.next_step.endswith('ALTER COLUMN "by" DROP NOT NULL;')


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        # What the table has of other windows would be rounded, cut, or refused.
        ("integer", "real"),
        ("bigint", "double precision"),
        ("double precision", "bigint"),
        ("integer", "text"),
        ("date", "timestamp with time zone"),
        ("bigint[]", "double precision[]"),
        ("boolean", "integer"),
    ],
)
def test_nobody_is_told_to_alter_a_column_to_what_cannot_hold_its_values(wanted, found):
    with pytest.raises(NotDelivered) as caught:
        check_columns("s.t", {"n": wanted, "new": "text"}, {"n": Column(found)})
    assert "ALTER" not in caught.value.next_step
    assert "score the window again with --rescore" in caught.value.next_step
    assert "'n' cannot be altered without loss" in caught.value.next_step


@pytest.mark.parametrize(
    ("wanted", "found", "cure"),
    [
        ("double precision", "real", "TYPE double precision;"),
        ("double precision", "integer", "TYPE double precision;"),
        ("bigint[]", "integer[]", "TYPE bigint[];"),
        ("text", "date", "TYPE text;"),
        ("numeric(12,4)", "numeric(10,2)", "TYPE numeric(12,4);"),
        (
            "timestamp with time zone",
            "timestamp without time zone",
            "TYPE timestamp with time zone USING \"n\" AT TIME ZONE 'UTC';",
        ),
    ],
)
def test_a_column_is_widened_where_it_loses_nothing(wanted, found, cure):
    with pytest.raises(NotDelivered) as caught:
        check_columns("s.t", {"n": wanted}, {"n": Column(found)})
    assert caught.value.next_step == f'whoever owns the table runs: ALTER TABLE s.t ALTER COLUMN "n" {cure}'


def test_a_name_of_63_bytes_is_taken_and_one_of_64_is_not():
    assert columns_of(pa.schema([("ä" * 31 + "x", pa.int8())])) == {"ä" * 31 + "x": "smallint"}
    with pytest.raises(NotDelivered, match="at most 63 bytes"):
        columns_of(pa.schema([("ä" * 32, pa.int8())]))
