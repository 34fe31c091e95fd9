"""A job's YAML and a suite's JSON with any value in any place: they are taken, or refused in one clear paragraph."""

import copy
import json

import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tasks.core.definitions.job import Job
from tasks.core.definitions.project import parse_job
from tasks.core.errors import JobError, SuiteError
from tasks.shards.validating.suite import load_suite

pytestmark = pytest.mark.filterwarnings("ignore")

_LONGEST_PARAGRAPH = 10_000
_MANY = settings(
    max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
JOB = {
    "job": "late",
    "window": {"kind": "interval", "every": "1d", "timezone": "America/New_York"},
    "schedule": {"cron": "30 2 * * *"},
    "deadline": "2h",
    "source": {"type": "sql", "driver": "sqlite", "uri": "w.sqlite", "query": "SELECT * FROM t WHERE at >= :start"},
    "keys": ["id"],
    "event_time": "at",
    "columns": {"id": "int64", "at": "timestamp", "x": "float64", "note": "string"},
    "suite": "late",
    "labels": {"query": "SELECT id, late FROM labels", "target": "late", "delay": "1d", "revisit": ["2d"]},
    "model": {"name": "late", "allowed_types": []},
    "output": {"columns": {"probability": {"method": "predict_proba", "class": True}}, "pass_through": ["note"]},
    "limits": {"batch_rows": 100, "quarantine_share": 0.1},
    "retention": {"snapshots": "90d"},
}
SUITE = {
    "name": "late",
    "meta": {},
    "expectations": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "x", "min_value": 0, "max_value": 9.5, "mostly": 0.9},
            "severity": "warning",
            "meta": {"on_failure": "quarantine"},
        },
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "kind", "value_set": ["hot", "cold"]}},
    ],
}
SCHEMA = pa.schema([("x", pa.float64()), ("kind", pa.string())])
_WORDS = st.sampled_from(
    ["late", "x", "1d", "90d", "../..", "a\x00b", "\ud800", "$PARAMETER", "2013-01-01", "30 2 * * *", "x" * 5000, ""]
)
_PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 2**63])
    | st.floats()
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | _WORDS
)
VALUES = st.recursive(
    _PLAIN,
    lambda one: st.lists(one, max_size=3) | st.dictionaries(_WORDS | st.text(max_size=5), one, max_size=3),
    max_leaves=5,
)


def _names_of_a_job() -> list[str]:
    found: set[str] = set()
    schema = Job.model_json_schema()
    for part in [schema, *schema["$defs"].values()]:
        found |= set(part.get("properties", {}))
    return sorted(found)


NAMES = _names_of_a_job()


def _places(value: object, at: tuple = ()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, one in inner for place in _places(one, (*at, key)))]


@st.composite
def _changed(draw, whole: dict, names: list[str]) -> object:
    """The whole, with another value in one to three places: in the place of one, or under a name that may be known."""
    made = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from([place for place in _places(made) if place]))
        inner = made
        for key in at[:-1]:
            inner = inner[key]
        if draw(st.booleans()) and isinstance(inner[at[-1]], dict):
            inner[at[-1]][draw(st.sampled_from(names))] = draw(VALUES)
        elif draw(st.integers(0, 5)) == 0 and isinstance(inner, dict):
            made.setdefault(draw(st.sampled_from(names)), draw(VALUES))
        else:
            inner[at[-1]] = draw(VALUES)
    return made


def _is_clear(error: JobError | SuiteError) -> bool:
    told = str(error)
    return "late" in told and "Traceback" not in told and len(told) < _LONGEST_PARAGRAPH and bool(error.next_step)


def _parse(text: str) -> None:
    try:
        parse_job(text, where="deployments/jobs/late.yaml")
    except JobError as error:
        assert _is_clear(error), str(error)[:3000]  # noqa: PT017 - a job that is taken is as well


@_MANY
@given(_changed(JOB, NAMES))
def test_any_value_in_any_place_of_a_job(job):
    _parse(json.dumps(job) if isinstance(job, dict) else "null")
    _parse(yaml.safe_dump(job, allow_unicode=True))


@_MANY
@given(st.text() | st.text("[]{}:,-&*!|>'\"# \n\tab1.", max_size=60))
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("a: " + "9" * 10_000)
@example("job: &a [*a]")
@example("\ufeffjob: late")
@example("job: late\n---\njob: late")
@example("? {a: b}\n: c")
@example("? [a]\n: c")
def test_any_text_as_a_job(text):
    _parse(text)


def _load(text: str) -> None:
    try:
        load_suite(text, name="late", schema=SCHEMA)
    except SuiteError as error:
        assert _is_clear(error), str(error)[:3000]  # noqa: PT017 - a suite that is taken is as well


@_MANY
@given(_changed(SUITE, ["type", "kwargs", "meta", "severity", "column", "row_condition", "mostly", "id", "notes"]))
def test_any_value_in_any_place_of_a_suite(suite):
    _load(json.dumps(suite))


@_MANY
@given(st.text() | st.text("[]{}:,\"'x1 \n", max_size=60))
@example("[" * 100_000)
@example('{"name": "late", "expectations": ' + "9" * 10_000 + "}")
@example('{"name": "late", "expectations": [' + "[" * 100_000)
@example('{"name": "late", "expectations": [{"type": "expect_column_values_to_not_be_null", "meta": [1]}]}')
@example('{"name": "late", "expectations": [], "suite_parameters": [1]}')
@example('{"expectations": [{"type": "expect_column_values_to_not_be_null", "severity": ["critical"]}]}')
def test_any_text_as_a_suite(text):
    _load(text)
