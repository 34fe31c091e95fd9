"""Names of MLflow's registry in a job, and in the lake."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tasks.core.definitions import mlflow_names
from tasks.core.definitions.modelling import ModelChoice
from tasks.core.definitions.project import parse_job
from tasks.core.definitions.terms import Name
from tasks.core.errors import JobError

SHA = hashlib.sha256(b"Flight delays").hexdigest()[:32]
NAMES = st.text(st.characters(exclude_characters="/:", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=300)
ALIASES = st.from_regex(r"[A-Za-z0-9_\-]{1,255}", fullmatch=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("flight_delays", "mlflow_flight_delays"),
        ("2024", "mlflow_2024"),
        ("a" * 56, "mlflow_" + "a" * 56),
        ("Flight delays", f"mlflow_flight_delays__{SHA}"),
        ("飛行機", "mlflow___" + hashlib.sha256("飛行機".encode()).hexdigest()[:32]),
    ],
)
def test_a_name_that_the_lake_takes_is_kept_and_any_other_gets_digits(name, expected):
    assert mlflow_names.lake_name(name) == expected


def test_a_name_that_looks_as_if_it_had_digits_cannot_pass_for_another():
    assert mlflow_names.lake_name(f"flight_delays__{SHA}") != mlflow_names.lake_name("Flight delays")


@given(NAMES, NAMES)
def test_every_name_becomes_a_name_of_the_lake_and_no_two_the_same(one, other):
    found = mlflow_names.lake_name(one)

    assert TypeAdapter(Name).validate_python(found) == found
    assert (found == mlflow_names.lake_name(other)) == (one == other)


@given(NAMES, ALIASES)
def test_what_stands_before_and_behind_the_last_at_is_found_again(name, alias):
    choice = ModelChoice(name=f"models:/{name}@{alias}") if len(name) + len(alias) < 500 else None
    found = mlflow_names.parse(f"models:/{name}@{alias}")

    assert (found.name, found.alias, str(found)) == (name, alias, f"models:/{name}@{alias}")
    assert TypeAdapter(Name).validate_python(found.lake_alias) == found.lake_alias
    assert choice is None or (choice.name, choice.alias) == (found.lake_name, found.lake_alias)


@given(ALIASES, ALIASES)
def test_no_two_aliases_become_one(one, other):
    found = [mlflow_names.MlflowAlias("m", alias).lake_alias for alias in (one, other)]

    assert (found[0] == found[1]) == (one == other)


def test_a_job_may_name_a_model_of_the_lake_or_of_mlflow():
    ours, theirs = ModelChoice(name="flights", alias="challenger"), ModelChoice(name="models:/flights@Champion")

    assert (ours.name, ours.alias, ours.mlflow) == ("flights", "challenger", None)
    assert (theirs.name, theirs.mlflow) == ("mlflow_flights", mlflow_names.MlflowAlias("flights", "Champion"))
    assert re.fullmatch(r"alias_champion__[0-9a-f]{32}", theirs.alias)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "models:/flights@production", "alias": "production"}, "'alias' is given twice"),
        ({"name": "models:/flights/3"}, "must be models:/NAME@ALIAS"),
        ({"name": "models:/flights/Production"}, "must be models:/NAME@ALIAS"),
        ({"name": "models:/flights@"}, "must be models:/NAME@ALIAS"),
        ({"name": "models:/@production"}, "must be models:/NAME@ALIAS"),
        ({"name": "models:/../../etc@production"}, "must be models:/NAME@ALIAS"),
        ({"name": "models:/flights@production\n"}, "must be models:/NAME@ALIAS"),
        ({"name": "models:/flights@a b"}, "must be models:/NAME@ALIAS"),
        ({"name": f"models:/{'a' * 600}@production"}, "at most 600 characters"),
        ({"name": "Flights"}, "should match pattern"),
    ],
)
def test_other_forms_are_refused(given, said):
    with pytest.raises(ValidationError, match=re.escape(said)):
        ModelChoice.model_validate(given)


@pytest.mark.parametrize(
    "given", ["models:/flights", "models:/flights@production", "models:/flights/3", "mlflow_flights"]
)
def test_on_the_command_line_a_model_may_be_named_as_in_mlflow(given):
    assert mlflow_names.registry_name(given) == "mlflow_flights"


JOB = """
job: readings
window: { kind: interval, every: 1d }
source: { type: sql, driver: sqlite, uri: a.sqlite, query: SELECT 1 }
keys: [sensor]
event_time: at
columns: { sensor: string, at: timestamp, x: float64 }
output: { columns: { score: { method: predict } } }
"""
TRAINING = """
labels: { query: SELECT 1, target: late }
training:
  estimator: a:b
  features: [x]
  fit: { first: 2024-01-01, last: 2024-01-31 }
  benchmark: { first: 2024-02-01, last: 2024-02-29 }
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "model: { name: 'models:/flights@production', alias: production }",
            "key 'model': 'alias' is given twice: name",
        ),
        (
            "model: { name: 'models:/flights/3' }",
            "key 'model': 'models:/flights/3' names no alias of MLflow's registry",
        ),
        ("model: { name: 'models:/flights@production' }" + TRAINING, "are made in MLflow; take 'training' out"),
    ],
)
def test_what_is_wrong_in_a_job_is_said_with_its_key(text, said):
    with pytest.raises(JobError, match=re.escape(said)):
        parse_job(JOB + text, where="readings.yaml")
