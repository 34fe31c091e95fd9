"""The published columns are a contract: a change of one of these lines is a new version of it."""

import pyarrow as pa
import pytest

from tasks.core.definitions.column_types import SIMPLE_TYPES, parse_type, type_name
from tasks.core.definitions.job import Job
from tasks.core.rows.contract import METRICS_SCHEMA, column_meanings, predictions_schema, quarantine_schema

UTC = pa.timestamp("us", tz="UTC")
REASON = pa.struct([(name, pa.string()) for name in ("kind", "rule", "column", "value", "message")])


def job(**changes) -> Job:
    values = {
        "job": "late",
        "window": {"kind": "interval"},
        "source": {"type": "files", "path": "data"},
        "keys": ["id", "day"],
        "event_time": "at",
        "columns": {"note": "string", "at": "timestamp", "day": "date", "id": "int64", "x": "float32"},
        "model": {"name": "late"},
        "output": {
            "columns": {"probability": {"method": "predict_proba", "class": True}, "label": {"type": "string"}},
            "pass_through": ["note", "id", "at"],
        },
    }
    return Job.model_validate(values | changes)


def of(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in schema]


def test_predictions():
    assert of(predictions_schema(job())) == [
        ("id", pa.int64()),
        ("day", pa.date32()),
        ("at", UTC),
        ("window_start", UTC),
        ("probability", pa.float64()),
        ("label", pa.string()),
        ("note", pa.string()),
        ("model_version", pa.string()),
        ("run_id", pa.string()),
        ("scored_at", UTC),
    ]


def test_predictions_of_a_snapshot_window_have_no_event_time():
    snapshot = job(window={"kind": "snapshot"}, event_time=None, output={"columns": {"p": {}}})
    assert predictions_schema(snapshot).names == [
        "id",
        "day",
        "window_start",
        "p",
        "model_version",
        "run_id",
        "scored_at",
    ]


def test_an_event_time_that_is_a_key_stands_once():
    assert predictions_schema(job(keys=["at", "id"])).names[:3] == ["at", "id", "window_start"]


def test_quarantine():
    assert of(quarantine_schema(job())) == [
        ("note", pa.string()),
        ("at", UTC),
        ("day", pa.date32()),
        ("id", pa.int64()),
        ("x", pa.float32()),
        ("window_start", UTC),
        ("run_id", pa.string()),
        ("reasons", pa.list_(REASON)),
    ]


def test_metrics():
    assert of(METRICS_SCHEMA) == [
        ("window_start", UTC),
        ("metric", pa.string()),
        ("subject", pa.string()),
        ("value", pa.float64()),
        ("model_version", pa.string()),
        ("run_id", pa.string()),
    ]


def test_every_published_column_has_a_meaning_once():
    meanings = column_meanings(job())
    assert [name for name, _, _ in meanings] == predictions_schema(job()).names
    assert all(meaning for _, _, meaning in meanings)
    assert ("probability", "double", "the model's predict_proba, class True") in meanings


@pytest.mark.parametrize(
    ("name", "arrow"),
    [
        *SIMPLE_TYPES.items(),
        ("decimal(38, 9)", pa.decimal128(38, 9)),
        ("decimal(5, -2)", pa.decimal128(5, -2)),
        ("list<int64>", pa.list_(pa.int64())),
        ("list<list<timestamp>>", pa.list_(pa.list_(UTC))),
    ],
)
def test_a_type_has_one_name(name, arrow):
    assert parse_type(name) == arrow
    assert type_name(arrow) == name


def test_instants_are_microseconds_in_utc_and_no_type_is_only_arrows_own():
    assert SIMPLE_TYPES["timestamp"] == UTC
    assert SIMPLE_TYPES["timestamp_naive"] == pa.timestamp("us")
    for arrow in SIMPLE_TYPES.values():
        assert not isinstance(arrow, (pa.DictionaryType, pa.BaseExtensionType))
        assert "large" not in str(arrow)
        assert "view" not in str(arrow)


@pytest.mark.parametrize(
    "name",
    ["", "int", "double", "Int64", "int64 ", "datetime", "decimal", "decimal(0, 0)", "decimal(39, 1)", "decimal(5)", "list", "list<>", "list<int>", "timestamp[ns]"],
)  # fmt: skip
def test_what_is_no_type_is_refused_with_those_that_are(name):
    with pytest.raises(ValueError, match=r"is not a column type; allowed: bool, int8, .*, decimal\(P, S\), list<TYPE>"):
        parse_type(name)


def test_what_a_job_cannot_declare_keeps_arrows_name():
    assert type_name(pa.dictionary(pa.int8(), pa.string())) == "dictionary<values=string, indices=int8, ordered=0>"
    assert type_name(pa.timestamp("ns")) == "timestamp[ns]"
