"""The forms of all flows: each parameter is described and limited, and what is wrong is refused by the schema alone."""

import importlib

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate

from flows import parameters
from tasks.orchestration.deploying import form_of

FLOWS = {
    "score": {"job": "readings"},
    "backfill": {"job": "readings"},
    "challenge": {"job": "readings", "as_of": "2024-05-01"},
    "train": {"job": "readings"},
    "revisit": {"job": "readings"},
    "monitor": {"job": "readings"},
    "audit": {"job": "readings"},
    "prune": {},
    "promote": {"model": "readings", "version": 2, "reason": "it is better"},
    "rollback": {"model": "readings", "reason": "it was wrong"},
    "recall": {"model": "readings", "version": 2, "reason": "it was wrong"},
}


def schema_of(name):
    return form_of(getattr(importlib.import_module(f"flows.{name}"), name))


def wrongs(schema):
    """Values that no parameter of this schema may have."""
    yield {"nested": 1}
    kind = schema.get("type")
    if kind != "string" and "anyOf" not in schema:
        yield "maybe"
    else:
        yield from (1, "x" * 5000, "Not a name!" * 100)
    if kind == "integer":
        yield from (-1, 10**9, 1.5)
    if kind == "array":
        yield from ([1], [""], ["x"] * 21, ["x" * 5000])


@pytest.mark.parametrize("name", FLOWS)
def test_every_parameter_is_described_and_says_its_default(name):
    schema = schema_of(name)
    for parameter, one in schema["properties"].items():
        assert len(one["description"]) > 20, parameter
        assert ("default" in one) != (parameter in schema.get("required", ())), parameter


@pytest.mark.parametrize("name", FLOWS)
def test_what_is_wrong_is_refused_before_a_run_starts(name):
    schema, right = schema_of(name), FLOWS[name]
    assert validate(right, schema) == []
    for parameter, one in schema["properties"].items():
        for wrong in wrongs(one):
            assert validate(right | {parameter: wrong}, schema), f"{parameter} may be {wrong!r}"
    assert validate(right | {"asof": "2024-05-01"}, schema)
    for missing in schema.get("required", ()):
        assert validate({key: value for key, value in right.items() if key != missing}, schema)


@pytest.mark.parametrize("as_of", ["scheduled", "2013-07-01", "2013-12-31", "2013-07-01T0500Z"])
def test_a_window_may_be(as_of):
    assert validate({"job": "readings", "as_of": as_of}, schema_of("score")) == []


@pytest.mark.parametrize(
    "as_of", ["", "today", "2013-13-01", "2013-07-32", "2013-7-1", "2013-07-01T05:00", "2013-07-01 "]
)
def test_a_window_may_not_be(as_of):
    assert validate({"job": "readings", "as_of": as_of}, schema_of("score"))


@pytest.mark.parametrize("as_of", ["now", "2013-07-01"])
def test_a_look_may_be_as_of(as_of):
    assert validate({"job": "readings", "as_of": as_of}, schema_of("monitor")) == []


@pytest.mark.parametrize("as_of", ["", "scheduled", "2013-13-01", "2013-07-01T0500Z"])
def test_a_look_may_not_be_as_of(as_of):
    assert validate({"job": "readings", "as_of": as_of}, schema_of("monitor"))


@pytest.mark.parametrize("until", ["", "labelled", "2013-07-01", "2013-07-01T0500Z"])
def test_training_may_go_on_until(until):
    assert validate({"job": "readings", "until": until}, schema_of("train")) == []


@pytest.mark.parametrize("until", ["now", "scheduled", "2013-13-01", "2013-07-01 "])
def test_training_may_not_go_on_until(until):
    assert validate({"job": "readings", "until": until}, schema_of("train"))


def test_an_alias_is_a_choice_with_room_for_another():
    alias = schema_of("promote")["properties"]["alias"]
    assert [one.get("enum") for one in alias["anyOf"]] == [["production", "challenger"], None]
    assert alias["default"] == "production"
    assert validate(FLOWS["promote"] | {"alias": "compat"}, schema_of("promote")) == []


def test_the_form_keeps_limits_where_it_shows_them_beside_the_field():
    """Prefect's form drops `pattern` of a property, and keeps what stands in its `allOf`."""
    for name in FLOWS:
        for one in schema_of(name)["properties"].values():
            assert not {"pattern", "minLength", "maxLength", "minimum", "maximum", "maxItems"} & set(one)


def test_prefect_s_own_command_makes_the_same_form_but_for_unknown_names():
    flow = importlib.import_module("flows.score").score
    assert form_of(flow) == parameter_schema(flow).model_dump(exclude_unset=True) | {"additionalProperties": False}


def test_a_reason_is_as_long_as_it_may_be_everywhere():
    assert parameters.SHORTEST_REASON < parameters.LONGEST_REASON
    schema = schema_of("promote")
    for length, fits in [(2, False), (3, True), (500, True), (501, False)]:
        assert (validate(FLOWS["promote"] | {"reason": "x" * length}, schema) == []) is fits
